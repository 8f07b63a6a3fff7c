"""What each metric reads, and for how long a limit is crossed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.core.guards import GAUGES, GuardTracker, takes_latency
from proxy.core.histogram import Histogram
from proxy.core.tally import ERROR_INDEX, FALLBACK_INDEX, Tally
from proxy.model import Action, ErrorClass, FallbackReason, GuardReading, Metric, Snapshot
from tests.core.plans import plan, second

if TYPE_CHECKING:
    from proxy.config.schema import Guard

LATENCIES = (Metric.LATENCY_P50, Metric.LATENCY_P95, Metric.LATENCY_P99)


def guard(**keys: object) -> Guard:
    return plan(guards=[{"window": "60s", **keys}]).guards[0]


def tracker(**keys: object) -> GuardTracker:
    made = guard(**keys)
    return GuardTracker(made, made.name)


def value(metric: Metric, tally: Tally, health_v2: float = 1.0) -> float | None:
    return GAUGES[metric].value(tally.snapshot(60.0, health_v2=health_v2))


def sample(metric: Metric, tally: Tally) -> int:
    return GAUGES[metric].sample(tally.snapshot(60.0))


# ... values


def test_every_metric_has_a_gauge() -> None:
    assert set(GAUGES) == set(Metric)


def test_error_rate_is_errors_per_attempt_of_v2() -> None:
    assert value(Metric.ERROR_RATE, second(v2=200, errors=63, v1=500)) == 0.315


def test_fallback_rate_is_fallbacks_per_request_for_v2() -> None:
    assert value(Metric.FALLBACK_RATE, second(v2=10, errors=5, not_asked=10)) == 0.75


def test_client_error_rate_is_over_all_that_clients_saw() -> None:
    tally = second(v2=10, errors=10, v1=30)
    tally.client_errors = 4
    assert value(Metric.CLIENT_ERROR_RATE, tally) == 0.1


@pytest.mark.parametrize(("metric", "expected"), [*zip(LATENCIES, (0.010, 0.200, 0.800), strict=True)])
def test_latencies_are_those_of_v2(metric: Metric, expected: float) -> None:
    tally = second(v2=90, v1=100, v1_s=5.0)
    tally.add(second(v2=8, v2_s=0.200))
    tally.add(second(v2=2, v2_s=0.800))
    assert value(metric, tally) == pytest.approx(expected, rel=0.03)


def test_latency_delta_is_how_much_longer_v2_takes() -> None:
    tally = second(v2=10, v2_s=0.150, v1=10, v1_s=0.100)
    assert value(Metric.LATENCY_DELTA_MEAN, tally) == pytest.approx(0.050, abs=1e-6)


def test_latency_ratio_is_how_many_times_longer_v2_takes() -> None:
    tally = second(v2=10, v2_s=0.150, v1=10, v1_s=0.100)
    assert value(Metric.LATENCY_RATIO_P95, tally) == pytest.approx(1.5, rel=0.06)


def test_the_ratio_to_the_fastest_possible_v1_is_finite() -> None:
    assert value(Metric.LATENCY_RATIO_P95, second(v2=10, v2_s=0.0, v1=10, v1_s=0.0)) == 1.0


def test_health_is_the_share_of_v2s_endpoints() -> None:
    assert value(Metric.HEALTH, Tally(), health_v2=0.25) == 0.25


@pytest.mark.parametrize("metric", [metric for metric in Metric if metric is not Metric.HEALTH])
def test_no_metric_of_traffic_has_a_value_without_traffic(metric: Metric) -> None:
    assert value(metric, Tally()) is None
    assert sample(metric, Tally()) == 0


@pytest.mark.parametrize("metric", [Metric.LATENCY_DELTA_MEAN, Metric.LATENCY_RATIO_P95])
@pytest.mark.parametrize("one_sided", [second(v1=50), second(v2=50)])
def test_a_comparison_needs_both_paths(metric: Metric, one_sided: Tally) -> None:
    assert value(metric, one_sided) is None
    assert sample(metric, one_sided) == 0


# ... what the breaker keeps from v2


@pytest.mark.parametrize("reason", [FallbackReason.BREAKER, FallbackReason.UNAVAILABLE])
@pytest.mark.parametrize("over_budget", [True, False])
def test_what_v2_was_not_sent_counts_as_failed_by_it(reason: FallbackReason, over_budget: bool) -> None:
    tally = second(v2=100, errors=5)
    (tally.over_budget if over_budget else tally.fallbacks)[FALLBACK_INDEX[reason]] += 300
    assert value(Metric.ERROR_RATE, tally) == pytest.approx(305 / 400)
    assert sample(Metric.ERROR_RATE, tally) == 400


def test_a_v2_that_is_never_asked_has_failed_everything() -> None:
    assert value(Metric.ERROR_RATE, second(not_asked=30)) == 1.0


def test_an_open_breaker_does_not_starve_the_latency_guards() -> None:
    tally = second(v2=5, v2_s=2.0, v1=100, not_asked=95)
    for metric in (*LATENCIES, Metric.LATENCY_DELTA_MEAN, Metric.LATENCY_RATIO_P95):
        assert sample(metric, tally) == 100
    assert value(Metric.LATENCY_P95, tally) == pytest.approx(2.0, rel=0.03)
    assert value(Metric.LATENCY_P95, second(not_asked=95)) is None


def test_what_is_under_way_counts_as_nothing_yet() -> None:
    tally = second(v2=1, errors=1)
    tally.assigned_v2 = 500
    assert sample(Metric.ERROR_RATE, tally) == sample(Metric.LATENCY_P95, tally) == 1


# ... readings


def test_a_reading_shows_all_that_led_to_it() -> None:
    watched = tracker(metric="error_rate", above=0.1, min_requests=100)
    assert watched.read(0.0, second(v2=200, errors=63).snapshot(60.0)) == GuardReading(
        guard="error_rate above 0.1",
        metric=Metric.ERROR_RATE,
        value=0.315,
        limit=0.1,
        sample=200,
        min_requests=100,
        crossed=True,
        firing=True,
        action=Action.ROLLBACK,
    )


def test_a_smaller_sample_than_asked_for_reads_nothing() -> None:
    watched = tracker(metric="error_rate", above=0.1, min_requests=100)
    reading = watched.read(0.0, second(v2=99, errors=99).snapshot(60.0))
    assert (reading.value, reading.crossed, reading.sample) == (None, False, 99)
    assert watched.read(1.0, second(v2=100, errors=99).snapshot(60.0)).firing


@pytest.mark.parametrize(("errors", "crossed"), [(9, False), (10, False), (11, True)])
def test_above_is_crossed_beyond_its_limit_only(errors: int, crossed: bool) -> None:
    watched = tracker(metric="error_rate", above=0.1)
    assert watched.read(0.0, second(v2=100, errors=errors).snapshot(60.0)).crossed is crossed


@pytest.mark.parametrize(("health", "crossed"), [(0.4, True), (0.5, False), (0.6, False)])
def test_below_is_crossed_short_of_its_limit_only(health: float, crossed: bool) -> None:
    watched = tracker(metric="health", below=0.5)
    assert watched.read(0.0, Snapshot(health_v2=health)).crossed is crossed


def test_health_needs_no_requests() -> None:
    reading = tracker(metric="health", below=0.5).read(0.0, Snapshot(health_v2=0.0))
    assert reading.firing
    assert (reading.sample, reading.min_requests) == (0, 0)


def test_no_data_is_no_reading_even_when_none_is_asked_for() -> None:
    reading = tracker(metric="error_rate", above=0.0, min_requests=0).read(0.0, Snapshot())
    assert (reading.value, reading.crossed) == (None, False)


# ... `for`

BAD, GOOD, NOTHING = second(v2=100, errors=50), second(v2=100), Tally()


@pytest.mark.parametrize("relief", [GOOD, NOTHING])
def test_a_guard_fires_once_it_was_crossed_at_every_tick_for_long_enough(relief: Tally) -> None:
    watched = tracker(metric="error_rate", above=0.1, **{"for": "3s"})
    seen = [BAD, BAD, BAD, relief, BAD, BAD, BAD, BAD, BAD]
    readings = [watched.read(float(now), tally.snapshot(60.0)) for now, tally in enumerate(seen)]
    assert [reading.firing for reading in readings] == [False] * 7 + [True] * 2
    assert [reading.crossed for reading in readings] == [tally is BAD for tally in seen]


def test_a_reset_begins_anew() -> None:
    watched = tracker(metric="error_rate", above=0.1, **{"for": "3s"})
    watched.read(0.0, BAD.snapshot(60.0))
    assert watched.crossed_for_s(3.0) == 3.0
    watched.reset()
    assert watched.crossed_for_s(3.0) == 0.0
    assert not watched.read(3.0, BAD.snapshot(60.0)).firing


# ... in words


def words(tally: Tally, health_v2: float = 1.0, **keys: object) -> str:
    watched, snapshot = tracker(**keys), tally.snapshot(60.0, health_v2=health_v2)
    return watched.explain(watched.read(0.0, snapshot), snapshot)


@pytest.mark.parametrize(
    ("metric", "limit", "expected"),
    [
        ("error_rate", 0.1, "guard error_rate above 0.1: 0.315 over 60 s (63 of 200 requests to v2)"),
        ("fallback_rate", 0.1, "guard fallback_rate above 0.1: 0.315 over 60 s (63 of 200 requests for v2)"),
        ("latency_p95", "5ms", "guard latency_p95 above 0.005: 0.0404 s over 60 s (200 requests to v2)"),
        (
            "client_error_rate",
            0.01,
            "guard client_error_rate above 0.01: 0.0133 over 60 s (4 of 300 requests)",
        ),
        (
            "latency_delta_mean",
            "5ms",
            "guard latency_delta_mean above 0.005: 0.03 s over 60 s (200 requests to v2, 100 to v1)",
        ),
        (
            "latency_ratio_p95",
            2,
            "guard latency_ratio_p95 above 2: 4 over 60 s (200 requests to v2, 100 to v1)",
        ),
    ],
)
def test_a_reading_in_words(metric: str, limit: object, expected: str) -> None:
    tally = second(v2=200, errors=63, v2_s=0.040, v1=100)
    tally.client_errors = 4
    assert words(tally, metric=metric, above=limit) == expected


def test_words_say_what_was_not_sent() -> None:
    expected = "guard error_rate above 0.1: 0.8 over 60 s (5 of 25 requests to v2, 75 not sent)"
    assert words(second(v2=25, errors=5, not_asked=75), metric="error_rate", above=0.1) == expected


def test_words_of_a_guard_without_a_window() -> None:
    assert words(Tally(), 1 / 3, metric="health", below=0.5) == (
        "guard health below 0.5: 0.333 (share of v2's endpoints)"
    )


def test_repr_shows_since_when() -> None:
    watched = tracker(metric="error_rate", above=0.1)
    assert repr(watched) == "GuardTracker(error_rate above 0.1, not crossed)"
    tally = Tally()
    tally.v2.requests = 20
    tally.v2.errors[ERROR_INDEX[ErrorClass.TIMEOUT]] = 20
    watched.read(12.0, tally.snapshot(60.0))
    assert repr(watched) == "GuardTracker(error_rate above 0.1, crossed since 12)"


def test_every_metric_that_reads_latencies_says_so() -> None:
    counts = Tally()
    for side in (counts.v1, counts.v2):
        side.requests = 10
        for latency_s in (0.1, 0.2, 0.4):
            side.latency.record(latency_s * (2 if side is counts.v2 else 1))
    counts.assigned_v2 = counts.client_requests = 10
    full = counts.snapshot(10.0)
    counts.v1.latency = counts.v2.latency = Histogram()
    without = counts.snapshot(10.0)
    for metric, gauge in GAUGES.items():
        if takes_latency(metric):
            assert gauge.value(full)
        else:
            assert gauge.value(full) == gauge.value(without)
