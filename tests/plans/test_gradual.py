from __future__ import annotations

import pytest

from proxy.simulation.outcome import Ending
from tests.plans.driving import drive, moves

HEALTHY = """
duration = "{duration}"
[traffic]
rps = 100
[v1]
latency = {{ p50 = "20ms", p95 = "60ms" }}
"""
SECOND_PHASE = ("phase:CANARY", 10)
LIMITS_ALONE = "regression = false"


def gradual(fault: str = "", *, duration: str = "30m", judge: str = "") -> list[tuple[str, float]]:
    change = f'[[change]]\nat = "20m"\n{fault}' if fault else ""
    return moves(drive("gradual", HEALTHY.format(duration=duration) + change, judge=judge))


def test_a_healthy_v2_completes_it_within_two_hours() -> None:
    found = drive("gradual", HEALTHY.format(duration="2h"))
    assert found.outcome is Ending.COMPLETED
    assert moves(found) == [
        SECOND_PHASE,
        ("phase:TESTING", 50),
        ("phase:VALIDATION", 100),
        ("phase:FULL", 100),
    ]
    assert [event.t_s for event in found.events[2:5]] == [600, 2_400, 6_000]


def test_failures_of_a_tenth_roll_back() -> None:
    fault = "v2 = { error_rate = 0.2 }\nv1 = { error_rate = 0.2 }"
    assert gradual(fault) == [SECOND_PHASE, ("guard:error_rate", 0)]


def test_a_v2_that_is_worse_than_v1_is_rolled_back_below_every_limit() -> None:
    assert gradual("v2 = { error_rate = 0.04 }") == [SECOND_PHASE, ("regression:errors", 0)]


def test_fallbacks_for_a_quarter_roll_back() -> None:
    # What v1 answers is what v2 has failed: beside the limit on errors, this one never comes first.
    change = '[[change]]\nat = "20m"\nv2 = { error_rate = 0.5 }'
    found = drive(
        "gradual", HEALTHY.format(duration="21m") + change, judge=LIMITS_ALONE, without="error_rate"
    )
    assert moves(found) == [SECOND_PHASE, ("guard:fallback_rate", 0)]


def test_two_seconds_more_than_v1_roll_back() -> None:
    found = gradual('v2 = { latency = "4s" }', judge=LIMITS_ALONE)
    assert found == [SECOND_PHASE, ("guard:latency_delta_mean", 0)]


def test_lost_health_rolls_back() -> None:
    assert gradual("v2 = { health = 0.4 }") == [SECOND_PHASE, ("guard:health", 0)]


def test_failures_of_a_twentieth_are_said_and_hold() -> None:
    found = drive(
        "gradual",
        HEALTHY.format(duration="1h") + '[[change]]\nat = "20m"\nfor = "10m"\nv2 = { error_rate = 0.07 }',
        judge=LIMITS_ALONE,
    )
    assert moves(found)[:3] == [SECOND_PHASE, ("alert:error_rate", 10), ("alert-resolved:error_rate", 10)]
    assert found.outcome in {Ending.HELD, Ending.RUNNING}


@pytest.mark.parametrize(
    ("fault", "cause"),
    [("memory = 0.9", "alert:memory"), ("cache_hit_rate = 0.6", "alert:cache_hit_rate")],
)
def test_what_v2_reports_is_said(fault: str, cause: str) -> None:
    found = gradual(f"v2 = {{ {fault} }}", judge=LIMITS_ALONE)
    assert found == [SECOND_PHASE, (cause, 10)]


@pytest.mark.parametrize(
    ("errors", "duration", "last"),
    [(0.025, "20m", 1), (0.035, "50m", 10)],
)
def test_a_phase_waits_for_its_own_criteria(errors: float, duration: str, last: float) -> None:
    both = f'[[change]]\nat = "{"11m" if last > 1 else "0s"}"\nboth = {{ error_rate = {errors} }}'
    found = drive("gradual", HEALTHY.format(duration=duration) + both)
    assert (found.outcome, found.percentage) == (Ending.HELD, last)
    assert any("error_rate" in reason for reason in found.reasons)
