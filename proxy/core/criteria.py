"""A phase's criteria: what still keeps a rollout from its next phase.

Owns the reading of `phases.*` against the evidence since the phase began. Must never know guards or weights:
a criterion that does not hold is no failure, it only waits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.core.gauges import CALM, GAUGES
from proxy.model import Metric

if TYPE_CHECKING:
    from proxy.config.plan import Baseline, Criteria, Phase, Tolerable
    from proxy.config.rollout import Rollout
    from proxy.core.gauges import Surroundings
    from proxy.core.tally import Tally


@dataclass(frozen=True, slots=True)
class V1Before:
    """v1 as it was last measured: for a phase in which it has no traffic any more."""

    error_rate: float | None = None
    latency_mean_s: float | None = None


@dataclass(slots=True)
class Seen:
    """What a phase is read by: the evidence since it began, and what was known before."""

    tally: Tally
    in_phase_s: float
    around: Surroundings = CALM
    before: V1Before = V1Before()
    alerting: bool = False  # a guard with action "alert" fires
    has_cache: bool = False  # some backend of v2 has reported a cache hit rate, now or before


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing that is missing, in words, and how long it takes: infinite where that cannot be told."""

    text: str
    eta_s: float = math.inf


class PhaseCriteria:
    """What one phase of `plan` asks for, made once."""

    def __init__(self, phase: Phase, plan: Rollout) -> None:
        self.min_duration_s = phase.min_duration_s
        self.min_requests = max(phase.min_requests, 1)  # no data is never a pass, whatever the plan says
        self._require: Criteria = phase.require
        self._baseline: Baseline = plan.baseline
        self._tolerable: Tolerable = plan.judge.tolerable
        self._upper = [(metric, limit) for metric, limit in _upper_limits(phase.require) if limit is not None]
        self._has_more = _has_more(phase.require)

    def waits(self, seen: Seen) -> bool:
        """Whether time or requests are missing: the quick look at every tick."""
        return seen.in_phase_s < self.min_duration_s or seen.tally.v2.requests < self.min_requests

    def missing(self, seen: Seen) -> list[Missing]:
        """What keeps the phase from passing; empty when it passes.

        Requests count once v2 has answered or failed them: what the breaker diverts says nothing in v2's
        favour.
        """
        found = []
        requests = seen.tally.v2.requests
        if requests < self.min_requests:
            rate = requests / seen.in_phase_s if seen.in_phase_s > 0.0 else 0.0
            left_s = (self.min_requests - requests) / rate if rate > 0.0 else math.inf
            found.append(Missing(f"{requests:,} of {self.min_requests:,} requests", left_s))
        if seen.in_phase_s < self.min_duration_s:
            text = f"{seen.in_phase_s:.0f} s of {self.min_duration_s:.10g} s"
            found.append(Missing(text, self.min_duration_s - seen.in_phase_s))
        found += [Missing(text) for text in self._unmet_limits(seen)]
        return found + [Missing(text) for text in self._unmet(seen)] if self._has_more else found

    def _unmet_limits(self, seen: Seen) -> list[str]:
        found = []
        for metric, limit in self._upper:
            gauge = GAUGES[metric]
            value = gauge.value(seen.tally, seen.around)
            if value is not None and value < limit:
                continue
            if metric is Metric.ERROR_RATE and self._require.or_baseline:
                found += self._above_baseline(value, seen)
            else:
                found.append(f"{metric} {_shown(value, gauge.unit)}, must be below {limit:g}{gauge.unit}")
        return found

    def _above_baseline(self, value: float | None, seen: Seen) -> list[str]:
        limit = self._require.error_rate_below
        base = self._baseline.error_rate
        if base is None:
            v1 = seen.tally.v1
            base = sum(v1.errors) / v1.requests if v1.requests else seen.before.error_rate
        text = f"error_rate {_shown(value, '')}, must be below {limit:g}"
        if base is None:
            return [text]
        most = base * self._tolerable.ratio + self._tolerable.points / 100.0
        if value is not None and value <= most:
            return []
        return [f"{text}, or at most {most:.3g} (baseline {base:.3g})"]

    def _unmet(self, seen: Seen) -> list[str]:
        require, found = self._require, []
        if require.success_rate_above is not None:
            errors = GAUGES[Metric.ERROR_RATE].value(seen.tally, seen.around)
            success = None if errors is None else 1.0 - errors
            if success is None or success <= require.success_rate_above:
                limit = require.success_rate_above
                found.append(f"success_rate {_shown(success, '')}, must be above {limit:g}")
        if require.improvement_above is not None:
            found += self._too_little_improvement(require.improvement_above, seen)
        if require.no_alerts and seen.alerting:
            found.append("an alert fires")
        if require.health is not None and seen.around.health_v2 < require.health:
            found.append(f"health {seen.around.health_v2:.3g}, must be at least {require.health:g}")
        if require.cache_hit_rate_above is not None and seen.has_cache:
            rate = seen.around.cache_hit_rate
            if rate is None or rate <= require.cache_hit_rate_above:
                limit = require.cache_hit_rate_above
                found.append(f"cache_hit_rate {_shown(rate, '')}, must be above {limit:g}")
        return found

    def _too_little_improvement(self, needed: float, seen: Seen) -> list[str]:
        v1, v2 = seen.tally.v1, seen.tally.v2
        against = self._require.improvement_against
        base: float | None = v1.latency.total_s / v1.requests if v1.requests else seen.before.latency_mean_s
        if against == "baseline":
            base = self._baseline.latency_mean_s
        mean = v2.latency.total_s / v2.requests if v2.requests else None
        if base is None or mean is None:
            return [f"improvement unknown, must be above {needed:g} % against {against}"]
        gain = 100.0 * (1.0 - mean / base) if base > 0.0 else 0.0
        if gain > needed:
            return []
        means = f"mean {mean:.3g} s against {base:.3g} s of {against}"
        return [f"improvement {gain:.1f} %, must be above {needed:g} % ({means})"]


def _upper_limits(require: Criteria) -> list[tuple[Metric, float | None]]:
    return [
        (Metric.ERROR_RATE, require.error_rate_below),
        (Metric.CLIENT_ERROR_RATE, require.client_error_rate_below),
        (Metric.FALLBACK_RATE, require.fallback_rate_below),
        (Metric.LATENCY_P50, require.latency_p50_below_s),
        (Metric.LATENCY_P95, require.latency_p95_below_s),
        (Metric.LATENCY_P99, require.latency_p99_below_s),
    ]


def _has_more(require: Criteria) -> bool:
    others = (
        require.success_rate_above,
        require.improvement_above,
        require.health,
        require.cache_hit_rate_above,
    )
    return require.no_alerts or any(limit is not None for limit in others)


def _shown(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.3g}{unit}"
