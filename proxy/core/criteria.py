"""A phase's criteria: what still keeps a rollout from its next phase.

Owns the reading of `phases.*` against the evidence since the phase began. Must never know guards or weights:
a criterion that does not hold is no failure, it only waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.core.guards import GAUGES
from proxy.model import Metric

if TYPE_CHECKING:
    from proxy.config.schema import Criteria, Phase
    from proxy.model import Snapshot


def missing(phase: Phase, snapshot: Snapshot, in_phase_s: float) -> list[str]:
    """What keeps `phase` from passing, in words; empty when it passes.

    `snapshot` is the evidence since the phase began, `in_phase_s` how long ago that was. Requests count once
    v2 has answered or failed them: what the breaker diverts says nothing in v2's favour. One at least is
    needed whatever `min_requests` says, since no data is never a pass.
    """
    needed = max(phase.min_requests, 1)
    found = []
    if snapshot.v2.requests < needed:
        found.append(f"{snapshot.v2.requests} of {needed} requests")
    if in_phase_s < phase.min_duration_s:
        found.append(f"{in_phase_s:.0f} s of {phase.min_duration_s:g} s")
    return found + _unmet(phase.require, snapshot)


def _unmet(require: Criteria, snapshot: Snapshot) -> list[str]:
    upper = {
        Metric.ERROR_RATE: require.error_rate_below,
        Metric.CLIENT_ERROR_RATE: require.client_error_rate_below,
        Metric.FALLBACK_RATE: require.fallback_rate_below,
        Metric.LATENCY_P50: require.latency_p50_below_s,
        Metric.LATENCY_P95: require.latency_p95_below_s,
        Metric.LATENCY_P99: require.latency_p99_below_s,
    }
    found = []
    for metric, limit in upper.items():
        if limit is None:
            continue
        value, unit = GAUGES[metric].value(snapshot), GAUGES[metric].unit
        if value is None or value >= limit:
            found.append(f"{metric} {_shown(value, unit)}, must be below {limit:g}{unit}")
    if require.success_rate_above is not None:
        errors = GAUGES[Metric.ERROR_RATE].value(snapshot)
        success = None if errors is None else 1.0 - errors
        if success is None or success <= require.success_rate_above:
            found.append(f"success_rate {_shown(success, '')}, must be above {require.success_rate_above:g}")
    return found


def _shown(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.3g}{unit}"
