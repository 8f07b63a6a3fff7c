"""What was seen of one request, once it is over: what access log and traces are written from.

Owns the form. The data plane makes one only of a request that somebody wants to see: one that was sampled, or
failed, fell back or was slow. Must never know who writes it where.

Instants are seconds since the Unix epoch, durations seconds; text is as it was received, latin-1, unescaped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.model import ErrorClass, FallbackReason, Path


@dataclass(slots=True)
class ObservedAttempt:
    """One try of the request on one path. Nobody changes one either."""

    path: Path
    endpoint: str  # its URL
    span_id: str  # 16 hex digits: what the upstream was told in traceparent
    started_at: float
    duration_s: float
    status: int  # 0 if no head came
    error: ErrorClass | None  # by the upstream's fault
    resend: int  # how many tries on the same path came before: 0 for the first
    detail: str = ""  # in words, of an error


@dataclass(slots=True)
class ObservedRequest:
    """The request as its client saw it, and what became of it inside. Nobody changes one; to have Python see
    to that would make it four times as dear, and it is made on the hot path."""

    rollout: str  # "" where none covers it
    assigned: Path
    answered_by: str  # "v1", "v2", "v1-fallback", or "" if the answer was our own or there was none
    overridden: bool
    bucket: int | None  # None without a key
    weight: int
    phase: str | None
    breaker: str
    fallback: FallbackReason | None
    method: str
    target: str
    host: str
    scheme: str
    minor_version: int  # of HTTP/1
    client: str  # address
    request_id: str
    status: int  # 0 if no answer began
    failed: bool  # a 5xx or a broken answer
    aborted: bool  # the client left
    started_at: float
    duration_s: float
    received_bytes: int  # of the request's content
    sent_bytes: int  # of the answer's content
    trace_id: str  # 32 hex digits
    span_id: str  # 16 hex digits: of the request itself
    parent_id: str  # of the client's span, "" if it sent none
    trace_state: str
    traced: bool  # sampled, or kept for what became of it
    logged: bool  # sampled for the access log, or to be logged always
    fields: tuple[tuple[str, str], ...] = ()  # request header fields that the access log asks for
    attempts: tuple[ObservedAttempt, ...] = ()
    route: str = ""  # the prefix by which the rollout covers it
    withdrawn_at: float = (
        0.0  # when a rollback or an abort took v2 out of service while it ran; 0 if none did
    )
