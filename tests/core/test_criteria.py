"""What keeps a phase from passing."""

from __future__ import annotations

import pytest

from proxy.core.criteria import missing
from proxy.core.tally import Tally
from tests.core.plans import plan, second


def wanting(tally: Tally, in_phase_s: float = 0.0, **keys: object) -> list[str]:
    phase = plan(phases=[{"name": "canary", "percentage": 1, **keys}]).phases[0]
    return missing(phase, tally.snapshot(in_phase_s), in_phase_s)


def test_requests_and_time_are_waited_for() -> None:
    keys = {"min_requests": 300, "min_duration": "10m"}
    assert wanting(second(v2=120), 180.4, **keys) == ["120 of 300 requests", "180 s of 600 s"]
    assert wanting(second(v2=300), 599.9, **keys) == ["600 s of 600 s"]
    assert wanting(second(v2=299), 600.0, **keys) == ["299 of 300 requests"]
    assert wanting(second(v2=300), 600.0, **keys) == []


def test_no_data_is_never_a_pass() -> None:
    assert wanting(second(v1=1_000), 1_000.0) == ["0 of 1 requests"]
    assert wanting(second(v2=1)) == []


def test_what_the_breaker_diverts_is_no_evidence_for_v2() -> None:
    assert wanting(second(v2=5, not_asked=500), min_requests=300) == ["5 of 300 requests"]


@pytest.mark.parametrize(
    ("criterion", "limit", "fits", "broken", "reason"),
    [
        ("error_rate_below", 0.02, 1, 3, "error_rate 0.03, must be below 0.02"),
        ("error_rate_below", 0.02, 1, 2, "error_rate 0.02, must be below 0.02"),
        ("success_rate_above", 0.98, 1, 2, "success_rate 0.98, must be above 0.98"),
        ("fallback_rate_below", 0.02, 1, 3, "fallback_rate 0.03, must be below 0.02"),
        ("client_error_rate_below", 0.02, 1, 3, "client_error_rate 0.03, must be below 0.02"),
    ],
)
def test_rates_must_be_on_the_right_side(
    criterion: str, limit: float, fits: int, broken: int, reason: str
) -> None:
    for errors, expected in ((fits, []), (broken, [reason])):
        tally = second(v2=100, errors=errors)
        tally.client_errors = errors
        assert wanting(tally, require={criterion: limit}) == expected


@pytest.mark.parametrize("quantile", ["p50", "p95", "p99"])
def test_latencies_must_be_below(quantile: str) -> None:
    require = {f"latency_{quantile}_below": "100ms"}
    assert wanting(second(v2=100, v2_s=0.090), require=require) == []
    [reason] = wanting(second(v2=100, v2_s=0.200), require=require)
    assert reason == f"latency_{quantile} 0.199 s, must be below 0.1 s"


def test_a_criterion_without_data_is_not_met() -> None:
    require = {"latency_p95_below": "1s", "success_rate_above": 0.9, "error_rate_below": 0.1}
    assert wanting(Tally(), require=require) == [
        "0 of 1 requests",
        "error_rate unknown, must be below 0.1",
        "latency_p95 unknown, must be below 1 s",
        "success_rate unknown, must be above 0.9",
    ]
