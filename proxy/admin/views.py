"""Values of the model as JSON-ready dicts: the shapes that docs/admin-api.md promises.

Pure: no request, no clock, no library. Rates and shares are 0..1, percentages 0..100, latencies milliseconds,
instants ISO 8601 in UTC. What cannot be known (a ratio to zero, a guard short of its sample) is None, not 0.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING

from proxy.core.histogram import bucket_bounds_us
from proxy.judgment import Action, Verdict
from proxy.model import Path, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from proxy.core.audit import TrailPage
    from proxy.core.minute import Minute
    from proxy.judgment import EvidenceReading, GuardReading, Judgment, Need
    from proxy.model import (
        EndpointStatus,
        Event,
        Explanation,
        KeyOverride,
        Latencies,
        PathSummary,
        Pulse,
        RolloutReport,
        RolloutState,
        Snapshot,
    )

JsonObject = dict[str, object]

_MERGED = 4
"""Buckets of a histogram that are shown as one."""


def rollout_view(report: RolloutReport) -> JsonObject:
    """One rollout as `/api/v1/status` shows it.

    Figures at the top level are totals since the process started; `recent` has the same shape over its
    `window_s`. `observed_percentage` is the recent one: what the split does now.
    """
    return {
        **state_view(report.state),
        "name": report.state.name,
        "stage": report.stage,
        "observed_percentage": _share(report.recent.observed_percentage),
        "since": instant(report.state.since),
        "reason": report.state.reason,
        "judgment": _judgment_view(report.judgment),
        **_figures(report.total),
        "recent": {
            "window_s": round(report.recent.window_s, 3),
            "observed_percentage": _share(report.recent.observed_percentage),
            **_figures(report.recent),
        },
        "guards": [_guard_view(reading) for reading in report.judgment.readings],
        "breaker": report.breaker,
        "endpoints": [endpoint_view(endpoint) for endpoint in report.endpoints],
        "users": {"seen": report.users.seen, "v2": report.users.v2},
    }


def summary_view(reports: Sequence[RolloutReport]) -> JsonObject:
    """All rollouts in one: how many are enabled and in each stage, v2's share of the recent traffic in
    percent, and the users. Somebody whom two rollouts split counts twice."""
    stages = Counter(report.stage for report in reports)
    v2 = sum(report.recent.assigned_v2 for report in reports)
    split = v2 + sum(report.recent.assigned_v1 for report in reports)
    return {
        "enabled": sum(report.state.weight > 0 for report in reports),
        "total": len(reports),
        "stages": {str(stage): stages[stage] for stage in Stage},
        "v2_share": _share(100.0 * v2 / split) if split else 0.0,
        "users": {
            "seen": sum(report.users.seen for report in reports),
            "v2": sum(report.users.v2 for report in reports),
        },
    }


def row_view(pulse: Pulse, judgment: Judgment | None) -> JsonObject:
    """One rollout in a list of many; rounded, so that it hardly changes while nothing does."""
    state, recent = pulse.state, pulse.recent
    readings = () if judgment is None else judgment.readings
    return {
        "name": state.name,
        "state": state.state,
        "phase": state.phase,
        "percentage": state.percentage,
        "observed_percentage": round(recent.observed_percentage, 1),
        "verdict": Verdict.HOLD if judgment is None else judgment.verdict,
        "waits": judgment is not None and bool(judgment.missing),
        "crossed": any(one.crossed and one.action is not Action.ALERT for one in readings),
        "error_rate": [
            round(path.error_rate, 4) if path.requests else None for path in (recent.v1, recent.v2)
        ],
    }


def latencies_view(snapshot: Snapshot) -> JsonObject:
    """How latencies spread: per path lists of [from, to, count] in milliseconds, eight to an octave, without
    those that are empty."""
    return {"window_s": round(snapshot.window_s, 3), "v1": _spread(snapshot.v1), "v2": _spread(snapshot.v2)}


def _spread(path: PathSummary) -> list[list[float]]:
    found: dict[int, int] = {}
    for index, count in path.latency.buckets():
        found[index // _MERGED] = found.get(index // _MERGED, 0) + count
    return [
        [
            bucket_bounds_us(group * _MERGED)[0] / 1000,
            bucket_bounds_us(group * _MERGED + _MERGED - 1)[1] / 1000,
            count,
        ]
        for group, count in found.items()
    ]


def event_view(event: Event) -> JsonObject:
    """One record of the audit. An alert has `changes_state` false and `before` equal to `after`."""
    transition = event.transition
    judgment = transition.judgment
    return {
        "seq": event.seq,
        "at": instant(transition.at),
        "rollout": transition.after.name,
        "cause": transition.cause,
        "actor": transition.actor,
        "reason": transition.reason,
        "changes_state": transition.changes_state,
        "config": transition.config or None,
        "hash": event.hash,
        "before": state_view(transition.before),
        "after": state_view(transition.after),
        "judgment": None
        if judgment is None
        else {**_judgment_view(judgment), "guards": [_guard_view(reading) for reading in judgment.readings]},
    }


def trail_view(page: TrailPage, *, local_only: bool = False) -> JsonObject:
    """Records as they were written, to be verified by whoever reads them."""
    head = page.head
    return {
        "records": [
            {"seq": one.seq, "hash": one.hash, "rollout": one.rollout, "record": one.text}
            for one in page.records
        ],
        "head": {"seq": head.seq, "hash": head.hash, "adopted": head.adopted},
        "begin": {"seq": page.begin.seq, "hash": page.begin.hash},
        "local_only": local_only,
    }


def minute_view(minute: Minute) -> JsonObject:
    """What was counted in a minute, with the figures of a rollout's `recent`."""
    return {
        "at": instant(minute.at),
        "seconds": minute.seconds,
        "state": minute.state,
        "phase": minute.phase,
        "percentage": minute.percentage,
        "weight": minute.weight,
        "verdict": minute.verdict,
        **_figures(minute.snapshot()),
    }


def explanation_view(explanation: Explanation) -> JsonObject:
    """Why a key goes where it goes; `bucket` is None where no bucket was consulted."""
    return {
        "rollout": explanation.rollout,
        "path": explanation.path,
        "rule": explanation.rule,
        "key": explanation.key,
        "bucket": explanation.bucket,
        "weight": explanation.weight,
        "override": None if explanation.override is None else override_view(explanation.override),
    }


def endpoint_view(endpoint: EndpointStatus) -> JsonObject:
    """One endpoint as the data plane sees it."""
    return {
        "path": endpoint.path,
        "url": endpoint.url,
        "healthy": endpoint.healthy,
        "ejected": endpoint.ejected,
        "outstanding": endpoint.outstanding,
        "idle_connections": endpoint.idle_connections,
    }


def backends_view(endpoints: Iterable[EndpointStatus]) -> JsonObject:
    """Per path the number of endpoints, and of those that may take traffic."""
    known = {(endpoint.path, endpoint.url): endpoint for endpoint in endpoints}.values()
    return {
        str(path): {
            "endpoints": sum(endpoint.path is path for endpoint in known),
            "healthy": sum(
                endpoint.path is path and endpoint.healthy and not endpoint.ejected for endpoint in known
            ),
        }
        for path in Path
    }


def events_view(events: Sequence[Event], *, local_only: bool = False) -> JsonObject:
    """A page of the audit; `last` is the `after` of the next page, None on an empty one. `local_only` if it
    is what this instance knows while the shared store cannot be reached."""
    return {
        "events": [event_view(event) for event in events],
        "last": events[-1].seq if events else None,
        "local_only": local_only,
    }


def override_view(override: KeyOverride) -> JsonObject:
    """A key that somebody has sent to one path; `expires_at` is None for one that stays."""
    return {
        "rollout": override.rollout,
        "key": override.key,
        "path": override.path,
        "expires_at": None if override.expires_at is None else instant(override.expires_at),
        "actor": override.actor,
        "at": instant(override.at),
        "reason": override.reason,
    }


def loaded_view(at: float, error: str | None) -> JsonObject:
    """When the configuration in force was read; `error` says why a later one was refused, else None."""
    return {"loaded_at": instant(at), "error": error}


def instant(epoch_s: float) -> str:
    """An instant in UTC as ISO 8601 with milliseconds, such as "2026-01-01T00:00:00.000Z"."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def state_view(state: RolloutState) -> JsonObject:
    """Where a rollout stands, or stood."""
    return {
        "state": state.state,
        "phase": state.phase,
        "percentage": state.percentage,
        "weight": state.weight,
        "revision": state.revision,
    }


def _judgment_view(judgment: Judgment) -> JsonObject:
    return {
        "verdict": judgment.verdict,
        "reasons": list(judgment.reasons),
        "cause": judgment.cause or None,
        "action": judgment.action,
        "evidence": [_evidence_view(reading) for reading in judgment.evidence],
        "missing": list(judgment.missing),
        "needs": [_need_view(need) for need in judgment.needs],
        "eta_s": None if judgment.eta_s is None else _number(judgment.eta_s),
    }


def _evidence_view(reading: EvidenceReading) -> JsonObject:
    return {
        "name": reading.name,
        "value": _number(reading.value),
        "needed": _number(reading.needed),
        "against": reading.against,
        "text": reading.text,
    }


def _need_view(need: Need) -> JsonObject:
    return {
        "criterion": need.criterion,
        "met": need.met,
        "have": None if need.have is None or not isfinite(need.have) else _share(need.have),
        "need": _share(need.need),
        "unit": need.unit,
        "seconds": None if need.seconds is None else _number(need.seconds),
        "requests": need.requests,
        "text": need.text,
    }


def _guard_view(reading: GuardReading) -> JsonObject:
    return {
        "name": reading.guard,
        "metric": reading.metric,
        "value": reading.value,
        "limit": reading.limit,
        "sample": reading.sample,
        "min_requests": reading.min_requests,
        "crossed": reading.crossed,
        "firing": reading.firing,
        "action": reading.action,
    }


def _figures(snapshot: Snapshot) -> JsonObject:
    told = _latency_view(snapshot.v1.latency), _latency_view(snapshot.v2.latency)
    return {
        "paths": {
            "v1": {"assigned": snapshot.assigned_v1, **_path_view(snapshot.v1, told[0])},
            "v2": {
                "assigned": snapshot.assigned_v2,
                **_path_view(snapshot.v2, told[1]),
                "fallbacks": snapshot.fallbacks,
                "fallback_rate": _share(snapshot.fallback_rate),
                "fallback_errors": snapshot.fallback_errors,
            },
        },
        "client": {
            "requests": snapshot.client_requests,
            "errors": snapshot.client_errors,
            "error_rate": _share(snapshot.client_error_rate),
            "aborts": snapshot.client_aborts,
        },
        "comparison": _comparison(snapshot, *told),
        "fallbacks_by_reason": {str(reason): count for reason, count in snapshot.fallbacks_by_reason},
        "fallbacks_over_budget": snapshot.fallbacks_over_budget,
        "overridden": snapshot.overridden,
    }


def _path_view(path: PathSummary, latency_ms: dict[str, float]) -> JsonObject:
    return {
        "requests": path.requests,
        "errors": path.errors,
        "error_rate": _share(path.error_rate),
        "errors_by_class": {str(kind): count for kind, count in path.errors_by_class},
        "latency_ms": latency_ms,
    }


def _latency_view(latency: Latencies) -> dict[str, float]:
    return {
        "mean": _ms(latency.mean),
        "p50": _ms(latency.p50),
        "p90": _ms(latency.p90),
        "p95": _ms(latency.p95),
        "p99": _ms(latency.p99),
        "max": _ms(latency.max),
    }


def _comparison(snapshot: Snapshot, ms_v1: dict[str, float], ms_v2: dict[str, float]) -> JsonObject:
    """Per figure v2 minus v1 and v2 over v1; None without a sample on both paths, and for a ratio to zero."""
    v1, v2 = snapshot.v1, snapshot.v2
    both = v1.requests > 0 and v2.requests > 0
    pairs = {"error_rate": (v1.error_rate, v2.error_rate)}
    pairs |= {f"{name}_ms": (ms_v1[name], ms_v2[name]) for name in ("mean", "p50", "p95", "p99")}
    return {
        name: {
            "difference": round(of_v2 - of_v1, 6) if both else None,
            "ratio": round(of_v2 / of_v1, 4) if both and of_v1 > 0 else None,
        }
        for name, (of_v1, of_v2) in pairs.items()
    }


def _number(value: float) -> float | None:
    return round(value, 4) if isfinite(value) else None


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _share(value: float) -> float:
    return round(value, 6)
