"""From what was observed to a verdict: precedence, evidence that is forgotten in time, reasons in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.core.histogram import Histogram
from proxy.core.judge import PRECEDENCE, SEVERITY, Judge
from proxy.core.rollout import step
from proxy.core.tally import Tally
from proxy.model import Action, Judgment, Metric, RolloutState, State, Verdict
from tests.core.plans import percent, phased, plan, second, state

if TYPE_CHECKING:
    from proxy.config.schema import Rollout

ERRORS = {"metric": "error_rate", "above": 0.1, "window": "60s"}
RUNNING = state(percentage=30)
CANARY = state(percentage=1, phase="canary")
BAD, GOOD = second(v2=100, errors=50, v1=100), second(v2=100, v1=100)


def guarded(*guards: dict[str, object]) -> Judge:
    return Judge(plan(percentage=30, guards=guards))


def judged(judge: Judge, tally: Tally, *, on: RolloutState = RUNNING, in_phase_s: float = 0.0) -> Judgment:
    """One tick at 0."""
    judge.observe(0.0, tally)
    return judge.judge(on, 0.0, in_phase_s)


# ... precedence


def test_fail_goes_before_hold_before_pass() -> None:
    assert PRECEDENCE == (Verdict.FAIL, Verdict.HOLD, Verdict.PASS)
    assert set(PRECEDENCE) == set(Verdict)


def test_the_severest_action_comes_first() -> None:
    assert SEVERITY == (Action.ROLLBACK, Action.PREVIOUS, Action.STEP_DOWN, Action.PAUSE)
    assert {*SEVERITY, Action.ALERT} == set(Action)


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
    judge = Judge(phased(ERRORS))
    assert judged(judge, second(v2=400, errors=100), on=CANARY, in_phase_s=600.0).verdict is Verdict.FAIL


def test_a_limit_that_is_crossed_but_not_long_enough_holds_a_phase_back() -> None:
    judge = Judge(phased({**ERRORS, "for": "30s"}))
    judge.observe(0.0, second(v2=400, errors=100))
    judge.judge(CANARY, 0.0, 600.0)
    judgment = judge.judge(CANARY, 10.0, 610.0)
    assert (judgment.verdict, judgment.cause, judgment.action) == (Verdict.HOLD, "guard:error_rate", None)
    assert judgment.reasons == (
        "guard error_rate above 0.1: 0.25 over 60 s (100 of 400 requests to v2), for 10 s of 30 s",
    )
    assert judge.judge(CANARY, 30.0, 630.0).verdict is Verdict.FAIL


def test_an_alert_is_told_and_moves_nothing() -> None:
    judge = Judge(phased({**ERRORS, "action": "alert"}))
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
    judge.observe(0.0, Tally(), health_v2=0.0)
    assert judge.judge(RUNNING, 0.0, 0.0).verdict is Verdict.FAIL
    judge.observe(1.0, Tally(), health_v1=0.0, health_v2=1.0)
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
    judgment = judged(Judge(phased(*guards)), Tally(), on=CANARY, in_phase_s=10_000.0)
    assert judgment.verdict is Verdict.HOLD
    assert [reading.value for reading in judgment.readings] == [None] * 8


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
    judge.observe(1.0, BAD, health_v2=0.5)
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
    judge = Judge(phased())
    judgment = judged(judge, second(v2=300), on=CANARY, in_phase_s=600.0)
    assert (judgment.verdict, judgment.cause, judgment.action) == (Verdict.PASS, "phase:canary", None)
    assert judgment.reasons == ("phase canary passed: 300 requests, 600 s",)


def test_a_phase_holds_and_says_what_is_missing() -> None:
    judgment = judged(Judge(phased()), second(v2=120), on=CANARY, in_phase_s=180.0)
    assert (judgment.verdict, judgment.cause) == (Verdict.HOLD, "phase:canary")
    assert judgment.reasons == (
        "phase canary: 120 of 300 requests",
        "phase canary: 180 s of 600 s",
    )


def test_the_evidence_of_a_phase_reaches_back_to_its_beginning() -> None:
    judge = Judge(phased())
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
        judge = Judge(plan(phases=[phase, {"name": "all", "percentage": 100}]))
        assert judged(judge, slow(latency_s), on=CANARY).verdict is verdict
