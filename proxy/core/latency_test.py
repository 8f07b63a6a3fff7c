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

from typing import TYPE_CHECKING, Final

from proxy.core.bets import Bets
from proxy.core.e_process import EProcess
from proxy.core.histogram import bucket_bounds_us, bucket_index
from proxy.core.latency_acceptor import LatencyAcceptor
from proxy.core.latency_ladder import LadderTest
from proxy.core.latency_past import Past, Ticks
from proxy.core.latency_threshold import Allowed, Threshold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.core.histogram import Histogram
    from proxy.core.latency_past import Known, Tick
    from proxy.core.policy import JudgePolicy

QUANTILES = (0.5, 0.9, 0.99)
ACCEPTED = ((0.5, 0.4, 0.6), (0.9, 0.8, 0.95))
_GAINS = (0.02, 0.05, 0.12, 0.25, 0.5, 0.97)  # as `bets.GAINS`; who is slower at all is slower by more
_BETS: Final = {q: Bets(1.0, 0.0, _GAINS, most_kept=4096) for q in QUANTILES}
"""Of each quantile, whose share hardly changes; what is kept of them serves all rollouts."""
_CAP_US: Final = 1e7  # a latency of 10 s and more is an outcome of 1
_CAP_BUCKET: Final = bucket_index(int(_CAP_US)) + 1
_START: Final = 0.6
_STAKE_PER_S: Final = 0.4 / 86_400.0
_STEP: Final = 0.1
_LEAST: Final = 8  # requests in a block of the mean
_MOST_UNCOUNTED: Final = 8  # ticks; each holds on to the latencies of a second


class QuantileTest:
    """One quantile: its threshold, what was slow, and the evidence against v2."""

    __slots__ = ("_bets", "_rate", "process", "q", "slow")

    def __init__(self, q: float, allowed: Allowed, bets: Bets) -> None:
        self.q = q
        self.slow = Threshold(allowed)
        self._bets = bets
        self.process = EProcess(_START, _STAKE_PER_S)
        self._rate = 0.0

    @property
    def evidence(self) -> float:
        """Against v2."""
        return self.process.value

    def draw(self, known: Known) -> None:
        """A new threshold, from what v1 has done so far."""
        bucket = known.bucket(self.q)
        self.slow.move(bucket)
        self._rate = known.share_from(bucket)

    def observe(self, tick: Tick) -> bool:
        """Bet on what the tick completes, if it does."""
        block = self.slow.observe(tick)
        if block is None:
            return False
        brought = self._bets.round(self._rate, block.n1, block.s1, block.n2, block.s2)
        self.process.take(brought, block.dt_s)
        return True

    def step(self) -> None:
        """A phase has begun."""
        self.process.step(_STEP)
        self.slow.restart()

    def restart(self) -> None:
        """Forget all evidence; the threshold stays."""
        self.process.restart()
        self.slow.restart()

    def __repr__(self) -> str:
        return f"QuantileTest(p{self.q * 100:g} over {self.slow.tau_s * 1e3:.3g} ms, {self.evidence:.3g})"


class MeanTest:
    """The mean of latencies up to 10 s."""

    __slots__ = ("_bets", "_dt_s", "_n1", "_n2", "_rate", "_y1", "_y2", "process")

    def __init__(self, policy: JudgePolicy) -> None:
        self._bets = Bets(policy.latency_tolerable_ratio, policy.latency_tolerable_s * 1e6 / _CAP_US)
        self.process = EProcess(_START, _STAKE_PER_S)
        self._rate = 0.0
        self._drop()

    def _drop(self) -> None:
        self._n1 = self._n2 = 0
        self._y1 = self._y2 = 0.0
        self._dt_s = 0.0

    @property
    def evidence(self) -> float:
        """Against v2."""
        return self.process.value

    def draw(self, known: Known) -> None:
        """What v1's mean is expected to be."""
        self._rate = (outcomes(known.all, known.count) + 0.05) / (known.count + 50.0)

    def observe(self, tick: Tick) -> None:
        """Bet on what the tick completes; blocks close by the number of requests alone."""
        v1, v2 = tick.v1, tick.v2
        self._n1 += v1.n
        self._n2 += v2.n
        self._y1 += outcomes(v1.completed, v1.n)
        self._y2 += outcomes(v2.completed, v2.n)
        self._dt_s += tick.dt_s
        if self._n1 < 1 or self._n2 < 1 or self._n1 + self._n2 < _LEAST:
            return
        logs = self._bets.logs(self._rate, float(self._n1), self._y1, float(self._n2), self._y2)
        self.process.earn(logs, self._dt_s)
        self._drop()

    def step(self) -> None:
        """A phase has begun."""
        self.process.step(_STEP)
        self._drop()

    def restart(self) -> None:
        """Forget all evidence."""
        self.process.restart()
        self._drop()

    def __repr__(self) -> str:
        return f"MeanTest({self._rate * _CAP_US * 1e-3:.3g} ms expected, {self.evidence:.3g})"


class LatencyTests:
    """All tests of latency of one rollout. `observe` at every tick in which anything was counted or is under
    way; `learn` while v2 has no traffic; `step` at a phase step, `restart` at a new start."""

    __slots__ = (
        "_gathered",
        "_is_counted",
        "_is_open",
        "_ladder",
        "_mean",
        "_past",
        "_processes",
        "_quantiles",
        "_ticks",
        "_uncounted",
        "acceptors",
        "drawn",
    )

    def __init__(self, policy: JudgePolicy) -> None:
        allowed = Allowed(policy.latency_tolerable_ratio, policy.latency_tolerable_s)
        self._past = Past()
        self._ticks = Ticks()
        self._mean = MeanTest(policy)
        ladder = EProcess(_START, _STAKE_PER_S)
        self._ladder = LadderTest(allowed, ladder)
        self.drawn = False
        self._quantiles = [QuantileTest(q, allowed, _BETS[q]) for q in QUANTILES]
        self._processes = [self._mean.process, ladder, *[test.process for test in self._quantiles]]
        self.acceptors = [LatencyAcceptor(candidates, policy) for candidates in ACCEPTED]
        self._gathered: Tick | None = None  # what no test has been given yet
        self._is_open = False  # whether a test has begun a block with what it has been given
        self._uncounted: list[Tick] = []  # what is not in the counts for people yet; a few at most
        self._is_counted = False  # whether there are counts

    @property
    def evidence(self) -> float:
        """That v2 is slower: the mean over all tests."""
        total = 0.0
        for process in self._processes:
            total += process.value
        return total / len(self._processes)

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
        tick = self._ticks.next(sides, under_way, dt_s)
        if self.drawn:
            if len(self._uncounted) >= _MOST_UNCOUNTED:
                self._count()
            self._uncounted.append(tick)
            self._mean.observe(tick)
            self._gather(tick)
        self.learn(sides[0], tick.v1.n, dt_s)

    def _gather(self, tick: Tick) -> None:
        """Let the tests bet on what has come once it may complete a block: as long as only one path has been
        asked, none can. With requests under way each counts for itself."""
        if tick.v1.ages or tick.v2.ages:
            self._hand_over()
            self._bet_on(tick)
            return
        if self._gathered is not None:
            tick = self._gathered.and_then(tick)
        if self._is_open or (tick.v1.n and tick.v2.n):
            self._gathered = None
            self._bet_on(tick)
        else:
            self._gathered = tick

    def _hand_over(self) -> None:
        tick, self._gathered = self._gathered, None
        if tick is not None:
            self._bet_on(tick)

    def _bet_on(self, tick: Tick) -> None:
        closed = self._ladder.observe(tick)
        for test in self._quantiles:
            if not test.observe(tick):
                closed = False
        for acceptor in self.acceptors:
            if not acceptor.observe(tick):
                closed = False
        self._is_open = not closed

    def learn(self, v1: Histogram, n: int, dt_s: float) -> None:
        """`n` latencies of v1; thresholds follow them, for what comes after."""
        self._past.learn(v1, n, dt_s)
        if self._past.is_news():
            self._hand_over()
            self._count()
            known = self._past.draw()
            for test in self._quantiles:
                test.draw(known)
            for acceptor in self.acceptors:
                acceptor.draw(known)
            self._mean.draw(known)
            self._ladder.draw(known)
            self._ticks.measure(self._edges())
            self.drawn = True

    @property
    def quantiles(self) -> list[QuantileTest]:
        """The tests of single quantiles, with what is told of them."""
        self._count()
        return self._quantiles

    @property
    def thresholds(self) -> list[Threshold]:
        """Where requests begin to be slow, for each quantile and each acceptor."""
        self._count()
        return self._thresholds()

    def _thresholds(self) -> list[Threshold]:
        return [test.slow for test in self._quantiles] + [acceptor.slow for acceptor in self.acceptors]

    def _count(self) -> None:
        """Nobody asks for the counts at most ticks."""
        if self._uncounted:
            for slow in self._thresholds():
                for tick in self._uncounted:
                    slow.count(tick)
            self._uncounted.clear()
            self._is_counted = True

    def _edges(self) -> Iterator[tuple[int, int]]:
        for slow in self._thresholds():
            yield slow.from_v1, slow.from_v2
        yield from zip(self._ladder.from_v1, self._ladder.from_v2, strict=True)

    def recount(self) -> None:
        """What is told of the tests counts from here on."""
        self._uncounted.clear()
        if self._is_counted:
            self._is_counted = False
            for slow in self._thresholds():
                slow.recount()

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
        self._drop()
        for test in self._quantiles:
            test.step()
        for acceptor in self.acceptors:
            acceptor.restart()
        self._mean.step()
        self._ladder.step(_STEP)

    def restart(self) -> None:
        """Forget all evidence; what is known of v1 stays."""
        self._drop()
        for test in self._quantiles:
            test.restart()
        for acceptor in self.acceptors:
            acceptor.restart()
        self._mean.restart()
        self._ladder.restart()

    def _drop(self) -> None:
        self._gathered = None
        self._is_open = False
        self._uncounted.clear()

    def __repr__(self) -> str:
        return f"LatencyTests({self.evidence:.3g}, {self._past!r})"


def _evidence_of(test: QuantileTest) -> float:
    return test.evidence


def outcomes(latencies: Histogram, n: int) -> float:
    """The sum of `n` latencies as shares of 10 s, each 1 at most."""
    total_us = float(latencies.total_us)
    if total_us > _CAP_US and latencies.count_from(_CAP_BUCKET):  # else none of them is as long
        total_us = 0.0
        for index, several in latencies.buckets():
            first, beyond = bucket_bounds_us(index)
            total_us += several * min(0.5 * (first + beyond), _CAP_US)
    return min(max(total_us, 0.0) / _CAP_US, float(n))
