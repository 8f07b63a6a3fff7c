"""The shapes of what the admin API answers, as JSON Schema (draft 2020-12, the dialect of OpenAPI 3.1).

One schema for each value that `views` makes, closed: a key that is missing here fails the tests. Pure data;
the words come from the model's enumerations, so that a new one is here at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxy.admin.seconds import COUNTS, FIGURES
from proxy.core.fleet import Role
from proxy.core.notice import NoticeKind, Severity
from proxy.core.refusals import REASONS
from proxy.judgment import Action, Metric, Unit, Verdict
from proxy.model import ErrorClass, FallbackReason, Path, Stage, State

if TYPE_CHECKING:
    from collections.abc import Iterable

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """A reference to one of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: Schema) -> Schema:
    """The same, or null: what cannot be known."""
    return {"anyOf": [schema, {"type": "null"}]}


def words(values: Iterable[str]) -> Schema:
    """One of the words."""
    return {"type": "string", "enum": [str(value) for value in values]}


def listed(schema: Schema) -> Schema:
    """Any number of them."""
    return {"type": "array", "items": schema}


def closed(**properties: Schema) -> Schema:
    """An object of exactly these keys."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def counts(values: Iterable[str]) -> Schema:
    """Counts by word; a word that never came is absent."""
    return {
        "type": "object",
        "properties": {str(value): COUNT for value in values},
        "additionalProperties": False,
    }


TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SHARE: Schema = {"type": "number", "minimum": 0, "description": "0 to 1"}
PERCENTAGE: Schema = {"type": "number", "minimum": 0, "maximum": 100}
MILLISECONDS: Schema = {"type": "number", "minimum": 0}
INSTANT: Schema = {"type": "string", "format": "date-time"}
HASH: Schema = {"type": "string", "pattern": "^([0-9a-f]{64})?$", "description": "SHA-256; empty: none"}
PATH = words(Path)
LOGIN_SCHEMA: Schema = {**closed(token=TEXT), "title": "Login"}

_STATE: dict[str, Schema] = {
    "state": words(State),
    "phase": nullable(TEXT),
    "percentage": PERCENTAGE,
    "weight": {"type": "integer", "minimum": 0, "maximum": 100_000},
    "revision": COUNT,
}
_JUDGMENT: dict[str, Schema] = {
    "verdict": words(Verdict),
    "reasons": listed(TEXT),
    "cause": nullable(TEXT),
    "action": nullable(words(Action)),
    "evidence": listed(ref("Evidence")),
    "missing": listed(TEXT),
    "needs": listed(ref("Need")),
    "eta_s": nullable(NUMBER),
}
_ATTEMPTS: dict[str, Schema] = {
    "assigned": COUNT,
    "requests": COUNT,
    "errors": COUNT,
    "error_rate": SHARE,
    "errors_by_class": counts(ErrorClass),
    "latency_ms": closed(
        mean=MILLISECONDS,
        p50=MILLISECONDS,
        p90=MILLISECONDS,
        p95=MILLISECONDS,
        p99=MILLISECONDS,
        max=MILLISECONDS,
    ),
}
_COMPARED = closed(difference=nullable(NUMBER), ratio=nullable(NUMBER))
_FIGURES: dict[str, Schema] = {
    "paths": closed(
        v1=closed(**_ATTEMPTS),
        v2=closed(**_ATTEMPTS, fallbacks=COUNT, fallback_rate=SHARE, fallback_errors=COUNT),
    ),
    "client": closed(requests=COUNT, errors=COUNT, error_rate=SHARE, aborts=COUNT),
    "comparison": closed(
        error_rate=_COMPARED, mean_ms=_COMPARED, p50_ms=_COMPARED, p95_ms=_COMPARED, p99_ms=_COMPARED
    ),
    "fallbacks_by_reason": counts(FallbackReason),
    "fallbacks_over_budget": COUNT,
    "overridden": COUNT,
}
_ROLLOUT: dict[str, Schema] = {
    **_STATE,
    "name": TEXT,
    "stage": words(Stage),
    "observed_percentage": PERCENTAGE,
    "since": INSTANT,
    "reason": TEXT,
    "judgment": closed(**_JUDGMENT),
    **_FIGURES,
    "recent": closed(window_s=NUMBER, observed_percentage=PERCENTAGE, **_FIGURES),
    "guards": listed(ref("Guard")),
    "breaker": words(("closed", "open", "half_open", "disabled")),
    "endpoints": listed(ref("Endpoint")),
    "users": closed(seen=COUNT, v2=COUNT),
}
_REFUSAL = closed(type=TEXT, title=TEXT, status={"type": "integer"}, detail=TEXT)
_OVERRIDE: dict[str, Schema] = {
    "rollout": TEXT,
    "key": TEXT,
    "path": PATH,
    "expires_at": nullable(INSTANT),
    "actor": TEXT,
    "at": INSTANT,
    "reason": TEXT,
}
_SPREAD: Schema = {
    "type": "array",
    "items": NUMBER,
    "minItems": 3,
    "maxItems": 3,
    "description": "from and to in milliseconds, and how many lie between",
}
_ENDPOINTS = closed(endpoints=COUNT, healthy=COUNT)
_BACKENDS = closed(v1=_ENDPOINTS, v2=_ENDPOINTS)

SCHEMAS: dict[str, Schema] = {
    "Alive": closed(status=words(("ok",))),
    "Ready": closed(status=words(("ready",)), missing=listed(TEXT), backends=_BACKENDS),
    "Guard": closed(
        name=TEXT,
        metric=words(Metric),
        value=nullable(NUMBER),
        limit=NUMBER,
        sample=COUNT,
        min_requests=COUNT,
        crossed=FLAG,
        firing=FLAG,
        action=words(Action),
    ),
    "Evidence": closed(name=TEXT, value=nullable(NUMBER), needed=nullable(NUMBER), against=FLAG, text=TEXT),
    "Need": closed(
        criterion=TEXT,
        met=FLAG,
        have=nullable(NUMBER),
        need=NUMBER,
        unit=words(Unit),
        seconds=nullable(NUMBER),
        requests=nullable(NUMBER),
        text=TEXT,
    ),
    "Endpoint": closed(
        path=PATH, url=TEXT, healthy=FLAG, ejected=FLAG, outstanding=COUNT, idle_connections=COUNT
    ),
    "Rollout": closed(**_ROLLOUT),
    "Moved": closed(**_ROLLOUT, stored=FLAG, local_only=FLAG),
    "Bulk": closed(rollouts=listed(ref("Outcome"))),
    "Stopped": closed(
        stopped=listed(ref("Outcome")), stored=FLAG, local_only=FLAG, reason_dropped=nullable(TEXT)
    ),
    "Outcome": closed(**_STATE, name=TEXT, stored=FLAG, local_only=FLAG, error=nullable(_REFUSAL)),
    "Override": closed(**_OVERRIDE, stored=FLAG, suspended=FLAG),
    "Overrides": closed(overrides=listed(ref("Override"))),
    "Rollouts": closed(rollouts=listed(ref("Rollout"))),
    "Status": closed(
        instance=TEXT,
        version=TEXT,
        uptime_s=MILLISECONDS,
        workers=COUNT,
        config=closed(loaded_at=INSTANT, error=nullable(TEXT)),
        store=closed(waiting=COUNT, trouble=nullable(TEXT)),
        refused=closed(**dict.fromkeys(REASONS, COUNT)),
        tunnels=closed(v1=COUNT, v2=COUNT),
        fleet=nullable(ref("Fleet")),
        summary=closed(
            enabled=COUNT,
            total=COUNT,
            stages=closed(**dict.fromkeys(map(str, Stage), COUNT)),
            v2_share=PERCENTAGE,
            users=closed(seen=COUNT, v2=COUNT),
        ),
        rollouts=listed(ref("Rollout")),
    ),
    "Fleet": closed(
        instance=TEXT,
        role=words(Role),
        judge=nullable(TEXT),
        figures={"type": "string", "enum": ["fleet", "instance"]},
        lease_s=NUMBER,
        store=closed(reached=FLAG, last_s=NUMBER, latency_ms=MILLISECONDS, detail=nullable(TEXT)),
        clock_skew_s=NUMBER,
        events=closed(stored=COUNT, copied=COUNT),
        reports=closed(sent=COUNT, taken=COUNT, repeated=COUNT, missing=COUNT, late=COUNT, unread=COUNT),
        skewed=COUNT,
        members=listed(ref("Member")),
    ),
    "Member": closed(
        instance=TEXT,
        seen_s=NUMBER,
        readable=FLAG,
        unread=nullable(TEXT),
        version=nullable(TEXT),
        role=nullable(words(Role)),
        admin=TEXT,
        workers=COUNT,
        config=TEXT,
        clock_skew_s=NUMBER,
        behind=listed(TEXT),
        per_minute=nullable(COUNT),
        rollouts={"type": "object", "additionalProperties": closed(revision=COUNT, weight=COUNT)},
    ),
    "Stored": closed(writable=FLAG, waiting=COUNT, detail=nullable(TEXT)),
    "Event": closed(
        seq={"type": "integer", "minimum": 1},
        at=INSTANT,
        rollout=TEXT,
        cause=TEXT,
        actor=TEXT,
        reason=TEXT,
        changes_state=FLAG,
        config=nullable(HASH),
        hash=HASH,
        before=closed(**_STATE),
        after=closed(**_STATE),
        judgment=nullable(closed(**_JUDGMENT, guards=listed(ref("Guard")))),
    ),
    "Events": closed(events=listed(ref("Event")), last=nullable(COUNT), local_only=FLAG),
    "Records": closed(
        records=listed(closed(seq=COUNT, hash=TEXT, rollout=nullable(TEXT), record=TEXT)),
        head=closed(seq=COUNT, hash=TEXT, adopted=COUNT),
        begin=closed(seq=COUNT, hash=TEXT),
        local_only=FLAG,
    ),
    "Minutes": closed(rollout=TEXT, minutes=listed(ref("Minute")), next=nullable(INSTANT)),
    "Minute": closed(
        at=INSTANT,
        seconds=NUMBER,
        state=words(State),
        phase=nullable(TEXT),
        percentage=PERCENTAGE,
        weight={"type": "integer", "minimum": 0, "maximum": 100_000},
        verdict=words(Verdict),
        **_FIGURES,
    ),
    "Seconds": closed(
        rollout=TEXT,
        at=listed(INSTANT),
        **dict.fromkeys(COUNTS, listed(nullable(COUNT))),
        **dict.fromkeys(FIGURES, listed(nullable(NUMBER))),
    ),
    "LatenciesNow": closed(rollout=TEXT, window_s=NUMBER, v1=listed(_SPREAD), v2=listed(_SPREAD)),
    "Explanation": closed(
        rollout=nullable(TEXT),
        path=PATH,
        rule=TEXT,
        key=nullable(TEXT),
        bucket=nullable(COUNT),
        weight=COUNT,
        override=nullable(closed(**_OVERRIDE)),
    ),
    "Alerts": closed(
        active=listed(
            closed(
                key=TEXT,
                kind=words(NoticeKind),
                severity=words(Severity),
                rollout=nullable(TEXT),
                subject=TEXT,
                reason=TEXT,
                since=INSTANT,
                sent_at=nullable(INSTANT),
                silence=nullable(TEXT),
                metric=nullable(TEXT),
                value=nullable(NUMBER),
                limit=nullable(NUMBER),
                sample=nullable(COUNT),
            )
        ),
        silences=listed(ref("Silence")),
        sinks=listed(
            closed(
                name=TEXT,
                kind=TEXT,
                sent=COUNT,
                failed=COUNT,
                dropped=COUNT,
                waiting=COUNT,
                trouble=nullable(TEXT),
            )
        ),
    ),
    "Silence": closed(
        id=TEXT,
        until=INSTANT,
        alerts=listed(TEXT),
        rollouts=listed(TEXT),
        actor=TEXT,
        reason=TEXT,
        **{"from": INSTANT},
    ),
    "Trials": closed(
        sinks=listed(closed(name=TEXT, kind=TEXT, taken=FLAG, trouble=nullable(TEXT), seconds=NUMBER))
    ),
    "Configuration": {"type": "object", "description": "proxy.toml as it is in force; secrets are ***"},
    "Document": {"type": "object", "description": "this document"},
    "Stream": {"type": "string", "description": "docs/admin-api.md tells the events"},
    "Visitor": closed(name=nullable(TEXT), operator=FLAG, login=FLAG, csrf=nullable(TEXT)),
    "Metrics": {"type": "string", "description": "docs/metrics.md tells what stands in it"},
    "Problem": {
        "type": "object",
        "description": "RFC 9457; some have further members",
        "properties": {
            "type": {"type": "string"},
            "title": TEXT,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": TEXT,
            "instance": TEXT,
            "problems": listed(closed(path=TEXT, message=TEXT)),
            "missing": listed(TEXT),
            "backends": _BACKENDS,
        },
        "required": ["type", "title", "status", "detail", "instance"],
    },
}
"""By the name that a reference has."""
