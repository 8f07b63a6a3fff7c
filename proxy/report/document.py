"""The report as one JSON document: what scripts get, and what the other forms are made from.

Pure. Owns the names of its keys. Shares are 0..1, percentages 0..100, latencies milliseconds, instants UTC.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from proxy.report.advice import advice, outcome

if TYPE_CHECKING:
    from proxy.report.course import Course, Incident, Stay
    from proxy.report.gathering import Material
    from proxy.report.sums import PathSum, Sum

JsonDocument = dict[str, Any]


def document_of(material: Material, course: Course) -> JsonDocument:
    """All that a report says."""
    plan = material.plan
    return {
        "report": 1,
        "rollout": material.rollout["name"],
        "instance": material.instance,
        "version": material.version,
        "made_at": instant(material.at),
        "from": instant(course.start),
        "to": instant(course.end),
        "state": material.rollout["state"],
        "percentage": material.rollout["percentage"],
        "outcome": outcome(material),
        "advice": advice(material, course),
        "plan": {"phases": plan.get("phases", []), "guards": plan.get("guards", [])},
        "stays": [_stay(one) for one in course.stays],
        "harm": _harm(course.whole),
        "figures": _sum(course.whole),
        "incidents": [_incident(one) for one in course.incidents],
        "events": [_event(one) for one in material.events],
        "minutes": [_minute(one) for one in material.minutes],
    }


def instant(at: float) -> str:
    """ "2026-01-01T00:00:00Z"."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _stay(stay: Stay) -> JsonDocument:
    return {
        "state": stay.state,
        "phase": stay.phase,
        "percentage": stay.percentage,
        "from": instant(stay.start),
        "to": instant(stay.end),
        "seconds": round(stay.end - stay.start, 1),
        "ended_by": stay.ended_by or None,
        "actor": stay.actor or None,
        "reason": stay.reason or None,
        "figures": _sum(stay.sums),
        "checks": [asdict(one) for one in stay.checks],
    }


def _harm(whole: Sum) -> JsonDocument:
    return {
        "v2_failures": whole.v2.errors,
        "answered_by_v1_instead": whole.fallbacks,
        "client_requests": whole.client_requests,
        "client_errors": whole.client_errors,
        "client_errors_beyond_v1": whole.excess_client_errors,
    }


def _sum(sums: Sum) -> JsonDocument:
    return {
        "seconds": round(sums.seconds, 1),
        "v1": _path(sums.v1),
        "v2": {**_path(sums.v2), "fallbacks": sums.fallbacks, "fallback_rate": _rounded(sums.fallback_rate)},
        "client": {
            "requests": sums.client_requests,
            "errors": sums.client_errors,
            "error_rate": _rounded(sums.client_error_rate),
        },
        "fallbacks_by_reason": sums.fallbacks_by_reason,
        "fallbacks_over_budget": sums.over_budget,
    }


def _path(path: PathSum) -> JsonDocument:
    return {
        "requests": path.requests,
        "errors": path.errors,
        "error_rate": _rounded(path.error_rate),
        "errors_by_class": path.errors_by_class,
        **{name: _rounded(getattr(path, name)) for name in ("mean_ms", "p50_ms", "p95_ms", "p99_ms")},
    }


def _incident(incident: Incident) -> JsonDocument:
    return {**asdict(incident), "at": instant(incident.at)}


def _event(event: JsonDocument) -> JsonDocument:
    kept = ("seq", "at", "cause", "actor", "reason", "changes_state", "before", "after")
    return {name: event[name] for name in kept}


def _minute(minute: JsonDocument) -> JsonDocument:
    v1, v2, client = minute["paths"]["v1"], minute["paths"]["v2"], minute["client"]
    return {
        "at": minute["at"],
        "seconds": minute["seconds"],
        "percentage": minute["percentage"],
        "requests": [v1["requests"], v2["requests"]],
        "error_rate": [one["error_rate"] if one["requests"] else None for one in (v1, v2)],
        "client_error_rate": client["error_rate"] if client["requests"] else None,
        "p95_ms": [one["latency_ms"]["p95"] if one["requests"] else None for one in (v1, v2)],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
