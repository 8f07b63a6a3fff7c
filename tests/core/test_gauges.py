"""What each metric reads: values, samples, words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from proxy.core.gauges import (
    CALM,
    GAUGES,
    Surroundings,
    SystemReport,
    is_of_process,
    takes_latency,
    takes_traffic,
)
from proxy.core.histogram import Histogram
from proxy.core.tally import FALLBACK_INDEX, Tally
from proxy.judgment import Metric
from proxy.model import FallbackReason
from tests.core.plans import second

LATENCIES = (Metric.LATENCY_P50, Metric.LATENCY_P95, Metric.LATENCY_P99)
OF_SYSTEM = (Metric.HOST_CPU, Metric.HOST_MEMORY, Metric.PROCESS_CPU, Metric.PROCESS_MEMORY)
OF_SURROUNDINGS = {Metric.HEALTH, Metric.CPU, Metric.MEMORY, Metric.CACHE_HIT_RATE, *OF_SYSTEM}


def value(metric: Metric, tally: Tally, around: Surroundings = CALM) -> float | None:
    return GAUGES[metric].value(tally, around)


def sample(metric: Metric, tally: Tally) -> int:
    return GAUGES[metric].sample(tally)


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
    assert value(Metric.HEALTH, Tally(), Surroundings(health_v2=0.25)) == 0.25


@pytest.mark.parametrize("metric", [Metric.CPU, Metric.MEMORY, Metric.CACHE_HIT_RATE])
def test_what_a_backend_reports_is_read_as_reported(metric: Metric) -> None:
    assert value(metric, Tally(), replace(CALM, **dict[str, Any]({str(metric): 0.7}))) == 0.7
    assert value(metric, Tally()) is None
    assert GAUGES[metric].words(Tally()) == "as reported"


@pytest.mark.parametrize("metric", OF_SYSTEM)
def test_this_machine_and_our_processes_are_read_as_they_are(metric: Metric) -> None:
    seen = replace(SystemReport(), **{str(metric): 0.7})
    assert value(metric, Tally(), Surroundings(system=seen)) == 0.7
    assert value(metric, Tally()) is None
    assert GAUGES[metric].words(Tally()).startswith("of ")
    assert is_of_process(metric)
    assert not is_of_process(Metric.CPU)


def test_what_needs_no_requests_is_told_from_what_does() -> None:
    assert {metric for metric in Metric if not takes_traffic(metric)} == OF_SURROUNDINGS


@pytest.mark.parametrize("metric", [metric for metric in Metric if metric not in OF_SURROUNDINGS])
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


def test_every_metric_that_reads_latencies_says_so() -> None:
    counts = Tally()
    for side in (counts.v1, counts.v2):
        side.requests = 10
        for latency_s in (0.1, 0.2, 0.4):
            side.latency.record(latency_s * (2 if side is counts.v2 else 1))
    counts.assigned_v2 = counts.client_requests = 10
    full = {metric: value(metric, counts) for metric in Metric}
    counts.v1.latency = counts.v2.latency = Histogram()
    for metric in Metric:
        if takes_latency(metric):
            assert full[metric]
        else:
            assert full[metric] == value(metric, counts)
