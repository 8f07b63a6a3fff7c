"""Figures in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.demo.figures import event_line, latencies, ratio, reading, standing
from proxy.judgment import Metric
from proxy.model import LatencySummary
from tests.demo.samples import REASON, ROLLED_BACK, RUNNING, START_WALL, raised, rolled_back


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (Metric.LATENCY_P95, "250.0 ms"),
        (Metric.LATENCY_DELTA_MEAN, "250.0 ms"),
        (Metric.LATENCY_RATIO_P95, "0.25x"),
        (Metric.FALLBACK_RATE, "25.0 %"),
        (Metric.HEALTH, "25.0 %"),
    ],
)
def test_a_reading_is_in_the_unit_of_its_metric(metric: Metric, text: str) -> None:
    assert reading(metric, 0.25) == text


def test_latencies_are_in_milliseconds() -> None:
    assert (
        latencies(LatencySummary(mean=0.0153, p50=0.015, p95=0.0192))
        == "mean 15.3 ms, p50 15.0 ms, p95 19.2 ms"
    )


@pytest.mark.parametrize(
    ("v2", "v1", "text"), [(0.005, 0.015, "0.33x"), (0.0, 0.015, "-"), (0.005, 0.0, "-")]
)
def test_a_ratio_needs_both_figures(v2: float, v1: float, text: str) -> None:
    assert ratio(v2, v1) == text


def test_a_standing_is_state_and_weight() -> None:
    assert standing(RUNNING) == "running at 50 %"
    assert standing(ROLLED_BACK) == "rolled back at 0 %"


def test_an_event_is_timed_from_the_start() -> None:
    assert event_line(rolled_back().transition, START_WALL) == f"+12.0 s  rolled back at 0 %    {REASON}"


def test_an_event_without_a_reason_shows_its_cause() -> None:
    transition = replace(raised(at=START_WALL - 0.2).transition, reason="")
    assert event_line(transition, START_WALL) == "+ 0.0 s  running at 50 %       command:set"
