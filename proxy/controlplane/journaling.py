"""How a judge keeps the journal for its successor, and how that reads it.

Owns what of it is yet to be written, how much is read, and what of it can be believed. A journal that is
damaged, of another version, or missing costs a successor time and never evidence: it reads the reports. Must
never know what is judged by it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Final

import orjson

from proxy.core.journal import Entry, Leaf, chained
from proxy.core.journal_wire import MOST_BYTES, heard_read, heard_written, read, written
from proxy.errors import ControlError, StoreCorrupt, WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from proxy.core.heard import Heard
    from proxy.core.peers import Lease
    from proxy.core.wire_values import Document
    from proxy.ports import Journal

log = logging.getLogger("dualpath.fleet")

_AT_ONCE: Final = 50  # entries that are written
_PAGE: Final = 200  # entries that are read
_MOST_READ: Final = 4_000  # of an hour, and some that lie beyond
_MOST_READ_BYTES: Final = 128 << 20
_BREATH: Final = 16  # entries
_SLACK_S: Final = 5.0


class Journaling:
    """`begin` when what came before is known, `add` each leaf as it is full, and `write` while we judge."""

    def __init__(self, journal: Journal, window_s: float) -> None:
        self._journal = journal
        self._window_s = window_s + _SLACK_S  # so that none is missing at the beginning of a window
        self._unwritten: deque[Entry] = deque()
        self._heard: Heard | None = None  # at the end of the last of these
        self._anew = True

    def begin(self, leaves: Iterable[Leaf], *, anew: bool) -> None:
        """These are not written yet; `anew` if what is cannot be gone on with."""
        self._unwritten.clear()
        self._anew = anew
        for leaf in leaves:
            self.add(leaf)

    def add(self, leaf: Leaf) -> None:
        """A second is over."""
        while self._unwritten and self._unwritten[0].until < leaf.entry.until - self._window_s:
            self._unwritten.popleft()  # the store has not answered for that long
        self._unwritten.append(leaf.entry)
        self._heard = leaf.heard

    async def write(self, lease: Lease, is_time: Callable[[], bool]) -> None:
        """Write what is not written yet, as the holder of `lease`, and no more once `is_time` says no: the
        rest is written the next time."""
        try:
            while self._unwritten and is_time() and await self._write(lease):
                pass
        except StoreCorrupt as error:
            log.warning("the journal is begun anew: %s", error)
            self._anew = True
        except ControlError as error:
            log.warning("the journal cannot be written: %s", error)

    async def _write(self, lease: Lease) -> bool:
        part = [self._unwritten[place] for place in range(min(_AT_ONCE, len(self._unwritten)))]
        entries: list[tuple[int, bytes]] = []
        for one in part:
            entries.append((one.until, _text(written(one))))
            if len(entries) % _BREATH == 0:
                await asyncio.sleep(0)
        heard = b""  # nobody can go on from here before the last of them is written
        if self._heard is not None and len(part) == len(self._unwritten):
            heard = _text(heard_written(self._heard, part[-1].until))
        entries = [(until, text) for until, text in entries if text]
        if entries and not await self._journal.keep(
            lease, entries, heard, window_s=self._window_s, anew=self._anew
        ):
            return False
        for _ in part:
            self._unwritten.popleft()
        self._anew = self._anew and not entries
        return True

    def __repr__(self) -> str:
        return f"Journaling({len(self._unwritten)} unwritten)"


async def left(journal: Journal, names: Sequence[str], since: int) -> tuple[Sequence[Entry], Heard | None]:
    """What earlier judges have left of what came at second `since` or later, on all these rollouts: entries
    without a gap, and who had told what at their end. Nothing if any of that cannot be believed. Raises
    `StoreUnavailable`."""
    entries: list[Entry | None] = []
    size = after = 0
    try:
        while (page := await journal.kept(since, after, _PAGE)).entries:
            for until, text in page.entries:
                entries.append(_entry(until, text))
                size += len(text)
                if len(entries) % _BREATH == 0:
                    await asyncio.sleep(0)
            after = page.entries[-1][0]
            if size > _MOST_READ_BYTES or len(entries) > _MOST_READ:
                raise WireError(f"journal: must be at most {_MOST_READ} entries, {_MOST_READ_BYTES} bytes")
        readable = [one for one in entries if one is not None]
        if None in entries:  # what is behind the last such one may be good
            behind = entries[::-1].index(None)
            readable = readable[len(readable) - behind :]
        chain = chained(readable, names)
        if not chain:
            return (), None
        return chain, heard_read(orjson.loads(page.heard), chain[-1].until)
    except (WireError, StoreCorrupt, orjson.JSONDecodeError) as error:
        log.warning("the journal is of no use, and the reports are read: %s", error)
        return (), None


def _text(document: Document) -> bytes:
    """Nothing of what nobody could read: it is too long, or strangers have told of more than 64 bits hold."""
    try:
        text = orjson.dumps(document)
    except orjson.JSONEncodeError:
        return b""
    return text if len(text) <= MOST_BYTES else b""


def _entry(until: int, text: bytes) -> Entry | None:
    try:
        entry = read(orjson.loads(text))
    except (WireError, orjson.JSONDecodeError):
        return None
    return entry if entry.until == until else None
