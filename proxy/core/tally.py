"""Tallies: everything that is counted about one rollout, as sums that merge and subtract exactly.

Owns the counters and how they read as a `Snapshot`. Must never know a clock, a window or a limit: a tally may
hold a second's worth, a window's, or all since the process started.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.core.histogram import Histogram
from proxy.model import ErrorClass, FallbackReason, Path, PathSummary, Snapshot

ERROR_CLASSES = tuple(ErrorClass)
ERROR_INDEX = {kind: index for index, kind in enumerate(ERROR_CLASSES)}
"""Position of each error class in `PathTally.errors`."""

FALLBACK_REASONS = tuple(FallbackReason)
FALLBACK_INDEX = {reason: index for index, reason in enumerate(FALLBACK_REASONS)}
"""Position of each reason in `Tally.fallbacks` and `Tally.over_budget`."""

_NOT_ASKED = (FALLBACK_INDEX[FallbackReason.BREAKER], FALLBACK_INDEX[FallbackReason.UNAVAILABLE])


def _no_errors() -> list[int]:
    return [0] * len(ERROR_CLASSES)


def _no_fallbacks() -> list[int]:
    return [0] * len(FALLBACK_REASONS)


_NOTHING = Histogram()


def _nothing() -> Histogram:
    return _NOTHING


@dataclass(slots=True)
class PathTally:
    """First-choice attempts on one path. Every attempt, failed or not, is one request and one latency."""

    requests: int = 0
    errors: list[int] = field(default_factory=_no_errors)  # in the order of ErrorClass
    latency: Histogram = field(default_factory=Histogram)

    def add(self, other: PathTally, *, latencies: bool = True) -> None:
        """Merge `other` in."""
        self.requests += other.requests
        _add(self.errors, other.errors)
        if latencies:
            self.latency.add(other.latency)

    def subtract(self, other: PathTally, *, latencies: bool = True) -> None:
        """Take `other`, which was added before, out again."""
        self.requests -= other.requests
        _subtract(self.errors, other.errors)
        if latencies:
            self.latency.subtract(other.latency)

    def summary(self) -> PathSummary:
        """The frozen reading. Error classes without an error are left out."""
        errors = sum(self.errors)
        by_class = zip(ERROR_CLASSES, self.errors, strict=True) if errors else ()
        return PathSummary(
            requests=self.requests,
            errors=errors,
            errors_by_class=tuple([(kind, n) for kind, n in by_class if n]),
            latency=self.latency.reading(),
        )


@dataclass(slots=True)
class Tally:
    """Counters of one rollout; what each means is told at `model.Snapshot`, where they are read."""

    v1: PathTally = field(default_factory=PathTally)
    v2: PathTally = field(default_factory=PathTally)
    assigned_v1: int = 0
    assigned_v2: int = 0
    overridden: int = 0
    fallbacks: list[int] = field(default_factory=_no_fallbacks)  # in the order of FallbackReason
    fallback_errors: int = 0
    over_budget: list[int] = field(default_factory=_no_fallbacks)  # in the order of FallbackReason
    client_requests: int = 0
    client_errors: int = 0
    client_aborts: int = 0
    in_flight_v1: Histogram = field(default_factory=_nothing)  # ages of attempts still under way: a gauge,
    in_flight_v2: Histogram = field(default_factory=_nothing)  # which sums and windows leave out

    def of(self, path: Path) -> PathTally:
        """The attempts on `path`."""
        return self.v1 if path is Path.V1 else self.v2

    def add(self, other: Tally, *, latencies: bool = True) -> None:
        """Merge `other` in, its `latencies` only if they are wanted: they are most of the work."""
        self.v1.add(other.v1, latencies=latencies)
        self.v2.add(other.v2, latencies=latencies)
        self.assigned_v1 += other.assigned_v1
        self.assigned_v2 += other.assigned_v2
        self.overridden += other.overridden
        _add(self.fallbacks, other.fallbacks)
        self.fallback_errors += other.fallback_errors
        _add(self.over_budget, other.over_budget)
        self.client_requests += other.client_requests
        self.client_errors += other.client_errors
        self.client_aborts += other.client_aborts

    def add_in_flight(self, other: Tally) -> None:
        """Merge in what is under way elsewhere at the same moment."""
        if other.in_flight_v1.count or other.in_flight_v2.count:
            on_v1, on_v2 = Histogram(), Histogram()
            for tally in (self, other):
                on_v1.add(tally.in_flight_v1)
                on_v2.add(tally.in_flight_v2)
            self.in_flight_v1, self.in_flight_v2 = on_v1, on_v2

    def subtract(self, other: Tally, *, latencies: bool = True) -> None:
        """Take `other`, which was added before in the same way, out again."""
        self.v1.subtract(other.v1, latencies=latencies)
        self.v2.subtract(other.v2, latencies=latencies)
        self.assigned_v1 -= other.assigned_v1
        self.assigned_v2 -= other.assigned_v2
        self.overridden -= other.overridden
        _subtract(self.fallbacks, other.fallbacks)
        self.fallback_errors -= other.fallback_errors
        _subtract(self.over_budget, other.over_budget)
        self.client_requests -= other.client_requests
        self.client_errors -= other.client_errors
        self.client_aborts -= other.client_aborts

    def snapshot(
        self,
        window_s: float,
        health_v1: float = 1.0,
        health_v2: float = 1.0,
    ) -> Snapshot:
        """The frozen reading of what was counted over `window_s` seconds; health is a share 0..1."""
        fallbacks = sum(self.fallbacks)
        by_reason = zip(FALLBACK_REASONS, self.fallbacks, strict=True) if fallbacks else ()
        return Snapshot(
            window_s=window_s,
            v1=self.v1.summary(),
            v2=self.v2.summary(),
            assigned_v1=self.assigned_v1,
            assigned_v2=self.assigned_v2,
            overridden=self.overridden,
            not_asked=sum([self.fallbacks[i] + self.over_budget[i] for i in _NOT_ASKED]),
            fallbacks=fallbacks,
            fallbacks_by_reason=tuple([(reason, n) for reason, n in by_reason if n]),
            fallback_errors=self.fallback_errors,
            fallbacks_over_budget=sum(self.over_budget),
            client_requests=self.client_requests,
            client_errors=self.client_errors,
            client_aborts=self.client_aborts,
            health_v1=health_v1,
            health_v2=health_v2,
        )


def _add(counts: list[int], more: list[int]) -> None:
    if any(more):  # hardly ever
        for index, n in enumerate(more):
            counts[index] += n


def _subtract(counts: list[int], fewer: list[int]) -> None:
    if any(fewer):
        for index, n in enumerate(fewer):
            counts[index] -= n
