"""From what was observed to a verdict: precedence, evidence that is forgotten in time, reasons in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.core.gauges import Surroundings
from proxy.core.histogram import Histogram
from proxy.core.judge import HELD, Judge, policy_of
from proxy.core.policy import JudgePolicy
from proxy.core.rollout import step
from proxy.core.tally import Tally
from proxy.judgment import Action, Judgment, Metric, Verdict
from proxy.model import RolloutState, State
from tests.core.plans import percent, phased, plan, second, state

if TYPE_CHECKING:
    from proxy.config.schema import Rollout

ERRORS = {"metric": "error_rate", "above": 0.1, "window": "60s", "mode": "window"}
EVIDENCE = {"metric": "error_rate", "above": 0.1, "window": "60s"}
CRITERIA = {"promotion": "criteria"}
RUNNING = state(percentage=30)
CANARY = state(percentage=1, phase="canary")
BAD, GOOD = second(v2=100, errors=50, v1=100), second(v2=100, v1=100)


def guarded(*guards: dict[str, object]) -> Judge:
    return Judge(plan(percentage=30, guards=guards))


def by_criteria(*guards: dict[str, object], **keys: object) -> Rollout:
    """A plan whose phases pass without evidence."""
    return phased(*guards, judge={**CRITERIA, **keys})


def judged(judge: Judge, tally: Tally, *, on: RolloutState = RUNNING, in_phase_s: float = 0.0) -> Judgment:
    """One tick at 0."""
    judge.observe(0.0, tally)
    return judge.judge(on, 0.0, in_phase_s)


# ... guards


def test_a_firing_guard_fails() -> None:
    judgment = judged(guarded(ERRORS), BAD)
    assert (judgment.verdict, judgment.action, judgment.cause) == (
        Verdict.FAIL,
        Action.ROLLBACK,
        "guard:error_rate",
    )
    assert judgment.reasons == (
        "guard error_rate above 0.1: 0.5 over 60 s (50 of 100 requests to v2), rollback",
    )
    assert [reading.metric for reading in judgment.readings] == [Metric.ERROR_RATE]


def test_of_several_failing_guards_the_severest_acts_and_all_are_named() -> None:
    actions = ["pause", "step_down", "alert", "previous", "rollback"]
    limits = [0.1, 0.2, 0.3, 0.4, 0.45]
    guards = [{**ERRORS, "above": limit, "action": a} for a, limit in zip(actions, limits, strict=True)]
    judgment = judged(Judge(phased(*guards)), BAD, on=CANARY)
    assert judgment.action is Action.ROLLBACK
    assert [reason.rpartition(", ")[2] for reason in judgment.reasons] == [
        "rollback",
        "previous",
        "step_down",
        "pause",
    ]


def test_of_two_steps_down_the_larger_is_taken() -> None:
    small, large = ({**ERRORS, "action": "step_down", "step": points} for points in (5, 20))
    assert judged(guarded(small, large), BAD).step == percent(20)


def test_only_a_step_down_has_a_step() -> None:
    assert judged(guarded(ERRORS), BAD).step == 0


def test_a_failing_guard_goes_before_a_phase_that_would_pass() -> None:
    judge = Judge(by_criteria(ERRORS))
    assert judged(judge, second(v2=400, errors=100), on=CANARY, in_phase_s=600.0).verdict is Verdict.FAIL


def test_a_limit_that_is_crossed_but_not_long_enough_holds_a_phase_back() -> None:
    judge = Judge(by_criteria({**ERRORS, "for": "30s"}))
    judge.observe(0.0, second(v2=400, errors=100))
    judge.judge(CANARY, 0.0, 600.0)
    judgment = judge.judge(CANARY, 10.0, 610.0)
    assert (judgment.verdict, judgment.cause, judgment.action) == (Verdict.HOLD, "guard:error_rate", None)
    assert judgment.reasons == (
        "guard error_rate above 0.1: 0.25 over 60 s (100 of 400 requests to v2), for 10 s of 30 s",
    )
    assert judge.judge(CANARY, 30.0, 630.0).verdict is Verdict.FAIL


def test_an_alert_is_told_and_moves_nothing() -> None:
    judge = Judge(by_criteria({**ERRORS, "action": "alert"}))
    judgment = judged(judge, second(v2=400, errors=100), on=CANARY, in_phase_s=600.0)
    assert judgment.verdict is Verdict.PASS
    assert [alert.guard for alert in judgment.alerts] == ["error_rate above 0.1"]


def test_an_alert_waits_for_its_time() -> None:
    judge = guarded({**ERRORS, "action": "alert", "for": "5s"})
    assert judged(judge, BAD).alerts == ()
    assert len(judge.judge(RUNNING, 5.0, 0.0).alerts) == 1


def test_guards_of_one_name_are_told_apart() -> None:
    judge = guarded(*({**ERRORS, "window": window, "action": "alert"} for window in ("10s", "1h")))
    names = [alert.guard for alert in judged(judge, BAD).alerts]
    assert names == ["error_rate above 0.1", "error_rate above 0.1 #2"]


# ... where guards are read


@pytest.mark.parametrize("watched", [State.RUNNING, State.PAUSED, State.ROLLED_BACK, State.COMPLETED])
def test_guards_watch_wherever_v2_has_traffic(watched: State) -> None:
    judge = guarded(ERRORS)
    assert judged(judge, BAD, on=state(watched, 5)).verdict is Verdict.FAIL


@pytest.mark.parametrize("idle", [State.DISABLED, State.PAUSED, State.ROLLED_BACK, State.ABORTED])
def test_guards_are_not_read_where_v2_has_none(idle: State) -> None:
    judgment = judged(guarded(ERRORS), BAD, on=state(idle))
    assert (judgment.verdict, judgment.readings, judgment.reasons) == (Verdict.HOLD, (), (str(idle),))


def test_a_guard_that_was_not_read_has_not_been_crossed() -> None:
    judge = guarded({**ERRORS, "for": "5s"})
    judged(judge, BAD)
    judge.judge(state(State.ROLLED_BACK), 3.0, 0.0)
    assert judge.judge(RUNNING, 6.0, 0.0).verdict is Verdict.HOLD


def test_health_is_the_latest_that_was_observed() -> None:
    judge = guarded({"metric": "health", "below": 0.5})
    judge.observe(0.0, Tally(), Surroundings(health_v2=0.0))
    assert judge.judge(RUNNING, 0.0, 0.0).verdict is Verdict.FAIL
    judge.observe(1.0, Tally(), Surroundings(health_v1=0.0))
    assert judge.judge(RUNNING, 1.0, 0.0).verdict is Verdict.HOLD


def test_each_guard_reads_its_own_window() -> None:
    judge = guarded({**ERRORS, "window": "5s"}, {**ERRORS, "window": "60s", "action": "alert"})
    judge.observe(0.0, BAD)
    judge.observe(6.0, GOOD)
    judgment = judge.judge(RUNNING, 6.0, 0.0)
    assert [reading.value for reading in judgment.readings] == [0.0, 0.25]


# ... evidence


def test_no_data_neither_fails_nor_passes() -> None:
    durations = {Metric.LATENCY_P50, Metric.LATENCY_P95, Metric.LATENCY_P99, Metric.LATENCY_DELTA_MEAN}
    guards: list[dict[str, object]] = [
        {"metric": str(metric), "above": "0s" if metric in durations else 0, "min_requests": 0}
        for metric in Metric
        if metric is not Metric.HEALTH
    ]
    guards += [{**guard, "mode": "window"} for guard in guards]
    judgment = judged(Judge(phased(*guards)), Tally(), on=CANARY, in_phase_s=10_000.0)
    assert judgment.verdict is Verdict.HOLD
    assert {reading.value for reading in judgment.readings} == {None}


def test_a_tick_without_traffic_interrupts_a_crossing() -> None:
    judge = guarded({**ERRORS, "window": "5s", "for": "8s"})
    verdicts = []
    for now in range(20):
        if now not in {4, 5, 6, 7, 8, 9}:
            judge.observe(float(now), BAD)
        verdicts.append(judge.judge(RUNNING, float(now), 0.0).verdict)
    # What was seen at 3 s leaves the window at 8 s; from 10 s on it is crossed again, for 8 s at 18 s.
    assert [now for now, verdict in enumerate(verdicts) if verdict is Verdict.FAIL] == [18, 19]


def test_a_lowered_rollout_is_not_lowered_again_on_old_evidence() -> None:
    rollout = phased({**ERRORS, "action": "previous"})
    judge, before = Judge(rollout), state(percentage=100, phase="full")
    judge.observe(0.0, BAD)
    transition = step(before, judge.judge(before, 0.0, 0.0), rollout, at=0.0)
    assert transition is not None
    judge.restart(0.0)
    lowered = transition.after
    assert judge.judge(lowered, 0.0, 0.0).verdict is Verdict.HOLD
    judge.observe(1.0, GOOD)
    assert judge.judge(lowered, 1.0, 1.0).readings[0].value == 0.0
    judge.observe(2.0, second(v2=400, errors=300))
    assert judge.judge(lowered, 2.0, 2.0).verdict is Verdict.FAIL


def test_evidence_is_what_was_seen_since_the_restart_and_whole() -> None:
    judge = guarded(ERRORS)
    assert judge.observe(0.0, BAD)
    assert judge.evidence == BAD
    judge.restart(0.5)
    assert judge.evidence == Tally()
    assert not judge.observe(1.0, BAD)  # half of it is from before
    assert judge.evidence == Tally()


def test_a_restart_begins_the_time_of_a_crossing_anew() -> None:
    judge = guarded({**ERRORS, "for": "5s"})
    judged(judge, BAD)
    judge.restart(0.0)
    judge.observe(5.0, BAD)
    assert judge.judge(RUNNING, 5.0, 0.0).verdict is Verdict.HOLD


def test_a_second_that_is_partly_from_before_a_restart_is_left_out() -> None:
    judge = guarded(ERRORS)
    judge.observe(0.0, GOOD)
    judge.restart(0.5)  # a command between two ticks
    judge.observe(1.0, BAD, Surroundings(health_v2=0.5))
    assert judge.judge(RUNNING, 1.0, 0.0).readings[0].sample == 0
    judge.observe(2.0, BAD)
    assert judge.judge(RUNNING, 2.0, 0.0).readings[0].sample == 100


def test_nothing_is_left_out_when_all_was_drained_before_the_restart() -> None:
    judge = guarded(ERRORS)
    judge.observe(0.5, GOOD)
    judge.restart(0.5)
    judge.observe(1.0, BAD)
    assert judge.judge(RUNNING, 1.0, 0.0).verdict is Verdict.FAIL


def test_the_first_second_of_the_process_counts() -> None:
    judge = guarded(ERRORS)
    judge.restart(0.0)
    judge.observe(0.7, BAD)
    assert judge.judge(RUNNING, 0.7, 0.0).verdict is Verdict.FAIL


# ... the breaker beside the guards


def test_an_open_breaker_does_not_slow_down_the_error_guard() -> None:
    """v2 dies after a good minute: five failures open the breaker, a probe goes through every 5 s."""
    judge = guarded(ERRORS)
    for now in range(60):
        judge.observe(float(now), second(v2=10))
    judge.observe(60.0, second(v2=6, errors=5, not_asked=4))
    failed_at = None
    for now in range(61, 120):
        judge.observe(float(now), second(v2=now % 5 == 0, errors=now % 5 == 0, not_asked=9))
        if judge.judge(RUNNING, float(now), 0.0).verdict is Verdict.FAIL:
            failed_at = now
            break
    assert failed_at == 66


# ... phases


def test_a_phase_passes_when_it_has_lasted_and_seen_enough() -> None:
    judge = Judge(by_criteria())
    judgment = judged(judge, second(v2=300), on=CANARY, in_phase_s=600.0)
    assert (judgment.verdict, judgment.cause, judgment.action) == (Verdict.PASS, "phase:canary", None)
    assert judgment.reasons == ("phase canary passed: 300 requests, 600 s",)


def test_a_phase_holds_and_says_what_is_missing() -> None:
    judgment = judged(Judge(by_criteria()), second(v2=120), on=CANARY, in_phase_s=180.0)
    assert (judgment.verdict, judgment.cause) == (Verdict.HOLD, "phase:canary")
    assert judgment.reasons == (
        "phase canary: 120 of 300 requests",
        "phase canary: 180 s of 600 s",
    )


def test_the_evidence_of_a_phase_reaches_back_to_its_beginning() -> None:
    judge = Judge(by_criteria())
    for now in range(300):
        judge.observe(float(now), second(v2=1))
    assert judge.judge(CANARY, 600.0, 600.0).verdict is Verdict.PASS
    judge.restart(600.0)
    assert judge.judge(CANARY, 600.0, 600.0).reasons == ("phase canary: 0 of 300 requests",)


@pytest.mark.parametrize(
    ("rollout", "on", "reason"),
    [
        (plan(percentage=30), RUNNING, "fixed split"),
        (phased(), RUNNING, "no phase has begun"),
        (phased(), state(percentage=1, phase="lost"), "no phase has begun"),
        (phased(judge={"enabled": False}), CANARY, "phase canary: the judge is off"),
        (phased(), state(State.PAUSED, 1, "canary"), "paused"),
        (phased(), state(State.COMPLETED, 100, "full"), "completed"),
    ],
)
def test_without_a_phase_to_judge_it_holds(rollout: Rollout, on: RolloutState, reason: str) -> None:
    judgment = judged(Judge(rollout), second(v2=1_000), on=on, in_phase_s=10_000.0)
    assert (judgment.verdict, judgment.reasons) == (Verdict.HOLD, (reason,))


def test_guards_act_although_the_judge_is_off() -> None:
    judge = Judge(phased(ERRORS, judge={"enabled": False}))
    assert judged(judge, BAD, on=CANARY).verdict is Verdict.FAIL


def test_repr_shows_what_it_has_seen() -> None:
    judge = Judge(phased(ERRORS))
    judge.observe(0.0, BAD)
    assert repr(judge) == "Judge(default, 1 guards, 100 requests to v2 in phase)"


# ... latencies, which are summed up only where something reads them


def slow(latency_s: float, requests: int = 100) -> Tally:
    tally = second(v2=requests, v1=requests)
    for side in (tally.v1, tally.v2):
        side.latency = Histogram()
        for _ in range(requests):
            side.latency.record(latency_s)
    return tally


@pytest.mark.parametrize("window", ["10s", "60s"])
def test_a_guard_on_latency_fires_beside_guards_on_counts(window: str) -> None:
    guard: dict[str, object] = {"metric": "latency_p95", "above": "1s", "window": window}
    assert judged(guarded(ERRORS, guard), slow(0.5)).verdict is Verdict.HOLD
    judgment = judged(guarded(ERRORS, guard), slow(2.0))
    assert (judgment.verdict, judgment.cause) == (Verdict.FAIL, "guard:latency_p95")


def test_a_criterion_on_latency_holds_the_phase() -> None:
    phase = {"name": "canary", "percentage": 1, "require": {"latency_p95_below": "1s"}}
    for latency_s, verdict in ((0.5, Verdict.PASS), (2.0, Verdict.HOLD)):
        judge = Judge(plan(phases=[phase, {"name": "all", "percentage": 100}], judge=CRITERIA))
        assert judged(judge, slow(latency_s), on=CANARY).verdict is verdict


# ... guards on evidence


def test_evidence_fails_and_is_told() -> None:
    judgment = judged(guarded(EVIDENCE), second(v2=20, errors=10))
    assert (judgment.verdict, judgment.action) == (Verdict.FAIL, Action.ROLLBACK)
    [reason] = judgment.reasons
    assert reason.startswith("guard error_rate above 0.1: 0.5 over 60 s (10 of 20 requests to v2), evidence ")
    assert reason.endswith(" of 100 needed, rollback")
    [reading] = judgment.evidence
    assert (reading.name, reading.needed, reading.against) == ("limit:error_rate above 0.1", 100.0, True)
    assert reading.value >= 100.0


def test_evidence_that_is_no_alarm_yet_holds_a_phase_back() -> None:
    judge = Judge(by_criteria(EVIDENCE))
    judge.observe(0.0, second(v2=298))
    judge.judge(CANARY, 0.0, 0.0)
    now = 0.0
    while judge.judge(CANARY, now, 600.0 + now).evidence[-1].value < 10.0:
        now += 1.0
        judge.observe(now, second(v2=1, errors=1))
    judgment = judge.judge(CANARY, now, 600.0 + now)
    assert (judgment.verdict, judgment.cause) == (Verdict.HOLD, "guard:error_rate")
    assert judge.decide(CANARY, now, 600.0 + now) is HELD


def test_what_is_certain_for_one_limit_counts_for_a_severer_one_that_is_far_exceeded() -> None:
    """Else every step back would forget what the next limit had been shown already."""
    severe = {**EVIDENCE, "action": "rollback"}
    mild = {**EVIDENCE, "above": 0.05, "action": "previous"}
    mildest = {**EVIDENCE, "above": 0.01, "action": "pause"}
    judge = Judge(by_criteria(severe, mild))
    state_, now = state(percentage=50, phase="half"), 0.0
    while (judgment := judge.judge(state_, now, now)).verdict is not Verdict.FAIL:
        now += 1.0
        judge.observe(now, second(v2=10, errors=3))
    assert judgment.action is Action.ROLLBACK
    judge = Judge(by_criteria(severe, mild))
    while (judgment := judge.judge(state_, now, now)).verdict is not Verdict.FAIL:
        now += 1.0
        judge.observe(now, second(v2=100, errors=8))
    assert judgment.action is Action.PREVIOUS
    judge = Judge(by_criteria(severe, mildest))
    while (judgment := judge.judge(state_, now, now)).verdict is not Verdict.FAIL:
        now += 1.0
        judge.observe(now, second(v2=100, errors=8))
    assert judgment.action is Action.PAUSE
    paused = state(State.PAUSED, 50, "half")
    judge.observe(now + 1.0, second(v2=200, errors=40))
    assert judge.judge(paused, now + 1.0, now).verdict is Verdict.HOLD  # one bad second, after the pause


def test_a_pause_draws_no_severer_limit_along() -> None:
    """It forgets nothing: what deserves more shows so by itself while the rollout waits."""
    severe = {**EVIDENCE, "above": 0.01, "action": "abort", "window": "1s"}
    judge = Judge(by_criteria(severe, {**severe, "above": 0.005, "action": "pause"}))
    canary, now = state(percentage=50, phase="half"), 0.0
    while (judgment := judge.judge(canary, now, now)).verdict is not Verdict.FAIL:
        now += 1.0
        judge.observe(now, second(v2=150, errors=6 if now > 600 else 0))
    assert judgment.action is Action.PAUSE
    paused = state(State.PAUSED, 50, "half")
    for _ in range(60):
        now += 1.0
        judge.observe(now, second(v2=150, errors=6))
        judgment = judge.judge(paused, now, now)
        if judgment.verdict is Verdict.FAIL:
            break
    assert judgment.action is Action.ABORT


def test_a_pause_that_changes_nothing_stands_before_nothing() -> None:
    pause, step_down = {**ERRORS, "action": "pause"}, {**ERRORS, "above": 0.4, "action": "step_down"}
    judge = guarded(pause, step_down)
    assert judged(judge, BAD, on=state(State.PAUSED, 30)).action is Action.STEP_DOWN
    only = guarded(pause)
    judgment = judged(only, BAD, on=state(State.PAUSED, 30))
    assert (judgment.verdict, judgment.cause) == (Verdict.HOLD, "guard:error_rate")
    assert judged(guarded(pause), BAD).action is Action.PAUSE


def test_a_person_who_goes_on_lets_guards_begin_anew() -> None:
    judge = guarded({**EVIDENCE, "action": "pause"})
    assert judged(judge, BAD).verdict is Verdict.FAIL
    judge.release()
    assert judge.judge(RUNNING, 0.0, 0.0).verdict is Verdict.HOLD


# ... guards of one phase

ABORT_IF = {**EVIDENCE, "above": 0.01, "action": "abort"}
TWO = [
    {"name": "canary", "percentage": 1, "abort_if": [ABORT_IF], "min_duration": "1h"},
    {"name": "full", "percentage": 100, "min_duration": "1h"},
]


def test_the_guards_of_a_phase_hold_in_it_alone() -> None:
    judge = Judge(plan(phases=TWO, judge=CRITERIA))
    judge.judge(CANARY, 0.0, 0.0)
    judgment = judged(judge, second(v2=20, errors=10), on=CANARY)
    assert (judgment.verdict, judgment.action) == (Verdict.FAIL, Action.ABORT)
    assert [reading.guard for reading in judgment.readings] == ["error_rate above 0.01"]
    full = state(percentage=100, phase="full")
    judgment = judged(Judge(plan(phases=TWO, judge=CRITERIA)), second(v2=20, errors=10), on=full)
    assert (judgment.verdict, judgment.readings) == (Verdict.HOLD, ())


def test_the_guards_of_a_phase_begin_with_it() -> None:
    judge = Judge(plan(phases=TWO, judge=CRITERIA))
    judged(judge, second(v2=20, errors=10), on=state(percentage=100, phase="full"))
    assert judge.judge(CANARY, 0.0, 0.0).verdict is Verdict.HOLD


# ... v2 beside v1

NO_GUARD = phased()


def compared(
    rollout: Rollout, seconds: int, *, on: RolloutState = CANARY, **each: int
) -> tuple[Judge, Judgment]:
    """So many seconds with this traffic in each, or until the judgment is no longer to hold."""
    judge, judgment = Judge(rollout), HELD
    judge.judge(on, 0.0, 0.0)
    for now in range(1, seconds + 1):
        judge.observe(float(now), second(**each))
        judgment = judge.decide(on, float(now), float(now))
        if judgment is not HELD:
            break
    return judge, judgment


def test_a_v2_that_is_worse_than_v1_fails_without_any_guard() -> None:
    judge, judgment = compared(NO_GUARD, 60, v2=2, errors=1, v1=10)
    assert (judgment.verdict, judgment.action, judgment.cause) == (
        Verdict.FAIL,
        Action.ROLLBACK,
        "regression:errors",
    )
    assert judge.evidence.v2.requests < 60
    [reason] = judgment.reasons
    requests, errors = judge.evidence.v2.requests, sum(judge.evidence.v2.errors)
    assert reason.startswith(f"errors: v2 50 % ({errors} of {requests}) against v1 0 % (0 of ")
    assert reason.endswith(" of 100 needed, rollback")


def test_what_strikes_both_is_no_regression() -> None:
    judge = Judge(NO_GUARD)
    judge.judge(CANARY, 0.0, 0.0)
    for now in range(1, 120):
        outage = second(v2=10, errors=5 if now > 60 else 0, v1=10)
        outage.v1.errors[0] = 5 if now > 60 else 0
        judge.observe(float(now), outage)
        assert judge.judge(CANARY, float(now), float(now)).verdict is Verdict.HOLD


@pytest.mark.parametrize(
    ("rollout", "on"),
    [
        (phased(judge={"regression": False}), CANARY),
        (plan(percentage=30), RUNNING),
        (NO_GUARD, state(State.ROLLED_BACK, 1)),
    ],
)
def test_where_v2_is_not_compared_it_is_no_worse(rollout: Rollout, on: RolloutState) -> None:
    _, judgment = compared(rollout, 60, on=on, v2=2, errors=1, v1=10)
    assert judgment is HELD


def test_a_regression_is_found_while_the_rollout_is_paused() -> None:
    _, judgment = compared(NO_GUARD, 60, on=state(State.PAUSED, 1, "canary"), v2=2, errors=1, v1=10)
    assert judgment.action is Action.ROLLBACK


def test_a_regression_may_lead_to_something_else() -> None:
    _, judgment = compared(phased(judge={"action": "step_down", "step": 5}), 60, v2=2, errors=1, v1=10)
    assert (judgment.action, judgment.step) == (Action.STEP_DOWN, percent(5))


def test_a_regression_that_is_only_told_is_an_alert() -> None:
    judge = Judge(phased(judge={"action": "alert"}))
    judge.judge(CANARY, 0.0, 0.0)
    for now in range(1, 60):
        judge.observe(float(now), second(v2=2, errors=1, v1=10))
    judgment = judge.judge(CANARY, 60.0, 60.0)
    assert (judgment.verdict, judge.alarming) == (Verdict.HOLD, True)
    [alert] = judgment.alerts
    assert (alert.guard, alert.value, alert.limit) == ("regression", 0.5, 0.0)
    assert judge.words(alert).startswith("errors: v2 50 %")
    assert any(reason.startswith("errors: v2 50 %") for reason in judgment.reasons)


def test_an_alert_of_a_guard_stands_on_what_the_guard_reads() -> None:
    guard = {"metric": "error_rate", "above": 0.1, "mode": "window", "window": "10s", "action": "alert"}
    judge = Judge(phased({**guard, "metric": "latency_p95", "above": "5s"}, guard))
    judge.judge(CANARY, 0.0, 0.0)
    for now in range(1, 10):
        judge.observe(float(now), second(v2=10, errors=5, v1=10))
    [alert] = judge.judge(CANARY, 9.0, 9.0).alerts
    assert judge.words(alert).startswith("guard error_rate above 0.1: 0.5")


def test_a_hard_limit_goes_before_a_regression() -> None:
    rollout = phased({**EVIDENCE, "action": "previous"})
    judge = Judge(rollout)
    judge.judge(CANARY, 0.0, 0.0)
    judge.observe(1.0, second(v2=1, v1=10))
    for now in range(2, 8):
        judge.observe(float(now), second(v2=5, errors=5, v1=10))
    judgment = judge.judge(CANARY, 8.0, 8.0)
    assert (judgment.action, judgment.cause) == (Action.PREVIOUS, "guard:error_rate")
    assert len(judgment.reasons) == 2


def test_a_phase_waits_for_evidence_and_says_how_long() -> None:
    rollout = phased()
    judge, judgment = compared(rollout, 60, v2=5, v1=45)
    told = judge.told(CANARY, 60.0, 60.0)
    assert (judgment, told.verdict) == (HELD, Verdict.HOLD)
    assert told.missing[0] == "60 s of 600 s"
    assert told.eta_s == pytest.approx(540.0)
    names = {(reading.name, reading.against) for reading in told.evidence}
    assert {("errors", True), ("errors", False), ("regression", True)} <= names


def test_a_phase_passes_on_evidence() -> None:
    judge, judgment = compared(phased(), 1_000, v2=5, v1=45)
    assert judgment.verdict is Verdict.PASS
    assert judge.evidence.v2.requests >= 3_000  # the phase itself asks for ten minutes
    assert judgment.reasons[0].startswith("phase canary passed: 3,000 requests, 600 s, evidence that v2 ")
    assert (judgment.missing, judgment.eta_s) == ((), None)


def test_evidence_that_a_phase_does_not_ask_for_is_not_told_as_if_it_did() -> None:
    judge, _ = compared(by_criteria(), 60, v2=5, v1=45)
    told = judge.told(CANARY, 60.0, 60.0)
    assert all(reading.against for reading in told.evidence)
    assert {reading.name for reading in told.evidence} >= {"errors", "latency", "regression"}


def test_few_requests_are_no_evidence() -> None:
    short = plan(phases=[{"name": "canary", "percentage": 1}, {"name": "all", "percentage": 100}])
    judge, judgment = compared(short, 20, v2=1, v1=9)
    assert judgment is HELD
    told = judge.told(CANARY, 20.0, 20.0)
    assert told.missing[0].startswith("v2 not yet shown to fail as seldom as v1: v2 0 % (0 of 20) against v1")
    assert "more requests to v2" in told.missing[0]
    assert told.eta_s is not None
    assert 20.0 < told.eta_s < 2_000.0


def test_without_requests_to_v1_it_cannot_be_told_how_long_evidence_takes() -> None:
    short = plan(phases=[{"name": "canary", "percentage": 1}, {"name": "all", "percentage": 100}])
    judge, _ = compared(short, 5, v2=1)
    told = judge.told(CANARY, 5.0, 5.0)
    assert "against v1 without a request" in told.missing[0]
    assert told.eta_s is None


def test_a_suspicion_keeps_a_phase_from_passing() -> None:
    judge = Judge(plan(phases=[{"name": "canary", "percentage": 1}, {"name": "all", "percentage": 100}]))
    judge.judge(CANARY, 0.0, 0.0)
    for second_ in range(1, 400):
        judge.observe(float(second_), second(v2=5, v1=45))
    assert judge.judge(CANARY, 400.0, 400.0).verdict is Verdict.PASS
    now = 400.0
    while max(r.value for r in judge.judge(CANARY, now, now).evidence if r.name == "regression") < 10.0:
        now += 1.0
        judge.observe(now, second(v2=5, errors=2, v1=45))
    judgment = judge.judge(CANARY, now, now)
    if judgment.verdict is not Verdict.FAIL:
        assert judgment.verdict is Verdict.HOLD
        assert any("errors: v2" in text for text in judgment.missing)


@pytest.mark.parametrize("holdback", [0, 1])
def test_at_100_percent_evidence_is_asked_for_only_where_v1_keeps_a_share(holdback: int) -> None:
    rollout = plan(phases=[{"name": "full", "percentage": 100}], judge={"holdback": holdback})
    _, judgment = compared(rollout, 3, on=state(percentage=100, phase="full"), v2=50)
    assert (judgment is HELD) is bool(holdback)
    if not holdback:
        assert judgment.reasons == ("phase full passed: 50 requests, 1 s",)


def test_while_v2_has_no_share_v1_is_learnt_from() -> None:
    """What v1 does at an error rate of 20 % is no news when v2 does it as well."""
    judge = Judge(NO_GUARD)
    judge.judge(state(State.DISABLED), 0.0, 0.0)
    for now in range(1, 300):
        alone = second(v1=50)
        alone.v1.errors[0] = 10
        judge.observe(float(now), alone)
    judge.judge(CANARY, 300.0, 0.0)
    judge.restart(300.0)
    first = second(v2=5, errors=1, v1=45)
    first.v1.errors[0] = 9
    judge.observe(301.0, first)
    assert all(r.value < 2.0 for r in judge.judge(CANARY, 301.0, 1.0).evidence if r.against)


def test_evidence_against_v2_outlives_a_phase_step_and_no_rollback() -> None:
    def against(judge: Judge) -> float:
        judgment = judge.judge(CANARY, 20.0, 20.0)
        return max(r.value for r in judgment.evidence if r.name == "errors" and r.against)

    climbed, restarted = Judge(NO_GUARD), Judge(NO_GUARD)
    for judge in (climbed, restarted):
        judge.judge(CANARY, 0.0, 0.0)
        for now in range(1, 20):
            judge.observe(float(now), second(v2=5, errors=5 if now > 17 else 0, v1=45))
    before = against(climbed)
    climbed.restart(20.0, climbing=True)
    restarted.restart(20.0)
    assert against(climbed) > before > against(restarted)


def test_a_minute_after_minute_of_swinging_v1_widens_what_is_tolerable() -> None:
    judge = Judge(NO_GUARD)
    judge.judge(state(State.DISABLED), 0.0, 0.0)
    for now in range(1, 60 * 60):
        tally = Tally()
        tally.v1.requests = 100
        tally.v1.errors[0] = 10 if now // 60 % 7 < 3 else 1
        judge.observe(float(now), tally)
    judge.judge(CANARY, 3_600.0, 0.0)
    judge.restart(3_600.0)
    for now in range(3_601, 3_700):
        tally = second(v2=100, errors=8)
        tally.v1.requests, tally.v1.errors[0] = 100, 5
        judge.observe(float(now), tally)
        assert judge.decide(CANARY, float(now), float(now - 3_600)) is HELD


# ... phases that last too long

LONG = {"name": "canary", "percentage": 1, "max_duration": "1h"}


@pytest.mark.parametrize(
    ("end", "verdict", "action"),
    [
        ("hold", Verdict.HOLD, None),
        ("pause", Verdict.FAIL, Action.PAUSE),
        ("rollback", Verdict.FAIL, Action.ROLLBACK),
    ],
)
def test_a_phase_that_lasts_too_long_does_what_it_says(
    end: str, verdict: Verdict, action: Action | None
) -> None:
    judge = Judge(plan(phases=[{**LONG, "on_max_duration": end}]))
    assert judged(judge, Tally(), on=CANARY, in_phase_s=3_600.0).cause != "max_duration:canary"
    judgment = judged(judge, Tally(), on=CANARY, in_phase_s=3_601.0)
    assert (judgment.verdict, judgment.action, judgment.cause) == (verdict, action, "max_duration:canary")
    assert judgment.reasons[0].startswith("phase canary: has lasted 3601 s, 1h at most")
    paused = judged(judge, Tally(), on=state(State.PAUSED, 1, "canary"), in_phase_s=3_601.0)
    assert (paused.verdict, paused.cause) == (Verdict.HOLD, "")


# ... looking and telling


def test_looking_and_telling_agree() -> None:
    rollouts = [
        by_criteria(EVIDENCE),
        by_criteria(ERRORS, tick="1s"),
        NO_GUARD,
        plan(phases=[LONG]),
        plan(percentage=1),
    ]
    for rollout in rollouts:
        judge = Judge(rollout)
        for now in range(1, 700, 7):
            errors = 3 if now > 650 else 0
            judge.observe(float(now), second(v2=10, errors=errors, v1=10))
            looked = judge.decide(CANARY, float(now), float(now))
            told = judge.told(CANARY, float(now), float(now))
            assert looked.verdict is told.verdict
            assert looked is HELD or looked == told


def test_a_tick_without_anything_leaves_everything_as_it_was() -> None:
    judge = guarded(ERRORS)
    judge.observe(0.0, BAD)
    judge.observe(1.0, Tally())
    assert judge.evidence == BAD


def test_what_is_seen_while_a_cache_is_reported_is_remembered() -> None:
    phase = {"name": "canary", "percentage": 1, "require": {"cache_hit_rate_above": 0.5}}
    judge = Judge(plan(phases=[phase], judge=CRITERIA))
    assert judged(judge, second(v2=1), on=CANARY).verdict is Verdict.PASS
    judge.observe(1.0, second(v2=1), Surroundings(cache_hit_rate=0.4))
    assert judge.judge(CANARY, 1.0, 1.0).reasons == ("phase canary: cache_hit_rate 0.4, must be above 0.5",)
    judge.observe(2.0, second(v2=1))
    assert judge.judge(CANARY, 2.0, 2.0).reasons == (
        "phase canary: cache_hit_rate unknown, must be above 0.5",
    )


def test_an_alert_that_fires_keeps_a_phase_that_asks_for_none() -> None:
    phase = {"name": "canary", "percentage": 1, "require": {"no_alerts": True}}
    judge = Judge(plan(phases=[phase], judge=CRITERIA, guards=[{**ERRORS, "action": "alert"}]))
    judgment = judged(judge, BAD, on=CANARY)
    assert judgment.reasons == ("phase canary: an alert fires",)
    assert judge.alarming


def test_v1_before_is_what_it_was_when_it_last_had_a_share() -> None:
    require = {"improvement_above": 40.0}
    phases = [{"name": "canary", "percentage": 1}, {"name": "full", "percentage": 100, "require": require}]
    judge = Judge(plan(phases=phases, judge=CRITERIA))
    judged(judge, second(v2=20, v1=20, v1_s=0.1), on=CANARY)
    judge.restart(0.0, climbing=True)
    full = state(percentage=100, phase="full")
    judge.judge(full, 0.0, 0.0)
    assert judged(judge, second(v2=10, v2_s=0.05), on=full).verdict is Verdict.PASS
    judge.restart(0.0)  # without v1 nothing is learnt of it
    assert judged(judge, second(v2=10, v2_s=0.08), on=full).verdict is Verdict.HOLD


def test_the_policy_has_shares_where_the_configuration_has_points() -> None:
    assert policy_of(plan().judge) == JudgePolicy()
    table = plan(
        judge={"tolerable": {"points": 0.5}, "unacceptable": {"points": 2.0}, "noise_margin": 1.0}
    ).judge
    policy = policy_of(table)
    assert (policy.tolerable_points, policy.unacceptable_points, policy.noise_margin) == (0.005, 0.02, 1.0)
