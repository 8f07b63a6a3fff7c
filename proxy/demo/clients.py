"""What the demo's clients saw, added up.

Owns the count of answers, of failures and of who answered. Must never know how requests are sent; instants
are monotonic seconds and come as arguments.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from proxy.core.histogram import Histogram
from proxy.model import LatencySummary

FALLBACK = "v1-fallback"
"""The value of `X-Dualpath-Path` on an answer that v1 gave in place of v2."""
FAILURES_KEPT = 5


@dataclass(frozen=True, slots=True)
class ClientsSeen:
    """A reading of the tally. `failures` are the first few in words; for the others see `ClientTally`."""

    answers: int = 0
    failed: int = 0
    from_v1: int = 0
    from_v2: int = 0
    from_fallback: int = 0
    first_fallback_at: float | None = None
    strays: int = 0
    failures: tuple[str, ...] = ()
    latency: LatencySummary = field(default_factory=LatencySummary)


class ClientTally:
    """The running count. `record` is called once per request."""

    def __init__(self) -> None:
        self._failed = 0
        self._by_path: Counter[str | None] = Counter()
        self._first_fallback_at: float | None = None
        self._watching_from = math.inf
        self._settled_at = math.inf
        self._strays = 0
        self._failures: list[str] = []
        self._latency = Histogram()

    def __repr__(self) -> str:
        return f"<ClientTally {dict(self._by_path)} failed={self._failed}>"

    def record(self, began: float, ended: float, path: str | None, failure: str | None) -> None:
        """One request; `path` as the proxy told it, `failure` in words if it failed."""
        self._by_path[path] += 1
        self._latency.record(ended - began)
        if failure is not None:
            self._failed += 1
            self._failures = [*self._failures, failure][:FAILURES_KEPT]
        if path == FALLBACK and self._first_fallback_at is None and ended >= self._watching_from:
            self._first_fallback_at = ended
        if began > self._settled_at and path != "v1":
            self._strays += 1

    def watch_fallbacks(self, at: float) -> None:
        """Note when the first fallback is answered from `at` on."""
        self._watching_from = at

    def settle(self, at: float) -> None:
        """From `at` on v1 alone should answer, in nobody's place: later requests that differ are strays."""
        self._settled_at = at

    def seen(self) -> ClientsSeen:
        """The count up to now."""
        return ClientsSeen(
            answers=self._by_path.total() - self._failed,
            failed=self._failed,
            from_v1=self._by_path["v1"],
            from_v2=self._by_path["v2"],
            from_fallback=self._by_path[FALLBACK],
            first_fallback_at=self._first_fallback_at,
            strays=self._strays,
            failures=tuple(self._failures),
            latency=self._latency.summary(),
        )
