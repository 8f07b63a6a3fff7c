"""The acceptor for latencies: is v2 shown to be as fast as v1, so that it may have more traffic?

Owns the choice of the threshold, and what is bet. Must never know the phase's other criteria, or a clock.

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
from typing import TYPE_CHECKING, Final

from proxy.core.acceptor import Proof
from proxy.core.bets import Bet
from proxy.core.latency_threshold import Allowed, Threshold

if TYPE_CHECKING:
    from proxy.core.latency_past import Known, Tick
    from proxy.core.policy import JudgePolicy

_NU_GRID: Final = 0.1  # step of log ν


class LatencyAcceptor(Proof):
    """Evidence that v2 is not unacceptably slow at the first of `candidates`, quantiles, or the one nearby
    that shows it best."""

    __slots__ = ("_bets", "_candidates", "_expected", "_rate", "q", "slow")

    def __init__(self, candidates: tuple[float, ...], policy: JudgePolicy) -> None:
        super().__init__(policy)
        self.q = candidates[0]
        allowed = Allowed(policy.latency_unacceptable_ratio, policy.latency_unacceptable_s)
        self.slow = Threshold(allowed)
        self._candidates = candidates
        self._bets: dict[int, Bet] = {}  # by ν, for the present threshold
        self._rate = self._expected = 0.0

    def draw(self, known: Known) -> None:
        """A new threshold, from what v1 has done so far."""
        self._bets.clear()
        most = -1.0
        for q in self._candidates:
            bucket = known.bucket(q)
            beyond = self.slow.allowed.beyond(bucket)
            rate, expected = known.share_from(bucket), known.share_from(beyond)
            gain = _gain(rate, expected)
            if gain > most:
                most = gain
                self.q, self._rate, self._expected = q, rate, expected
                self.slow.move(bucket)

    def observe(self, tick: Tick) -> bool:
        """Bet on what the tick completes, if it does."""
        block = self.slow.observe(tick)
        if block is None:
            return False
        bet = self._bet(block.n2 / block.n1)
        if bet is not None:
            self.take(bet.log_e(block.n1, block.s1, block.n2, block.s2))
        return True

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
        """As `left`, if v2 is as v1 has been."""
        return self.left(self._bet(nu), nu, (self._rate, self._expected))

    def restart(self) -> None:
        """A phase has begun; the threshold stays."""
        super().restart()
        self.slow.restart()

    def __repr__(self) -> str:
        return f"LatencyAcceptor(p{self.q * 100:g}, {self.evidence:.3g} of {self.needed:.3g})"


def _gain(rate: float, expected: float) -> float:
    """What a request to v2 is worth, in nats, against a v1 that is known well; rates between 0 and 1."""
    if expected >= rate:
        return 0.0
    return expected * math.log(expected / rate) + (1.0 - expected) * math.log((1.0 - expected) / (1.0 - rate))
