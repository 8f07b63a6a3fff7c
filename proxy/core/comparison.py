"""v2 beside v1: the tests that tell whether it is worse, and whether it is shown to be as good.

Owns which tests there are, what they are fed, and how they read in words. Must never know limits that a user
has written, phases, or what follows. The mathematics stand in `detector`, `acceptor` and `latency_test`.

Only attempts count, and not what the breaker keeps from v2: it opens on bursts that v1 may have had as well.
What tells a burst from a v2 that is dead are the breaker's probes. Once they have failed, each tick in which
v2 is asked nothing counts as one failure, until it answers again: else an open breaker would slow the judge.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from proxy.core.acceptor import Acceptor
from proxy.core.detector import Blocks, RegressionDetector
from proxy.core.gauges import not_asked
from proxy.core.guards import amount
from proxy.core.latency_test import LatencyTests
from proxy.core.noise import NoiseMargin
from proxy.core.rising import Rising, rates
from proxy.core.shared_fate import SharedFate
from proxy.judgment import EvidenceReading, Need, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.core.acceptor import Proof
    from proxy.core.latency_test import QuantileTest
    from proxy.core.policy import JudgePolicy
    from proxy.core.tally import Tally

_MINUTE_S: Final = 60.0
_MOST: Final = 1e9  # requests; what takes more than that will not come
_AT_REST: Final = 0.5  # evidence below which nothing speaks against v2: less than there is at the start


class Comparison:
    """All tests of one rollout. `observe` at every tick; `step` at a phase step, `restart` at a new start."""

    def __init__(self, policy: JudgePolicy) -> None:
        self.needed = 1.0 / policy.false_alarms
        self.doubtful = 0.1 * self.needed  # evidence that is no alarm, and too much for the next phase
        self._blocks = Blocks()
        self._detector = RegressionDetector(policy)
        self._acceptor = Acceptor(policy)
        self._latency = LatencyTests(policy)
        self._tolerable = policy.tolerable_ratio, policy.tolerable_points
        self._fate = SharedFate(*self._tolerable)
        self._noise = NoiseMargin(policy.noise_margin)
        self._detector.widen(self._noise.margin)
        self._before = Rising()
        self._rising = Rising()
        self.evidence = 0.0
        """That v2 is worse; `needed` is enough."""
        self._weigh()
        self._idle_s = 0.0
        self._kept = False  # whether the breaker kept anything from v2 at the tick before
        self._is_dead = False  # whether its probes have failed since
        self._minute_s = 0.0
        self._minute_errors = 0
        self._minute_requests = 0

    def observe(self, tally: Tally, dt_s: float, *, split: bool) -> None:
        """Take in a tick of `dt_s` seconds; unless traffic is `split`, v1 alone is learnt from."""
        n1, n2 = tally.v1.requests, tally.v2.requests
        self._idle_s += dt_s
        unlooked = tally.in_flight_v1 is tally.in_flight_v2  # nobody has asked what is under way
        if n1 == 0 and n2 == 0 and unlooked:
            self._count_minute(0, 0, dt_s)
            return
        since_s, self._idle_s = self._idle_s, 0.0
        s1 = sum(tally.v1.errors)
        if split:
            self._compare(tally, s1, since_s)
        elif n1:
            self._detector.learn(n1, s1, since_s)
            self._latency.learn(tally.v1.latency, n1, since_s)
        self._count_minute(n1, s1, dt_s)  # what it teaches holds for what comes after

    def _compare(self, tally: Tally, s1: int, dt_s: float) -> None:
        n1, n2, s2 = tally.v1.requests, tally.v2.requests, sum(tally.v2.errors)
        unasked = not_asked(tally)
        if self.evidence < _AT_REST:
            if n2:  # else nothing has been found out since
                self._before, self._rising = self._rising, Rising()
            self._latency.recount()
        rising = self._rising
        rising.n1 += n1
        rising.s1 += s1
        rising.n2 += n2
        rising.s2 += s2
        rising.seconds += dt_s
        # Of the `s2` requests that v2 has failed, those that v1 has failed too. Beside what the breaker keeps
        # from v2, which v1 is given as well, that is not known, and taken for as many as it may be: what v2
        # alone has failed before the breaker opened speaks against it long enough.
        shared = min(tally.fallback_errors, s2) if unasked else tally.fallback_errors
        self._fate.observe(n2, s2, shared, dt_s)
        kept = unasked > 0
        if n2:
            self._is_dead = kept and self._kept and s2 == n2
        elif self._is_dead and kept:
            n2 = s2 = 1
        self._kept = kept
        block = self._blocks.add(n1, s1, n2, s2, dt_s)
        if block is not None:
            rate = self._detector.design_rate
            self._detector.observe(block, excused=self._fate.excuses)
            self._acceptor.observe(block, rate)
        under_way = (tally.in_flight_v1, tally.in_flight_v2)
        self._latency.observe((tally.v1.latency, tally.v2.latency), under_way, dt_s)
        self._weigh()

    def _weigh(self) -> None:
        self.evidence = self._detector.combined(self._latency.evidence)

    def _count_minute(self, requests: int, errors: int, dt_s: float) -> None:
        self._minute_s += dt_s
        self._minute_requests += requests
        self._minute_errors += errors
        if self._minute_s >= _MINUTE_S:
            self._noise.minute(self._minute_errors, self._minute_requests)
            self._detector.widen(self._noise.margin)
            self._minute_s = 0.0
            self._minute_requests = self._minute_errors = 0

    def step(self) -> None:
        """A phase step: what spoke against v2 stays, what spoke for it begins anew."""
        self._detector.step()
        self._latency.step()
        self._acceptor.restart()
        self._blocks.restart()
        self._weigh()

    def restart(self) -> None:
        """Forget all evidence; what is known of v1 stays."""
        self._detector.restart()
        self._before = Rising()
        self._rising = Rising()
        self._fate = SharedFate(*self._tolerable)
        self._latency.restart()
        self._acceptor.restart()
        self._blocks.restart()
        self._weigh()

    # ... against v2

    @property
    def is_slower(self) -> bool:
        """Whether latency speaks louder against v2 than errors do."""
        return self._latency.evidence > self._detector.evidence

    def against(self) -> str:
        """What speaks against v2 in words, with what was counted since it began to: a fault that is new
        hardly shows in the figures of a whole day."""
        rising = self._before.and_then(self._rising)
        proof = f"over {rising.seconds:.0f} s, evidence {amount(self.evidence)} of {self.needed:g} needed"
        if self.is_slower:
            return f"latency: {_slowness(self._latency)} {proof}"
        ratio, points = self._tolerable
        most = ratio * rising.s1 / max(rising.n1, 1) + points + self._noise.margin
        return f"errors: {rising.rates()}, {100.0 * most:.3g} % is tolerable, {proof}"

    # ... for v2

    @property
    def satisfied(self) -> bool:
        """Whether v2 is shown to be as good as v1."""
        return self._acceptor.satisfied and self._latency.satisfied

    def proof(self) -> str:
        """The evidence for v2, in words."""
        shown = f"{amount(self._acceptor.evidence)} of {self._acceptor.needed:.3g} needed"
        return f"evidence that v2 fails as seldom as v1 {shown}"

    def needs(self, seen: Tally, seconds: float) -> list[Need]:
        """What is asked of the evidence, and about how long the rest takes at the rate of `seen`, which was
        counted in `seconds`."""
        n1, n2 = seen.v1.requests, seen.v2.requests
        rate = n2 / seconds if seconds > 0.0 else 0.0
        nu = n2 / n1 if n1 and n2 else 0.0
        left = self._acceptor.remaining(self._detector.design_rate, nu) if nu > 0.0 else math.inf
        shown = f"evidence {amount(self._acceptor.evidence)} of {self._acceptor.needed:.3g} needed"
        text = f"v2 not yet shown to fail as seldom as v1: {rates(seen)}, {shown}{_requests(left)}"
        found = [_proof("errors", self._acceptor, (left, rate), text)]
        slowest = self._latency.slowest(nu) if nu > 0.0 else math.inf
        text = f"v2 not yet shown to be as fast as v1: {self._wanting_latency()}{_requests(slowest)}"
        for acceptor in self._latency.acceptors:
            left = acceptor.remaining(nu) if nu > 0.0 else math.inf
            found.append(_proof(f"latency_p{100.0 * acceptor.q:g}", acceptor, (left, rate), text))
        met = self.evidence < self.doubtful
        figures = self.evidence, self.doubtful, Unit.EVIDENCE
        against = "" if met else self.against()
        return [*found, Need("evidence:regression", met, *figures, 0.0 if met else None, text=against)]

    def _wanting_latency(self) -> str:
        if not self._latency.drawn:
            return "too little is known of v1"
        return ", ".join(
            [
                f"p{100.0 * one.q:g} evidence {amount(one.evidence)} of {one.needed:.3g} needed"
                for one in self._latency.acceptors
                if not one.satisfied
            ]
        )

    def readings(self, seen: Tally) -> list[EvidenceReading]:
        """All tests, as values."""
        text = rates(seen)
        if self._fate.excuses:
            text += ", v1 fails the same requests"
        return [
            EvidenceReading("errors", self._detector.evidence, self.needed, against=True, text=text),
            EvidenceReading("latency", self._latency.evidence, self.needed, against=True),
            EvidenceReading("regression", self.evidence, self.needed, against=True),
            EvidenceReading(
                "errors", self._acceptor.evidence, self._acceptor.needed, against=False, text=rates(seen)
            ),
            *self._latency_readings(),
        ]

    def _latency_readings(self) -> Iterator[EvidenceReading]:
        for test in self._latency.quantiles:
            name = f"latency_p{100.0 * test.q:g}"
            yield EvidenceReading(name, test.evidence, self.needed, against=True, text=_share_slow(test))
        for acceptor in self._latency.acceptors:
            name = f"latency_p{100.0 * acceptor.q:g}"
            yield EvidenceReading(name, acceptor.evidence, acceptor.needed, against=False)
        yield EvidenceReading("latency_mean", self._latency.mean_evidence, self.needed, against=True)

    def __repr__(self) -> str:
        return f"Comparison({self._detector!r}, {self._acceptor!r}, {self._latency!r})"


def _proof(name: str, proof: Proof, left: tuple[float, float], text: str) -> Need:
    """What one test has to show; `left` are requests to v2, and how many there are a second."""
    name, figures = f"evidence:{name}", (proof.evidence, proof.needed, Unit.EVIDENCE)
    if proof.satisfied:
        return Need(name, True, *figures, 0.0, 0.0)
    requests, rate = left
    known = requests < _MOST
    left_s = requests / rate if known and rate > 0.0 else None
    return Need(name, False, *figures, left_s, float(math.ceil(requests)) if known else None, text)


def _slowness(latency: LatencyTests) -> str:
    test = latency.loudest()
    if latency.mean_evidence > test.evidence:
        return "v2's mean against v1's"
    return _share_slow(test)


def _share_slow(test: QuantileTest) -> str:
    """ "p99: 12 % of v2 over 85 ms (120 of 1,000) against 1 % of v1 over 60 ms (90 of 9,000)"."""
    slow = test.slow
    if not slow.n1 or not slow.n2:
        return f"p{100.0 * test.q:g}"
    v2 = f"{100.0 * slow.s2 / slow.n2:.3g} % of v2 over {slow.most_s * 1e3:.3g} ms"
    v1 = f"{100.0 * slow.s1 / slow.n1:.3g} % of v1 over {slow.tau_s * 1e3:.3g} ms"
    counts = f"({slow.s2:,} of {slow.n2:,})", f"({slow.s1:,} of {slow.n1:,})"
    return f"p{100.0 * test.q:g}: {v2} {counts[0]} against {v1} {counts[1]}"


def _requests(left: float) -> str:
    return f", about {math.ceil(left):,} more requests to v2" if 0.0 < left < _MOST else ""
