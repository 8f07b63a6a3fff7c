"""A judge's journal: of each second of the store's clock, the sum of all reports that came in it.

Whoever judges keeps it for its successor, which then reads one entry for each second in place of one report
for each instance. An entry is what the stream of reports says and nothing else: whichever judge writes it,
it says the same. Under which revision something was counted stays written beside it, so that the successor
says what is evidence. Entries are a chain: each names the second at which it begins, which is where the one
before has ended, so a missing one shows.

Owns the entries, and how they come from reports. Must never know how they are kept, nor a judgment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.core.heard import Heard
from proxy.core.pile import Pile
from proxy.core.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from proxy.core.delta import ToldReport
    from proxy.core.tally_wire import Told

MOST_REVISIONS: Final = 32
"""Of one rollout in one second. An honest instance labels each report with one or two."""


class Entry(NamedTuple):
    """What came at second `since` or later and before `until`, on all rollouts of these `names`; all of it in
    the last of these seconds. `sums` is what was counted, by rollout and revision; `under_way` what all had
    under way at the end, by rollout."""

    since: int
    until: int
    names: frozenset[str]
    sums: Mapping[str, Mapping[int, Told]]
    under_way: Mapping[str, Told]

    def tallies(self, name: str, revision: int) -> tuple[Tally, Tally]:
        """What is evidence on a rollout while `revision` is in force, and what is none any more."""
        mine = self.sums.get(name, {})
        now = _tally(told for under, told in mine.items() if under >= revision)
        if name in self.under_way:
            ages = self.under_way[name].ages()
            now.in_flight_v1, now.in_flight_v2 = ages.in_flight_v1, ages.in_flight_v2
        return now, _tally(told for under, told in mine.items() if under < revision)


class Leaf(NamedTuple):
    """An entry, and who had told what when it ended: what comes afterwards is known to be new, or not."""

    entry: Entry
    heard: Heard


class Book:
    """Takes the reports of all, in the order in which they came since second `since`. Whoever was silent for
    `silent_s` has nothing under way, and for `unknown_s` is not known any more."""

    def __init__(self, names: Iterable[str], since: int, silent_s: float, unknown_s: float) -> None:
        self.heard = Heard()
        self.until = since  # all that came before is in an entry, or was not asked for
        self._names = self._whole = frozenset(names)
        self._silent_s = silent_s
        self._unknown_s = unknown_s
        self._second: int | None = None  # that of the last report, as long as it is in no entry
        self._piles: dict[str, dict[int, Pile]] = {}

    def take(self, at: float, report: ToldReport) -> Leaf | None:
        """Take in what came at `at`, by the store's clock. The leaf of the second before if that is over."""
        leaf = None
        if self._second is not None and int(at) > self._second and (entry := self.open()) is not None:
            leaf = Leaf(entry, self.heard.copy())
            self.until, self._second, self._piles = entry.until, None, {}
        if self._second is None:
            self._second, self._whole = max(int(at), self.until), self._names
        if self.heard.has_room(report.source) and self.heard.take(at, report, self._names) is not None:
            for one in report.rollouts:
                if one.name in self._names:
                    self._pile(one.name, one.revision).add(one.counters)
        return leaf

    def _pile(self, name: str, revision: int) -> Pile:
        """Of more revisions than there can be, the ones beyond are those before."""
        piles = self._piles.setdefault(name, {})
        if revision not in piles and len(piles) >= MOST_REVISIONS:
            revision = max((one for one in piles if one < revision), default=min(piles))
        return piles.setdefault(revision, Pile())

    def open(self) -> Entry | None:
        """The entry of the second that is not over, as it would be now."""
        if self._second is None:
            return None
        until = self._second + 1
        self.heard.forget(until - self._silent_s, until - self._unknown_s)
        under_way: dict[str, Pile] = {}
        for name, told in self.heard.under_way():
            under_way.setdefault(name, Pile()).see(told)
        return Entry(
            self.until,
            until,
            self._whole,
            {
                name: {revision: pile.told() for revision, pile in piles.items()}
                for name, piles in self._piles.items()
            },
            {name: pile.told() for name, pile in under_way.items()},
        )

    def resume(self, leaf: Leaf) -> None:
        """What came before is in this leaf, or in one before it."""
        self.heard, self.until = leaf.heard.copy(), leaf.entry.until
        self._second, self._piles = None, {}

    def follow(self, names: Iterable[str]) -> None:
        """From now on it is these rollouts. What the second that is not over tells of a new one is not whole,
        and it does not claim to."""
        self._names = frozenset(names)
        self._whole &= self._names

    def __repr__(self) -> str:
        return f"Book(up to {self.until}, {self.heard!r})"


def chained(entries: Sequence[Entry], names: Collection[str]) -> Sequence[Entry]:
    """Of these the last that hang together and tell of all `names`: nothing is missing between them."""
    first = len(entries)
    while first and set(names) <= entries[first - 1].names:
        if first < len(entries) and entries[first - 1].until != entries[first].since:
            break
        first -= 1
    return entries[first:]


def _tally(told: Iterable[Told]) -> Tally:
    parts = [one.tally() for one in told]
    if len(parts) == 1:
        return parts[0]
    total = Tally()
    for one in parts:
        total.add(one)
    return total
