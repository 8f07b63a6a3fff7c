"""v1 in v2's stead: which failures it covers, how many it may, and how many of them it fails too.

Owns the fallback's part of a simulation, by the policy and the budget that the data plane has. Must never
know what v2 did. Every request is taken to be one that may be repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.core.fallback import Budget, FallbackPolicy
from proxy.core.tally import ERROR_CLASSES
from proxy.model import ErrorClass, FallbackReason
from proxy.simulation.chance import binomial

if TYPE_CHECKING:
    from random import Random

    from proxy.config.rollout import Fallback


class Substitute:
    """The fallback of one rollout."""

    def __init__(self, table: Fallback, rng: Random) -> None:
        self._reasons = [_reason(FallbackPolicy.of(table), kind) for kind in ERROR_CLASSES]
        self._budget = Budget(table.budget, table.budget_floor) if table.budget < 1 else None
        self.counts = self._budget is not None
        """Whether it has to be told of requests."""
        self._rng = rng

    def requests(self, now: float, n: int) -> None:
        """`n` requests have come, which the budget is a share of."""
        if self._budget is not None:
            for _ in range(n):
                self._budget.request(now)

    def reason(self, kind: int) -> FallbackReason | None:
        """Why v1 answers after a failure of this class, by its index; None if the failure stands."""
        return self._reasons[kind]

    def answer(self, now: float, n: int, fails: float) -> tuple[int, int]:
        """How many of `n` requests v1 is given, and how many of those it fails."""
        given = n if self._budget is None else sum([self._budget.allow(now) for _ in range(n)])
        return given, binomial(self._rng, given, fails)


def _reason(policy: FallbackPolicy, kind: ErrorClass) -> FallbackReason | None:
    if not policy.enabled:
        return None
    if kind is ErrorClass.STATUS:
        return FallbackReason.STATUS if policy.statuses else None
    return FallbackReason(kind) if kind in policy.errors else None
