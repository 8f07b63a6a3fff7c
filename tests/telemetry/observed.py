"""Observed requests for tests, by what differs from a usual one."""

from __future__ import annotations

from typing import Any

from proxy.core.observed import ObservedAttempt, ObservedRequest
from proxy.model import Path

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
AT = 1_700_000_000.0


def attempt(path: Path = Path.V2, **changes: Any) -> ObservedAttempt:
    """An attempt of 30 ms that v2 answered 200."""
    usual: dict[str, Any] = {
        "path": path,
        "endpoint": f"http://127.0.0.1:900{path[1]}",
        "span_id": "00000000000000a1",
        "started_at": AT,
        "duration_s": 0.03,
        "status": 200,
        "error": None,
        "resend": 0,
    }
    return ObservedAttempt(**usual | changes)


def observed(*attempts: ObservedAttempt, **changes: Any) -> ObservedRequest:
    """A traced GET of v2 that took 50 ms; with one attempt unless others are given."""
    usual: dict[str, Any] = {
        "rollout": "default",
        "assigned": Path.V2,
        "answered_by": "v2",
        "overridden": False,
        "bucket": 4711,
        "weight": 5000,
        "phase": "canary",
        "breaker": "closed",
        "fallback": None,
        "method": "GET",
        "target": "/items/1?page=2",
        "host": "shop.test:8080",
        "scheme": "http",
        "minor_version": 1,
        "client": "192.0.2.7",
        "request_id": "r1",
        "status": 200,
        "failed": False,
        "aborted": False,
        "started_at": AT,
        "duration_s": 0.05,
        "received_bytes": 0,
        "sent_bytes": 2,
        "trace_id": TRACE_ID,
        "span_id": SPAN_ID,
        "parent_id": "",
        "trace_state": "",
        "traced": True,
        "logged": False,
        "fields": (("user-agent", "curl/8"),),
        "attempts": attempts or (attempt(),),
        "route": "/items",
    }
    return ObservedRequest(**usual | changes)
