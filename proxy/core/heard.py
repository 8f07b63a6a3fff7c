"""Who has told what last, of all whose reports are read: so a repetition is known, and what is under way.

Numbers grow within a life of an instance, and each of its lives is a source of its own. What is under way is
no count: the latest report of each source says it. Owns the highest numbers and the latest ages, and how many
sources there may be. Must never know what is counted, nor whose clock `at` is of: only that it is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from proxy.core.delta import ToldReport, ToldRollout
    from proxy.core.tally_wire import Told

MOST_SOURCES: Final = 4_000
"""Twice as many as there may be members: anybody who may write to the store may tell by any name."""


class Source(NamedTuple):
    """One of them: when it told last, the number of that, and what it had under way then, by rollout."""

    name: str
    at: float
    number: int
    under_way: Mapping[str, Told]


class Heard:
    """Of each source the highest number, and what is under way there."""

    __slots__ = ("_sources",)

    def __init__(self, sources: Iterable[Source] = ()) -> None:
        self._sources = {one.name: one for one in sources}

    def has_room(self, source: str) -> bool:
        """Whether it is known, or one more may be."""
        return source in self._sources or len(self._sources) < MOST_SOURCES

    def highest(self, source: str) -> int:
        """The highest number that it has told; 0 for none."""
        known = self._sources.get(source)
        return 0 if known is None else known.number

    def take(self, at: float, report: ToldReport, names: Collection[str]) -> int | None:
        """How many numbers were left out before this report, which counts; None for one that came before. Of
        what is under way only that on rollouts of these `names` is kept."""
        highest = self.highest(report.source)
        if report.number <= highest:
            return None
        under_way = _under_way(report, names)
        self._sources[report.source] = Source(report.source, at, report.number, under_way)
        # What came before the first that we have heard is nobody's loss.
        return report.number - highest - 1 if highest else 0

    def under_way(self) -> Iterator[tuple[str, Told]]:
        """What is under way at each, and on which rollout."""
        for one in self._sources.values():
            yield from one.under_way.items()

    def forget(self, silent: float, unknown: float) -> None:
        """Whoever told last before `silent` has nothing under way. Before `unknown`, and nothing is known of
        it: by then it must have ceased to tell anything again."""
        for one in [one for one in self._sources.values() if one.at < max(silent, unknown)]:
            if one.at < unknown:
                del self._sources[one.name]
            elif one.under_way:
                self._sources[one.name] = one._replace(under_way={})

    def copy(self, offset: float = 0.0, without: str = "") -> Heard:
        """The same by a clock that is ahead by `offset`; `without` one source."""
        if not offset and not without:
            found = Heard()
            found._sources = dict(self._sources)
            return found
        return Heard(one._replace(at=one.at + offset) for one in self if one.name != without)

    def __iter__(self) -> Iterator[Source]:
        return iter(self._sources.values())

    def __len__(self) -> int:
        return len(self._sources)

    def __repr__(self) -> str:
        return f"Heard({len(self)} sources)"


def _under_way(report: ToldReport, names: Collection[str]) -> dict[str, Told]:
    """Of a report that tells of a rollout under two revisions, both have looked at the same requests."""
    newest: dict[str, ToldRollout] = {}
    for one in report.rollouts:
        before = newest.get(one.name)
        if one.name in names and (before is None or one.revision >= before.revision):
            newest[one.name] = one
    return {name: one.counters.in_flight_alone() for name, one in newest.items() if one.counters.in_flight}
