"""A phase's criteria: what still keeps a rollout from its next phase.

Owns the reading of `phases.*` against the evidence since the phase began. Must never know guards or weights:
a criterion that does not hold is no failure, it only waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.core.gauges import CALM, GAUGES, takes_latency
from proxy.judgment import Metric, Need, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

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

    def unmet(self, seen: Seen) -> bool:
        """Whether anything keeps the phase from passing."""
        return any(not need.met for need in self.needs(seen))

    def needs(self, seen: Seen) -> list[Need]:
        """All that the phase asks for, met or not.

        Requests count once v2 has answered or failed them: what the breaker diverts says nothing in v2's
        favour.
        """
        found = [self._requests(seen)]
        if self.min_duration_s > 0.0:
            found.append(self._duration(seen))
        found += [self._below(metric, limit, seen) for metric, limit in self._upper]
        return [*found, *self._others(seen)] if self._has_more else found

    def _requests(self, seen: Seen) -> Need:
        have, least = seen.tally.v2.requests, self.min_requests
        if have >= least:
            return Need("min_requests", True, have, least, Unit.REQUESTS, 0.0, 0.0)
        rate = have / seen.in_phase_s if seen.in_phase_s > 0.0 else 0.0
        left_s = (least - have) / rate if rate > 0.0 else None
        text = f"{have:,} of {least:,} requests"
        return Need("min_requests", False, have, least, Unit.REQUESTS, left_s, least - have, text)

    def _duration(self, seen: Seen) -> Need:
        have, least = seen.in_phase_s, self.min_duration_s
        if have >= least:
            return Need("min_duration", True, have, least, Unit.SECONDS, 0.0)
        text = f"{have:.0f} s of {least:.10g} s"
        return Need("min_duration", False, have, least, Unit.SECONDS, least - have, text=text)

    def _below(self, metric: Metric, limit: float, seen: Seen) -> Need:
        gauge = GAUGES[metric]
        value = gauge.value(seen.tally, seen.around)
        text, most = f"{metric} {_shown(value, gauge.unit)}, must be below {limit:g}{gauge.unit}", limit
        met = value is not None and value < limit
        if not met and metric is Metric.ERROR_RATE and self._require.or_baseline:
            base = self._base(seen)
            if base is not None:
                at_most = base * self._tolerable.ratio + self._tolerable.points / 100.0
                met, most = value is not None and value <= at_most, max(limit, at_most)
                text += f", or at most {at_most:.3g} (baseline {base:.3g})"
        unit = Unit.SECONDS if takes_latency(metric) else Unit.SHARE
        return _need(f"{metric}_below", met, (value, most, unit), text)

    def _base(self, seen: Seen) -> float | None:
        """The error rate that excuses as high a one of v2."""
        v1 = seen.tally.v1
        if self._baseline.error_rate is not None:
            return self._baseline.error_rate
        return sum(v1.errors) / v1.requests if v1.requests else seen.before.error_rate

    def _others(self, seen: Seen) -> Iterator[Need]:
        require, around = self._require, seen.around
        if (limit := require.success_rate_above) is not None:
            errors = GAUGES[Metric.ERROR_RATE].value(seen.tally, around)
            success = None if errors is None else 1.0 - errors
            text = f"success_rate {_shown(success, '')}, must be above {limit:g}"
            met = success is not None and success > limit
            yield _need("success_rate_above", met, (success, limit, Unit.SHARE), text)
        if require.improvement_above is not None:
            yield self._improvement(require.improvement_above, seen)
        if require.no_alerts:
            yield _need(
                "no_alerts", not seen.alerting, (float(seen.alerting), 0.0, Unit.ALERTS), "an alert fires"
            )
        if (limit := require.health) is not None:
            text = f"health {around.health_v2:.3g}, must be at least {limit:g}"
            yield _need("health", around.health_v2 >= limit, (around.health_v2, limit, Unit.SHARE), text)
        if (limit := require.cache_hit_rate_above) is not None:
            rate = around.cache_hit_rate
            met = not seen.has_cache or (rate is not None and rate > limit)
            text = f"cache_hit_rate {_shown(rate, '')}, must be above {limit:g}"
            yield _need("cache_hit_rate_above", met, (rate, limit, Unit.SHARE), text)

    def _improvement(self, needed: float, seen: Seen) -> Need:
        v1, v2 = seen.tally.v1, seen.tally.v2
        against = self._require.improvement_against
        base: float | None = v1.latency.total_s / v1.requests if v1.requests else seen.before.latency_mean_s
        if against == "baseline":
            base = self._baseline.latency_mean_s
        mean = v2.latency.total_s / v2.requests if v2.requests else None
        if base is None or mean is None:
            text = f"improvement unknown, must be above {needed:g} % against {against}"
            return _need("improvement_above", False, (None, needed, Unit.PERCENT), text)
        gain = 100.0 * (1.0 - mean / base) if base > 0.0 else 0.0
        means = f"mean {mean:.3g} s against {base:.3g} s of {against}"
        text = f"improvement {gain:.1f} %, must be above {needed:g} % ({means})"
        return _need("improvement_above", gain > needed, (gain, needed, Unit.PERCENT), text)


def _need(criterion: str, met: bool, figures: tuple[float | None, float, Unit], text: str) -> Need:
    """A need that nobody can say for how long it will last."""
    have, need, unit = figures
    return Need(criterion, met, have, need, unit, 0.0 if met else None, text="" if met else text)


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
