"""What tests of latency are fed: v1's past, and one tick of both paths.

Owns what is remembered of v1, and when a request under way counts. Must never know a test or a threshold's
meaning.
"""

from __future__ import annotations

from proxy.core.histogram import Histogram, bucket_index

_GENERATION_S = 1800.0  # v1's past is the present half hour and the one before
_LEAST_KNOWN = 50  # latencies of v1 before there is a threshold
_REFRESH = 1.25  # thresholds are drawn anew when so many times more is known …
_REFRESH_S = 60.0  # … or after a minute


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

    def draw(self) -> Histogram:
        """All that is known."""
        self._since_s = 0.0
        self._drawn_at = self.known
        both = Histogram()
        both.add(self._last)
        both.add(self._now)
        return both

    def __repr__(self) -> str:
        return f"Past({self.known} latencies)"


def bucket_of(latency_s: float) -> int:
    """The bucket of a latency in seconds."""
    return bucket_index(int(latency_s * 1e6))


def share_from(past: Histogram, bucket: int) -> float:
    """Which share of v1's latencies is expected in this bucket and above, between 0 and 1."""
    return (past.count_from(bucket) + 0.5) / (past.count + 1.0)


class Tick:
    """What came in at one tick: latencies of completed attempts, ages of those under way now and before."""

    __slots__ = (
        "_waits_v1",
        "_waits_v2",
        "before_v1",
        "before_v2",
        "dt_s",
        "in_flight_v1",
        "in_flight_v2",
        "n1",
        "n2",
        "v1",
        "v2",
    )

    def __init__(self, sides: tuple[Histogram, Histogram], under_way: UnderWay, dt_s: float) -> None:
        self.v1, self.v2 = sides
        self.n1, self.n2 = self.v1.count, self.v2.count
        self.in_flight_v1, self.in_flight_v2 = under_way.now
        self.before_v1, self.before_v2 = under_way.before
        self._waits_v1 = self.in_flight_v1.count > 0 or self.before_v1.count > 0
        self._waits_v2 = self.in_flight_v2.count > 0 or self.before_v2.count > 0
        self.dt_s = dt_s

    def v1_slow(self, bucket: int) -> tuple[int, int]:
        """Of v1: how many requests the tick tells of if those from `bucket` on are slow, and how many are."""
        done = self.v1.count_from(bucket) if self.n1 else 0
        if not self._waits_v1:
            return self.n1, done
        slow = done + self.in_flight_v1.count_from(bucket) - self.before_v1.count_from(bucket)
        slow = max(slow, 0)  # one that was slow under way already is not new; one that was given up is gone
        return self.n1 - done + slow, slow

    def v2_slow(self, bucket: int) -> tuple[int, int]:
        """The same of v2."""
        done = self.v2.count_from(bucket) if self.n2 else 0
        if not self._waits_v2:
            return self.n2, done
        slow = done + self.in_flight_v2.count_from(bucket) - self.before_v2.count_from(bucket)
        slow = max(slow, 0)
        return self.n2 - done + slow, slow

    def __repr__(self) -> str:
        return f"Tick({self.n1} and {self.n2} completed in {self.dt_s:g} s)"


class UnderWay:
    """The ages of requests under way, v1's and v2's, at this tick and at the one before."""

    __slots__ = ("before", "now")

    def __init__(self) -> None:
        self.now = self.before = (Histogram(), Histogram())

    def pass_on(self, v1: Histogram, v2: Histogram) -> None:
        """The next tick's."""
        self.before, self.now = self.now, (v1, v2)

    def __repr__(self) -> str:
        return f"UnderWay({self.now[0].count} and {self.now[1].count})"
