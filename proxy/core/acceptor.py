"""The acceptor for errors: is v2 shown to be as good as v1, so that it may have more traffic?

Owns the evidence for v2. Must never know the phase's other criteria, or a clock.

That nothing speaks against v2 is no proof: v2 may have had ten requests. The acceptor bets the other way
round, against v2 being unacceptable. How long it takes is in its nature: an error rate that is one point
higher shows within about 300 requests, one that is a tenth of a point higher within 3,000.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from proxy.core.bets import MirroredBets

if TYPE_CHECKING:
    from proxy.core.bets import Bet
    from proxy.core.detector import Block
    from proxy.core.policy import JudgePolicy

_SPARE: Final = 3.0  # nats beyond what is needed that good times may lay up against bad ones
_SLOWEST: Final = 1e-12  # nats per request; what rounding leaves of less


class Proof:
    """Evidence for v2, which is bet on; starts at 1 with each phase."""

    __slots__ = ("_log", "_needed")

    def __init__(self, policy: JudgePolicy) -> None:
        self._needed = -math.log(policy.wrong_promotions)
        self._log = 0.0

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
        """Whether v2 is shown to be good."""
        return self._log >= self._needed

    def take(self, earned: float) -> None:
        """The logarithm of what a bet has made of a block."""
        log, most = self._log + earned, self._needed + _SPARE
        self._log = min(log, most)

    def left(self, bet: Bet | None, nu: float, rates: tuple[float, float]) -> float:
        """About how many more requests to v2 it takes if v1 and v2 have these rates, with `nu` requests to v2
        for each to v1; infinite where the bet cannot win."""
        wanting = self._needed - self._log
        if wanting <= 0.0:
            return 0.0
        if bet is None:
            return math.inf
        return wanting / max(bet.log_e(1.0 / nu, rates[0] / nu, 1.0, rates[1]), _SLOWEST)

    def restart(self) -> None:
        """A phase has begun."""
        self._log = 0.0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.evidence:.3g} of {self.needed:.3g})"


class Acceptor(Proof):
    """The evidence that v2's error rate is not unacceptable."""

    __slots__ = ("_bets",)

    def __init__(self, policy: JudgePolicy) -> None:
        super().__init__(policy)
        self._bets = MirroredBets(policy.unacceptable_ratio, policy.unacceptable_points)

    def observe(self, block: Block, design_rate: float) -> None:
        """Bet on the block; `design_rate` is v1's expected rate as it was before the block."""
        for log in self._bets.round(design_rate, block.n1, block.s1, block.n2, block.s2).logs:
            self.take(log)

    def remaining(self, base: float, nu: float) -> float:
        """As `left`, if both paths err at `base`."""
        for bet in self._bets.at(base, nu):
            return self.left(bet, nu, (base, base))
        return self.left(None, nu, (base, base))
