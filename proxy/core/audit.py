"""The audit as a chain: each record carries a hash over itself and the one before it, so tampering shows.

Owns what is hashed and how a chain is checked. Must never know where records are kept, nor what they tell.

The hash of a record is SHA-256, in hexadecimal, over three lines: the hash of the record before it, its own
`seq`, and its text exactly as it is stored, which is JSON on one line. The first record follows `GENESIS`.
The text is never written anew, so a later version that writes more fields verifies what an earlier one wrote.

What this proves: nobody has changed, removed, inserted or moved a record behind the proxy's back, unless all
that follows was computed anew, the end of the chain included. Against that only a hash helps that somebody
has noted elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GENESIS = "0" * 64
"""What the first record follows."""


def canonical(previous: str, seq: int, text: str) -> bytes:
    """The bytes that are hashed."""
    return f"{previous}\n{seq}\n{text}".encode()


def link(previous: str, seq: int, text: str) -> str:
    """The hash of the record `text` with the number `seq` that follows the one with the hash `previous`."""
    return sha256(canonical(previous, seq, text)).hexdigest()


@dataclass(frozen=True, slots=True)
class Record:
    """One event as it is stored. `rollout` is the name that it is filed under, by which it is found again;
    the hash does not cover that. None where it is not known."""

    seq: int
    text: str
    hash: str
    rollout: str | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain ends. Records up to `adopted` were there before anything was chained: they were hashed
    when the store was migrated, so what happened to them before is not known."""

    seq: int = 0
    hash: str = GENESIS
    adopted: int = 0


NO_HEAD = Head(hash="")
"""Where a chain ends whose end somebody has removed."""


@dataclass(frozen=True, slots=True)
class Begin:
    """The last event that was forgotten on purpose, because its time was over: what is kept follows it."""

    seq: int = 0
    hash: str = GENESIS


NOTHING_FORGOTTEN = Begin()
"""Of a chain that is kept from its first event on."""


@dataclass(frozen=True, slots=True)
class TrailPage:
    """Some records, and head and beginning as they were when they were read."""

    records: tuple[Record, ...]
    head: Head
    begin: Begin = NOTHING_FORGOTTEN


class Tampering(StrEnum):
    """What is wrong at one place of the chain."""

    GAP = "gap"  # a record is missing
    EDIT = "edit"  # a record is not what was written
    REORDER = "reorder"  # a record stands in another's place
    TRUNCATED = "truncated"  # the newest records are missing
    FOREIGN = "foreign"  # a record that no dualpath has chained


@dataclass(frozen=True, slots=True)
class Fault:
    """The first place where a chain does not hold."""

    kind: Tampering
    seq: int
    text: str


class Verifier:
    """Checks a chain from its first record on, page by page. `fault` is the first that was found, and `begin`
    what the first record follows."""

    def __init__(self) -> None:
        self.seq = 0
        self.hash = GENESIS
        self.fault: Fault | None = None
        self.begin = NOTHING_FORGOTTEN

    def behind(self, begin: Begin) -> None:
        """What comes next follows `begin`, unless what was checked is behind that: more may be forgotten
        while somebody reads."""
        if self.fault is None and begin.seq > self.seq:
            self.seq, self.hash, self.begin = begin.seq, begin.hash, begin

    def take(self, records: Sequence[Record]) -> Fault | None:
        """Check the next records, oldest first. Nothing is checked behind a fault."""
        for record in records:
            if self.fault is None:
                self.fault = self._fault_at(record, records)
                self._advance(record)
        return self.fault

    def end(self, head: Head) -> Fault | None:
        """Check that the last record was the last one that was written."""
        if self.fault is None and (self.seq, self.hash) != (head.seq, head.hash):
            self.fault = self._fault_at_end(head)
        return self.fault

    def _advance(self, record: Record) -> None:
        if self.fault is None:
            self.seq, self.hash = record.seq, record.hash

    def _fault_at(self, record: Record, page: Sequence[Record]) -> Fault | None:
        due = self.seq + 1
        if record.seq < 1:
            return Fault(Tampering.FOREIGN, record.seq, _added(record.seq))
        if record.seq > due:
            missing = f"event {due} is" if record.seq == due + 1 else f"events {due} to {record.seq - 1} are"
            return Fault(
                Tampering.GAP, due, f"{missing} missing: event {record.seq} follows event {self.seq}"
            )
        if link(self.hash, due, record.text) == record.hash and record.seq == due:
            return None
        if not record.hash:
            return Fault(Tampering.FOREIGN, due, _added(due))
        if (place := self._found_elsewhere(due, page)) is not None:
            return Fault(Tampering.REORDER, due, f"event {due} is not in its place: it stands at {place}")
        return Fault(
            Tampering.EDIT,
            due,
            f"event {due} does not carry its hash: it was changed, or the one before it was replaced",
        )

    def _found_elsewhere(self, due: int, page: Iterable[Record]) -> int | None:
        """Where the record stands that should come now."""
        return next((one.seq for one in page if link(self.hash, due, one.text) == one.hash), None)

    def _fault_at_end(self, head: Head) -> Fault:
        if not head.hash:
            text = f"the end of the chain is missing: there may have been events after event {self.seq}"
            return Fault(Tampering.TRUNCATED, self.seq + 1, text)
        if self.seq < head.seq:
            due = self.seq + 1
            gone = f"event {due} is" if head.seq == due else f"events {due} to {head.seq} are"
            return Fault(Tampering.TRUNCATED, due, f"{gone} missing at the end")
        text = f"event {self.seq} is not where the chain ended: that was event {head.seq}, {head.hash[:12]}"
        return Fault(Tampering.EDIT, head.seq, text)


def _added(seq: int) -> str:
    return f"event {seq} is not chained: another program has added it"
