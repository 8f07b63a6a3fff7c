"""Minutes added up: what v1, v2 and the clients had in a stretch of time.

Pure. Counts add up exactly; quantiles do not, so that of those the minute in the middle is told.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

JsonDocument = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PathSum:
    """One path: attempts before any fallback hid them; latencies in milliseconds, None without an attempt."""

    requests: int = 0
    errors: int = 0
    mean_ms: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    errors_by_class: dict[str, int] = field(default_factory=dict)

    @property
    def error_rate(self) -> float | None:
        """0..1; None without an attempt."""
        return self.errors / self.requests if self.requests else None


@dataclass(frozen=True, slots=True)
class Sum:
    """A stretch of time."""

    seconds: float = 0.0
    v1: PathSum = PathSum()
    v2: PathSum = PathSum()
    assigned_v2: int = 0
    fallbacks: int = 0
    fallback_errors: int = 0
    over_budget: int = 0
    client_requests: int = 0
    client_errors: int = 0
    fallbacks_by_reason: dict[str, int] = field(default_factory=dict)

    @property
    def fallback_rate(self) -> float | None:
        """Of what was to go to v2, the share that v1 answered."""
        return self.fallbacks / self.assigned_v2 if self.assigned_v2 else None

    @property
    def client_error_rate(self) -> float | None:
        """As clients saw it."""
        return self.client_errors / self.client_requests if self.client_requests else None

    @property
    def excess_client_errors(self) -> int:
        """Failures that clients would not have seen if all answers had been as good as v1's."""
        return max(0, round(self.client_errors - (self.v1.error_rate or 0.0) * self.client_requests))


def sum_of(minutes: Sequence[JsonDocument]) -> Sum:
    """All of these together."""
    v2 = [one["paths"]["v2"] for one in minutes]
    reasons: Counter[str] = Counter()
    for one in minutes:
        reasons.update(one["fallbacks_by_reason"])
    return Sum(
        seconds=sum(one["seconds"] for one in minutes),
        v1=_path([one["paths"]["v1"] for one in minutes]),
        v2=_path(v2),
        assigned_v2=sum(one["assigned"] for one in v2),
        fallbacks=sum(one["fallbacks"] for one in v2),
        fallback_errors=sum(one["fallback_errors"] for one in v2),
        over_budget=sum(one["fallbacks_over_budget"] for one in minutes),
        client_requests=sum(one["client"]["requests"] for one in minutes),
        client_errors=sum(one["client"]["errors"] for one in minutes),
        fallbacks_by_reason=dict(reasons),
    )


def _path(parts: Iterable[JsonDocument]) -> PathSum:
    asked = [one for one in parts if one["requests"]]
    requests = sum(one["requests"] for one in asked)
    if not requests:
        return PathSum()
    classes: Counter[str] = Counter()
    for one in asked:
        classes.update(one["errors_by_class"])
    middle = {name: median(one["latency_ms"][name] for one in asked) for name in ("p50", "p95", "p99")}
    return PathSum(
        requests=requests,
        errors=sum(one["errors"] for one in asked),
        mean_ms=sum(one["latency_ms"]["mean"] * one["requests"] for one in asked) / requests,
        p50_ms=middle["p50"],
        p95_ms=middle["p95"],
        p99_ms=middle["p99"],
        errors_by_class=dict(classes),
    )
