"""A minute of a rollout: what was counted in it, and how the rollout stood at its end.

Owns the value alone. Must never know where minutes are kept or who looks at them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.model import BUCKETS, Snapshot, State

if TYPE_CHECKING:
    from proxy.core.tally import Tally
    from proxy.judgment import Verdict


@dataclass(frozen=True, slots=True)
class Minute:
    """`tally` was counted in the `seconds` from `at` on (seconds since the Unix epoch), at one weight and in
    one phase; a change of either ends it early, as the end of a minute does. The tally must not change.

    Minutes without a request are not kept.
    """

    rollout: str
    at: float
    seconds: float
    state: State
    weight: int
    phase: str | None
    verdict: Verdict
    tally: Tally

    @property
    def percentage(self) -> float:
        """The weight in percent, 0..100."""
        return self.weight * 100.0 / BUCKETS

    def snapshot(self) -> Snapshot:
        """What was counted, as figures."""
        return self.tally.snapshot(self.seconds)
