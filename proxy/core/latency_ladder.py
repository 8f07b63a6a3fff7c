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
from typing import TYPE_CHECKING, Final

from proxy.core.histogram import BUCKET_COUNT, bucket_bounds_us, bucket_index

if TYPE_CHECKING:
    from proxy.core.e_process import EProcess
    from proxy.core.latency_past import Known, Tick
    from proxy.core.latency_threshold import Allowed

STEPS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
FACTORS = (1.5, 1.75, 2.0, 2.5, 4.0, 10.0)
"""How many times v1's latencies v2 is feared to take; as many as `e_process` has bets."""

_CREDIT: Final = 0.05  # of each fear that is given to v2 being like v1: so no request is a proof
_LEAST: Final = 8  # requests in a block
_NEARBY: Final = 4  # buckets that are tried for a step: a tenth of its latency


class Fear:
    """How much likelier each step is for a feared v2 than for v1, made to rise with the steps."""

    __slots__ = ("_logs", "_odds")

    def __init__(self, usual: list[float], feared: list[float]) -> None:
        rising = 0.0
        odds = []
        for one, other in zip(usual, feared, strict=True):
            rising = max(rising, _CREDIT + (1.0 - _CREDIT) * other / one)
            odds.append(rising)
        total = sum([one * odd for one, odd in zip(usual, odds, strict=True)])
        self._odds = [odd / total for odd in odds]
        self._logs = [math.log(odd) for odd in self._odds]

    def log_e(self, standing: list[tuple[int, int, int]], nu: float) -> float:
        """The logarithm of the product over a block. Divided by v1's own shares, the factors are
        (1 + ν) / (1 + ν odds), and for v2 the odds times that."""
        odds, logs = self._odds, self._logs
        value = 0.0
        n = 0
        for k, n2, both in standing:
            n += both
            value += n2 * logs[k] - both * math.log(1.0 + nu * odds[k])
        return value + n * math.log(1.0 + nu)

    def __repr__(self) -> str:
        return f"Fear({', '.join(f'{odd:.3g}' for odd in self._odds)})"


def standing(on1: list[int], on2: list[int]) -> list[tuple[int, int, int]]:
    """The steps that somebody stands on: which one, how many requests to v2, and how many to either."""
    found = []
    for k in range(len(on1)):
        n2 = on2[k]
        both = on1[k] + n2
        if both:
            found.append((k, n2, both))
    return found


class Step:
    """Where a step begins for v1 and for v2, and `feared`: for each of `FACTORS`, from which bucket on v1's
    latencies would stand on v2's step if they took so many times as long."""

    __slots__ = ("feared", "from_v1", "from_v2")

    def __init__(self, from_v1: int, from_v2: int) -> None:
        self.from_v1 = from_v1
        self.from_v2 = from_v2
        first_us = bucket_bounds_us(from_v2)[0]
        self.feared = [bucket_index(int(first_us / factor)) for factor in FACTORS]

    def __repr__(self) -> str:
        return f"Step(v1 from bucket {self.from_v1}, v2 from {self.from_v2})"


class LadderTest:
    """Whether v2 is slower than tolerable throughout."""

    __slots__ = (
        "_allowed",
        "_dt_s",
        "_fears",
        "_n1",
        "_n2",
        "_on1",
        "_on2",
        "_process",
        "_steps",
        "from_v1",
        "from_v2",
    )

    def __init__(self, allowed: Allowed, process: EProcess) -> None:
        self._allowed = allowed
        self._process = process
        self._fears: list[Fear] = []
        self._steps: dict[int, Step] = {}
        self.from_v1: list[int] = []
        self.from_v2: list[int] = []
        self._drop()

    @property
    def evidence(self) -> float:
        """Against v2."""
        return self._process.value

    def draw(self, known: Known) -> None:
        """New steps, from what v1 has done so far; what was counted on the old ones is dropped."""
        shares: list[float] = []
        steps: list[Step] = []
        least = 1.0
        buckets = [known.bucket(q) for q in STEPS]
        buckets.append(known.bucket(1.0) + 1)  # where v1 has never been
        for first in buckets:
            step = self._step_at(first)
            share = known.share_from(step.from_v1)
            if share < least:  # or the step is the one before
                least = share
                shares.append(share)
                steps.append(step)
        self.from_v1 = [step.from_v1 for step in steps]
        self.from_v2 = [step.from_v2 for step in steps]
        usual = _shares(shares)
        self._fears = []
        for place in range(len(FACTORS)):
            beyond = [known.share_from(step.feared[place]) for step in steps]
            self._fears.append(Fear(usual, _shares(beyond)))
        self._drop()

    def _step_at(self, bucket: int) -> Step:
        """The step at the bucket or near it; they are asked for every minute, and hardly change."""
        step = self._steps.get(bucket)
        if step is None:
            from_v1 = self._matched(bucket)
            step = self._steps[bucket] = Step(from_v1, self._allowed.beyond(from_v1))
        return step

    def _matched(self, bucket: int) -> int:
        """The bucket or one of the next: where its edge and that of v2's first one beyond what is tolerable
        meet best, since what lies between is forgiven."""
        found, least = bucket, math.inf
        for candidate in range(bucket, min(bucket + _NEARBY, BUCKET_COUNT + 1)):
            beyond = self._allowed.beyond(candidate)
            forgiven = bucket_bounds_us(beyond)[0] / self._allowed.most_us(candidate)
            if forgiven < least:
                found, least = candidate, forgiven
        return found

    def observe(self, tick: Tick) -> bool:
        """Bet on what the tick completes, if it does: blocks close by the number of requests alone."""
        self._dt_s += tick.dt_s
        self._n1 += tick.v1.n
        self._n2 += tick.v2.n
        tick.v1.stand(self.from_v1, self._on1)
        tick.v2.stand(self.from_v2, self._on2)
        n1, n2 = self._n1, self._n2
        if n1 < 1 or n2 < 1 or n1 + n2 < _LEAST:
            return False
        on, nu = standing(self._on1, self._on2), n2 / n1
        self._process.earn([fear.log_e(on, nu) for fear in self._fears], self._dt_s)
        self._drop()
        return True

    def _drop(self) -> None:
        self._on1 = [0] * (len(self.from_v1) + 1)
        self._on2 = [0] * (len(self.from_v1) + 1)
        self._n1 = self._n2 = 0
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
        return f"LadderTest({len(self.from_v1)} steps, {self.evidence:.3g})"


def _shares(beyond: list[float]) -> list[float]:
    """The shares on each step, the ground first, from those on it or above."""
    shares = []
    above = 1.0
    for share in beyond:
        shares.append(above - share)
        above = share
    shares.append(above)
    return shares
