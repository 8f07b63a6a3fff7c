"""What keeps a phase from passing."""

from __future__ import annotations

import pytest

from proxy.core.criteria import PhaseCriteria, Seen, V1Before
from proxy.core.gauges import CALM, Surroundings
from proxy.core.tally import Tally
from proxy.judgment import Need, Unit
from tests.core.plans import plan, second

UNKNOWN = V1Before()


def criteria(baseline: object = None, **keys: object) -> PhaseCriteria:
    rollout = plan(phases=[{"name": "canary", "percentage": 1, **keys}], baseline=baseline or {})
    return PhaseCriteria(rollout.phases[0], rollout)


def wanting(tally: Tally, in_phase_s: float = 0.0, **keys: object) -> list[str]:
    seen, made = Seen(tally, in_phase_s), criteria(**keys)
    found = unmet(made, seen)
    waits_for_more = [text for text in found if text[0].isdigit()]
    assert made.waits(seen) is bool(waits_for_more)
    return found


def unmet(made: PhaseCriteria, seen: Seen) -> list[str]:
    needs = made.needs(seen)
    found = [need.text for need in needs if not need.met]
    assert made.unmet(seen) is bool(found)
    assert all(not need.text and need.seconds == 0.0 for need in needs if need.met)
    return found


def required(
    require: dict[str, object],
    tally: Tally,
    *,
    around: Surroundings = CALM,
    before: V1Before = UNKNOWN,
    alerting: bool = False,
    has_cache: bool = False,
    baseline: dict[str, object] | None = None,
) -> list[str]:
    seen = Seen(tally, 1.0, around, before, alerting=alerting, has_cache=has_cache)
    return unmet(criteria(baseline, require=require), seen)


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


def test_how_long_it_takes_is_told_at_the_present_rate() -> None:
    made = criteria(min_requests=300, min_duration="10m")
    assert made.needs(Seen(second(v2=100), 50.0)) == [
        Need("min_requests", False, 100, 300, Unit.REQUESTS, 100.0, 200, "100 of 300 requests"),
        Need("min_duration", False, 50.0, 600.0, Unit.SECONDS, 550.0, text="50 s of 600 s"),
    ]
    assert made.needs(Seen(Tally(), 50.0))[0].seconds is None
    assert made.needs(Seen(Tally(), 0.0))[0].seconds is None


def test_what_is_met_has_its_figures_too() -> None:
    require = {
        "error_rate_below": 0.1,
        "latency_p95_below": "1s",
        "success_rate_above": 0.9,
        "improvement_above": 10.0,
        "no_alerts": True,
        "health": 0.5,
        "cache_hit_rate_above": 0.3,
    }
    made = criteria(min_requests=10, min_duration="1m", require=require)
    seen = Seen(second(v1=100, v1_s=0.1, v2=100, v2_s=0.05, errors=1), 61.0, has_cache=False)
    assert [(need.criterion, need.met, need.unit) for need in made.needs(seen)] == [
        ("min_requests", True, Unit.REQUESTS),
        ("min_duration", True, Unit.SECONDS),
        ("error_rate_below", True, Unit.SHARE),
        ("latency_p95_below", True, Unit.SECONDS),
        ("success_rate_above", True, Unit.SHARE),
        ("improvement_above", True, Unit.PERCENT),
        ("no_alerts", True, Unit.ALERTS),
        ("health", True, Unit.SHARE),
        ("cache_hit_rate_above", True, Unit.SHARE),
    ]
    errors, cache = made.needs(seen)[2], made.needs(seen)[8]
    assert (errors.have, errors.need, cache.have) == (0.01, 0.1, None)


def test_there_is_no_need_of_what_nobody_asks_for() -> None:
    [one] = criteria().needs(Seen(second(v2=1), 1.0))
    assert (one.criterion, one.need, one.requests) == ("min_requests", 1, 0.0)


# ... better than v1

FASTER = second(v2=10, v2_s=0.050, v1=10, v1_s=0.100)


@pytest.mark.parametrize(("needed", "holds"), [(-10.0, True), (40.0, True), (49.0, True), (60.0, False)])
def test_an_improvement_is_how_much_shorter_the_mean_is(needed: float, holds: bool) -> None:
    found = required({"improvement_above": needed}, FASTER)
    assert (found == []) is holds
    if not holds:
        assert found == ["improvement 50.0 %, must be above 60 % (mean 0.05 s against 0.1 s of v1)"]


def test_a_slower_v2_may_be_allowed_for() -> None:
    slower = second(v2=10, v2_s=0.105, v1=10, v1_s=0.100)
    assert required({"improvement_above": -10.0}, slower) == []
    assert required({"improvement_above": -1.0}, slower)[0].startswith("improvement -5.0 %")


def test_an_improvement_may_be_on_what_was_once_measured() -> None:
    require = {"improvement_above": 40.0, "improvement_against": "baseline"}
    assert required(require, FASTER, baseline={"latency_mean": "200ms"}) == []
    [reason] = required(require, FASTER, baseline={"latency_mean": "60ms"})
    assert reason.endswith("(mean 0.05 s against 0.06 s of baseline)")


def test_without_v1_an_improvement_is_on_v1_as_it_was() -> None:
    alone = second(v2=10, v2_s=0.050)
    assert required({"improvement_above": 40.0}, alone, before=V1Before(0.0, 0.1)) == []
    unknown = ["improvement unknown, must be above 40 % against v1"]
    assert required({"improvement_above": 40.0}, alone) == unknown
    assert required({"improvement_above": 40.0}, second(v1=5))[1:] == unknown


def test_nothing_is_faster_than_a_v1_that_takes_no_time() -> None:
    instant = second(v2=10, v2_s=0.0, v1=10, v1_s=0.0)
    assert required({"improvement_above": 0.0}, instant)[0].startswith("improvement 0.0 %")


# ... errors, or no more than the baseline

OR_BASELINE: dict[str, object] = {"error_rate_below": 0.001, "or_baseline": True}


def failing(errors: int, v1_errors: int = 0, v1: int = 1_000) -> Tally:
    tally = second(v2=1_000, errors=errors, v1=v1)
    tally.v1.errors[0] = v1_errors
    return tally


def test_the_baseline_excuses_what_it_has_itself() -> None:
    assert required(OR_BASELINE, failing(0)) == []
    assert required(OR_BASELINE, failing(12, v1_errors=10)) == []
    assert required(OR_BASELINE, failing(13, v1_errors=10)) == [
        "error_rate 0.013, must be below 0.001, or at most 0.012 (baseline 0.01)"
    ]
    assert required(OR_BASELINE, failing(5), baseline={"error_rate": 0.01}) == []
    need = criteria({"error_rate": 0.01}, require=OR_BASELINE).needs(Seen(failing(5), 1.0))[1]
    assert (need.met, need.have) == (True, 0.005)
    assert need.need == pytest.approx(0.012)


def test_without_v1_the_baseline_is_v1_as_it_was() -> None:
    assert required(OR_BASELINE, failing(5, v1=0), before=V1Before(0.01)) == []
    assert required(OR_BASELINE, failing(5, v1=0)) == ["error_rate 0.005, must be below 0.001"]
    assert required(OR_BASELINE, second(v1=10))[1:] == [
        "error_rate unknown, must be below 0.001, or at most 0.001 (baseline 0)"
    ]


# ... what is not counted from requests


def test_no_alert_may_fire() -> None:
    assert required({"no_alerts": True}, second(v2=1), alerting=True) == ["an alert fires"]
    assert required({"no_alerts": True}, second(v2=1)) == []
    assert required({}, second(v2=1), alerting=True) == []


def test_enough_endpoints_must_be_healthy() -> None:
    half = Surroundings(health_v2=0.5)
    assert required({"health": 0.5}, second(v2=1), around=half) == []
    assert required({"health": 1.0}, second(v2=1), around=half) == ["health 0.5, must be at least 1"]


def test_a_cache_hit_rate_counts_where_one_is_reported() -> None:
    require: dict[str, object] = {"cache_hit_rate_above": 0.3}
    assert required(require, second(v2=1)) == []
    low, high = Surroundings(cache_hit_rate=0.3), Surroundings(cache_hit_rate=0.31)
    assert required(require, second(v2=1), around=high, has_cache=True) == []
    assert required(require, second(v2=1), around=low, has_cache=True) == [
        "cache_hit_rate 0.3, must be above 0.3"
    ]
    assert required(require, second(v2=1), has_cache=True) == ["cache_hit_rate unknown, must be above 0.3"]
