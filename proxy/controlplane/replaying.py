"""The evidence of the last windows, as a new judge reads it from the stream.

Owns how reports of all instances become seconds that a watch can live through again, at the pace at which
they came. The stream's order and times are the store's; no instance's clock is asked. Must never know a
judgment.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from proxy.controlplane.shared_evidence import source_of, take
from proxy.controlplane.watch import Seen
from proxy.core.merging import Merging

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from proxy.core.peers import Dispatch, Exchange, Identity
    from proxy.core.tally import Tally
    from proxy.ports import Peers

_AT_ONCE: Final = 1_000
_BREATH: Final = 50


class Replay:
    """What was told since `since`, by the store's clock; it was `exchange.now` there at monotonic `now`."""

    def __init__(
        self, names: Sequence[str], identity: Identity, exchange: Exchange, now: float, since: float
    ) -> None:
        self.merging = Merging(names)
        self.last = ""  # the last report that was read
        self.own = 0  # the number of our own last report among them
        self._names = tuple(names)
        self._source = source_of(identity)
        self._offset = now - exchange.now
        self._since = since
        self._until = exchange.now  # what comes later is heard as it comes
        self._seconds: list[tuple[float, Sequence[Tally], Sequence[Tally]]] = []

    async def read(self, peers: Peers, revision: Callable[[str], int]) -> None:
        """Read them all, in order. Raises as `peers` does."""
        second: int | None = None
        while True:
            page = await peers.dispatches(self.last, since=self._since, limit=_AT_ONCE)
            for place, one in enumerate(page):
                at = one.at + self._offset
                if second is not None and int(at) != second:
                    self._cut(at)
                second = int(at)
                self._take(one, at, revision)
                if place % _BREATH == _BREATH - 1:
                    await asyncio.sleep(0)
            if not page or page[-1].at > self._until:  # a page may be short and not the last
                break
        if second is not None:
            self._cut(second + 1.0)

    def _take(self, one: Dispatch, at: float, revision: Callable[[str], int]) -> None:
        self.last = one.id
        if source_of(one.identity) == self._source:
            self.own = max(self.own, one.number)
        take(self.merging, at, one, revision)

    def _cut(self, at: float) -> None:
        self._seconds.append((at, self.merging.drain(), self.merging.late()))

    def seen(self, name: str) -> list[Seen]:
        """What a watch on this rollout would have seen, second by second."""
        place = self._names.index(name)
        return [Seen(at, tallies[place], late[place]) for at, tallies, late in self._seconds]

    def __repr__(self) -> str:
        return f"Replay({len(self._seconds)} s, {self.merging!r})"
