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

from proxy.core.pile import Pile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from proxy.core.delta import ToldReport, ToldRollout
    from proxy.core.tally import Tally
    from proxy.core.tally_wire import Told


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
        self._highest: dict[str, tuple[float, int]] = {}  # when it was told, and the number
        self._latest: dict[str, tuple[float, dict[str, Told]]] = {}  # and what is under way, by rollout
        self._unread: dict[str, float] = {}  # who tells what cannot be read, and when it last did

    def take(self, now: float, report: ToldReport, revision: Callable[[str], int]) -> bool:
        """Take a report in at monotonic `now`, once; `revision` is what is in force of a rollout here."""
        if not self._is_new(now, report.source, report.number):
            return False
        self.received.taken += 1
        self._latest[report.source] = now, self._under_way(report)
        for one in report.rollouts:
            place = self._places.get(one.name)
            if place is None:
                continue  # its configuration is another one
            late = one.revision < revision(one.name)
            self.received.late += late
            (self._late if late else self._now)[place].add(one.counters)
        return True

    def _under_way(self, report: ToldReport) -> dict[str, Told]:
        """Of a report that tells of a rollout under two revisions, both have looked at the same requests."""
        newest: dict[str, ToldRollout] = {}
        for one in report.rollouts:
            before = newest.get(one.name)
            if one.name in self._places and (before is None or one.revision >= before.revision):
                newest[one.name] = one
        return {
            name: one.counters._replace(v1=None, v2=None)
            for name, one in newest.items()
            if one.counters.in_flight
        }

    def refuse(self, now: float, source: str) -> bool:
        """What `source` has told cannot be read, and is as if it had never come; whether it is the first time
        of late."""
        self.received.unread += 1
        is_first = source not in self._unread
        self._unread[source] = now
        return is_first

    def _is_new(self, now: float, source: str, number: int) -> bool:
        _, highest = self._highest.get(source, (now, 0))
        if number <= highest:
            self.received.repeated += 1
            return False
        if highest:  # what came before the first that we have heard is nobody's loss
            self.received.missing += number - highest - 1
        self._highest[source] = now, number
        return True

    def drain(self) -> Sequence[Tally]:
        """What counts as evidence, since the last call, with the ages of what each has under way."""
        piles, self._now = self._now, [Pile() for _ in self._places]
        drained = [pile.tally() for pile in piles]
        for _, under_way in self._latest.values():
            for name, told in under_way.items():
                place = self._places.get(name)
                if place is not None:
                    drained[place].add_in_flight(told.ages())
        return drained

    def late(self) -> Sequence[Tally]:
        """What is no evidence any more, since the last call."""
        late, self._late = self._late, [Pile() for _ in self._places]
        return [pile.tally() for pile in late]

    def forget(self, silent: float, unknown: float) -> None:
        """Whoever was last heard before monotonic `silent` has nothing under way; what it counted stays.
        Before `unknown`, and nothing is known of it: by then it must have ceased to tell anything again."""
        for source in [source for source, (at, _) in self._latest.items() if at < silent]:
            del self._latest[source]
        for source in [source for source, (at, _) in self._highest.items() if at < unknown]:
            del self._highest[source]
        for source in [source for source, at in self._unread.items() if at < unknown]:
            del self._unread[source]

    def clear(self) -> None:
        """Nobody has told anything yet; what was received stays counted."""
        self._now = [Pile() for _ in self._places]
        self._late = [Pile() for _ in self._places]
        self._highest.clear()
        self._latest.clear()

    def follow(self, names: Iterable[str], same: Collection[str]) -> None:
        """From now on it is these rollouts; what was told of one that is not the `same` is of no use."""
        before, places = self._places, {name: place for place, name in enumerate(names)}
        kept = {place: before[name] for name, place in places.items() if name in before and name in same}
        now, late = self._now, self._late
        self._places = places
        self._now = [now[kept[place]] if place in kept else Pile() for place in range(len(places))]
        self._late = [late[kept[place]] if place in kept else Pile() for place in range(len(places))]

    def __repr__(self) -> str:
        return f"Merging({len(self._latest)} heard, {self.received})"
