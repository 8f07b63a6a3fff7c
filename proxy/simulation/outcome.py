"""What came out of a simulation: a value, the same as JSON, and which of four words sums it up.

Owns these figures and nothing of how they came about.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from proxy.core.rollout import phase_index
from proxy.judgment import Verdict
from proxy.model import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from proxy.config.schema import Rollout
    from proxy.judgment import Judgment
    from proxy.model import RolloutState, Transition


class Ending(StrEnum):
    """Where a rollout stands at the end."""

    COMPLETED = "completed"
    ROLLED_BACK = "rolled_back"  # or aborted: v2 was taken back
    HELD = "held"  # paused or at 0, or it could go on by its time and something is missing
    RUNNING = "running"  # there was not enough time


@dataclass(frozen=True, slots=True)
class Happening:
    """One event of the audit, `t_s` seconds after the beginning."""

    t_s: float
    percentage: float
    cause: str
    state: str
    phase: str | None
    reason: str
    actor: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """All of it. `reasons` are those of the last judgment, `refused` the commands that were not possible,
    `unknown` requests of a path that nothing was recorded of."""

    rollout: str
    outcome: Ending
    duration_s: float
    seed: int
    state: str
    phase: str | None
    percentage: float
    reasons: tuple[str, ...]
    rolled_back_at_s: float | None
    completed_at_s: float | None
    v1_requests: int
    v2_requests: int
    v2_requests_after_change: int
    v2_not_sent: int
    fallbacks: int
    client_errors: int
    unknown: int
    refused: tuple[str, ...]
    events: tuple[Happening, ...]

    def document(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return asdict(self)


def happenings(transitions: Iterable[Transition], start: float) -> tuple[Happening, ...]:
    """The audit by seconds since `start`."""
    return tuple(
        Happening(
            t_s=round(one.at - start, 3),
            percentage=one.after.percentage,
            cause=one.cause,
            state=one.after.state,
            phase=one.after.phase,
            reason=one.reason,
            actor=one.actor,
        )
        for one in transitions
    )


def ending(state: RolloutState, judgment: Judgment, plan: Rollout, at: float) -> Ending:
    """The word for `state` at wall time `at`, after the last `judgment`."""
    if state.state is State.COMPLETED:
        return Ending.COMPLETED
    if state.state in {State.ROLLED_BACK, State.ABORTED}:
        return Ending.ROLLED_BACK
    if state.state in {State.PAUSED, State.DISABLED}:
        return Ending.HELD
    index = phase_index(plan, state.phase)
    if index is None or judgment.verdict is not Verdict.HOLD:
        return Ending.RUNNING
    over = at - state.since > plan.phases[index].min_duration_s
    return Ending.HELD if over else Ending.RUNNING


def first_s(happened: Sequence[Happening], *states: State) -> float | None:
    """When the rollout first came into one of these states."""
    return next((one.t_s for one in happened if one.state in states), None)
