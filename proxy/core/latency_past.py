"""What tests of latency are fed: v1's past, and one tick of both paths.

Owns what is remembered of v1, and when a request under way counts. Must never know a test or a threshold's
meaning.

All tests ask the same of a tick: how many requests took as long as this, or longer. So its latencies are
sorted once, into the steps between all their thresholds (`Ruler`), and so is the past, into all buckets
(`Known`): each answer is a look into a list.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from math import ceil
from typing import TYPE_CHECKING, Final

from proxy.core.histogram import BUCKET_COUNT, Histogram, bucket_index

if TYPE_CHECKING:
    from collections.abc import Iterable

_GENERATION_S: Final = 1800.0  # v1's past is the present half hour and the one before
_LEAST_KNOWN: Final = 50  # latencies of v1 before there is a threshold
_REFRESH: Final = 1.25  # thresholds are drawn anew when so many times more is known …
_REFRESH_S: Final = 60.0  # … or after a minute


_NOTHING: Final = Histogram()


class Past:
    """v1's latencies of the last half hour to hour, from which thresholds are drawn."""

    __slots__ = ("_age_s", "_drawn_at", "_last", "_now", "_since_s", "known")

    def __init__(self) -> None:
        self._last = Histogram()
        self._now = Histogram()
        self._age_s = 0.0
        self._since_s = 0.0
        self._drawn_at = 0
        self.known = 0

    def learn(self, latencies: Histogram, n: int, dt_s: float) -> None:
        """`n` latencies of v1 in `dt_s` seconds."""
        self._age_s += dt_s
        self._since_s += dt_s
        if self._age_s >= _GENERATION_S:
            self._last, self._now, self._age_s = self._now, Histogram(), 0.0
            self.known = self._last.count
        if n:
            self._now.add(latencies)
            self.known += n

    def is_news(self) -> bool:
        """Whether thresholds should be drawn anew."""
        if self.known < _LEAST_KNOWN:
            return False
        return self._since_s >= _REFRESH_S or self.known >= _REFRESH * self._drawn_at

    def draw(self) -> Known:
        """All that is known."""
        self._since_s = 0.0
        self._drawn_at = self.known
        both = Histogram()
        both.add(self._last)
        both.add(self._now)
        return Known(both)

    def __repr__(self) -> str:
        return f"Past({self.known} latencies)"


class Known:
    """What is known of v1 at one moment."""

    __slots__ = ("_below", "all", "count")

    def __init__(self, latencies: Histogram) -> None:
        self.all = latencies
        self._below = list(accumulate(latencies.counts, initial=0))  # by bucket: how many took less
        self.count = self._below[-1]

    def bucket(self, q: float) -> int:
        """The bucket of the quantile `q`; the first one if nothing is known."""
        rank = ceil(q * self.count) or 1
        return max(bisect_left(self._below, min(rank, self.count)) - 1, 0)

    def share_from(self, bucket: int) -> float:
        """Which share of v1's latencies is expected in this bucket and above, between 0 and 1."""
        above = self.count - self._below[bucket] if bucket < BUCKET_COUNT else 0
        return (above + 0.5) / (self.count + 1.0)

    def __repr__(self) -> str:
        return f"Known({self.count} latencies)"


def bucket_of(latency_s: float) -> int:
    """The bucket of a latency in seconds."""
    return bucket_index(int(latency_s * 1e6))


class Ruler:
    """The buckets of one path at which thresholds lie; its steps are counted from the highest one down."""

    __slots__ = ("_count", "steps")

    def __init__(self, edges: Iterable[int] = ()) -> None:
        ascending = sorted(set(edges))
        steps = b""
        for above, edge in zip(range(len(ascending), 0, -1), ascending, strict=True):
            steps += bytes((above,)) * (edge - len(steps))
        self._count = len(ascending) + 1
        self.steps = steps.ljust(BUCKET_COUNT + 1, b"\0")
        """By bucket, and for one beyond all: how many edges lie above it. Of an edge it is the place in what
        `beyond` gives."""

    def beyond(self, latencies: Histogram) -> list[int]:
        """How many of the latencies lie at each edge or above, the highest edge first, and then all."""
        on = [0] * self._count
        latencies.sort_into(on, self.steps)
        return list(accumulate(on))

    def side(self, completed: Histogram, now: Histogram, before: Histogram) -> Side:
        """What was completed in a tick, and what is under way now and was at the tick before."""
        on = [0] * self._count
        completed.sort_into(on, self.steps)
        ages: list[int] = []
        if now is not before and (now.count or before.count):
            aged, ageing = self.beyond(before), self.beyond(now)
            ages = [ageing[step] - aged[step] for step in range(len(aged))]
        return Side(completed, self.steps, list(accumulate(on)), ages)

    def __repr__(self) -> str:
        return f"Ruler({self._count} steps)"


class Side:
    """One path in one tick: the latencies that were `completed`, and by the ages of requests under way, now
    and at the tick before, those that have become slow meanwhile.

    `beyond` says how many were completed and stand on the ruler's `steps`, and `ages` how many more are under
    way there, if any are: for a threshold that asks at every tick. `slow` has the answer to both.
    """

    __slots__ = ("ages", "beyond", "completed", "n", "steps")

    def __init__(self, completed: Histogram, steps: bytes, beyond: list[int], ages: list[int]) -> None:
        self.completed = completed
        self.steps = steps
        self.beyond = beyond
        self.n = beyond[-1]
        self.ages = ages

    def slow(self, edge: int) -> tuple[int, int]:
        """How many requests the tick tells of if those from this bucket on are slow, and how many are."""
        step = self.steps[edge]
        done = self.beyond[step]
        if not self.ages:
            return self.n, done
        # One that was slow under way already is not new; one that was given up is gone.
        slow = max(done + self.ages[step], 0)
        return self.n - done + slow, slow

    def and_then(self, later: Side) -> Side:
        """How many stand where in both, which have the same steps and nothing under way."""
        if later.n == 0:
            return self
        if self.n == 0:
            return later
        both = [n + more for n, more in zip(self.beyond, later.beyond, strict=True)]
        return Side(_NOTHING, self.steps, both, [])

    def stand(self, edges: list[int], on: list[int]) -> None:
        """Add to `on` how many completed requests stand on each of the steps that begin at `edges`, which
        ascend; those below all of them stand on the first."""
        left = self.n
        beyond, steps = self.beyond, self.steps
        for k in range(len(edges)):
            if not left:
                return
            above = beyond[steps[edges[k]]]
            if above != left:
                on[k] += left - above
                left = above
        on[len(edges)] += left

    def __repr__(self) -> str:
        return f"Side({self.n} completed)"


class Tick:
    """What came in at one tick of `dt_s` seconds, of v1 and of v2."""

    __slots__ = ("dt_s", "v1", "v2")

    def __init__(self, v1: Side, v2: Side, dt_s: float) -> None:
        self.v1 = v1
        self.v2 = v2
        self.dt_s = dt_s

    def and_then(self, later: Tick) -> Tick:
        """Both as one, by what stands where: `completed` is not to be asked."""
        return Tick(self.v1.and_then(later.v1), self.v2.and_then(later.v2), self.dt_s + later.dt_s)

    def __repr__(self) -> str:
        return f"Tick({self.v1.n} and {self.v2.n} completed in {self.dt_s:g} s)"


class Ticks:
    """Makes ticks: knows the rulers, and what was under way at the tick before."""

    __slots__ = ("_before", "_ruler_v1", "_ruler_v2")

    def __init__(self) -> None:
        self._before = (Histogram(), Histogram())
        self._ruler_v1, self._ruler_v2 = Ruler(), Ruler()

    def measure(self, edges: Iterable[tuple[int, int]]) -> None:
        """From now on tests ask about these buckets, v1's and v2's."""
        of_v1, of_v2 = zip(*edges, strict=True)
        self._ruler_v1, self._ruler_v2 = Ruler(of_v1), Ruler(of_v2)

    def next(
        self, sides: tuple[Histogram, Histogram], under_way: tuple[Histogram, Histogram], dt_s: float
    ) -> Tick:
        """The next tick, by what was completed in it and the ages of what is under way."""
        before, self._before = self._before, under_way
        v1 = self._ruler_v1.side(sides[0], under_way[0], before[0])
        v2 = self._ruler_v2.side(sides[1], under_way[1], before[1])
        return Tick(v1, v2, dt_s)

    def __repr__(self) -> str:
        return f"Ticks({self._before[0].count} and {self._before[1].count} under way)"
