"""The evidence of other instances, merged: each of their reports counts once, whenever it comes.

Reports are those of `core.delta`. Their source is an instance in one of its lives, and numbers grow within a
life, so a repetition is known, and so is a gap. Per rollout a report says under which revision it was
counted: what belongs to an earlier one than is in force goes into the totals and tells a judge nothing.
Instances are never compared by their clocks.

Owns what is merged, counted and forgotten. Must never know how reports travel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.core.heard import MOST_SOURCES, Heard
from proxy.core.pile import Pile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from proxy.core.delta import ToldReport
    from proxy.core.tally import Tally


@dataclass(slots=True)
class Received:
    """How many reports have come, and what became of them."""

    taken: int = 0
    repeated: int = 0
    missing: int = 0  # numbers that were left out when a later one came
    late: int = 0  # rollouts that were counted under an earlier revision
    unread: int = 0  # not written as we read: of a newer version, or by nobody of ours


class Merging:
    """The others' evidence between two drains, for rollouts of these names in this order."""

    def __init__(self, names: Iterable[str]) -> None:
        self.received = Received()
        self._places = {name: place for place, name in enumerate(names)}
        self._now = [Pile() for _ in self._places]
        self._late = [Pile() for _ in self._places]
        self.heard = Heard()
        self._unread: dict[str, float] = {}  # who tells what cannot be read, and when it last did

    def take(self, now: float, report: ToldReport, revision: Callable[[str], int]) -> bool:
        """Take a report in at monotonic `now`, once; `revision` is what is in force of a rollout here."""
        if not self.heard.has_room(report.source):
            self.received.unread += 1
            return False
        missing = self.heard.take(now, report, self._places)
        if missing is None:
            self.received.repeated += 1
            return False
        self.received.taken += 1
        self.received.missing += missing
        for one in report.rollouts:
            place = self._places.get(one.name)
            if place is None:
                continue  # its configuration is another one
            late = one.revision < revision(one.name)
            self.received.late += late
            (self._late if late else self._now)[place].add(one.counters)
        return True

    def refuse(self, now: float, source: str) -> bool:
        """What `source` has told cannot be read, and is as if it had never come; whether it is the first time
        of late."""
        self.received.unread += 1
        is_first = source not in self._unread
        if is_first and len(self._unread) >= MOST_SOURCES:
            return False
        self._unread[source] = now
        return is_first

    def drain(self) -> Sequence[Tally]:
        """What counts as evidence, since the last call, with the ages of what each has under way."""
        piles, self._now = self._now, [Pile() for _ in self._places]
        for name, told in self.heard.under_way():
            place = self._places.get(name)
            if place is not None:
                piles[place].see(told)
        return [pile.tally() for pile in piles]

    def late(self) -> Sequence[Tally]:
        """What is no evidence any more, since the last call."""
        late, self._late = self._late, [Pile() for _ in self._places]
        return [pile.tally() for pile in late]

    def forget(self, silent: float, unknown: float) -> None:
        """Whoever was last heard before monotonic `silent` has nothing under way; what it counted stays.
        Before `unknown`, and nothing is known of it: by then it must have ceased to tell anything again."""
        self.heard.forget(silent, unknown)
        for source in [source for source, at in self._unread.items() if at < unknown]:
            del self._unread[source]

    def clear(self) -> None:
        """Nobody has told anything yet; what was received stays counted."""
        self._now = [Pile() for _ in self._places]
        self._late = [Pile() for _ in self._places]
        self.heard = Heard()

    def follow(self, names: Iterable[str], same: Collection[str]) -> None:
        """From now on it is these rollouts; what was told of one that is not the `same` is of no use."""
        before, places = self._places, {name: place for place, name in enumerate(names)}
        kept = {place: before[name] for name, place in places.items() if name in before and name in same}
        now, late = self._now, self._late
        self._places = places
        self._now = [now[kept[place]] if place in kept else Pile() for place in range(len(places))]
        self._late = [late[kept[place]] if place in kept else Pile() for place in range(len(places))]

    def __repr__(self) -> str:
        return f"Merging({len(self.heard)} heard, {self.received})"
