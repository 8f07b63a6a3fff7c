"""What every metric means: its value, the sample it stands on, and both in words.

Owns the reading of a tally. Must never know a limit, a window's length, or what a reading leads to.

Two rules keep readings honest.
- A request that v2 was not sent, because its breaker is open or it has no endpoint, counts as one that v2
  failed. The breaker stops attempts within milliseconds; a limit on attempts alone would wait for ever on a
  v2 that is down, or until its window has forgotten better times.
- A request under way counts as nothing yet. Failures are often faster than answers, so that a rate over
  requests that have merely begun would be that of the hasty ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.core.tally import FALLBACK_INDEX
from proxy.judgment import Metric
from proxy.model import FallbackReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.core.tally import Tally

_BREAKER: Final = FALLBACK_INDEX[FallbackReason.BREAKER]
_UNAVAILABLE: Final = FALLBACK_INDEX[FallbackReason.UNAVAILABLE]


@dataclass(frozen=True, slots=True)
class SystemReport:
    """How busy this machine is, and our own processes on it. Shares 0..1 of what may be used here; None where
    the system does not tell."""

    host_cpu: float | None = None
    host_memory: float | None = None
    process_cpu: float | None = None
    process_memory: float | None = None


UNKNOWN: Final = SystemReport()
"""Nobody has looked."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known at one tick beside the traffic. All are shares 0..1; None where nobody knows.

    `cpu`, `memory` and `cache_hit_rate` are v2's, as its backend reports them; `system` is this machine's.
    """

    health_v1: float = 1.0
    health_v2: float = 1.0
    cpu: float | None = None
    memory: float | None = None
    cache_hit_rate: float | None = None
    system: SystemReport = UNKNOWN


CALM: Final = Surroundings()
"""Everything healthy, nothing reported."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """How a metric is read: value (None without data), sample for `min_requests`, and that in words."""

    value: Callable[[Tally, Surroundings], float | None]
    sample: Callable[[Tally], int]
    words: Callable[[Tally], str]
    unit: str = ""


def takes_latency(metric: Metric) -> bool:
    """Whether the metric's value comes from latencies, and not from counts alone."""
    return metric.startswith("latency_")


def takes_traffic(metric: Metric) -> bool:
    """Whether the metric is read from requests over a window, and not from the surroundings of one tick."""
    return metric not in _OF_SURROUNDINGS


def is_of_process(metric: Metric) -> bool:
    """Whether the metric says the same of every rollout: it is this machine's, or the process's own."""
    return metric in OF_SYSTEM


def not_asked(t: Tally) -> int:
    """Requests that v2 was not sent."""
    return (
        t.fallbacks[_BREAKER]
        + t.fallbacks[_UNAVAILABLE]
        + t.over_budget[_BREAKER]
        + t.over_budget[_UNAVAILABLE]
    )


def answered_or_failed(t: Tally) -> int:
    """Requests for v2 of which it is known what became of them."""
    return t.v2.requests + not_asked(t)


def failed(t: Tally) -> int:
    """Those of them that v2 failed."""
    return sum(t.v2.errors) + not_asked(t)


# ... values


def _error_rate(t: Tally, around: Surroundings) -> float | None:
    sample = answered_or_failed(t)
    return failed(t) / sample if sample else None


def _fallback_rate(t: Tally, around: Surroundings) -> float | None:
    return sum(t.fallbacks) / t.assigned_v2 if t.assigned_v2 else None


def _client_error_rate(t: Tally, around: Surroundings) -> float | None:
    return t.client_errors / t.client_requests if t.client_requests else None


def _latency_p50(t: Tally, around: Surroundings) -> float | None:
    return t.v2.latency.quantile(0.5) if t.v2.requests else None


def _latency_p95(t: Tally, around: Surroundings) -> float | None:
    return t.v2.latency.quantile(0.95) if t.v2.requests else None


def _latency_p99(t: Tally, around: Surroundings) -> float | None:
    return t.v2.latency.quantile(0.99) if t.v2.requests else None


def _latency_delta_mean(t: Tally, around: Surroundings) -> float | None:
    if not t.v1.requests or not t.v2.requests:
        return None
    return t.v2.latency.total_s / t.v2.requests - t.v1.latency.total_s / t.v1.requests


def _latency_ratio_p95(t: Tally, around: Surroundings) -> float | None:
    if not t.v1.requests or not t.v2.requests:
        return None
    return t.v2.latency.quantile(0.95) / t.v1.latency.quantile(0.95)


def _health(t: Tally, around: Surroundings) -> float | None:
    return around.health_v2


def _cpu(t: Tally, around: Surroundings) -> float | None:
    return around.cpu


def _memory(t: Tally, around: Surroundings) -> float | None:
    return around.memory


def _cache_hit_rate(t: Tally, around: Surroundings) -> float | None:
    return around.cache_hit_rate


def _host_cpu(t: Tally, around: Surroundings) -> float | None:
    return around.system.host_cpu


def _host_memory(t: Tally, around: Surroundings) -> float | None:
    return around.system.host_memory


def _process_cpu(t: Tally, around: Surroundings) -> float | None:
    return around.system.process_cpu


def _process_memory(t: Tally, around: Surroundings) -> float | None:
    return around.system.process_memory


# ... samples


def _sample_assigned(t: Tally) -> int:
    return t.assigned_v2


def _sample_both(t: Tally) -> int:
    return min(t.v1.requests, answered_or_failed(t))


def _sample_client(t: Tally) -> int:
    return t.client_requests


def _sample_none(t: Tally) -> int:
    return 0


# ... in words


def _not_sent(t: Tally) -> str:
    count = not_asked(t)
    return f", {count:,} not sent" if count else ""


def _words_errors(t: Tally) -> str:
    return f"{sum(t.v2.errors):,} of {t.v2.requests:,} requests to v2{_not_sent(t)}"


def _words_fallbacks(t: Tally) -> str:
    return f"{sum(t.fallbacks):,} of {t.assigned_v2:,} requests for v2"


def _words_client(t: Tally) -> str:
    return f"{t.client_errors:,} of {t.client_requests:,} requests"


def _words_latency(t: Tally) -> str:
    return f"{t.v2.requests:,} requests to v2{_not_sent(t)}"


def _words_both(t: Tally) -> str:
    return f"{t.v2.requests:,} requests to v2{_not_sent(t)}, {t.v1.requests:,} to v1"


def _words_health(t: Tally) -> str:
    return "share of v2's endpoints"


def _words_report(t: Tally) -> str:
    return "as reported"


def _words_host(t: Tally) -> str:
    return "of this machine"


def _words_process(t: Tally) -> str:
    return "of the proxy's own processes"


GAUGES: Final[dict[Metric, Gauge]] = {
    Metric.ERROR_RATE: Gauge(_error_rate, answered_or_failed, _words_errors),
    Metric.FALLBACK_RATE: Gauge(_fallback_rate, _sample_assigned, _words_fallbacks),
    Metric.CLIENT_ERROR_RATE: Gauge(_client_error_rate, _sample_client, _words_client),
    Metric.LATENCY_P50: Gauge(_latency_p50, answered_or_failed, _words_latency, " s"),
    Metric.LATENCY_P95: Gauge(_latency_p95, answered_or_failed, _words_latency, " s"),
    Metric.LATENCY_P99: Gauge(_latency_p99, answered_or_failed, _words_latency, " s"),
    Metric.LATENCY_DELTA_MEAN: Gauge(_latency_delta_mean, _sample_both, _words_both, " s"),
    Metric.LATENCY_RATIO_P95: Gauge(_latency_ratio_p95, _sample_both, _words_both),
    Metric.HEALTH: Gauge(_health, _sample_none, _words_health),
    Metric.CPU: Gauge(_cpu, _sample_none, _words_report),
    Metric.MEMORY: Gauge(_memory, _sample_none, _words_report),
    Metric.CACHE_HIT_RATE: Gauge(_cache_hit_rate, _sample_none, _words_report),
    Metric.HOST_CPU: Gauge(_host_cpu, _sample_none, _words_host),
    Metric.HOST_MEMORY: Gauge(_host_memory, _sample_none, _words_host),
    Metric.PROCESS_CPU: Gauge(_process_cpu, _sample_none, _words_process),
    Metric.PROCESS_MEMORY: Gauge(_process_memory, _sample_none, _words_process),
}
"""How every metric is read; docs/life-of-a-decision.md has it as a table for users."""

OF_SYSTEM: Final = frozenset({Metric.HOST_CPU, Metric.HOST_MEMORY, Metric.PROCESS_CPU, Metric.PROCESS_MEMORY})
"""The metrics of this machine and of the processes on it."""

_OF_SURROUNDINGS: Final = OF_SYSTEM | {Metric.HEALTH, Metric.CPU, Metric.MEMORY, Metric.CACHE_HIT_RATE}
