"""The ladder of latencies: several of v1's quantiles as the steps of one question.

Owns the steps, how likely each is, and the evidence. Must never know the rollout, its limits, or a clock.
`latency_test` asks at each quantile alone, which finds whatever is wrong with v2 at one place. A v2 that is
slower throughout is a little worse at all of them, and a single one takes half as long again to see that.

Each request stands on the highest step that its latency passes: τ for v1, the tolerable 1.25 τ + 10 ms for
v2. The last step is beyond all that v1 has taken, so that there is one even where v1 always takes the same.
If v2 is tolerable, it stands on each step or above no more often than v1. With A the shares of v1's past on
the steps, B those of a v2 that is feared to be so much slower, and P = (A + ν B) / (1 + ν), ν = n2 / n1, a
request to v1 multiplies the evidence by A / P, one to v2 by B / P. These are 1 - c1 u and 1 + c2 u of the one
score u = (B - A) / P, with c1 n1 = c2 n2; so, if u rises with the steps,

    E[product] <= exp(n2 c2 (v2's mean of u - v1's mean of u)) <= 1,

whatever the latencies are. B / A is made to rise where it does not; that costs power, not validity. Only
completed requests count: those under way are the quantiles' affair.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING

from proxy.core.histogram import bucket_bounds_us, bucket_index
from proxy.core.latency_past import bucket_of, share_from

if TYPE_CHECKING:
    from proxy.core.e_process import EProcess
    from proxy.core.histogram import Histogram
    from proxy.core.latency_past import Tick
    from proxy.core.policy import JudgePolicy

STEPS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
FACTORS = (1.5, 1.75, 2.0, 2.5, 4.0, 10.0)
"""How many times v1's latencies v2 is feared to take; as many as `e_process` has bets."""

_CREDIT = 0.05  # of each fear that is given to v2 being like v1: so no request is a proof
_LEAST = 8  # requests in a block
_NEARBY = 4  # buckets that are tried for a step: a tenth of its latency


class Fear:
    """The shares of a feared v2 on the steps, made to rise against those of v1."""

    __slots__ = ("_logs", "_logs_usual", "_shares", "_usual")

    def __init__(self, usual: list[float], feared: list[float]) -> None:
        rising = 0.0
        shares = []
        for one, other in zip(usual, feared, strict=True):
            rising = max(rising, _CREDIT + (1.0 - _CREDIT) * other / one)
            shares.append(rising * one)
        total = sum(shares)
        self._usual = usual
        self._shares = [share / total for share in shares]
        self._logs_usual = [math.log(share) for share in self._usual]
        self._logs = [math.log(share) for share in self._shares]

    def log_e(self, on1: list[int], on2: list[int], nu: float) -> float:
        """The logarithm of the product over a block: how many requests of each path stand on each step."""
        value = 0.0
        for k in range(len(self._usual)):
            if on1[k] or on2[k]:
                expected = math.log((self._usual[k] + nu * self._shares[k]) / (1.0 + nu))
                value += on1[k] * (self._logs_usual[k] - expected) + on2[k] * (self._logs[k] - expected)
        return value

    def __repr__(self) -> str:
        return f"Fear({', '.join(f'{share:.3g}' for share in self._shares)})"


class LadderTest:
    """Whether v2 is slower than tolerable throughout."""

    __slots__ = (
        "_dt_s",
        "_fears",
        "_from",
        "_from_v2",
        "_on1",
        "_on2",
        "_plus_us",
        "_process",
        "_ratio",
    )

    def __init__(self, policy: JudgePolicy, process: EProcess) -> None:
        self._ratio = policy.latency_tolerable_ratio
        self._plus_us = policy.latency_tolerable_s * 1e6
        self._process = process
        self._from: list[int] = []
        self._from_v2: list[int] = []
        self._fears: list[Fear] = []
        self._drop()

    @property
    def evidence(self) -> float:
        """Against v2."""
        return self._process.value

    def draw(self, past: Histogram) -> None:
        """New steps, from what v1 has done so far; what was counted on the old ones is dropped."""
        self._from = []
        self._from_v2 = []
        least = 1.0
        buckets = [bucket_of(past.quantile(q)) for q in STEPS]
        buckets.append(bucket_of(past.quantile(1.0)) + 1)  # where v1 has never been
        for first in buckets:
            bucket, bucket_v2 = self._matched(first)
            share = share_from(past, bucket)
            if share < least:  # or the step is the one before
                least = share
                self._from.append(bucket)
                self._from_v2.append(bucket_v2)
        usual = _shares([share_from(past, bucket) for bucket in self._from])
        self._fears = []
        for factor in FACTORS:
            firsts = [bucket_bounds_us(bucket)[0] / factor for bucket in self._from_v2]
            beyond = [share_from(past, bucket_index(int(first_us))) for first_us in firsts]
            self._fears.append(Fear(usual, _shares(beyond)))
        self._drop()

    def _matched(self, bucket: int) -> tuple[int, int]:
        """The bucket or one of the next, and v2's first one beyond what is tolerable: where the edges of the
        two meet best, since what lies between is forgiven."""
        found = bucket, 0
        least = math.inf
        for candidate in range(bucket, bucket + _NEARBY):
            tolerable_us = self._ratio * bucket_bounds_us(candidate)[0] + self._plus_us
            beyond = bucket_index(int(tolerable_us)) + 1
            forgiven = bucket_bounds_us(beyond)[0] / tolerable_us
            if forgiven < least:
                least = forgiven
                found = candidate, beyond
        return found

    def observe(self, tick: Tick) -> None:
        """Bet on what the tick completes; blocks close by the number of requests alone."""
        self._dt_s += tick.dt_s
        if tick.n1:
            _count(tick.v1, self._from, self._on1)
        if tick.n2:
            _count(tick.v2, self._from_v2, self._on2)
        n1, n2 = sum(self._on1), sum(self._on2)
        if n1 < 1 or n2 < 1 or n1 + n2 < _LEAST:
            return
        nu = n2 / n1
        logs = [fear.log_e(self._on1, self._on2, nu) for fear in self._fears]
        self._process.earn(logs, self._dt_s)
        self._drop()

    def _drop(self) -> None:
        self._on1 = [0 for _ in range(len(self._from) + 1)]
        self._on2 = [0 for _ in range(len(self._from) + 1)]
        self._dt_s = 0.0

    def step(self, fresh: float) -> None:
        """A phase has begun: `fresh` stake is put in."""
        self._process.step(fresh)
        self._drop()

    def restart(self) -> None:
        """Forget all evidence; the steps stay."""
        self._process.restart()
        self._drop()

    def __repr__(self) -> str:
        return f"LadderTest({len(self._from)} steps, {self.evidence:.3g})"


def _shares(beyond: list[float]) -> list[float]:
    """The shares on each step, the ground first, from those on it or above."""
    shares = []
    above = 1.0
    for share in beyond:
        shares.append(above - share)
        above = share
    shares.append(above)
    return shares


def _count(latencies: Histogram, steps: list[int], on: list[int]) -> None:
    for index, n in latencies.buckets():
        on[bisect_right(steps, index)] += n
