"""What was seen of one request, once it is over: what access log and traces are written from.

Owns the form. The data plane makes one only of a request that somebody wants to see: one that was sampled, or
failed, fell back or was slow. Must never know who writes it where.

Instants are seconds since the Unix epoch, durations seconds; text is as it was received, latin-1, unescaped.

They write their `__init__` out: compiled, that is a row of assignments, where a dataclass's own stays Python.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.model import ErrorClass, FallbackReason, Path  # noqa: TC001 - compiled dataclasses look them up


@dataclass(slots=True, init=False)
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
    detail: str  # in words, of an error

    def __init__(
        self,
        path: Path,
        endpoint: str,
        span_id: str,
        started_at: float,
        duration_s: float,
        status: int,
        error: ErrorClass | None,
        resend: int,
        detail: str = "",
    ) -> None:
        self.path = path
        self.endpoint = endpoint
        self.span_id = span_id
        self.started_at = started_at
        self.duration_s = duration_s
        self.status = status
        self.error = error
        self.resend = resend
        self.detail = detail


@dataclass(slots=True, init=False)
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
    fields: tuple[tuple[str, str], ...]  # request header fields that the access log asks for
    attempts: tuple[ObservedAttempt, ...]
    route: str  # the prefix by which the rollout covers it
    withdrawn_at: float  # when a rollback or an abort took v2 out of service while it ran; 0 if none did

    def __init__(
        self,
        rollout: str,
        assigned: Path,
        answered_by: str,
        overridden: bool,
        bucket: int | None,
        weight: int,
        phase: str | None,
        breaker: str,
        fallback: FallbackReason | None,
        method: str,
        target: str,
        host: str,
        scheme: str,
        minor_version: int,
        client: str,
        request_id: str,
        status: int,
        failed: bool,
        aborted: bool,
        started_at: float,
        duration_s: float,
        received_bytes: int,
        sent_bytes: int,
        trace_id: str,
        span_id: str,
        parent_id: str,
        trace_state: str,
        traced: bool,
        logged: bool,
        fields: tuple[tuple[str, str], ...] = (),
        attempts: tuple[ObservedAttempt, ...] = (),
        route: str = "",
        withdrawn_at: float = 0.0,
    ) -> None:
        self.rollout, self.assigned = rollout, assigned
        self.answered_by, self.overridden = answered_by, overridden
        self.bucket, self.weight, self.phase = bucket, weight, phase
        self.breaker, self.fallback = breaker, fallback
        self.method, self.target, self.host = method, target, host
        self.scheme, self.minor_version = scheme, minor_version
        self.client, self.request_id = client, request_id
        self.status, self.failed, self.aborted = status, failed, aborted
        self.started_at, self.duration_s = started_at, duration_s
        self.received_bytes, self.sent_bytes = received_bytes, sent_bytes
        self.trace_id, self.span_id = trace_id, span_id
        self.parent_id, self.trace_state = parent_id, trace_state
        self.traced, self.logged, self.fields = traced, logged, fields
        self.attempts, self.route, self.withdrawn_at = attempts, route, withdrawn_at
