"""The order of precedence, as a table."""

from __future__ import annotations

import itertools

from proxy.core.verdicts import PRECEDENCE, SEVERITY, Finding, Ground, decided, severity
from proxy.judgment import Action, Verdict


def test_limits_go_before_regressions_before_overdue_phases_before_waiting_before_passing() -> None:
    assert PRECEDENCE == (
        (Ground.LIMIT, Verdict.FAIL),
        (Ground.REGRESSION, Verdict.FAIL),
        (Ground.OVERDUE, Verdict.FAIL),
        (Ground.WAITING, Verdict.HOLD),
        (Ground.PASSED, Verdict.PASS),
    )
    assert [ground for ground, _ in PRECEDENCE] == sorted(Ground)


def test_the_severest_action_comes_first() -> None:
    assert SEVERITY == (
        Action.ABORT,
        Action.ROLLBACK,
        Action.PREVIOUS,
        Action.STEP_DOWN,
        Action.PAUSE,
    )
    assert {*SEVERITY, Action.ALERT} == set(Action)
    assert severity(Action.ALERT) == severity(None) == len(SEVERITY)


def test_of_any_two_grounds_the_stronger_decides() -> None:
    for stronger, weaker in itertools.combinations(Ground, 2):
        for order in itertools.permutations((stronger, weaker)):
            verdict, decisive = decided([Finding(ground, ground.name) for ground in order])
            assert verdict is PRECEDENCE[stronger][1]
            assert decisive[0].reason == stronger.name


def test_all_that_fails_is_named_and_nothing_else() -> None:
    findings = [
        Finding(Ground.WAITING, "waits"),
        Finding(Ground.OVERDUE, "late", action=Action.PAUSE),
        Finding(Ground.REGRESSION, "worse", action=Action.ROLLBACK),
        Finding(Ground.LIMIT, "by 5", action=Action.STEP_DOWN, step=5),
        Finding(Ground.LIMIT, "by 20", action=Action.STEP_DOWN, step=20),
        Finding(Ground.LIMIT, "back", action=Action.PREVIOUS),
    ]
    verdict, decisive = decided(findings)
    assert verdict is Verdict.FAIL
    assert [finding.reason for finding in decisive] == ["back", "by 20", "by 5", "worse", "late"]


def test_what_is_waited_for_stays_in_its_order() -> None:
    _, decisive = decided([Finding(Ground.WAITING, reason) for reason in ("b", "a", "c")])
    assert [finding.reason for finding in decisive] == ["b", "a", "c"]
