"""Guards: one limit each, read from a window's snapshot at every tick.

Owns what each metric means (value, sample, unit) and how long a limit has been crossed. Must never know the
rollout's state, its phases or other guards: what a firing guard leads to is `judge`'s business.

Three rules keep guards honest.
- Without data there is no reading: nothing is crossed, and `for` begins anew.
- A request that v2 was not sent, because its breaker is open or it has no endpoint, counts as one that v2
  failed. The breaker stops attempts within milliseconds; a guard that read attempts alone would wait for
  ever on a v2 that is down, or until its window has forgotten better times.
- A request under way counts as nothing yet. Failures are often faster than answers, so that a rate over
  requests that have merely begun would be that of the hasty ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.model import GuardReading, Metric

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.config.schema import Guard
    from proxy.model import Snapshot


@dataclass(frozen=True, slots=True)
class Gauge:
    """How a metric is read: value (None without data), sample for `min_requests`, and that in words."""

    value: Callable[[Snapshot], float | None]
    sample: Callable[[Snapshot], int]
    words: Callable[[Snapshot], str]
    unit: str = ""


class GuardTracker:
    """One guard over time: remembers since when its limit has been crossed at every tick."""

    __slots__ = ("_crossed_since", "_gauge", "_needed", "guard", "name")

    def __init__(self, guard: Guard, name: str) -> None:
        self.guard = guard
        self.name = name
        self._gauge = GAUGES[guard.metric]
        self._needed = guard.min_requests if self._is_windowed() else 0
        self._crossed_since: float | None = None

    def read(self, now: float, snapshot: Snapshot) -> GuardReading:
        """Read the guard at monotonic `now` from the snapshot of its window; call it at every tick."""
        guard, gauge, needed = self.guard, self._gauge, self._needed
        sample = gauge.sample(snapshot)
        value = gauge.value(snapshot) if sample >= needed else None
        crossed = value is not None and self._crosses(value)
        if not crossed:
            self._crossed_since = None
        elif self._crossed_since is None:
            self._crossed_since = now
        return GuardReading(
            guard=self.name,
            metric=guard.metric,
            value=value,
            limit=guard.limit,
            sample=sample,
            min_requests=needed,
            crossed=crossed,
            firing=crossed and self.crossed_for_s(now) >= guard.for_s,
            action=guard.action,
        )

    def crossed_for_s(self, now: float) -> float:
        """For how long the limit has been crossed without a break, in seconds."""
        return 0.0 if self._crossed_since is None else now - self._crossed_since

    def reset(self) -> None:
        """Forget that the limit was crossed."""
        self._crossed_since = None

    def explain(self, reading: GuardReading, snapshot: Snapshot) -> str:
        """The reading in words: "guard error_rate above 0.1: 0.315 over 60 s (63 of 200 requests to v2)"."""
        gauge, value = self._gauge, reading.value or 0.0
        over = f" over {self.guard.window_s:g} s" if self._is_windowed() else ""
        return f"guard {self.name}: {value:.3g}{gauge.unit}{over} ({gauge.words(snapshot)})"

    def _is_windowed(self) -> bool:
        return self.guard.metric is not Metric.HEALTH

    def _crosses(self, value: float) -> bool:
        above, below = self.guard.above, self.guard.below
        return (above is not None and value > above) or (below is not None and value < below)

    def __repr__(self) -> str:
        since = "not crossed" if self._crossed_since is None else f"crossed since {self._crossed_since:g}"
        return f"GuardTracker({self.name}, {since})"


# ... what each metric means


def takes_latency(metric: Metric) -> bool:
    """Whether the metric's value comes from latencies, and not from counts alone."""
    return metric.startswith("latency_")


def _error_rate(s: Snapshot) -> float | None:
    sample = _sample_v2(s)
    return (s.v2.errors + s.not_asked) / sample if sample else None


def _fallback_rate(s: Snapshot) -> float | None:
    return s.fallback_rate if s.assigned_v2 else None


def _client_error_rate(s: Snapshot) -> float | None:
    return s.client_error_rate if s.client_requests else None


def _latency_p50(s: Snapshot) -> float | None:
    return s.v2.latency.p50 if s.v2.requests else None


def _latency_p95(s: Snapshot) -> float | None:
    return s.v2.latency.p95 if s.v2.requests else None


def _latency_p99(s: Snapshot) -> float | None:
    return s.v2.latency.p99 if s.v2.requests else None


def _latency_delta_mean(s: Snapshot) -> float | None:
    return s.v2.latency.mean - s.v1.latency.mean if s.v1.requests and s.v2.requests else None


def _latency_ratio_p95(s: Snapshot) -> float | None:
    return s.v2.latency.p95 / s.v1.latency.p95 if s.v1.requests and s.v2.requests else None


def _health(s: Snapshot) -> float | None:
    return s.health_v2


def _sample_v2(s: Snapshot) -> int:
    return s.v2.requests + s.not_asked


def _sample_assigned(s: Snapshot) -> int:
    return s.assigned_v2


def _sample_both(s: Snapshot) -> int:
    return min(s.v1.requests, _sample_v2(s))


def _sample_client(s: Snapshot) -> int:
    return s.client_requests


def _sample_none(s: Snapshot) -> int:
    return 0


def _not_sent(s: Snapshot) -> str:
    return f", {s.not_asked} not sent" if s.not_asked else ""


def _words_errors(s: Snapshot) -> str:
    return f"{s.v2.errors} of {s.v2.requests} requests to v2{_not_sent(s)}"


def _words_fallbacks(s: Snapshot) -> str:
    return f"{s.fallbacks} of {s.assigned_v2} requests for v2"


def _words_client(s: Snapshot) -> str:
    return f"{s.client_errors} of {s.client_requests} requests"


def _words_latency(s: Snapshot) -> str:
    return f"{s.v2.requests} requests to v2{_not_sent(s)}"


def _words_both(s: Snapshot) -> str:
    return f"{s.v2.requests} requests to v2{_not_sent(s)}, {s.v1.requests} to v1"


def _words_health(s: Snapshot) -> str:
    return "share of v2's endpoints"


GAUGES: dict[Metric, Gauge] = {
    Metric.ERROR_RATE: Gauge(_error_rate, _sample_v2, _words_errors),
    Metric.FALLBACK_RATE: Gauge(_fallback_rate, _sample_assigned, _words_fallbacks),
    Metric.CLIENT_ERROR_RATE: Gauge(_client_error_rate, _sample_client, _words_client),
    Metric.LATENCY_P50: Gauge(_latency_p50, _sample_v2, _words_latency, " s"),
    Metric.LATENCY_P95: Gauge(_latency_p95, _sample_v2, _words_latency, " s"),
    Metric.LATENCY_P99: Gauge(_latency_p99, _sample_v2, _words_latency, " s"),
    Metric.LATENCY_DELTA_MEAN: Gauge(_latency_delta_mean, _sample_both, _words_both, " s"),
    Metric.LATENCY_RATIO_P95: Gauge(_latency_ratio_p95, _sample_both, _words_both),
    Metric.HEALTH: Gauge(_health, _sample_none, _words_health),
}
"""How every metric is read; docs/life-of-a-decision.md has it as a table for users."""
