"""What a load came to: latencies per path, statuses, errors, the generator's own lag, the course over time.

Owns the counting. Must never know how requests are sent; instants are seconds since the beginning and come as
arguments. A latency counts from the moment the request was due, so that a server that stands still is charged
for all that should have been asked meanwhile (no coordinated omission).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from proxy.core.histogram import Histogram

UNTOLD = "none"
"""The path of an answer without `X-Dualpath-Path`."""
UNANSWERED = "no answer"
"""Stands for the path of a request that was not answered."""
ALL = "all"
PATHS = ("v1", "v2", "v1-fallback", UNTOLD, UNANSWERED)
LATE_S = 0.02  # own lag at which the generator says so
SHORT = 0.98  # share of what was due that it has to have sent

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one request: a status and who answered, or an error's kind."""

    status: int | None = None
    path: str | None = None
    error: str | None = None

    @property
    def row(self) -> str:
        """The path it is counted under; a path nobody knows counts as untold."""
        if self.status is None:
            return UNANSWERED
        return self.path if self.path in PATHS[:3] else UNTOLD

    @property
    def failed(self) -> bool:
        """No answer, or an answer that says the server failed."""
        return self.status is None or self.status >= 500


@dataclass(frozen=True, slots=True)
class Second:
    """One second of the run, by when answers came; `paths` holds (answers, p50 ms, p99 ms)."""

    at: int
    answers: int
    failed: int
    paths: dict[str, tuple[int, float, float]]


class Figures:
    """The running count. `record` is called once per request."""

    def __init__(self) -> None:
        self.seconds: list[Second] = []
        self.failed = 0
        self.errors: Counter[str] = Counter()
        self.statuses: dict[str, Counter[str]] = {}
        self._totals: dict[str, Histogram] = {}
        self._lag = Histogram()
        self._now = 0
        self._now_failed = 0
        self._now_paths: dict[str, Histogram] = {}

    def __repr__(self) -> str:
        return f"<Figures {self.count} requests, {self.failed} failed>"

    def record(self, done_s: float, reply: Reply, latency_s: float, lag_s: float) -> None:
        """One request that ended at `done_s`; latency and own lag count from when it was due."""
        while int(done_s) > self._now:
            self._end_second()
        self._lag.record(lag_s)
        row = reply.row
        self._now_paths.setdefault(row, Histogram()).record(latency_s)
        if reply.status is None:
            self.errors[reply.error or "other"] += 1
        else:
            self.statuses.setdefault(row, Counter())[f"{reply.status // 100}xx"] += 1
        self.failed += reply.failed
        self._now_failed += reply.failed

    def _end_second(self) -> None:
        paths = {
            row: (one.count, one.reading().p50 * 1e3, one.reading().p99 * 1e3)
            for row, one in self._now_paths.items()
        }
        answers = sum(count for row, (count, _, _) in paths.items() if row != UNANSWERED)
        self.seconds.append(Second(self._now, answers, self._now_failed, paths))
        merge(self._totals, self._now_paths)
        self._now += 1
        self._now_failed = 0
        self._now_paths = {}

    def finish(self) -> None:
        """Ends the second that runs. To be called once, when the load is over."""
        if self._now_paths:
            self._end_second()

    @property
    def count(self) -> int:
        """Requests whose end is known."""
        return self._lag.count

    @property
    def error_rate(self) -> float:
        """Share of them that failed."""
        return self.failed / self.count if self.count else 0.0

    def latencies(self) -> dict[str, Histogram]:
        """By path, in a fixed order, those without a request left out; and, at last, all of them together."""
        merged: dict[str, Histogram] = {}
        for part in (self._totals, self._now_paths):
            merge(merged, part)
        everything = Histogram()
        for one in merged.values():
            everything.add(one)
        return {**{path: merged[path] for path in PATHS if path in merged}, ALL: everything}

    def lag_s(self, q: float) -> float:
        """A quantile of the generator's own lag."""
        return self._lag.reading().quantile(q)

    def observed_share(self) -> float | None:
        """Share of v2 in the answers that tell their path; None if none does."""
        counts = {path: one.count for path, one in self.latencies().items()}
        told = sum(counts.get(path, 0) for path in PATHS[:3])
        return counts.get("v2", 0) / told if told else None

    def fell_behind(self, due: int, sent: int) -> bool:
        """Whether the generator itself was too slow for what was due so far."""
        return self.lag_s(0.99) > LATE_S or sent < due * SHORT


def merge(into: dict[str, Histogram], part: dict[str, Histogram]) -> None:
    """Adds each histogram of `part` to its namesake; `part` stays as it is."""
    for name, one in part.items():
        into.setdefault(name, Histogram()).add(one)


def quantiles_ms(one: Histogram) -> dict[str, float]:
    """The percentiles that are shown, in milliseconds."""
    return {name: one.reading().quantile(q) * 1e3 for name, q in QUANTILES.items()}
