"""The evidence of the last windows, as a new judge reads it: from the journal of the judges before, and from
the stream of reports what is not in there.

Owns how both become seconds that a watch can live through again, at the pace at which they came. The stream's
order and times are the store's; no instance's clock is asked. Must never know a judgment.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from proxy.controlplane.journaling import left
from proxy.controlplane.shared_evidence import source_of, told_in
from proxy.controlplane.watch import Seen
from proxy.core.journal import Book, Leaf
from proxy.core.merging import Merging

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from proxy.core.journal import Entry
    from proxy.core.peers import Dispatch, Exchange, Identity
    from proxy.ports import Journal, Peers

SILENT_LEASES: Final = 2.5  # and whoever was silent has nothing under way
UNKNOWN_LEASES: Final = 60.0  # several times as long as a report may be told again

_AT_ONCE: Final = 1_000
_BREATH: Final = 50  # reports
_BREATH_BYTES: Final = 128 << 10


class Replay:
    """What was told in the last `window_s` before `exchange.now`, by the store's clock; that was monotonic
    `now`."""

    def __init__(
        self, names: Sequence[str], identity: Identity, exchange: Exchange, now: float, window_s: float
    ) -> None:
        self.last = ""  # the last report that was read
        self.leaves: list[Leaf] = []  # those that are not in the journal
        self.goes_on = False  # whether the journal can be gone on with
        self._names = tuple(names)
        self._source = source_of(identity)
        self._offset = now - exchange.now
        self._since = int(exchange.now - window_s)
        self._until = exchange.now  # what comes later is heard as it comes
        self._merging = Merging(names)
        self._entries: list[tuple[float, Entry]] = []
        self._reports = self._chained = 0
        self._latest = exchange.now

    async def read(self, peers: Peers, journal: Journal | None, lease_s: float) -> None:
        """Read it all, in order; without a `journal` by the reports alone. Raises as both do."""
        self.book = Book(self._names, self._since, lease_s * SILENT_LEASES, lease_s * UNKNOWN_LEASES)
        chain, heard = await left(journal, self._names, self._since) if journal else ((), None)
        if heard is not None:
            if chain[0].since > self._since:
                await self._read(peers, chain[0].since)
            self._entries += [(self._here(one.until), one) for one in chain]
            self._chained = len(chain)
            self.book.resume(Leaf(chain[-1], heard))
            self.last, self.leaves, self.goes_on = "", [], True
        await self._read(peers)

    async def _read(self, peers: Peers, until: int | None = None) -> None:
        """The reports from where the book ends to the end of the stream, or to second `until`."""
        since = self.book.until
        while True:
            page = await peers.dispatches(self.last, since=since, limit=_AT_ONCE)
            for part in pieces(page):
                for one in part:
                    if until is not None and one.at >= until:
                        break
                    self._take(one)
                await asyncio.sleep(0)
            # A page may be short and not the last.
            if not page or page[-1].at > self._until or (until is not None and page[-1].at >= until):
                break
        if (rest := self.book.open()) is not None:
            self._entries.append((self._here(self._latest), rest))

    def _here(self, at: float) -> float:
        """By our clock. Where the store's was set back, what came before seems to be yet to come: no window
        must wait for that to be over."""
        return min(at, self._until) + self._offset

    def _take(self, one: Dispatch) -> None:
        self.last, self._latest = one.id, one.at
        self._reports += 1
        told = told_in(self._merging, one.at + self._offset, one)
        leaf = None if told is None else self.book.take(one.at, told)
        if leaf is not None:
            self._entries.append((self._here(leaf.entry.until), leaf.entry))
            if self.leaves:  # who had told what is of use at the end alone
                self.leaves[-1] = self.leaves[-1]._replace(heard=leaf.heard)
            self.leaves.append(leaf)

    def seen(self, name: str, revision: int) -> Iterator[Seen]:
        """What a watch on this rollout would have seen, second by second, had `revision` been in force."""
        for at, entry in self._entries:
            yield Seen(at, *entry.tallies(name, revision))

    def own(self) -> int:
        """The number of our own last report."""
        return self.book.heard.highest(self._source)

    def merging(self) -> Merging:
        """What the others tell from here on is taken in here, by our clock."""
        self._merging.heard = self.book.heard.copy(self._offset, without=self._source)
        return self._merging

    def __repr__(self) -> str:
        return f"Replay({len(self._entries)} s, {self._chained} by the journal, {self._reports} reports)"


def pieces(page: Sequence[Dispatch]) -> Iterator[Sequence[Dispatch]]:
    """A page, cut so that others have their turn in between."""
    first = size = 0
    for place, one in enumerate(page):
        size += len(one.report)
        if place - first == _BREATH - 1 or size >= _BREATH_BYTES:
            yield page[first : place + 1]
            first, size = place + 1, 0
    if first < len(page):
        yield page[first:]
