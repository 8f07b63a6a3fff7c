"""The acceptor for errors: is v2 shown to be as good as v1, so that it may have more traffic?

Owns the evidence for v2. Must never know the phase's other criteria, or a clock.

That nothing speaks against v2 is no proof: v2 may have had ten requests. The acceptor bets the other way
round, against v2 being unacceptable. How long it takes is in its nature: an error rate that is one point
higher shows within about 300 requests, one that is a tenth of a point higher within 3,000.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from proxy.core.bets import MirroredBets

if TYPE_CHECKING:
    from proxy.core.detector import Block
    from proxy.core.policy import JudgePolicy

_SPARE = 3.0  # nats beyond what is needed that good times may lay up against bad ones
_SLOWEST = 1e-12  # nats per request; what rounding leaves of less


class Acceptor:
    """Evidence that v2 is not unacceptable; starts at 1 with each phase."""

    __slots__ = ("_bets", "_log", "_needed")

    def __init__(self, policy: JudgePolicy) -> None:
        self._bets = MirroredBets(policy.unacceptable_ratio, policy.unacceptable_points)
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

    def observe(self, block: Block, design_rate: float) -> None:
        """Bet on the block; `design_rate` is v1's expected rate as it was before the block."""
        n1, s1, n2, s2 = float(block.n1), float(block.s1), float(block.n2), float(block.s2)
        for bet in self._bets.at(design_rate, n2 / n1):
            self._log += bet.log_e(n1, s1, n2, s2)
        if self._log > self._needed + _SPARE:
            self._log = self._needed + _SPARE

    def remaining(self, base: float, nu: float) -> float:
        """About how many more requests to v2 it takes if both paths err at `base`, with `nu` requests to v2
        for each to v1; infinite where the bet cannot win.
        """
        wanting = self._needed - self._log
        if wanting <= 0.0:
            return 0.0
        for bet in self._bets.at(base, nu):
            return wanting / max(bet.log_e(1.0 / nu, base / nu, 1.0, base), _SLOWEST)
        return math.inf

    def restart(self) -> None:
        """A phase has begun."""
        self._log = 0.0

    def __repr__(self) -> str:
        return f"Acceptor({self.evidence:.3g} of {self.needed:.3g})"
