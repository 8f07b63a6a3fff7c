"""How commands and judgments move a rollout."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.moves import MOVES
from proxy.core.rollout import (
    apply,
    command_transition,
    first_transition,
    initial,
    may_retry,
    outdates_evidence,
    phase_index,
    retry,
    stage,
    step,
)
from proxy.errors import ControlError, IllegalMove, InvalidCommand, RevisionConflict
from proxy.judgment import Action, Judgment, Verdict
from proxy.model import BUCKETS, Command, RolloutState, Stage, State, Transition, Verb
from tests.core.plans import percent, phased, plan, state

if TYPE_CHECKING:
    from proxy.config.schema import Rollout

FIXED = plan(percentage=30)
PHASED = phased()
LIVE = (State.RUNNING, State.PAUSED, State.COMPLETED, State.ROLLED_BACK)


def command(verb: Verb, percentage: float | None = None, **more: object) -> Command:
    weight = None if percentage is None else percent(percentage)
    return replace(Command("default", verb, "tess", weight=weight), **more)  # type: ignore[arg-type]


def after(
    before: RolloutState, verb: Verb, percentage: float | None = None, *, on: Rollout = PHASED
) -> tuple[State, float, str | None]:
    result = apply(before, command(verb, percentage), on, at=200.0)
    return result.state, result.percentage, result.phase


def failing(action: Action | None, step: int = 0) -> Judgment:
    return Judgment(
        Verdict.FAIL, ("guard one", "guard two"), cause="guard:error_rate", action=action, step=step
    )


def moved(before: RolloutState, judgment: Judgment, on: Rollout = PHASED) -> tuple[State, float, str | None]:
    transition = step(before, judgment, on, at=200.0)
    assert transition is not None
    return transition.after.state, transition.after.percentage, transition.after.phase


PASSED = Judgment(Verdict.PASS, ("phase canary passed",), cause="phase:canary")


# ... the first state


@pytest.mark.parametrize(
    ("rollout", "expected"),
    [
        (plan(), (State.DISABLED, 0, None)),
        (FIXED, (State.RUNNING, 30, None)),
        (PHASED, (State.DISABLED, 0, None)),
        (phased(percentage=1), (State.RUNNING, 1, None)),
        (phased(autostart=True), (State.RUNNING, 1, "canary")),
    ],
)
def test_where_a_rollout_begins(rollout: Rollout, expected: tuple[State, float, str | None]) -> None:
    begun = initial(rollout, at=5.0)
    assert (begun.state, begun.percentage, begun.phase) == expected
    assert (begun.name, begun.revision, begun.since) == ("default", 1, 5.0)


def test_the_first_transition_comes_from_nothing() -> None:
    first = first_transition(FIXED, at=5.0)
    assert first.after == initial(FIXED, at=5.0)
    assert (first.before.revision, first.before.state, first.before.weight) == (0, State.DISABLED, 0)
    assert (first.cause, first.actor, first.at) == ("config", "config", 5.0)


# ... a fixed split


def test_a_fixed_split_goes_where_it_is_set() -> None:
    assert after(state(percentage=30), Verb.SET, 60, on=FIXED) == (State.RUNNING, 60, None)
    assert after(state(State.DISABLED), Verb.SET, 60, on=FIXED) == (State.RUNNING, 60, None)
    assert after(state(percentage=30), Verb.SET, 0, on=FIXED) == (State.DISABLED, 0, None)


def test_start_brings_a_fixed_split_to_its_configured_percentage() -> None:
    assert after(state(State.ROLLED_BACK), Verb.START, on=FIXED) == (State.RUNNING, 30, None)
    with pytest.raises(IllegalMove, match="use set"):
        after(state(State.DISABLED), Verb.START, on=plan())
    assert after(state(percentage=60), Verb.START, on=FIXED) == (State.RUNNING, 60, None)


def test_a_fixed_split_has_nothing_to_be_promoted_to_but_everything() -> None:
    with pytest.raises(IllegalMove, match="without phases"):
        after(state(percentage=30), Verb.PROMOTE, on=FIXED)
    full = apply(state(percentage=30), command(Verb.PROMOTE, full=True), FIXED, at=200.0)
    assert (full.state, full.weight, full.phase) == (State.COMPLETED, BUCKETS, None)


def test_pausing_keeps_the_weight_and_resuming_finds_it() -> None:
    paused = apply(state(percentage=30), command(Verb.PAUSE), FIXED, at=200.0)
    assert (paused.state, paused.percentage) == (State.PAUSED, 30)
    assert after(paused, Verb.RESUME, on=FIXED) == (State.RUNNING, 30, None)


def test_a_paused_rollout_stays_paused_when_it_is_set() -> None:
    assert after(state(State.PAUSED, 30), Verb.SET, 60, on=FIXED) == (State.PAUSED, 60, None)
    nothing = apply(state(State.PAUSED, 30), command(Verb.SET, 0), FIXED, at=200.0)
    assert nothing.state is State.PAUSED
    assert after(nothing, Verb.RESUME, on=FIXED) == (State.DISABLED, 0, None)


# ... phases


def test_start_enters_the_first_phase() -> None:
    for before in (
        state(State.DISABLED),
        state(State.ROLLED_BACK),
        state(State.ABORTED),
        state(percentage=50),
    ):
        assert after(before, Verb.START) == (State.RUNNING, 1, "canary")
    assert after(state(State.COMPLETED, 100, "full"), Verb.START) == (State.RUNNING, 1, "canary")


def test_what_has_begun_goes_on() -> None:
    begun = state(percentage=50, phase="half")
    assert apply(begun, command(Verb.START), PHASED, at=200.0) is begun


def test_promote_walks_through_the_phases() -> None:
    assert after(state(percentage=1, phase="canary"), Verb.PROMOTE) == (State.RUNNING, 50, "half")
    assert after(state(State.PAUSED, 50, "half"), Verb.PROMOTE) == (State.RUNNING, 100, "full")
    assert after(state(percentage=100, phase="full"), Verb.PROMOTE) == (State.COMPLETED, 100, "full")


def test_promote_without_a_phase_goes_to_the_next_larger_one() -> None:
    assert after(state(State.PAUSED), Verb.PROMOTE) == (State.RUNNING, 1, "canary")
    assert after(state(percentage=10), Verb.PROMOTE) == (State.RUNNING, 50, "half")
    assert after(state(percentage=10, phase="lost"), Verb.PROMOTE) == (State.RUNNING, 50, "half")
    assert after(state(percentage=100), Verb.PROMOTE) == (State.COMPLETED, 100, "full")


def test_promote_never_lowers() -> None:
    assert after(state(percentage=60, phase="canary"), Verb.PROMOTE) == (State.RUNNING, 60, "half")
    smaller = plan(phases=[{"name": "only", "percentage": 20}])
    assert after(state(percentage=60, phase="only"), Verb.PROMOTE, on=smaller) == (
        State.COMPLETED,
        60,
        "only",
    )


def test_full_promotion_gives_everything_to_v2() -> None:
    smaller = plan(phases=[{"name": "only", "percentage": 20}])
    full = apply(state(percentage=20, phase="only"), command(Verb.PROMOTE, full=True), smaller, at=200.0)
    assert (full.state, full.weight, full.phase) == (State.COMPLETED, BUCKETS, "only")


@pytest.mark.parametrize(
    ("percentage", "phase"), [(0.5, None), (1, "canary"), (49.999, "canary"), (50, "half"), (100, "full")]
)
def test_set_is_in_the_last_phase_that_asks_for_no_more(percentage: float, phase: str | None) -> None:
    assert after(state(percentage=2, phase="canary"), Verb.SET, percentage) == (
        State.RUNNING,
        percentage,
        phase,
    )


# ... rollback and abort


@pytest.mark.parametrize("live", LIVE)
def test_rollback_takes_everything_from_v2(live: State) -> None:
    assert after(state(live, 50, "half"), Verb.ROLLBACK) == (State.ROLLED_BACK, 0, None)


@pytest.mark.parametrize("live", LIVE)
def test_rollback_can_leave_a_share(live: State) -> None:
    assert after(state(live, 50, "half"), Verb.ROLLBACK, 5) == (State.ROLLED_BACK, 5, None)


def test_rollback_never_raises() -> None:
    with pytest.raises(InvalidCommand, match="60 % is above 50 %"):
        after(state(percentage=50), Verb.ROLLBACK, 60)


@pytest.mark.parametrize("any_state", State)
def test_abort_takes_everything_from_v2(any_state: State) -> None:
    before = state(any_state, 50 if any_state in LIVE else 0)
    assert after(before, Verb.ABORT) == (State.ABORTED, 0, None)


def test_a_rollback_of_nothing_is_one_where_keys_are_pinned_to_v2() -> None:
    before = state(State.DISABLED)
    rolled_back = apply(before, command(Verb.ROLLBACK), PHASED, at=200.0, pinned=True)
    assert (rolled_back.state, rolled_back.weight) == (State.ROLLED_BACK, 0)
    assert apply(rolled_back, command(Verb.ROLLBACK), PHASED, at=201.0, pinned=True) is rolled_back
    assert apply(before, command(Verb.STEP_DOWN), PHASED, at=200.0, pinned=True) is before


# ... one step down


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (state(percentage=100, phase="full"), (State.RUNNING, 50, "half")),
        (state(State.COMPLETED, 100, "full"), (State.RUNNING, 50, "half")),
        (state(State.PAUSED, 50, "half"), (State.PAUSED, 1, "canary")),
        (state(percentage=70, phase="half"), (State.RUNNING, 1, "canary")),
        (state(percentage=1, phase="canary"), (State.ROLLED_BACK, 0, None)),
        (state(State.PAUSED, 1, "canary"), (State.ROLLED_BACK, 0, None)),
        (state(State.PAUSED), (State.ROLLED_BACK, 0, None)),
        (state(percentage=30), (State.RUNNING, 1, "canary")),
        (state(percentage=0.5), (State.ROLLED_BACK, 0, None)),
        (state(State.ROLLED_BACK, 50), (State.ROLLED_BACK, 1, None)),
        (state(State.ROLLED_BACK, 1), (State.ROLLED_BACK, 0, None)),
    ],
)
def test_a_step_down_goes_one_phase_back(
    before: RolloutState, expected: tuple[State, float, str | None]
) -> None:
    assert after(before, Verb.STEP_DOWN) == expected


def test_a_step_down_takes_one_step_off() -> None:
    stepped = plan(steps={"by": 10, "every": "1h"})
    assert after(state(percentage=30, phase="30%"), Verb.STEP_DOWN, on=stepped) == (State.RUNNING, 20, "20%")
    assert after(state(percentage=10, phase="10%"), Verb.STEP_DOWN, on=stepped) == (
        State.ROLLED_BACK,
        0,
        None,
    )


def test_a_step_down_without_phases_is_a_rollback() -> None:
    assert after(state(percentage=30), Verb.STEP_DOWN, on=FIXED) == (State.ROLLED_BACK, 0, None)


# ... asking for what already is


@pytest.mark.parametrize(
    ("before", "asked"),
    [
        (state(percentage=1, phase="canary"), command(Verb.START)),
        (state(State.DISABLED), command(Verb.ROLLBACK)),
        (state(State.DISABLED), command(Verb.SET, 0)),
        (state(percentage=30), command(Verb.RESUME)),
        (state(percentage=50, phase="half"), command(Verb.SET, 50)),
        (state(State.PAUSED, 50, "half"), command(Verb.PAUSE)),
        (state(State.PAUSED, 50, "half"), command(Verb.SET, 50)),
        (state(State.ROLLED_BACK), command(Verb.ROLLBACK)),
        (state(State.ROLLED_BACK, 5), command(Verb.ROLLBACK, 5)),
        (state(State.COMPLETED, 100, "full"), command(Verb.PROMOTE)),
        (state(State.COMPLETED, 100, "full"), command(Verb.PROMOTE, full=True)),
        (state(State.ABORTED), command(Verb.ABORT)),
        (state(State.ABORTED), command(Verb.ROLLBACK)),
        (state(State.ABORTED), command(Verb.STEP_DOWN)),
        (state(State.DISABLED), command(Verb.STEP_DOWN)),
        (state(State.ROLLED_BACK), command(Verb.STEP_DOWN)),
    ],
)
def test_asking_twice_is_no_error_and_no_transition(before: RolloutState, asked: Command) -> None:
    assert apply(before, asked, PHASED, at=200.0) is before
    assert command_transition(before, asked, PHASED, at=200.0) is None


def test_a_lower_rollback_than_the_last_is_a_transition() -> None:
    assert after(state(State.ROLLED_BACK, 5), Verb.ROLLBACK) == (State.ROLLED_BACK, 0, None)


# ... records


def test_a_command_is_recorded_with_who_and_why() -> None:
    before = state(percentage=30)
    asked = replace(command(Verb.SET, 60), reason="looks good")
    transition = command_transition(before, asked, FIXED, at=200.0)
    assert transition == Transition(
        before,
        RolloutState(
            "default", State.RUNNING, percent(60), None, revision=8, since=200.0, reason="looks good"
        ),
        cause="command:set",
        reason="looks good",
        actor="tess",
        at=200.0,
    )
    assert transition.changes_state


def test_a_command_without_a_reason_says_who() -> None:
    assert apply(state(percentage=30), command(Verb.PAUSE), FIXED, at=200.0).reason == "pause by tess"


# ... refusals


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        (command(Verb.SET), InvalidCommand, "needs a percentage"),
        (command(Verb.PAUSE, 5), InvalidCommand, "pause takes no percentage"),
        (command(Verb.SET, 101), InvalidCommand, "not 101 %"),
        (command(Verb.SET, -1), InvalidCommand, "not -1 %"),
        (command(Verb.SET, 5, full=True), InvalidCommand, "only promote"),
        (command(Verb.SET, 5, revision=6), RevisionConflict, "6 was expected, the present one is 7"),
        (command(Verb.SET, 101, revision=6), RevisionConflict, "6 was expected"),
    ],
)
def test_impossible_commands_are_refused(asked: Command, error: type[ControlError], says: str) -> None:
    with pytest.raises(error, match=says):
        apply(state(percentage=30), asked, FIXED, at=200.0)


def test_the_present_revision_is_accepted() -> None:
    assert apply(state(percentage=30), command(Verb.SET, 5, revision=7), FIXED, at=200.0).percentage == 5


# ... automatic moves


def test_a_pass_enters_the_next_phase_and_then_completes() -> None:
    assert moved(state(percentage=1, phase="canary"), PASSED) == (State.RUNNING, 50, "half")
    assert moved(state(percentage=100, phase="full"), PASSED) == (State.COMPLETED, 100, "full")


@pytest.mark.parametrize(
    "before",
    [
        state(State.PAUSED, 1, "canary"),
        state(State.ROLLED_BACK, 1),
        state(State.DISABLED),
        state(percentage=1),
        state(percentage=1, phase="lost"),
    ],
)
def test_a_pass_moves_nothing_that_is_not_in_a_phase(before: RolloutState) -> None:
    assert step(before, PASSED, PHASED, at=200.0) is None


def test_a_hold_moves_nothing() -> None:
    assert step(state(percentage=1, phase="canary"), Judgment(Verdict.HOLD), PHASED, at=200.0) is None


@pytest.mark.parametrize("live", LIVE)
def test_a_failing_guard_rolls_back(live: State) -> None:
    assert moved(state(live, 50, "half"), failing(Action.ROLLBACK)) == (State.ROLLED_BACK, 0, None)


def test_an_automatic_move_is_recorded_with_its_judgment() -> None:
    before, judgment = state(percentage=50, phase="half"), failing(Action.ROLLBACK)
    transition = step(before, judgment, PHASED, at=200.0)
    assert transition is not None
    assert (transition.cause, transition.actor, transition.at) == ("guard:error_rate", "controller", 200.0)
    assert transition.reason == transition.after.reason == "guard one; guard two"
    assert transition.judgment is judgment
    assert (transition.after.revision, transition.after.since) == (8, 200.0)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (state(percentage=100, phase="full"), (State.RUNNING, 50, "half")),
        (state(State.COMPLETED, 100, "full"), (State.RUNNING, 50, "half")),
        (state(State.PAUSED, 50, "half"), (State.PAUSED, 1, "canary")),
        (state(percentage=70, phase="half"), (State.RUNNING, 1, "canary")),
        (state(percentage=0.5, phase="half"), (State.ROLLED_BACK, 0, None)),  # never up to the phase before
        (state(percentage=1, phase="canary"), (State.ROLLED_BACK, 0, None)),
        (state(percentage=30), (State.ROLLED_BACK, 0, None)),
        (state(State.ROLLED_BACK, 30), (State.ROLLED_BACK, 0, None)),
    ],
)
def test_previous_goes_one_phase_back_or_to_nothing(
    before: RolloutState, expected: tuple[State, float, str | None]
) -> None:
    assert moved(before, failing(Action.PREVIOUS)) == expected


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (state(percentage=100, phase="full"), (State.RUNNING, 90, "half")),
        (state(State.COMPLETED, 100, "full"), (State.RUNNING, 90, "half")),
        (state(State.PAUSED, 50, "half"), (State.PAUSED, 40, "canary")),
        (state(State.ROLLED_BACK, 50), (State.ROLLED_BACK, 40, None)),
        (state(percentage=10, phase="canary"), (State.ROLLED_BACK, 0, None)),
        (state(percentage=5, phase="canary"), (State.ROLLED_BACK, 0, None)),
    ],
)
def test_step_down_takes_its_points_off(
    before: RolloutState, expected: tuple[State, float, str | None]
) -> None:
    assert moved(before, failing(Action.STEP_DOWN, percent(10))) == expected


def test_a_failing_guard_can_pause() -> None:
    assert moved(state(percentage=50, phase="half"), failing(Action.PAUSE)) == (State.PAUSED, 50, "half")
    assert moved(state(State.COMPLETED, 100, "full"), failing(Action.PAUSE)) == (State.PAUSED, 100, "full")


@pytest.mark.parametrize("live", LIVE)
def test_a_failing_guard_can_abort(live: State) -> None:
    assert moved(state(live, 50), failing(Action.ABORT)) == (State.ABORTED, 0, None)


@pytest.mark.parametrize(
    ("before", "action"),
    [
        (state(State.PAUSED, 50, "half"), Action.PAUSE),
        (state(State.ROLLED_BACK, 5), Action.PAUSE),
        (state(State.DISABLED), Action.ROLLBACK),
        (state(State.ABORTED), Action.STEP_DOWN),
        (state(percentage=50, phase="half"), Action.ALERT),
        (state(percentage=50, phase="half"), None),
    ],
)
def test_what_cannot_be_lowered_further_stays(before: RolloutState, action: Action | None) -> None:
    assert step(before, failing(action, percent(10)), PHASED, at=200.0) is None


# ... after a rollback

RETRYING = phased(auto_retry=2, cooldown="10m")
TAKEN_BACK = step(state(percentage=50, phase="half"), failing(Action.ROLLBACK), RETRYING, at=200.0)


def test_what_the_judge_has_rolled_back_starts_again_after_the_cooldown() -> None:
    assert TAKEN_BACK is not None
    back = TAKEN_BACK.after
    assert (back.rolled_back_from, back.retries) == ("half", 0)
    assert retry(back, RETRYING, at=799.9) is None
    again = retry(back, RETRYING, at=800.0)
    assert again is not None
    assert (again.cause, again.actor) == ("auto_retry", "controller")
    assert again.reason == "retry 1 of 2 after half was rolled back"
    assert (again.after.state, again.after.phase, again.after.weight) == (State.RUNNING, "canary", percent(1))
    assert (again.after.retries, again.after.rolled_back_from) == (1, None)


def test_it_starts_again_only_so_often_until_a_person_starts_it() -> None:
    present = state(percentage=50, phase="half")
    for number in (1, 2):
        back = step(present, failing(Action.ROLLBACK), RETRYING, at=200.0)
        assert back is not None
        again = retry(back.after, RETRYING, at=9_999.0)
        assert again is not None
        present = again.after
        assert present.retries == number
    back = step(present, failing(Action.ROLLBACK), RETRYING, at=200.0)
    assert back is not None
    assert retry(back.after, RETRYING, at=9_999.0) is None
    by_hand = apply(back.after, command(Verb.START), RETRYING, at=9_999.0)
    assert by_hand.retries == 0
    lowered = step(present, failing(Action.STEP_DOWN, 1), RETRYING, at=200.0)
    assert lowered is not None
    assert lowered.after.retries == 2


@pytest.mark.parametrize(
    "asked",
    [command(Verb.ROLLBACK), command(Verb.ABORT), command(Verb.STEP_DOWN)],
)
def test_a_person_calls_the_retry_off(asked: Command) -> None:
    assert TAKEN_BACK is not None
    assert may_retry(TAKEN_BACK.after, RETRYING)
    called_off = command_transition(TAKEN_BACK.after, asked, RETRYING, at=300.0)
    assert called_off is not None
    assert not may_retry(called_off.after, RETRYING)
    assert command_transition(called_off.after, asked, RETRYING, at=300.0) is None


def test_what_a_person_rolls_back_is_not_started_again() -> None:
    by_hand = apply(state(percentage=50, phase="half"), command(Verb.ROLLBACK), RETRYING, at=200.0)
    assert by_hand.rolled_back_from is None
    assert retry(by_hand, RETRYING, at=9_999.0) is None


@pytest.mark.parametrize(
    "rollout",
    [PHASED, phased(auto_retry=2, judge={"enabled": False}), plan(percentage=30, auto_retry=2)],
)
def test_a_rollout_that_is_not_to_be_retried_stays_where_it_is(rollout: Rollout) -> None:
    assert TAKEN_BACK is not None
    assert not may_retry(TAKEN_BACK.after, rollout)


def test_a_rollback_to_a_share_is_not_retried_before_it_is_one_to_nothing() -> None:
    partly = RolloutState("default", State.ROLLED_BACK, percent(5), rolled_back_from="half")
    assert not may_retry(partly, RETRYING)
    wholly = step(partly, failing(Action.ROLLBACK), RETRYING, at=200.0)
    assert wholly is not None
    assert wholly.after.rolled_back_from == "half"
    assert may_retry(wholly.after, RETRYING)


# ... stages


@pytest.mark.parametrize(
    ("present", "rollout", "expected"),
    [
        (state(State.DISABLED), PHASED, Stage.DISABLED),
        (state(State.ROLLED_BACK), PHASED, Stage.DISABLED),
        (state(percentage=1, phase="canary"), PHASED, Stage.TESTING),
        (state(State.PAUSED, 1, "canary"), PHASED, Stage.TESTING),
        (state(percentage=10), PHASED, Stage.PARTIAL),
        (state(percentage=50, phase="half"), PHASED, Stage.PARTIAL),
        (state(percentage=100, phase="full"), PHASED, Stage.FULL),
        (state(State.COMPLETED, 100, "full"), PHASED, Stage.COMPLETE),
        (state(State.COMPLETED, 50), FIXED, Stage.COMPLETE),
        (state(percentage=10), FIXED, Stage.TESTING),
        (state(percentage=10.001), FIXED, Stage.PARTIAL),
        (state(percentage=100), FIXED, Stage.FULL),
    ],
)
def test_a_stage_says_how_far_it_has_come(present: RolloutState, rollout: Rollout, expected: Stage) -> None:
    assert stage(present, rollout) is expected


# ... evidence


@pytest.mark.parametrize(
    ("changed", "outdated"),
    [
        (state(State.PAUSED, 50, "half"), False),
        (state(State.RUNNING, 40, "half"), True),
        (state(State.RUNNING, 50, "canary"), True),
    ],
)
def test_another_weight_or_phase_outdates_the_evidence(changed: RolloutState, outdated: bool) -> None:
    before = state(percentage=50, phase="half")
    assert outdates_evidence(Transition(before, changed, "", "", "", 0.0)) is outdated


def test_a_phase_is_found_by_its_name() -> None:
    assert phase_index(PHASED, "half") == 1
    assert phase_index(PHASED, None) is None
    assert phase_index(PHASED, "lost") is None


# ... whatever happens

plans = st.sampled_from([FIXED, PHASED, plan(), phased(autostart=True), phased(percentage=50)])
weights = st.none() | st.integers(min_value=-10, max_value=BUCKETS + 10)
commands = st.builds(
    Command, st.just("default"), st.sampled_from(Verb), st.just("tess"), weight=weights, full=st.booleans()
)
easy_commands = st.builds(Command, st.just("default"), st.sampled_from(Verb), st.just("tess")) | st.builds(
    Command, st.just("default"), st.just(Verb.SET), st.just("tess"), weight=st.integers(0, BUCKETS)
)
judgments = st.builds(
    Judgment,
    st.sampled_from(Verdict),
    action=st.none() | st.sampled_from(Action),
    step=st.integers(min_value=0, max_value=BUCKETS),
)
asks = st.lists(commands | easy_commands | judgments, max_size=30)


def walk(rollout: Rollout, asked: list[Command | Judgment]) -> list[Transition]:
    """Every transition of a life that begins as configured."""
    present, moves = initial(rollout, at=0.0), []
    for number, ask in enumerate(asked):
        try:
            if isinstance(ask, Judgment):
                transition = step(present, ask, rollout, at=number)
            else:
                transition = command_transition(present, ask, rollout, at=number)
        except (IllegalMove, InvalidCommand):
            assert isinstance(ask, Command)  # judgments never raise
            continue
        if transition is not None:
            present = transition.after
            moves.append(transition)
    return moves


@given(plans, asks)
def test_no_sequence_leaves_0_to_100_percent(rollout: Rollout, asked: list[Command | Judgment]) -> None:
    for transition in walk(rollout, asked):
        reached = transition.after
        assert 0 <= reached.weight <= BUCKETS
        assert reached.phase is None or phase_index(rollout, reached.phase) is not None
        if reached.state in {State.DISABLED, State.ABORTED}:
            assert (reached.weight, reached.phase) == (0, None)
        if reached.state in {State.RUNNING, State.COMPLETED}:
            assert reached.weight > 0


@given(plans, asks)
def test_every_transition_is_in_the_table_and_adds_one_revision(
    rollout: Rollout, asked: list[Command | Judgment]
) -> None:
    for transition in walk(rollout, asked):
        before, reached = transition.before, transition.after
        assert reached.revision == before.revision + 1
        assert any(reached.state in MOVES.get((before.state, verb), ()) for verb in Verb)
        assert replace(before, revision=0, since=0, reason="") != replace(
            reached, revision=0, since=0, reason=""
        )


@given(plans, asks)
def test_rollback_is_reachable_from_every_live_state(
    rollout: Rollout, asked: list[Command | Judgment]
) -> None:
    for transition in walk(rollout, asked):
        live = transition.after
        if live.weight > 0 or live.state in {State.RUNNING, State.PAUSED, State.COMPLETED}:
            by_hand = apply(live, command(Verb.ROLLBACK), rollout, at=99.0)
            by_itself = step(live, failing(Action.ROLLBACK), rollout, at=99.0)
            assert by_itself is not None
            assert (by_hand.state, by_hand.weight) == (State.ROLLED_BACK, 0)
            assert (by_itself.after.state, by_itself.after.weight) == (State.ROLLED_BACK, 0)


@given(plans, asks)
def test_by_itself_a_rollout_goes_up_only_by_passing(
    rollout: Rollout, asked: list[Command | Judgment]
) -> None:
    for transition in walk(rollout, asked):
        if transition.judgment is not None and transition.judgment.verdict is not Verdict.PASS:
            assert transition.after.weight <= transition.before.weight
        if transition.judgment is not None and transition.judgment.verdict is Verdict.PASS:
            assert transition.before.state is State.RUNNING
            assert transition.after.weight >= transition.before.weight
