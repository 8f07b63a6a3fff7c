"""Spans of requests: one for the request as its client saw it, and one for each attempt on a backend.

Owns how an observed request reads as spans: names, attributes and status by OpenTelemetry's semantic
conventions for HTTP, and what is ours under `dualpath.`. Spans are made in the thread that sends them: of a
request that was not wanted there never is one. Must never know where they are sent.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from proxy.config.logs import redacted_names
from proxy.core.series import METHODS, OTHER
from proxy.telemetry.redaction import Redaction
from proxy.telemetry.span_export import SpanExport
from proxy.telemetry.span_wire import CLIENT, ERROR, SERVER, Event, Shared, Span, encoded

if TYPE_CHECKING:
    from proxy.config.schema import Config
    from proxy.core.observed import ObservedAttempt, ObservedRequest
    from proxy.telemetry.span_export import Count
    from proxy.telemetry.span_wire import Attributes

_LONGEST: Final = 2048
"""Characters of a target or a header field that are shown."""
_LONGEST_NAME: Final = 256
"""The same of a method or a host."""
_KNOWN: Final = frozenset(METHODS) - {OTHER}
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_USER_AGENT: Final = "user-agent"
_MOST_SHARED: Final = 512
FALLBACK: Final = "dualpath.fallback"
ROLLBACK: Final = "dualpath.rollback"


def tracing(config: Config, count: Count, before: Tracing | None = None) -> Tracing | None:
    """What sends the spans of requests under a configuration, if anything does: that from `before` where
    nothing has changed for it. Raises `ConfigError` if a file of its TLS cannot be used."""
    if config.telemetry.otlp_endpoint is None or not config.telemetry.traces.enabled:
        return None
    settings = (config.telemetry, redacted_names(config))
    if before is not None and before.settings == settings:
        return before
    return Tracing(SpanExport(config.telemetry, SpanMaker(config).encoded, count), settings)


class Tracing:
    """`ports.Observer` that has the spans of traced requests sent. `settings` are those that it is good
    for."""

    def __init__(self, export: SpanExport[ObservedRequest], settings: object = None) -> None:
        self.export = export
        self.settings = settings

    def __repr__(self) -> str:
        return f"Tracing({self.export!r})"

    def request_ended(self, request: ObservedRequest) -> None:
        """Puts it into the queue, or drops and counts it if there is no room."""
        if request.traced:
            self.export.put(_bounded(request), 1 + len(request.attempts))


def _bounded(request: ObservedRequest) -> ObservedRequest:
    """What waits is bounded in its number; here, in its size."""
    short = (
        len(request.target) <= _LONGEST
        and len(request.host) + len(request.method) <= _LONGEST_NAME
        and len(request.trace_state) <= _LONGEST
    )
    for _, value in request.fields:
        short = short and len(value) <= _LONGEST
    if short:
        return request
    return replace(
        request,
        method=request.method[:_LONGEST_NAME],
        host=request.host[:_LONGEST_NAME],
        target=request.target[:_LONGEST],
        fields=tuple((name, value[:_LONGEST]) for name, value in request.fields if name == _USER_AGENT),
        trace_state=request.trace_state if len(request.trace_state) <= _LONGEST else "",
    )


class SpanMaker:
    """Makes spans of requests, under one configuration."""

    __slots__ = ("_redaction", "_shows_query")

    def __init__(self, config: Config) -> None:
        self._shows_query = config.telemetry.traces.query
        self._redaction = Redaction(redacted_names(config))

    def __repr__(self) -> str:
        return f"<SpanMaker query={self._shows_query}>"

    def encoded(self, request: ObservedRequest) -> list[bytes]:
        """All spans of a request, as an envelope takes them."""
        return [encoded(span) for span in self.spans(request)]

    def spans(self, request: ObservedRequest) -> list[Span]:
        """The request's own span, then those of its attempts."""
        target = self._redaction.target(request.target)
        path, _, query = target.partition("?")
        if query and not self._shows_query:
            target, query = path, ""
        spans = [_of_request(request, path, query)]
        # What is one instant by the clock of durations is one in spans too, whatever rounding has made of it:
        # no attempt begins before the last one has ended, and none ends after its request.
        free_s, end_s = request.started_at, spans[0].end_s
        for attempt in request.attempts:
            span = _of_attempt(request, attempt, target)
            span.start_s = min(max(span.start_s, free_s), end_s)
            span.end_s = free_s = max(span.start_s, min(span.end_s, end_s))
            spans.append(span)
        return spans


# ... the request


def _of_request(request: ObservedRequest, path: str, query: str) -> Span:
    method = _method(request)
    name = "HTTP" if method == OTHER else method
    failure = _failure(request)
    own: Attributes = [
        ("url.path", path),
        ("client.address", request.client),
        ("dualpath.request_id", request.request_id),
    ]
    if query:
        own.append(("url.query", query))
    if request.bucket is not None:
        own.append(("dualpath.bucket", request.bucket))
    agent = _agent(request.fields)
    http = (request.method, request.scheme, request.host, request.route, request.status, agent, failure)
    return Span(
        name=f"{name} {request.route}" if request.route else name,
        kind=SERVER,
        trace_id=request.trace_id,
        span_id=request.span_id,
        parent_id=request.parent_id,
        start_s=request.started_at,
        end_s=request.started_at + request.duration_s,
        attributes=own,
        shared=_shared_by_requests(request.minor_version, http, _split(request)),
        trace_state=request.trace_state,
        parent_is_remote=bool(request.parent_id),
        events=_events(request) if request.fallback is not None or request.withdrawn_at else (),
        status=ERROR if failure else 0,
        status_message=_words(request) if failure else "",
    )


def _agent(fields: tuple[tuple[str, str], ...]) -> str:
    for name, value in fields:
        if name == _USER_AGENT:
            return value
    return ""


_Http = tuple[str, str, str, str, int, str, str]
_Split = tuple[str, str, int, bool, str, str, str | None, str, bool]


def _split(request: ObservedRequest) -> _Split:
    return (
        request.rollout,
        request.assigned.value,
        request.weight,
        request.overridden,
        request.breaker,
        request.answered_by,
        request.phase,
        "" if request.fallback is None else request.fallback.value,
        request.aborted,
    )


@lru_cache(maxsize=_MOST_SHARED)
def _shared_by_requests(minor_version: int, http: _Http, split: _Split) -> Shared:
    """What requests have in common that differ in nothing but their path, client and key."""
    method, scheme, host, route, status, agent, failure = http
    attributes: Attributes = [
        ("http.request.method", method if method in _KNOWN else OTHER),
        ("url.scheme", scheme),
        ("network.protocol.version", f"1.{minor_version}"),
        *_server(scheme, host),
    ]
    if method and method not in _KNOWN:
        attributes.append(("http.request.method_original", method))
    if route:
        attributes.append(("http.route", route))
    if status:
        attributes.append(("http.response.status_code", status))
    if agent:
        attributes.append(("user_agent.original", agent))
    if failure:
        attributes.append(("error.type", failure))
    return Shared(attributes + _of_split(split))


def _of_split(split: _Split) -> Attributes:
    rollout, path, weight, overridden, breaker, answered_by, phase, reason, aborted = split
    attributes: Attributes = []
    if rollout:
        attributes += [
            ("dualpath.rollout", rollout),
            ("dualpath.path", path),
            ("dualpath.weight", weight),
            ("dualpath.override", overridden),
            ("dualpath.breaker", breaker),
        ]
    if answered_by:
        attributes.append(("dualpath.answered_by", answered_by))
    if phase is not None:
        attributes.append(("dualpath.phase", phase))
    if reason:
        attributes.append(("dualpath.fallback.reason", reason))
    if aborted:
        attributes.append(("dualpath.aborted", True))
    return attributes


def _events(request: ObservedRequest) -> list[Event]:
    events: list[Event] = []
    if request.fallback is not None:
        failed = [attempt for attempt in request.attempts if attempt.path is request.assigned]
        at_s = failed[-1].started_at + failed[-1].duration_s if failed else request.started_at
        at_s = min(at_s, request.started_at + request.duration_s)
        details: Attributes = [("dualpath.fallback.reason", request.fallback.value)]
        if failed and failed[-1].status:
            details.append(("http.response.status_code", failed[-1].status))
        events.append(Event(FALLBACK, at_s, details))
    if request.withdrawn_at:
        events.append(Event(ROLLBACK, request.withdrawn_at, [("dualpath.rollout", request.rollout)]))
    return events


def _failure(request: ObservedRequest) -> str:
    """`error.type` of the request, "" if the server is not to blame: a 4xx is the client's error."""
    if request.status >= 500:
        return str(request.status)
    if request.failed:
        return _last_error(request) or "_OTHER"
    return ""


def _last_error(request: ObservedRequest) -> str:
    return next((str(one.error) for one in reversed(request.attempts) if one.error is not None), "")


def _words(request: ObservedRequest) -> str:
    return next((one.detail for one in reversed(request.attempts) if one.detail), "")


# ... its attempts


def _of_attempt(request: ObservedRequest, attempt: ObservedAttempt, target: str) -> Span:
    method = _method(request)
    failure = str(attempt.status) if attempt.status >= 400 else (attempt.error or "")
    stands_in = attempt.path is not request.assigned and request.fallback is not None
    reason = request.fallback.value if request.fallback is not None and stands_in else ""
    asked = (method, attempt.endpoint, attempt.path.value, attempt.resend)
    return Span(
        name="HTTP" if method == OTHER else method,
        kind=CLIENT,
        trace_id=request.trace_id,
        span_id=attempt.span_id,
        parent_id=request.span_id,
        start_s=attempt.started_at,
        end_s=attempt.started_at + attempt.duration_s,
        attributes=[("url.full", attempt.endpoint + target if target != "*" else attempt.endpoint)],
        shared=_shared_by_attempts(asked, attempt.status, failure, request.rollout, reason),
        trace_state=request.trace_state,
        status=ERROR if failure else 0,
        status_message=attempt.detail,
    )


@lru_cache(maxsize=_MOST_SHARED)
def _shared_by_attempts(
    asked: tuple[str, str, str, int], status: int, failure: str, rollout: str, reason: str
) -> Shared:
    """What attempts have in common that differ in nothing but their target."""
    method, endpoint, path, resend = asked
    attributes: Attributes = [
        ("http.request.method", method),
        ("network.protocol.version", "1.1"),
        *_endpoint(endpoint),
        ("dualpath.path", path),
    ]
    if status:
        attributes.append(("http.response.status_code", status))
    if resend:
        attributes.append(("http.request.resend_count", resend))
    if rollout:
        attributes.append(("dualpath.rollout", rollout))
    if reason:
        attributes.append(("dualpath.fallback.reason", reason))
    if failure:
        attributes.append(("error.type", failure))
    return Shared(attributes)


# ... single values


def _method(request: ObservedRequest) -> str:
    return request.method if request.method in _KNOWN else OTHER


def _server(scheme: str, host: str) -> tuple[tuple[str, str | int], ...]:
    """What the client has called us: the Host field's name and port."""
    if not host:
        return ()
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdigit():
        name, port = host.removesuffix(":"), ""
    number = int(port) if 0 < len(port) <= 5 else _DEFAULT_PORTS.get(scheme, 80)
    return ("server.address", name.strip("[]")), ("server.port", number)


def _endpoint(url: str) -> tuple[tuple[str, str | int], ...]:
    parts = urlsplit(url)
    return ("server.address", parts.hostname or ""), (
        "server.port",
        parts.port or _DEFAULT_PORTS[parts.scheme],
    )
