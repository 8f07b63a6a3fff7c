"""A rollout that passed one phase, failed in the next and was taken back: what the admin API says of it."""

from __future__ import annotations

from typing import Any

from proxy.report.document import instant
from proxy.report.gathering import Material
from tests.fake_admin import rollout

Document = dict[str, Any]

START = 1_767_225_600.0
PHASES: list[Document] = [
    {
        "name": "canary",
        "percentage": 1.0,
        "min_duration": "2m",
        "min_requests": 50,
        "require": {"error_rate_below": 0.02, "latency_p95_below": "250ms", "no_alerts": True},
    },
    {
        "name": "half",
        "percentage": 50.0,
        "require": {"success_rate_above": 0.95, "client_error_rate_below": 0.01},
    },
    {"name": "full", "percentage": 100.0},
]
GUARDS: list[Document] = [
    {"metric": "error_rate", "above": 0.1, "action": "rollback"},
    {"metric": "latency_p95", "above": "400ms"},
    {"metric": "health", "below": 0.5},
]


def minute(at: float, v1: tuple[int, int], v2: tuple[int, int], **more: Any) -> Document:
    """A minute with so many requests and errors on each path."""
    latency = {"mean": 10.0, "p50": 9.0, "p90": 18.0, "p95": 20.0, "p99": 30.0, "max": 50.0}

    def path(requests: int, errors: int) -> Document:
        classes = {"status": errors} if errors else {}
        return {
            "requests": requests,
            "errors": errors,
            "errors_by_class": classes,
            "assigned": requests,
            "error_rate": errors / requests if requests else 0.0,
            "latency_ms": more.get("latency", latency),
        }

    fallbacks = more.get("fallbacks", v2[1])
    clients, lost = v1[0] + v2[0], more.get("client_errors", 0)
    return {
        "at": instant(at),
        "seconds": 60.0,
        "percentage": 1.0,
        "paths": {"v1": path(*v1), "v2": {**path(*v2), "fallbacks": fallbacks, "fallback_errors": 0}},
        "client": {"requests": clients, "errors": lost, "error_rate": lost / clients if clients else 0.0},
        "fallbacks_by_reason": {"status": fallbacks} if fallbacks else {},
        "fallbacks_over_budget": more.get("over_budget", 0),
    }


def stand(state: str, phase: str | None, percentage: float) -> Document:
    """Before or after a change."""
    return {"state": state, "phase": phase, "percentage": percentage, "weight": 0, "revision": 1}


def event(
    seq: int, at: float, cause: str, before: Document, after: Document, reason: str = "why"
) -> Document:
    """A record of the audit."""
    return {
        "seq": seq,
        "at": instant(at),
        "rollout": "default",
        "cause": cause,
        "actor": "ada" if cause.startswith("command") else "controller",
        "reason": reason,
        "changes_state": before != after,
        "before": before,
        "after": after,
    }


NOTHING, CANARY = stand("disabled", None, 0.0), stand("running", "canary", 1.0)
HALF, BACK = stand("running", "half", 50.0), stand("rolled_back", None, 0.0)
EVENTS = [
    event(1, START - 500, "config", NOTHING, NOTHING),
    event(2, START, "command:start", NOTHING, CANARY, "first users"),
    event(3, START + 180, "phase:canary", CANARY, HALF),
    event(4, START + 290, "alert:error_rate", HALF, HALF),
    event(5, START + 300, "guard:error_rate", HALF, BACK, "guard error_rate above 0.1: <b>0.3</b> | over"),
]
MINUTES = [
    *(minute(START + 60 * n, (1000, 1), (20, 0)) for n in range(3)),
    minute(START + 180, (500, 0), (500, 0)),
    minute(START + 240, (500, 0), (500, 150), client_errors=40, over_budget=3),
]


def material(**changes: Any) -> Material:
    """All of it."""
    one = {
        **rollout("default"),
        "state": "rolled_back",
        "phase": None,
        "percentage": 0.0,
        "reason": "too many",
    }
    given: Document = {
        "instance": "proxy-1",
        "version": "1.2.3",
        "at": START + 400,
        "rollout": one,
        "plan": {"name": "default", "phases": PHASES, "guards": GUARDS},
        "events": EVENTS[1:],
        "minutes": MINUTES,
    }
    return Material(**{**given, **changes})
