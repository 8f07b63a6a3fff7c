"""The comparison of latencies: is v2 slower than v1 by more than is tolerable, or shown to be as fast?

Owns the thresholds, what counts as slow, and the evidence of each test. Must never know the rollout, its
limits, or a clock: it is told histograms and the seconds they were gathered in.

Each of v1's past quantiles gives a threshold τ. A request to v1 is slow above τ, one to v2 above what is
tolerable, 1.25 τ + 10 ms; if v2 is tolerable, it is slow no more often than v1, and that is a question of two
rates, which `bets` answers. The distribution's form does not matter, and what slows both tells nothing. A
request under way is slow from the moment it passes the threshold: a v2 that hangs has no answers to measure.

The mean finds what quantiles cannot: few requests, less than one in a hundred, that take very long. A latency
of up to 10 s is an outcome between 0 and 1. Its factor is concave, so that the value between those of 0 and 1
in the same proportion is a smaller one, and a smaller bet is still a bet: sums are enough.

A v2 that is slower throughout is found soonest by all quantiles together (`latency_ladder`). What speaks for
v2 stands in `latency_acceptor`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.core.bets import Bets
from proxy.core.detector import Blocks
from proxy.core.e_process import EProcess
from proxy.core.histogram import bucket_bounds_us, bucket_index
from proxy.core.latency_acceptor import LatencyAcceptor
from proxy.core.latency_ladder import LadderTest
from proxy.core.latency_past import Past, Tick, UnderWay, bucket_of, share_from

if TYPE_CHECKING:
    from proxy.core.detector import Block
    from proxy.core.histogram import Histogram
    from proxy.core.policy import JudgePolicy

QUANTILES = (0.5, 0.9, 0.99)
ACCEPTED = ((0.5, 0.4, 0.6), (0.9, 0.8, 0.95))
_GAINS = (0.02, 0.05, 0.12, 0.25, 0.5, 0.97)  # as `bets.GAINS`; who is slower at all is slower by more
_CAP_US = 1e7  # a latency of 10 s and more is an outcome of 1
_CAP_BUCKET = bucket_index(int(_CAP_US)) + 1
_START = 0.6
_STAKE_PER_S = 0.4 / 86_400.0
_STEP = 0.1
_LEAST = 8  # requests in a block of the mean


class QuantileTest:
    """One quantile: its threshold, what was slow, and the evidence against v2."""

    __slots__ = (
        "_bets",
        "_blocks",
        "_plus_us",
        "_process",
        "_rate",
        "_ratio",
        "_slow_from",
        "_slow_from_v2",
        "n1",
        "n2",
        "q",
        "s1",
        "s2",
        "tau_s",
        "tolerable_s",
    )

    def __init__(self, q: float, policy: JudgePolicy, bets: Bets) -> None:
        self.q = q
        self._ratio = policy.latency_tolerable_ratio
        self._plus_us = policy.latency_tolerable_s * 1e6
        self._bets = bets
        self._process = EProcess(_START, _STAKE_PER_S)
        self._blocks = Blocks()
        self._slow_from = self._slow_from_v2 = 0
        self._rate = 0.0
        self.tau_s = self.tolerable_s = 0.0
        self.n1 = self.s1 = self.n2 = self.s2 = 0

    @property
    def evidence(self) -> float:
        """Against v2."""
        return self._process.value

    def draw(self, past: Histogram) -> None:
        """A new threshold, from what v1 has done so far."""
        bucket = bucket_of(past.quantile(self.q))
        tau_us = bucket_bounds_us(bucket)[0]
        tolerable_us = self._ratio * tau_us + self._plus_us
        self._slow_from = bucket
        self._slow_from_v2 = bucket_index(int(tolerable_us)) + 1
        self.tau_s, self.tolerable_s = tau_us * 1e-6, tolerable_us * 1e-6
        self._rate = share_from(past, bucket)

    def observe(self, tick: Tick) -> None:
        """Bet on what the tick completes."""
        n1, s1 = tick.v1_slow(self._slow_from)
        n2, s2 = tick.v2_slow(self._slow_from_v2)
        self.n1 += n1
        self.s1 += s1
        self.n2 += n2
        self.s2 += s2
        block = self._blocks.add(n1, s1, n2, s2, tick.dt_s)
        if block is not None:
            self._bet(block)

    def _bet(self, block: Block) -> None:
        n1, s1, n2, s2 = float(block.n1), float(block.s1), float(block.n2), float(block.s2)
        bets = self._bets.at(self._rate, n2 / n1)
        self._process.earn([bet.log_e(n1, s1, n2, s2) for bet in bets], block.dt_s)

    def step(self) -> None:
        """A phase has begun."""
        self._process.step(_STEP)
        self._forget()

    def restart(self) -> None:
        """Forget all evidence; the threshold stays."""
        self._process.restart()
        self._forget()

    def recount(self) -> None:
        """Count for people from here on; the evidence stays."""
        self.n1 = self.s1 = self.n2 = self.s2 = 0

    def _forget(self) -> None:
        self._blocks.restart()
        self.n1 = self.s1 = self.n2 = self.s2 = 0

    def __repr__(self) -> str:
        return f"QuantileTest(p{self.q * 100:g} over {self.tau_s * 1e3:.3g} ms, {self.evidence:.3g})"


class MeanTest:
    """The mean of latencies up to 10 s."""

    __slots__ = ("_bets", "_dt_s", "_n1", "_n2", "_process", "_rate", "_y1", "_y2")

    def __init__(self, policy: JudgePolicy) -> None:
        self._bets = Bets(policy.latency_tolerable_ratio, policy.latency_tolerable_s * 1e6 / _CAP_US)
        self._process = EProcess(_START, _STAKE_PER_S)
        self._rate = 0.0
        self._drop()

    def _drop(self) -> None:
        self._n1 = self._n2 = 0
        self._y1 = self._y2 = 0.0
        self._dt_s = 0.0

    @property
    def evidence(self) -> float:
        """Against v2."""
        return self._process.value

    def draw(self, past: Histogram) -> None:
        """What v1's mean is expected to be."""
        self._rate = (outcomes(past) + 0.05) / (past.count + 50.0)

    def observe(self, tick: Tick) -> None:
        """Bet on what the tick completes; blocks close by the number of requests alone."""
        self._n1 += tick.n1
        self._n2 += tick.n2
        self._y1 += outcomes(tick.v1)
        self._y2 += outcomes(tick.v2)
        self._dt_s += tick.dt_s
        if self._n1 < 1 or self._n2 < 1 or self._n1 + self._n2 < _LEAST:
            return
        n1, n2 = float(self._n1), float(self._n2)
        bets = self._bets.at(self._rate, n2 / n1)
        self._process.earn([bet.log_e(n1, self._y1, n2, self._y2) for bet in bets], self._dt_s)
        self._drop()

    def step(self) -> None:
        """A phase has begun."""
        self._process.step(_STEP)
        self._drop()

    def restart(self) -> None:
        """Forget all evidence."""
        self._process.restart()
        self._drop()

    def __repr__(self) -> str:
        return f"MeanTest({self._rate * _CAP_US * 1e-3:.3g} ms expected, {self.evidence:.3g})"


class LatencyTests:
    """All tests of latency of one rollout. `observe` at every tick in which anything was counted or is under
    way; `learn` while v2 has no traffic; `step` at a phase step, `restart` at a new start."""

    __slots__ = ("_ladder", "_mean", "_past", "_under_way", "acceptors", "drawn", "quantiles")

    def __init__(self, policy: JudgePolicy) -> None:
        bets = Bets(1.0, 0.0, _GAINS)
        self._past = Past()
        self._mean = MeanTest(policy)
        self._ladder = LadderTest(policy, EProcess(_START, _STAKE_PER_S))
        self._under_way = UnderWay()
        self.drawn = False
        self.quantiles = [QuantileTest(q, policy, bets) for q in QUANTILES]
        self.acceptors = [LatencyAcceptor(candidates, policy) for candidates in ACCEPTED]

    @property
    def evidence(self) -> float:
        """That v2 is slower: the mean over all tests."""
        total = self._mean.evidence + self._ladder.evidence
        for test in self.quantiles:
            total += test.evidence
        return total / (len(self.quantiles) + 2)

    @property
    def mean_evidence(self) -> float:
        """That v2's mean is longer."""
        return self._mean.evidence

    @property
    def satisfied(self) -> bool:
        """Whether v2 is shown to be as fast as v1."""
        return all(acceptor.satisfied for acceptor in self.acceptors)

    def observe(
        self, sides: tuple[Histogram, Histogram], under_way: tuple[Histogram, Histogram], dt_s: float
    ) -> None:
        """Latencies that were completed in `dt_s` seconds, and ages of requests under way; v1's and v2's."""
        self._under_way.pass_on(*under_way)
        tick = Tick(sides, self._under_way, dt_s)
        if self.drawn:
            for test in self.quantiles:
                test.observe(tick)
            for acceptor in self.acceptors:
                acceptor.observe(tick)
            self._mean.observe(tick)
            self._ladder.observe(tick)
        self.learn(sides[0], tick.n1, dt_s)

    def learn(self, v1: Histogram, n: int, dt_s: float) -> None:
        """`n` latencies of v1; thresholds follow them, for what comes after."""
        self._past.learn(v1, n, dt_s)
        if self._past.is_news():
            past = self._past.draw()
            for test in self.quantiles:
                test.draw(past)
            for acceptor in self.acceptors:
                acceptor.draw(past)
            self._mean.draw(past)
            self._ladder.draw(past)
            self.drawn = True

    def recount(self) -> None:
        """What is told of the tests counts from here on."""
        for test in self.quantiles:
            test.recount()

    def loudest(self) -> QuantileTest:
        """The quantile that speaks most against v2."""
        return max(self.quantiles, key=_evidence_of)

    def slowest(self, nu: float) -> float:
        """About how many more requests to v2 until all of it is shown to be as fast; `nu` per one to v1."""
        left = 0.0
        for acceptor in self.acceptors:
            left = max(left, acceptor.remaining(nu))
        return left

    def step(self) -> None:
        """A phase has begun: what speaks for v2 begins anew."""
        for test in self.quantiles:
            test.step()
        for acceptor in self.acceptors:
            acceptor.restart()
        self._mean.step()
        self._ladder.step(_STEP)

    def restart(self) -> None:
        """Forget all evidence; what is known of v1 stays."""
        for test in self.quantiles:
            test.restart()
        for acceptor in self.acceptors:
            acceptor.restart()
        self._mean.restart()
        self._ladder.restart()

    def __repr__(self) -> str:
        return f"LatencyTests({self.evidence:.3g}, {self._past!r})"


def _evidence_of(test: QuantileTest) -> float:
    return test.evidence


def outcomes(latencies: Histogram) -> float:
    """The sum of latencies as shares of 10 s, each 1 at most."""
    total_us = float(latencies.total_us)
    if latencies.count_from(_CAP_BUCKET):
        total_us = 0.0
        for index, n in latencies.buckets():
            first, beyond = bucket_bounds_us(index)
            total_us += n * min(0.5 * (first + beyond), _CAP_US)
    return min(max(total_us, 0.0) / _CAP_US, float(latencies.count))
