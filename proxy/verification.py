"""Checks the audit's chain over the admin API: reads every record, and computes every hash anew.

Owns what is compared: each record with its hash, the last one with the end of the chain, and the last change
of each rollout with the state that is in force. Must never believe the proxy that all is well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
from rich.text import Text

from proxy.admin_client import AdminApiError
from proxy.core.audit import Begin, Fault, Head, Record, Tampering, Verifier
from proxy.model import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.admin_client import AdminApi, JsonDocument

LOCAL_ONLY = "this instance's own copy, because the shared store cannot be reached: the newest may be missing"
"""What people are told of an audit that was not read from where all write it."""

_PAGE = 500
_MOST_TRIES = 3
_NEEDED = {"name": str, "state": str, "weight": int, "revision": int}
"""What a check reads of the state in which a record leaves its rollout."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found: the first fault, if there is one, and where the chain ends."""

    events: int
    head: Head
    fault: Fault | None
    begin: Begin
    local_only: bool = False  # it is an instance's own copy, because the shared store cannot be reached

    def document(self) -> JsonDocument:
        """For scripts."""
        fault = self.fault
        return {
            "verified": fault is None,
            "events": self.events,
            "adopted": self.head.adopted,
            "begin": {"seq": self.begin.seq, "hash": self.begin.hash},
            "head": {"seq": self.head.seq, "hash": self.head.hash},
            "local_only": self.local_only,
            "fault": None if fault is None else {"kind": fault.kind, "seq": fault.seq, "text": fault.text},
        }

    def text(self) -> Text:
        """For people."""
        if self.fault is not None:
            return Text(f"NOT verified: {self.fault.text} ({self.fault.kind})", style="bold red")
        line = Text(f"verified: {self.events} event{'' if self.events == 1 else 's'}", style="green")
        if self.events:
            line.append(f", the chain ends at {self.head.seq}:{self.head.hash}")
        if self.begin.seq:
            line.append(
                f"\nwhat is kept follows event {self.begin.seq}:{self.begin.hash[:12]}: that and all before "
                "it are forgotten, by store.audit_retention"
            )
        if self.head.adopted > self.begin.seq:
            line.append(
                f"\nthe chain begins after event {self.head.adopted}: what happened to the events up to it "
                "before they were chained is not known"
            )
        if self.local_only:
            line.append(f"\n{LOCAL_ONLY}", style="bold red")
        return line


async def verify(admin: AdminApi, noted: tuple[int, str] | None = None) -> Verification:
    """Read the whole chain and check it. `noted` is the number of an event, and the beginning of the hash
    that it had. Raises `AdminApiError`."""
    for _ in range(_MOST_TRIES):
        if (found := await _verified(admin, noted)) is not None:
            return found
    raise AdminApiError("the shared store comes and goes: parts of it and of a copy prove nothing together")


async def _verified(admin: AdminApi, noted: tuple[int, str] | None) -> Verification | None:
    """None if its pages were not all read from one place: what one lacks the other may have."""
    status = await admin.status()  # first: what comes later only adds
    verifier = Verifier()
    ends: dict[str, JsonDocument] = {}
    events, wrong, local_only = 0, None, False
    while True:
        page = await admin.records(after=verifier.seq, limit=_PAGE)
        is_local = page.get("local_only", False)
        if events and is_local != local_only:
            return None
        local_only = is_local
        records = [
            Record(one["seq"], one["record"], one["hash"], one.get("rollout")) for one in page["records"]
        ]
        head = Head(page["head"]["seq"], page["head"]["hash"], page["head"]["adopted"])
        events += len(records)
        if "begin" in page:  # not of an older version
            verifier.behind(Begin(page["begin"]["seq"], page["begin"]["hash"]))
        if verifier.take(records) is not None:
            break
        wrong = wrong or _note_ends(ends, records) or _differs(records, noted)
        if len(records) < _PAGE:
            verifier.end(head)
            break
    begin = verifier.begin
    fault = verifier.fault or wrong
    if not local_only:  # of a copy nobody says that it has the newest
        fault = fault or _unwitnessed(ends, status, begin) or _too_short(verifier.seq, noted)
    return Verification(events, head, fault or _forgotten(begin, noted), begin, local_only)


def _note_ends(ends: dict[str, JsonDocument], records: Iterable[Record]) -> Fault | None:
    """Note how each record left its rollout. Gives the first that is filed under another rollout, or that is
    chained and tells nothing: somebody added it before there was a chain, or has computed the chain anew."""
    found: Fault | None = None
    for record in records:
        after = _after(record.text)
        if after is None:
            text = f"event {record.seq} cannot be read: no dualpath has written it"
            found = found or Fault(Tampering.FOREIGN, record.seq, text)
            continue
        name = after["name"]
        ends[name] = after
        if record.rollout not in (None, name):
            text = f"event {record.seq} is of {name!r}, and was moved to {record.rollout!r}"
            found = found or Fault(Tampering.EDIT, record.seq, text)
    return found


def _after(text: str) -> JsonDocument | None:
    """The state in which a record leaves its rollout; None if it tells of none."""
    try:
        after = orjson.loads(text)["after"]
        return after if all(isinstance(after[name], kind) for name, kind in _NEEDED.items()) else None
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _differs(records: Iterable[Record], noted: tuple[int, str] | None) -> Fault | None:
    if noted is None:
        return None
    seq, mark = noted
    for record in records:
        if record.seq == seq and not record.hash.startswith(mark):
            text = f"event {seq} has the hash {record.hash[:12]}, not the one that was noted"
            return Fault(Tampering.EDIT, seq, text)
    return None


def _forgotten(begin: Begin, noted: tuple[int, str] | None) -> Fault | None:
    """Of what is not there any more nobody can say whether it was what was noted."""
    if noted is None or noted[0] > begin.seq or (noted[0] == begin.seq and begin.hash.startswith(noted[1])):
        return None
    text = f"event {noted[0]}, which was noted, cannot be compared: kept is what follows event {begin.seq}"
    return Fault(Tampering.GAP, noted[0], text)


def _too_short(last: int, noted: tuple[int, str] | None) -> Fault | None:
    if noted is None or noted[0] <= last:
        return None
    text = f"events {last + 1} to {noted[0]} are missing at the end"
    return Fault(Tampering.TRUNCATED, last + 1, text)


def _unwitnessed(ends: dict[str, JsonDocument], status: JsonDocument, begin: Begin) -> Fault | None:
    """What is in force and has no event that tells of it, although nothing waits to be stored, and none that
    could be among those that were forgotten. What has changed since `status` counts for nothing."""
    for rollout in [] if status["store"]["waiting"] else status["rollouts"]:
        name, revision = rollout["name"], rollout["revision"]
        if begin.seq and name not in ends:
            continue
        end = ends.get(name, {"revision": 0})
        if end["revision"] < revision:
            text = f"{name} is at revision {revision}, and its last event is of revision {end['revision']}"
            return Fault(Tampering.TRUNCATED, 0, text)
        if end["revision"] == revision and revision and _stand(end) != _stand(rollout):
            text = f"{name} is {_stand(rollout)}, and its last event left it {_stand(end)}"
            return Fault(Tampering.EDIT, 0, text)
    return None


def _stand(state: JsonDocument) -> str:
    return f"{state['state']} at {state['weight'] * 100 / BUCKETS:g} %"
