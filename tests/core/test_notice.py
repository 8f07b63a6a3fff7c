"""What a transition amounts to for those who are told of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from proxy.config.alerts import AlertRule
from proxy.core.alert_rules import RuleReading
from proxy.core.notice import (
    MOVES,
    NoticeKind,
    Severity,
    of_conflict,
    of_guard,
    of_move,
    of_rule,
    of_store,
    of_test,
    of_worker,
)
from proxy.judgment import Action, EvidenceReading, GuardReading, Judgment, Metric, Verdict
from proxy.model import RolloutState, State, Transition

RUNNING = RolloutState("shop", State.RUNNING, 25_000, "canary", 4)
READING = GuardReading(
    "error_rate above 0.1",
    Metric.ERROR_RATE,
    0.315,
    0.1,
    200,
    20,
    crossed=True,
    firing=True,
    action=Action.ROLLBACK,
)


def moved(
    *,
    before: RolloutState = RUNNING,
    cause: str = "command:set",
    actor: str = "tess",
    judgment: Judgment | None = None,
    **after: Any,
) -> Transition:
    later = replace(before, revision=before.revision + 1, **after)
    return Transition(before, later, cause, "because", actor, 7.0, judgment)


def failed(*readings: GuardReading, cause: str = "guard:error_rate", **more: Any) -> Judgment:
    return Judgment(Verdict.FAIL, ("because",), cause, Action.ROLLBACK, readings=readings, **more)


@pytest.mark.parametrize(
    ("transition", "kind"),
    [
        (moved(state=State.ROLLED_BACK, weight=0, phase=None), NoticeKind.ROLLBACK),
        (moved(state=State.ABORTED, weight=0), NoticeKind.ABORT),
        (moved(state=State.COMPLETED, weight=100_000), NoticeKind.COMPLETED),
        (moved(state=State.PAUSED), NoticeKind.PAUSED),
        (moved(weight=10_000), NoticeKind.LOWERED),
        (moved(state=State.DISABLED, weight=0), NoticeKind.LOWERED),
        (moved(weight=50_000, phase="half"), NoticeKind.PHASE),
        (moved(weight=25_000, phase="quarter"), NoticeKind.PHASE),
        (moved(weight=30_000), NoticeKind.RAISED),
        (moved(phase=None), NoticeKind.CHANGED),
        (moved(before=replace(RUNNING, state=State.PAUSED), state=State.RUNNING), NoticeKind.RESUMED),
        (
            moved(before=replace(RUNNING, weight=0, phase=None), weight=1_000, phase="canary"),
            NoticeKind.STARTED,
        ),
        (moved(before=replace(RUNNING, state=State.ROLLED_BACK), weight=10_000), NoticeKind.ROLLBACK),
    ],
)
def test_a_move_is_called_by_what_it_does(transition: Transition, kind: NoticeKind) -> None:
    notice = of_move(transition)
    assert notice.kind is kind
    assert kind in MOVES
    assert not notice.lasts


def test_a_rollback_by_a_guard_carries_what_it_stands_on() -> None:
    other = replace(READING, metric=Metric.FALLBACK_RATE, value=0.4)
    judgment = failed(other, replace(READING, firing=False, limit=0.5), READING)
    notice = of_move(
        moved(
            state=State.ROLLED_BACK,
            weight=0,
            phase=None,
            cause="guard:error_rate",
            actor="controller",
            judgment=judgment,
        ),
        ("4bf92f3577b34da6a3ce929d0e0e4736",),
    )
    assert (notice.metric, notice.value, notice.limit, notice.sample) == ("error_rate", 0.315, 0.1, 200)
    assert (notice.rollout, notice.state, notice.action) == ("shop", State.ROLLED_BACK, "rollback")
    assert (notice.phase_before, notice.phase) == ("canary", None)
    assert (notice.percentage_before, notice.percentage) == (25.0, 0.0)
    assert (notice.revision, notice.cause, notice.actor, notice.at) == (
        5,
        "guard:error_rate",
        "controller",
        7.0,
    )
    assert notice.severity is Severity.CRITICAL
    assert notice.exemplars == ("4bf92f3577b34da6a3ce929d0e0e4736",)


def test_a_guard_that_was_drawn_along_is_the_one_that_is_told() -> None:
    severe = replace(READING, firing=False, limit=0.5)
    milder = replace(READING, action=Action.PAUSE)
    notice = of_move(moved(weight=0, judgment=failed(milder, severe)))
    assert notice.limit == 0.5


def test_a_comparison_carries_its_evidence() -> None:
    evidence = (
        EvidenceReading("latency", 3.0, 100.0, against=True),
        EvidenceReading("errors", 140.0, 100.0, against=True),
    )
    judgment = failed(READING, cause="regression:errors", evidence=evidence)
    notice = of_move(moved(state=State.ROLLED_BACK, weight=0, cause=judgment.cause, judgment=judgment))
    assert (notice.metric, notice.value, notice.limit, notice.sample) == (
        "evidence:errors",
        140.0,
        100.0,
        None,
    )


def test_what_stands_on_no_figure_has_none() -> None:
    overdue = failed(READING, cause="max_duration:canary")
    passed = Judgment(Verdict.PASS, ("passed",), "phase:canary", readings=(READING,))
    for judgment in (overdue, passed, None):
        notice = of_move(moved(weight=50_000, phase="half", judgment=judgment))
        assert (notice.metric, notice.value, notice.limit, notice.sample) == ("", None, None, None)


@pytest.mark.parametrize(
    ("change", "cause", "actor", "severity"),
    [
        ({"state": State.ROLLED_BACK, "weight": 0}, "guard:error_rate", "controller", Severity.CRITICAL),
        ({"state": State.ROLLED_BACK, "weight": 0}, "command:rollback", "tess", Severity.WARNING),
        ({"state": State.ROLLED_BACK, "weight": 0}, "command:emergency_stop", "tess", Severity.CRITICAL),
        ({"state": State.ABORTED, "weight": 0}, "guard:error_rate", "controller", Severity.CRITICAL),
        ({"state": State.PAUSED}, "guard:error_rate", "controller", Severity.WARNING),
        ({"state": State.PAUSED}, "command:pause", "tess", Severity.INFO),
        ({"weight": 10_000}, "guard:error_rate", "controller", Severity.WARNING),
        ({"weight": 50_000, "phase": "half"}, "phase:canary", "controller", Severity.INFO),
    ],
)
def test_somebody_is_woken_by_what_the_controller_takes_back(
    change: dict[str, Any], cause: str, actor: str, severity: Severity
) -> None:
    assert of_move(moved(cause=cause, actor=actor, **change)).severity is severity


@pytest.mark.parametrize(
    ("change", "cause", "action"),
    [
        ({"weight": 50_000}, "command:set", "set"),
        ({"weight": 50_000, "phase": "half"}, "phase:canary", "promote"),
        ({"weight": 0}, "store", "store"),
        ({"phase": None}, "config", "config"),
    ],
)
def test_a_move_names_the_verb_by_which_it_moved(change: dict[str, Any], cause: str, action: str) -> None:
    assert of_move(moved(cause=cause, **change)).action == action


def test_a_retry_starts() -> None:
    notice = of_move(
        moved(before=replace(RUNNING, weight=0), weight=1_000, cause="auto_retry", actor="controller")
    )
    assert notice.action == "start"


def test_a_guard_that_only_alerts_lasts_until_it_is_resolved() -> None:
    event = Transition(RUNNING, RUNNING, "alert:error_rate", "too many", "controller", 7.0)
    reading = replace(READING, action=Action.ALERT)
    began = of_guard(event, reading)
    ended = of_guard(event, replace(reading, firing=False))
    assert (began.kind, began.subject, began.resolved) == (NoticeKind.GUARD, "error_rate above 0.1", False)
    assert (began.value, began.limit, began.sample) == (0.315, 0.1, 200)
    assert began.lasts
    assert ended.resolved
    assert began.key == ended.key != replace(began, rollout="other").key


def test_the_store_and_a_worker_last_until_they_are_resolved() -> None:
    lost, back = of_store("the disk is full", 7.0), of_store("", 8.0)
    assert "the disk is full" in lost.reason
    assert (lost.resolved, back.resolved) == (False, True)
    assert lost.key == back.key
    fell, up = of_worker("worker 3", "fell", 7.0), of_worker("worker 3", "stands", 8.0, resolved=True)
    assert (fell.severity, fell.subject, up.resolved) == (Severity.CRITICAL, "worker 3", True)
    assert fell.key == up.key != of_worker("worker 4", "fell", 7.0).key


def test_a_conflict_in_a_fleet_tells_what_stays() -> None:
    notice = of_conflict(RolloutState("default", State.PAUSED, 1_000, "canary", 7), "two ways", 5.0)
    assert (notice.kind, notice.severity, notice.cause) == (
        NoticeKind.CONFLICT,
        Severity.CRITICAL,
        "fleet:conflict",
    )
    assert (notice.rollout, notice.state, notice.phase_before, notice.phase, notice.revision) == (
        *("default", State.PAUSED, "canary", "canary", 7),
    )
    assert (notice.percentage_before, notice.percentage, notice.action) == (1.0, 1.0, "hold")


def test_two_moves_have_two_keys() -> None:
    first = of_move(moved(weight=10_000))
    second = of_move(moved(before=replace(RUNNING, revision=9), weight=10_000))
    assert first.key != second.key


def test_a_rule_is_told_with_what_it_reads_and_where_the_rollout_stands() -> None:
    rule = AlertRule.read({"name": "errors", "metric": "error_rate", "above": 0.1, "severity": "critical"})
    reading = RuleReading(rule, True, 0.315, 200, "error_rate is 0.315")
    began = of_rule(reading, RUNNING, 7.0, ("trace",))
    assert (began.kind, began.severity, began.subject) == (NoticeKind.RULE, Severity.CRITICAL, "errors")
    assert (began.metric, began.value, began.limit, began.sample) == ("error_rate", 0.315, 0.1, 200)
    assert (began.rollout, began.phase, began.percentage, began.revision) == ("shop", "canary", 25.0, 4)
    assert began.exemplars == ("trace",)
    ended = of_rule(replace(reading, firing=False), RUNNING, 8.0)
    assert ended.resolved
    assert ended.key == began.key
    of_process = of_rule(reading, None, 7.0)
    assert (of_process.rollout, of_process.state, of_process.percentage) == ("", None, None)


def test_a_test_is_an_event() -> None:
    notice = of_test(Severity.WARNING, "tess", "", 7.0)
    assert (notice.kind, notice.actor, notice.lasts) == (NoticeKind.TEST, "tess", False)
    assert notice.reason == "a test: nothing has happened"
