"""The line that sums up how everything stands: what was asked and answered, by whom, and what is in force.

Owns its words, and what has happened since the line before. Must never know when it is due, nor where the
figures come from.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from proxy.model import PathSummary, RolloutReport

log = logging.getLogger("dualpath.summary")

_MOST_ROLLOUTS: Final = 10
"""So many stand in a line for people."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How everything stands now. The figures of `reports` are since each rollout began to be watched."""

    reports: Sequence[RolloutReport]
    at: float  # monotonic
    uptime_s: float
    memory_bytes: int  # of all processes
    workers: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Of all rollouts. `requests` are those that clients sent, `v1` and `v2` attempts that were first
    choices."""

    requests: int = 0
    errors: int = 0
    aborts: int = 0
    v1: int = 0
    v1_errors: int = 0
    v2: int = 0
    v2_errors: int = 0
    fallbacks: int = 0
    overridden: int = 0

    def since(self, before: Totals) -> Totals:
        """What has been added. A reload may have begun to count anew."""
        then, now = asdict(before), asdict(self)
        return Totals(**{name: max(0, count - then[name]) for name, count in now.items()})


class Summary:
    """Says one line after the other."""

    def __init__(self) -> None:
        self._before = Totals()
        self._before_at: float | None = None

    def __repr__(self) -> str:
        return f"Summary({self._before})"

    def say(self, standing: Standing) -> None:
        """Now."""
        totals = totals_of(standing.reports)
        since_s = standing.uptime_s if self._before_at is None else standing.at - self._before_at
        new = totals.since(self._before)
        self._before, self._before_at = totals, standing.at
        fields = {
            "uptime_s": round(standing.uptime_s, 1),
            "memory_bytes": standing.memory_bytes,
            "workers": standing.workers,
            "total": asdict(totals),
            "since_last": {"seconds": round(since_s, 1), **asdict(new)},
            "rollouts": [_fields(report) for report in standing.reports],
        }
        log.info("%s", _line(standing, totals, new, since_s), extra={"summary": fields})


def totals_of(reports: Iterable[RolloutReport]) -> Totals:
    """The sums over all rollouts."""
    found = [report.total for report in reports]
    return Totals(
        requests=sum(total.client_requests + total.client_aborts for total in found),
        errors=sum(total.client_errors for total in found),
        aborts=sum(total.client_aborts for total in found),
        v1=sum(total.v1.requests for total in found),
        v1_errors=sum(total.v1.errors for total in found),
        v2=sum(total.v2.requests for total in found),
        v2_errors=sum(total.v2.errors for total in found),
        fallbacks=sum(total.fallbacks for total in found),
        overridden=sum(total.overridden for total in found),
    )


# ... for machines


def _fields(report: RolloutReport) -> dict[str, Any]:
    state, total, recent = report.state, report.total, report.recent
    return {
        "name": state.name,
        "state": state.state,
        "phase": state.phase,
        "percentage": state.percentage,
        "observed_percentage": round(recent.observed_percentage, 3),
        "verdict": report.judgment.verdict,
        "breaker": report.breaker,
        "requests": total.client_requests + total.client_aborts,
        "errors": total.client_errors,
        "fallbacks": total.fallbacks,
        "v1": _path(total.v1, recent.v1),
        "v2": _path(total.v2, recent.v2),
    }


def _path(total: PathSummary, recent: PathSummary) -> dict[str, Any]:
    return {
        "requests": total.requests,
        "errors": total.errors,
        "recent_error_rate": round(recent.error_rate, 6),
        "recent_p95_ms": _ms(recent.latency.p95),
    }


# ... for people


def _line(standing: Standing, totals: Totals, new: Totals, since_s: float) -> str:
    rate = new.requests / since_s if since_s > 0 else 0.0
    shown = standing.reports[:_MOST_ROLLOUTS]
    more = len(standing.reports) - len(shown)
    workers = f"{standing.workers} worker{'' if standing.workers == 1 else 's'}"
    parts = [
        f"{_added(totals.requests, new.requests)} requests, {rate:.1f}/s",
        f"{_added(totals.errors, new.errors)} failed, {_added(totals.fallbacks, new.fallbacks)} fallbacks",
        f"v1 {_added(totals.v1, new.v1)}, {_added(totals.v1_errors, new.v1_errors)} errors",
        f"v2 {_added(totals.v2, new.v2)}, {_added(totals.v2_errors, new.v2_errors)} errors",
        *(_rollout(report) for report in shown),
        *([f"{more} more rollouts"] if more else []),
        f"up {_span(standing.uptime_s)}, {standing.memory_bytes / (1 << 20):.0f} MiB, {workers}",
    ]
    return "; ".join(parts)


def _added(total: int, new: int) -> str:
    return f"{total} (+{new})" if new else str(total)


def _rollout(report: RolloutReport) -> str:
    state, recent = report.state, report.recent
    phase = f" in {state.phase}" if state.phase is not None else ""
    seen = f", {recent.observed_percentage:.1f} % seen" if recent.assigned_v1 + recent.assigned_v2 else ""
    both = recent.v1.requests and recent.v2.requests
    p95 = f", p95 {_ms(recent.v1.latency.p95):g} and {_ms(recent.v2.latency.p95):g} ms" if both else ""
    breaker = f", breaker {report.breaker}" if report.breaker not in {"closed", "disabled"} else ""
    return f"{state.name} {state.state} at {state.percentage:g} %{phase}{seen}{p95}{breaker}"


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _span(seconds: float) -> str:
    days, rest = divmod(int(seconds), 86_400)
    hours, rest = divmod(rest, 3600)
    return f"{f'{days} d ' if days else ''}{hours}:{rest // 60:02d}:{rest % 60:02d}"
