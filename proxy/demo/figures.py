"""How the demo writes figures: latencies, shares, guard readings. Pure text; knows no terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.judgment import Metric

if TYPE_CHECKING:
    from proxy.model import Latencies, RolloutState, Transition

_DURATIONS = frozenset(
    {Metric.LATENCY_P50, Metric.LATENCY_P95, Metric.LATENCY_P99, Metric.LATENCY_DELTA_MEAN}
)


def milliseconds(seconds: float) -> str:
    """0.0153 as "15.3 ms"."""
    return f"{seconds * 1000:.1f} ms"


def percent(share: float) -> str:
    """0.25 as "25.0 %"."""
    return f"{share * 100:.1f} %"


def reading(metric: Metric, value: float) -> str:
    """A guard's value or limit in the unit of its metric."""
    if metric in _DURATIONS:
        return milliseconds(value)
    return f"{value:.2f}x" if metric is Metric.LATENCY_RATIO_P95 else percent(value)


def latencies(latency: Latencies) -> str:
    """Mean, p50 and p95 in one line."""
    return (
        f"mean {milliseconds(latency.mean)}, p50 {milliseconds(latency.p50)}, p95 {milliseconds(latency.p95)}"
    )


def ratio(v2: float, v1: float) -> str:
    """v2 in terms of v1, "0.35x"; a dash while either has no figure."""
    return f"{v2 / v1:.2f}x" if v1 and v2 else "-"


def standing(state: RolloutState) -> str:
    """State and weight: "running at 50 %"."""
    return f"{state.state.replace('_', ' ')} at {state.percentage:g} %"


def event_line(transition: Transition, start_wall: float) -> str:
    """One event in one line, with its time since the demo's start."""
    after = transition.after
    offset_s = max(0.0, transition.at - start_wall)
    return f"+{offset_s:4.1f} s  {standing(after):<20}  {transition.reason or transition.cause}"
