"""A threshold of latency for each path, and how many requests are beyond it.

Owns where a request begins to be slow, and the counts. Must never know what is bet on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.core.detector import Blocks
from proxy.core.histogram import bucket_bounds_us, bucket_index

if TYPE_CHECKING:
    from proxy.core.detector import Block
    from proxy.core.latency_past import Tick


class Allowed:
    """What v2 may take where v1 takes τ: `ratio` τ and `plus_s` more."""

    __slots__ = ("_plus_us", "_ratio")

    def __init__(self, ratio: float, plus_s: float) -> None:
        self._ratio = ratio
        self._plus_us = plus_s * 1e6

    def most_us(self, bucket: int) -> float:
        """Where τ is the first latency of `bucket`."""
        return self._ratio * bucket_bounds_us(bucket)[0] + self._plus_us

    def beyond(self, bucket: int) -> int:
        """The first bucket that is beyond that."""
        return bucket_index(int(self.most_us(bucket))) + 1

    def __repr__(self) -> str:
        return f"Allowed({self._ratio:g} x and {self._plus_us * 1e-3:g} ms)"


class Threshold:
    """A request to v1 is slow above τ, one to v2 above what is `allowed`. `n1`, `s1`, `n2` and `s2` are for
    people: how many there were, and how many were slow."""

    __slots__ = ("_blocks", "allowed", "from_v1", "from_v2", "n1", "n2", "s1", "s2")

    def __init__(self, allowed: Allowed) -> None:
        self.allowed = allowed
        self._blocks = Blocks()
        self.from_v1 = self.from_v2 = 0
        self.n1 = self.s1 = self.n2 = self.s2 = 0

    @property
    def tau_s(self) -> float:
        """τ."""
        return bucket_bounds_us(self.from_v1)[0] * 1e-6

    @property
    def most_s(self) -> float:
        """What v2 may take."""
        return self.allowed.most_us(self.from_v1) * 1e-6

    def move(self, bucket: int) -> None:
        """v1 is slow from `bucket` on."""
        self.from_v1, self.from_v2 = bucket, self.allowed.beyond(bucket)

    def observe(self, tick: Tick) -> Block | None:
        """The block that the tick completes, if it does."""
        v1, v2 = tick.v1, tick.v2
        if v1.ages or v2.ages:
            n1, s1 = v1.slow(self.from_v1)
            n2, s2 = v2.slow(self.from_v2)
        else:  # mostly; written out, because every threshold asks
            n1, s1 = v1.n, v1.beyond[v1.steps[self.from_v1]]
            n2, s2 = v2.n, v2.beyond[v2.steps[self.from_v2]]
        return self._blocks.add(n1, s1, n2, s2, tick.dt_s)

    def count(self, tick: Tick) -> None:
        """Add the tick to what is told."""
        n1, s1 = tick.v1.slow(self.from_v1)
        n2, s2 = tick.v2.slow(self.from_v2)
        self.n1 += n1
        self.s1 += s1
        self.n2 += n2
        self.s2 += s2

    def recount(self) -> None:
        """Count from here on."""
        self.n1 = self.s1 = self.n2 = self.s2 = 0

    def restart(self) -> None:
        """The same, and drop what belongs to no block yet."""
        self._blocks.restart()
        self.recount()

    def __repr__(self) -> str:
        return f"Threshold({self.tau_s * 1e3:.3g} ms, v1 {self.s1}/{self.n1}, v2 {self.s2}/{self.n2})"
