from __future__ import annotations

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from proxy.core.series import BOUNDS_S
from proxy.telemetry import catalogue as c
from proxy.telemetry.catalogue import FAMILIES
from proxy.telemetry.otlp_metrics import attribute_of, message, rejected_points
from proxy.telemetry.readings import Readings, points
from tests.e2e.otlp import Point, points_of
from tests.telemetry.test_readings import READINGS, TRACE


def sent(readings: Readings = READINGS) -> list[Point]:
    content = message(readings, {"service.name": "dualpath", "process.pid": 7}, 1000.0, 1060.5)
    return points_of(ExportMetricsServiceRequest.FromString(content))


def of(family: c.Family) -> list[Point]:
    return [point for point in sent() if point.metric == family.otel_name]


def test_whatever_is_shown_is_sent_too() -> None:
    shown = {family for family, found in points(READINGS).items() if found} | set(READINGS.histograms)
    assert {point.metric for point in sent()} == {family.otel_name for family in shown}
    assert len(shown) == len(FAMILIES) - 1  # there is no estimate of when the next phase comes
    for family, found in points(READINGS).items():
        told = {tuple(point.attributes.values()): point.value for point in of(family)}
        assert told == dict(found)
        names = {tuple(point.attributes) for point in of(family)}
        assert names <= {tuple(attribute_of(label) for label in family.labels)}


def test_counters_are_cumulative_sums_and_gauges_are_gauges() -> None:
    (overridden,) = of(c.OVERRIDDEN)
    assert (overridden.kind, overridden.temporality, overridden.monotonic) == ("sum", "CUMULATIVE", True)
    assert (overridden.start_ns, overridden.at_ns) == (1_000_000_000_000, 1_060_500_000_000)
    (weight,) = of(c.WEIGHT)
    assert (weight.kind, weight.value, weight.unit) == ("gauge", 0.3, "1")
    assert [(one.value, one.unit) for one in of(c.CPU)] == [(1.5, "s")]
    assert [one.unit for one in of(c.MEMORY)] == ["By"]


def test_a_histogram_has_its_buckets_and_its_exemplars() -> None:
    (point,) = of(c.ATTEMPTS)
    assert point.attributes == {
        "dualpath.rollout": "default",
        "dualpath.path": "v2",
        "http.request.method": "GET",
        "dualpath.status_class": "2xx",
    }
    assert point.bounds == BOUNDS_S
    assert point.buckets == (2, *[0] * 17, 1)
    assert (point.count, point.unit) == (3, "s")
    assert point.value == pytest.approx(40.0005)
    assert [(one.trace_id, one.value) for one in point.exemplars] == [(TRACE, 40.0)]


def test_the_resource_says_who_sends() -> None:
    assert sent()[0].resource == {"service.name": "dualpath", "process.pid": 7}


def test_what_a_collector_does_not_take_is_told() -> None:
    answer = ExportMetricsServiceResponse()
    assert rejected_points(answer.SerializeToString()) == 0
    answer.partial_success.rejected_data_points = 3
    assert rejected_points(answer.SerializeToString()) == 3
    assert rejected_points(b"\xff\xff what is this") == 0
