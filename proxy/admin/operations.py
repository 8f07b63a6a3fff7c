"""Every operation of the admin API, as one table: what can be asked, who may, and what comes back.

The application makes its routes from this table and `openapi` its document, so that neither can have what the
other lacks. Pure data; what is done stands in the application, under the name in `handler`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.admin.alerting import SILENCE_SCHEMA, TEST_SCHEMA
from proxy.admin.command_inputs import OVERRIDE_SCHEMA, STOP_SCHEMA, bulk_schema
from proxy.admin.inputs import MAX_EVENTS, MAX_MINUTES, MAX_REASON, body_schema
from proxy.admin.schemas import LOGIN_SCHEMA, TEXT
from proxy.model import Verb

if TYPE_CHECKING:
    from proxy.admin.schemas import Schema

EVENT_STREAM: Final = "text/event-stream"
_FIRST, _LAST = -1, 10**18 - 1


@dataclass(frozen=True, slots=True)
class Query:
    """A query parameter; each may be given once or not at all."""

    name: str
    schema: Schema
    meaning: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path. `handler` names the application's method; a command has its `verb` as well, and
    concerns one rollout unless it is one for `many`. `takes` is the body of what has no verb.

    `answer` names the schema of a 200, `refusals` are the statuses of problems besides those of every
    operation. `guarded` is whether a token is needed, where there are any; a probe is asked without one and
    under any name.
    """

    path: str
    handler: str
    answer: str
    meaning: str
    method: str = "get"
    verb: Verb | None = None
    many: bool = False
    takes: Schema | None = None
    query: tuple[Query, ...] = ()
    refusals: tuple[int, ...] = ()
    guarded: bool = True
    is_probe: bool = False
    media_types: tuple[str, ...] = ("application/json",)

    @property
    def name(self) -> str:
        """What a generated client calls it."""
        if self.verb is None:
            return self.handler
        return f"{self.verb}_many" if self.many else str(self.verb)

    @property
    def body(self) -> Schema | None:
        """What may be sent, None for nothing."""
        if self.verb is None:
            return self.takes
        return bulk_schema(self.verb) if self.many else body_schema(self.verb)


_ROLLOUT = Query("rollout", TEXT, "Only this rollout.")
_EVENTS = (
    Query(
        "after",
        {"type": "integer", "minimum": _FIRST, "maximum": _LAST, "default": 0},
        "The last event that is known; 0 from the beginning, -1 the newest.",
    ),
    Query(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MAX_EVENTS, "default": 100},
        "How many at most.",
    ),
    _ROLLOUT,
)
_TRAIL = (
    Query(
        "after",
        {"type": "integer", "minimum": 0, "maximum": _LAST, "default": 0},
        "The last record that is known; 0 from the beginning.",
    ),
    _EVENTS[1],
)
_WANTED: Schema = {"type": "string", "enum": ["true", "false"], "default": "false"}
_LISTENING = (
    Query("after", _TRAIL[0].schema, "The last event that is known; without it, only what comes."),
    Query("status", _WANTED, "The whole status, once a second."),
    Query("board", _WANTED, "A line for each rollout, once a second those that have changed."),
    Query("rollout", TEXT, "All of this rollout, once a second."),
)
_MINUTES = (
    Query("from", TEXT, "The first instant, RFC 3339 or seconds since 1970; an hour before `to` if absent."),
    Query("to", TEXT, "The instant behind the last; now if absent."),
    Query(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MAX_MINUTES, "default": MAX_MINUTES},
        "How many at most; `next` is the `from` of what follows.",
    ),
)
_EXPLAIN = (
    Query("key", TEXT, "The user's key; an empty one is none."),
    Query("path", {"type": "string", "pattern": "^/", "default": "/"}, "The request's path."),
    Query("host", TEXT, "The request's host."),
    Query("method", {"type": "string", "default": "GET"}, "The request's method."),
    Query("rollout", TEXT, "This rollout, whatever the routes say."),
)
_MEANINGS = {
    Verb.START: "Begin the plan, or the configured percentage.",
    Verb.PAUSE: "Stay at this percentage; guards go on watching.",
    Verb.RESUME: "Go on after a pause.",
    Verb.PROMOTE: "Go to the next phase now, or to the end of the plan.",
    Verb.ROLLBACK: "Take v2's traffic back to v1 at once.",
    Verb.SET: "Give v2 this share of the keys.",
    Verb.STEP_DOWN: "One phase back, or one of the plan's steps; from the first one to nothing.",
    Verb.ABORT: "End the rollout: v2 gets nothing more.",
}

OPERATIONS: tuple[Operation, ...] = (
    Operation("/healthz", "healthz", "Alive", "Whether the process answers.", guarded=False, is_probe=True),
    Operation(
        "/readyz",
        "readyz",
        "Ready",
        "Whether traffic can be served.",
        refusals=(503,),
        guarded=False,
        is_probe=True,
    ),
    Operation(
        "/metrics",
        "metrics",
        "Metrics",
        "Everything that is counted, as Prometheus reads it, or in OpenMetrics if that is accepted.",
        media_types=("text/plain", "application/openmetrics-text"),
    ),
    Operation("/api/v1/status", "status", "Status", "The instance and all of its rollouts."),
    Operation("/api/v1/rollouts", "rollouts", "Rollouts", "All rollouts."),
    Operation("/api/v1/rollouts/{name}", "rollout", "Rollout", "One rollout.", refusals=(404,)),
    *(
        Operation(
            f"/api/v1/rollouts/{{name}}/{verb}",
            "command",
            "Moved",
            _MEANINGS[verb],
            method="post",
            verb=verb,
            refusals=(404, 408, 409, 413, 415, 422, 503),
        )
        for verb in Verb
    ),
    *(
        Operation(
            f"/api/v1/bulk/{verb}",
            "bulk",
            "Bulk",
            f"{_MEANINGS[verb]} For every rollout that a pattern names.",
            method="post",
            verb=verb,
            many=True,
            refusals=(404, 408, 413, 415, 422),
        )
        for verb in Verb
    ),
    Operation(
        "/api/v1/emergency_stop",
        "emergency_stop",
        "Stopped",
        "Take everything back from v2, in every rollout, before any store is asked; whatever the body is.",
        method="post",
        takes=STOP_SCHEMA,
    ),
    Operation(
        "/api/v1/rollouts/{name}/overrides",
        "overrides",
        "Overrides",
        "Keys that are sent to one path, whatever their bucket says.",
        refusals=(404,),
    ),
    Operation(
        "/api/v1/rollouts/{name}/overrides",
        "override",
        "Override",
        "Send a key to one path.",
        method="post",
        takes=OVERRIDE_SCHEMA,
        refusals=(404, 408, 409, 413, 415, 422, 503),
    ),
    Operation(
        "/api/v1/rollouts/{name}/overrides/{key}",
        "take_override_back",
        "Override",
        "Split the key like all others again.",
        method="delete",
        refusals=(404, 409, 503),
    ),
    Operation("/api/v1/alerts", "alerts", "Alerts", "What is active, silences, how the sinks fare."),
    Operation(
        "/api/v1/alerts/test",
        "test_alerts",
        "Trials",
        "Send a test to every sink, or one, and wait for what becomes of it.",
        method="post",
        takes=TEST_SCHEMA,
        refusals=(404, 408, 413, 415, 422),
    ),
    Operation(
        "/api/v1/silences",
        "silence",
        "Silence",
        "Keep alerts from being sent for a while.",
        method="post",
        takes=SILENCE_SCHEMA,
        refusals=(408, 413, 415, 422),
    ),
    Operation(
        "/api/v1/silences/{id}",
        "unsilence",
        "Silence",
        "End a silence that a person has made.",
        method="delete",
        query=(Query("reason", {**TEXT, "maxLength": MAX_REASON}, "Kept in the audit."),),
        refusals=(404,),
    ),
    Operation("/api/v1/store", "store", "Stored", "Whether the store can be written: it is tried."),
    Operation("/api/v1/events", "events", "Events", "A page of the audit, oldest first.", query=_EVENTS),
    Operation(
        "/api/v1/events/stream",
        "listen",
        "Stream",
        "The audit as it grows, and what changes every second, as server-sent events.",
        query=_LISTENING,
        refusals=(404, 503),
        media_types=(EVENT_STREAM,),
    ),
    Operation(
        "/api/v1/events/records",
        "records",
        "Records",
        "The audit as it was written, with the chain's end, for those who verify it.",
        query=_TRAIL,
        refusals=(503,),
    ),
    Operation(
        "/api/v1/rollouts/{name}/minutes",
        "minutes",
        "Minutes",
        "What was counted of one rollout, minute by minute, oldest first.",
        query=_MINUTES,
        refusals=(404, 503),
    ),
    Operation(
        "/api/v1/rollouts/{name}/seconds",
        "seconds",
        "Seconds",
        "What was counted of one rollout in the last minutes, second by second, oldest first.",
        refusals=(404,),
    ),
    Operation(
        "/api/v1/rollouts/{name}/latencies",
        "latencies",
        "LatenciesNow",
        "How the latencies of the last minute spread, on v1 and on v2.",
        refusals=(404,),
    ),
    Operation(
        "/api/v1/explain",
        "explain",
        "Explanation",
        "Where a request would go, and why.",
        query=_EXPLAIN,
        refusals=(404,),
    ),
    Operation("/api/v1/config", "config", "Configuration", "The configuration in force, without secrets."),
    Operation("/api/v1/openapi.json", "openapi", "Document", "This document."),
    Operation(
        "/dashboard/session",
        "session",
        "Visitor",
        "Who looks, by the cookie of the dashboard.",
        guarded=False,
        refusals=(403,),
    ),
    Operation(
        "/dashboard/session",
        "login",
        "Visitor",
        "A token for a cookie. What changes something with the cookie needs X-CSRF-Token: csrf.",
        method="post",
        takes=LOGIN_SCHEMA,
        guarded=False,
        refusals=(401, 403, 408, 413, 415, 422, 429),
    ),
    Operation(
        "/dashboard/session",
        "logout",
        "Visitor",
        "End the session of the cookie.",
        method="delete",
        guarded=False,
        refusals=(403,),
    ),
)
