"""How a rollout moves: from a command or a judgment, and the plan, to the next state.

Owns weights and phases; which moves are legal is the table in `moves`. Must never know who carries a state
out, stores it or shows it. All are pure functions of their arguments; `at` is seconds since the Unix epoch.

The judge moves a rollout by the same verbs as people do. Only a phase that passed raises a weight by itself,
and `auto_retry`, where it is configured, starts again what the judge has rolled back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from proxy.core.moves import MOVES, outcomes
from proxy.errors import IllegalMove, InvalidCommand, RevisionConflict
from proxy.judgment import Action, Verdict
from proxy.model import BUCKETS, Command, RolloutState, Stage, State, Transition, Verb

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.config.schema import Rollout
    from proxy.judgment import Judgment

CONTROLLER = "controller"
"""The actor of automatic moves."""

_TESTING_UP_TO = BUCKETS // 10  # without a plan


# ... the first state


def initial(plan: Rollout, at: float) -> RolloutState:
    """Where a rollout begins, at revision 1, when nothing is stored: as configured, or in its first phase."""
    state = RolloutState(plan.name, State.DISABLED, 0, revision=1, since=at, reason="configured")
    if plan.phases and plan.autostart:
        first = plan.phases[0]
        return replace(state, state=State.RUNNING, weight=first.weight, phase=first.name)
    return replace(state, state=State.RUNNING, weight=plan.weight) if plan.weight else state


def first_transition(plan: Rollout, at: float) -> Transition:
    """The record of that beginning: from nothing (revision 0) to `initial`, by the configuration."""
    after = initial(plan, at)
    before = RolloutState(plan.name, State.DISABLED, 0, since=at)
    return Transition(before, after, cause="config", reason=after.reason, actor="config", at=at)


# ... commands


def apply(
    state: RolloutState, command: Command, plan: Rollout, at: float, *, pinned: bool = False
) -> RolloutState:
    """The state after `command`; the very same `state` if the command asks for what already is.

    `pinned` is whether keys go to v2 whatever the weight: then a rollback of nothing is one all the same.
    Raises RevisionConflict, InvalidCommand (impossible values) or IllegalMove (not from this state).
    """
    _check(state, command)
    ends = outcomes(state.state, command.verb)
    aim = _AIMS[command.verb](state, command, plan)
    target = ends[-1] if aim.ended or (pinned and command.verb is Verb.ROLLBACK) else ends[0]
    same = (target, aim.weight, aim.phase) == (state.state, state.weight, state.phase)
    if same and not _calls_off_retry(state, command, plan):
        return state
    return RolloutState(
        name=state.name,
        state=target,
        weight=aim.weight,
        phase=aim.phase,
        revision=state.revision + 1,
        since=at,
        reason=command.reason or f"{command.verb} by {command.actor}",
        retries=_retries(state, command),
        rolled_back_from=_rolled_back_from(state, command, target),
    )


def command_transition(
    state: RolloutState, command: Command, plan: Rollout, at: float, *, pinned: bool = False
) -> Transition | None:
    """The transition that `command` asks for, or None if it asks for what already is. Raises as `apply`."""
    after = apply(state, command, plan, at, pinned=pinned)
    if after is state:
        return None
    return Transition(state, after, f"command:{command.verb}", after.reason, command.actor, at)


def _retries(state: RolloutState, command: Command) -> int:
    """A person's `start` or `set` counts anew."""
    if command.verb not in {Verb.START, Verb.SET}:
        return state.retries
    return state.retries + (command.verb is Verb.START) if command.actor == CONTROLLER else 0


def _rolled_back_from(state: RolloutState, command: Command, target: State) -> str | None:
    """After a person's rollback there is none: only a person starts again."""
    if target is not State.ROLLED_BACK or command.actor != CONTROLLER:
        return None
    return state.phase if state.state is not State.ROLLED_BACK else state.rolled_back_from


# ... automatic moves


def step(state: RolloutState, judgment: Judgment, plan: Rollout, at: float) -> Transition | None:
    """The move that `judgment` asks for: a failing guard's action, the next phase, or None. Never raises."""
    if judgment.verdict is Verdict.HOLD:
        return None
    reason = "; ".join(judgment.reasons)
    verb, weight = (
        _passed(state, plan) if judgment.verdict is Verdict.PASS else _failed(state, judgment, plan)
    )
    if verb is None:
        return None
    after = apply(state, Command(state.name, verb, CONTROLLER, reason, weight), plan, at)
    if after is state:
        return None
    return Transition(state, after, judgment.cause, reason, CONTROLLER, at, judgment)


def retry(state: RolloutState, plan: Rollout, at: float) -> Transition | None:
    """The start that `auto_retry` asks for at wall time `at`: what the judge itself has taken back to nothing
    begins again at the first phase, once the cooldown is over. None where that is nobody's wish."""
    if not may_retry(state, plan) or at - state.since < plan.cooldown_s:
        return None
    reason = f"retry {state.retries + 1} of {plan.auto_retry} after {state.rolled_back_from} was rolled back"
    after = apply(state, Command(state.name, Verb.START, CONTROLLER, reason), plan, at)
    return Transition(state, after, "auto_retry", reason, CONTROLLER, at)


def may_retry(state: RolloutState, plan: Rollout) -> bool:
    """Whether the controller starts it again by itself, after the cooldown."""
    back = state.state is State.ROLLED_BACK and state.weight == 0 and state.rolled_back_from is not None
    return back and bool(plan.phases) and plan.judge.enabled and state.retries < plan.auto_retry


def _calls_off_retry(state: RolloutState, command: Command, plan: Rollout) -> bool:
    """A person who rolls back what the judge has rolled back already wants it to stay there."""
    return command.actor != CONTROLLER and may_retry(state, plan)


def outdates_evidence(transition: Transition) -> bool:
    """Whether evidence from before says nothing of what follows, another weight or phase: `Judge.restart`."""
    before, after = transition.before, transition.after
    return (before.weight, before.phase) != (after.weight, after.phase)


def stage(state: RolloutState, plan: Rollout) -> Stage:
    """How far it has come, whatever its phases are called."""
    if state.weight == 0:
        return Stage.DISABLED
    if state.state is State.COMPLETED:
        return Stage.COMPLETE
    if state.weight == BUCKETS:
        return Stage.FULL
    testing = state.weight <= (plan.phases[0].weight if plan.phases else _TESTING_UP_TO)
    return Stage.TESTING if testing else Stage.PARTIAL


def phase_index(plan: Rollout, name: str | None) -> int | None:
    """Position of the phase in the plan; None without one, or if the plan has since lost it."""
    return next((index for index, phase in enumerate(plan.phases) if phase.name == name), None)


def _passed(state: RolloutState, plan: Rollout) -> tuple[Verb | None, int | None]:
    in_phase = state.state is State.RUNNING and phase_index(plan, state.phase) is not None
    return (Verb.PROMOTE if in_phase else None), None


def _failed(state: RolloutState, judgment: Judgment, plan: Rollout) -> tuple[Verb | None, int | None]:
    match judgment.action:
        case Action.ROLLBACK:
            return Verb.ROLLBACK, None
        case Action.PREVIOUS:
            return _lower(state, _previous_weight(state, plan))
        case Action.STEP_DOWN:
            return _lower(state, state.weight - judgment.step)
        case Action.PAUSE if (state.state, Verb.PAUSE) in MOVES:
            return Verb.PAUSE, None
        case Action.ABORT:
            return Verb.ABORT, None
        case _:
            return None, None


def _lower(state: RolloutState, weight: int) -> tuple[Verb, int | None]:
    """To less, staying held where a person or a guard has put it: `set` would start what was rolled back."""
    if weight <= 0:
        return Verb.ROLLBACK, None
    return (Verb.ROLLBACK if state.state is State.ROLLED_BACK else Verb.SET), weight


def _previous_weight(state: RolloutState, plan: Rollout) -> int:
    """The nearest smaller weight among the phases before this one; 0 if there is none."""
    index = phase_index(plan, state.phase) or 0
    return max((phase.weight for phase in plan.phases[:index] if phase.weight < state.weight), default=0)


# ... what each verb aims at


@dataclass(frozen=True, slots=True)
class _Aim:
    weight: int
    phase: str | None
    ended: bool = False  # the last outcome in the table, not the first


def _start(state: RolloutState, command: Command, plan: Rollout) -> _Aim:
    if state.state is State.RUNNING and (not plan.phases or phase_index(plan, state.phase) is not None):
        return _Aim(state.weight, state.phase)  # it has been started
    if plan.phases:
        return _Aim(plan.phases[0].weight, plan.phases[0].name)
    if not plan.weight:
        raise IllegalMove(
            "start is not possible without phases or a percentage in the configuration: use set"
        )
    return _Aim(plan.weight, None)


def _stay(state: RolloutState, command: Command, plan: Rollout) -> _Aim:
    return _Aim(state.weight, state.phase, ended=state.weight == 0)


def _promote(state: RolloutState, command: Command, plan: Rollout) -> _Aim:
    last = plan.phases[-1] if plan.phases else None
    if command.full:
        return _Aim(BUCKETS, last.name if last else None, ended=True)
    if state.state is State.COMPLETED:
        return _Aim(state.weight, state.phase)
    if last is None:
        raise IllegalMove("promote is not possible without phases: use set, or promote --full")
    index = phase_index(plan, state.phase)
    following = _phases_within(plan, state.weight) if index is None else index + 1
    if following == len(plan.phases):
        return _Aim(max(state.weight, last.weight), last.name, ended=True)
    phase = plan.phases[following]
    return _Aim(max(state.weight, phase.weight), phase.name)


def _rollback(state: RolloutState, command: Command, plan: Rollout) -> _Aim:
    weight = command.weight or 0
    if weight > state.weight:
        raise InvalidCommand(f"rollback only lowers: {_percent(weight)} is above {_percent(state.weight)}")
    return _Aim(weight, None)


def _set(state: RolloutState, command: Command, plan: Rollout) -> _Aim:
    weight = command.weight or 0
    within = _phases_within(plan, weight) if weight else 0
    return _Aim(weight, plan.phases[within - 1].name if within else None, ended=weight == 0)


def _abort(state: RolloutState, command: Command, plan: Rollout) -> _Aim:
    return _Aim(0, None)


def _step_down(state: RolloutState, command: Command, plan: Rollout) -> _Aim:
    before = plan.phases[: phase_index(plan, state.phase)]  # all of them, in no phase
    lower = [phase for phase in before if phase.weight < state.weight]
    if not lower:
        return _Aim(0, None, ended=True)
    held = state.state is State.ROLLED_BACK  # nobody has started it again: it is in no phase
    return _Aim(lower[-1].weight, None if held else lower[-1].name)


_AIMS: dict[Verb, Callable[[RolloutState, Command, Rollout], _Aim]] = {
    Verb.START: _start,
    Verb.PAUSE: _stay,
    Verb.RESUME: _stay,
    Verb.PROMOTE: _promote,
    Verb.ROLLBACK: _rollback,
    Verb.SET: _set,
    Verb.ABORT: _abort,
    Verb.STEP_DOWN: _step_down,
}


def _phases_within(plan: Rollout, weight: int) -> int:
    """How many phases, from the first on, ask for at most `weight`."""
    return sum(phase.weight <= weight for phase in plan.phases)


# ... checks


def _check(state: RolloutState, command: Command) -> None:
    if command.revision is not None and command.revision != state.revision:
        raise RevisionConflict(
            f"revision {command.revision} was expected, the present one is {state.revision}"
        )
    if command.weight is None and command.verb is Verb.SET:
        raise InvalidCommand("set needs a percentage")
    if command.weight is not None and command.verb not in {Verb.SET, Verb.ROLLBACK}:
        raise InvalidCommand(f"{command.verb} takes no percentage")
    if command.weight is not None and not 0 <= command.weight <= BUCKETS:
        raise InvalidCommand(f"a percentage lies between 0 and 100, not {_percent(command.weight)}")
    if command.full and command.verb is not Verb.PROMOTE:
        raise InvalidCommand(f"{command.verb} is never full; only promote is")


def _percent(weight: int) -> str:
    return f"{weight * 100 / BUCKETS:g} %"
