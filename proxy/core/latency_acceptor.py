"""The acceptor for latencies: is v2 shown to be as fast as v1, so that it may have more traffic?

Owns the threshold and the evidence for v2. Must never know the phase's other criteria, or a clock.

A request to v1 is slow above τ, one to v2 above what is unacceptable, 1.5 τ + 10 ms. The null is that v2 is
slow at least as often as v1. A v2 like v1 passes its own threshold as seldom as v1 itself does, which is
known from the past: that is what is bet on. It is asked in the middle and in the tail, at about the median
and the 90th percentile; at the 99th each promotion would take several hundred requests more.

Where latencies come in two modes a quantile may lie between them, and whoever is over τ is then over the
other threshold as well: nothing can be won there. So each acceptor has neighbouring quantiles to choose
from, and takes the one that v1's past says is won the fastest.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from proxy.core.bets import Bet
from proxy.core.detector import Blocks
from proxy.core.histogram import bucket_bounds_us, bucket_index
from proxy.core.latency_past import bucket_of, share_from

if TYPE_CHECKING:
    from proxy.core.histogram import Histogram
    from proxy.core.latency_past import Tick
    from proxy.core.policy import JudgePolicy

_SPARE = 3.0  # nats beyond what is needed that good times may lay up against bad ones
_NU_GRID = 0.1  # step of log ν
_SLOWEST = 1e-12  # nats per request; what rounding leaves of less


class LatencyAcceptor:
    """Evidence that v2 is not unacceptably slow at the first of `candidates`, quantiles, or the one nearby
    that shows it best. Starts at 1 with each phase."""

    __slots__ = (
        "_bets",
        "_blocks",
        "_candidates",
        "_expected",
        "_log",
        "_needed",
        "_plus_us",
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
        "unacceptable_s",
    )

    def __init__(self, candidates: tuple[float, ...], policy: JudgePolicy) -> None:
        self.q = candidates[0]
        self._candidates = candidates
        self._ratio = policy.latency_unacceptable_ratio
        self._plus_us = policy.latency_unacceptable_s * 1e6
        self._needed = -math.log(policy.wrong_promotions)
        self._blocks = Blocks()
        self._bets: dict[int, Bet] = {}  # by ν, for the present threshold
        self._slow_from = self._slow_from_v2 = 0
        self._rate = self._expected = 0.0
        self._log = 0.0
        self.tau_s = self.unacceptable_s = 0.0
        self.n1 = self.s1 = self.n2 = self.s2 = 0

    @property
    def evidence(self) -> float:
        """`needed` is enough."""
        return math.exp(self._log)

    @property
    def needed(self) -> float:
        """1 over the share of wrong promotions: 20."""
        return math.exp(self._needed)

    @property
    def satisfied(self) -> bool:
        """Whether v2 is shown to be as fast."""
        return self._log >= self._needed

    def draw(self, past: Histogram) -> None:
        """A new threshold, from what v1 has done so far."""
        self._bets.clear()
        most = -1.0
        for q in self._candidates:
            bucket = bucket_of(past.quantile(q))
            tau_us = bucket_bounds_us(bucket)[0]
            unacceptable_us = self._ratio * tau_us + self._plus_us
            beyond = bucket_index(int(unacceptable_us)) + 1
            rate, expected = share_from(past, bucket), share_from(past, beyond)
            gain = _gain(rate, expected)
            if gain > most:
                most = gain
                self.q = q
                self.tau_s, self.unacceptable_s = tau_us * 1e-6, unacceptable_us * 1e-6
                self._slow_from, self._slow_from_v2 = bucket, beyond
                self._rate, self._expected = rate, expected

    def observe(self, tick: Tick) -> None:
        """Bet on what the tick completes."""
        n1, s1 = tick.v1_slow(self._slow_from)
        n2, s2 = tick.v2_slow(self._slow_from_v2)
        self.n1 += n1
        self.s1 += s1
        self.n2 += n2
        self.s2 += s2
        block = self._blocks.add(n1, s1, n2, s2, tick.dt_s)
        if block is None:
            return
        bet = self._bet(block.n2 / block.n1)
        if bet is not None:
            earned = bet.log_e(float(block.n1), float(block.s1), float(block.n2), float(block.s2))
            self._log = min(self._log + earned, self._needed + _SPARE)

    def _bet(self, nu: float) -> Bet | None:
        rate, expected = self._rate, self._expected
        if expected >= rate:
            return None
        at_nu = math.floor(math.log(nu) / _NU_GRID + 0.5)
        bet = self._bets.get(at_nu)
        if bet is None:
            weight = math.exp(at_nu * _NU_GRID)
            # The point of equal rates that diverges least from the two.
            bet = Bet(1.0, 0.0, rate, expected, (rate + weight * expected) / (1.0 + weight))
            self._bets[at_nu] = bet
        return bet

    def remaining(self, nu: float) -> float:
        """About how many more requests to v2 it takes with `nu` of them for each to v1; infinite where the
        bet cannot win."""
        wanting = self._needed - self._log
        if wanting <= 0.0:
            return 0.0
        bet = self._bet(nu)
        if bet is None:
            return math.inf
        return wanting / max(bet.log_e(1.0 / nu, self._rate / nu, 1.0, self._expected), _SLOWEST)

    def restart(self) -> None:
        """A phase has begun; the threshold stays."""
        self._log = 0.0
        self._blocks.restart()
        self.n1 = self.s1 = self.n2 = self.s2 = 0

    def __repr__(self) -> str:
        return f"LatencyAcceptor(p{self.q * 100:g}, {self.evidence:.3g} of {self.needed:.3g})"


def _gain(rate: float, expected: float) -> float:
    """What a request to v2 is worth, in nats, against a v1 that is known well; rates between 0 and 1."""
    if expected >= rate:
        return 0.0
    return expected * math.log(expected / rate) + (1.0 - expected) * math.log((1.0 - expected) / (1.0 - rate))
