"""Requests as they are seen, made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from proxy.core.observed import ObservedAttempt, ObservedRequest
from proxy.model import ErrorClass, FallbackReason, Path

AT = 1_767_225_600.25
"""2026-01-01T00:00:00.250Z."""

ATTEMPT = ObservedAttempt(
    path=Path.V1,
    endpoint="http://127.0.0.1:9001",
    span_id="a1" * 8,
    started_at=AT,
    duration_s=0.012,
    status=200,
    error=None,
    resend=0,
)

FAILED_ATTEMPT = replace(
    ATTEMPT,
    path=Path.V2,
    endpoint="http://127.0.0.1:9002",
    span_id="a2" * 8,
    status=0,
    error=ErrorClass.CONNECT,
    detail="cannot connect: Connection refused",
)


def request(**changes: Any) -> ObservedRequest:
    """A request that v1 has answered, with these changes."""
    values: dict[str, Any] = {
        "rollout": "default",
        "assigned": Path.V1,
        "answered_by": "v1",
        "overridden": False,
        "bucket": 70_123,
        "weight": 5000,
        "phase": "canary",
        "breaker": "closed",
        "fallback": None,
        "method": "GET",
        "target": "/things?page=2",
        "host": "example.test",
        "scheme": "http",
        "minor_version": 1,
        "client": "192.0.2.7",
        "request_id": "r-1",
        "status": 200,
        "failed": False,
        "aborted": False,
        "started_at": AT,
        "duration_s": 0.0125,
        "received_bytes": 0,
        "sent_bytes": 512,
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "parent_id": "",
        "trace_state": "",
        "traced": False,
        "logged": True,
        "attempts": (ATTEMPT,),
        "route": "/",
    }
    return ObservedRequest(**(values | changes))


def fallen_back() -> ObservedRequest:
    """One that v1 has answered in place of v2."""
    return request(
        assigned=Path.V2,
        answered_by="v1-fallback",
        fallback=FallbackReason.CONNECT,
        attempts=(FAILED_ATTEMPT, ATTEMPT),
    )
