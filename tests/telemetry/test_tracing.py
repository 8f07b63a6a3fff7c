"""How requests read as spans."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.config.schema import Config
from proxy.model import ErrorClass, FallbackReason, Path
from proxy.telemetry.span_wire import CLIENT, ERROR, SERVER, Event, Span
from proxy.telemetry.tracing import SpanMaker, Tracing, tracing
from tests.telemetry.observed import AT, SPAN_ID, TRACE_ID, attempt, observed

BACKENDS = {"v1": {"endpoints": ["http://127.0.0.1:9001"]}, "v2": {"endpoints": ["http://127.0.0.1:9002"]}}


def config(**telemetry: Any) -> Config:
    return Config.read(
        {"backends": BACKENDS, "telemetry": {"otlp_endpoint": "http://127.0.0.1:1", **telemetry}}
    )


def spans(*attempts: Any, **changes: Any) -> list[Span]:
    return SpanMaker(config()).spans(observed(*attempts, **changes))


def shown(span: Span) -> dict[str, Any]:
    """Its attributes, none of which is there twice."""
    assert span.shared is not None
    every = span.attributes + span.shared.attributes
    named = dict(every)
    assert len(named) == len(every)
    return named


FAILED_V2 = attempt(status=503, error=ErrorClass.STATUS, duration_s=0.02)
BY_V1 = attempt(Path.V1, span_id="00000000000000a2", started_at=AT + 0.02)
FELL_BACK: dict[str, Any] = {"fallback": FallbackReason.STATUS, "answered_by": "v1-fallback"}


def test_a_request_is_a_server_span_by_the_conventions() -> None:
    span = spans(parent_id="00f067aa0ba902b7", trace_state="a=1")[0]
    assert (span.name, span.kind, span.status) == ("GET /items", SERVER, 0)
    assert (span.trace_id, span.span_id, span.parent_id) == (TRACE_ID, SPAN_ID, "00f067aa0ba902b7")
    assert (span.trace_state, span.parent_is_remote) == ("a=1", True)
    assert (span.start_s, span.end_s) == (AT, AT + 0.05)
    assert shown(span) == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "url.path": "/items/1",
        "url.query": "page=2",
        "client.address": "192.0.2.7",
        "network.protocol.version": "1.1",
        "server.address": "shop.test",
        "server.port": 8080,
        "http.route": "/items",
        "http.response.status_code": 200,
        "user_agent.original": "curl/8",
        "dualpath.request_id": "r1",
        "dualpath.rollout": "default",
        "dualpath.path": "v2",
        "dualpath.answered_by": "v2",
        "dualpath.weight": 5000,
        "dualpath.bucket": 4711,
        "dualpath.phase": "canary",
        "dualpath.override": False,
        "dualpath.breaker": "closed",
    }


def test_an_attempt_is_a_client_span_below_it() -> None:
    span = spans()[1]
    assert (span.name, span.kind, span.status) == ("GET", CLIENT, 0)
    assert (span.trace_id, span.span_id, span.parent_id) == (TRACE_ID, "00000000000000a1", SPAN_ID)
    assert not span.parent_is_remote
    assert (span.start_s, span.end_s) == (AT, AT + 0.03)
    assert shown(span) == {
        "http.request.method": "GET",
        "url.full": "http://127.0.0.1:9002/items/1?page=2",
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": 9002,
        "http.response.status_code": 200,
        "dualpath.path": "v2",
        "dualpath.rollout": "default",
    }


def test_a_fallback_is_an_event_at_the_moment_v2_had_failed() -> None:
    request, on_v2, on_v1 = spans(FAILED_V2, BY_V1, **FELL_BACK)
    reason = ("dualpath.fallback.reason", "status")
    assert request.events == [
        Event("dualpath.fallback", AT + 0.02, [reason, ("http.response.status_code", 503)])
    ]
    assert reason in shown(request).items()
    assert reason in shown(on_v1).items()
    assert reason not in shown(on_v2).items()
    assert (request.status, on_v2.status, on_v1.status) == (0, ERROR, 0), "its client saw no error"
    assert shown(on_v2)["error.type"] == "503"


def test_a_fallback_that_asked_v2_nothing_begins_with_the_request() -> None:
    request, _ = spans(BY_V1, fallback=FallbackReason.BREAKER, answered_by="v1-fallback", breaker="open")
    assert request.events == [
        Event("dualpath.fallback", AT, [("dualpath.fallback.reason", "breaker")]),
    ]


def test_a_rollback_is_an_event_of_the_requests_that_ran_through_it() -> None:
    [event] = spans(withdrawn_at=AT + 0.04)[0].events
    assert event == Event("dualpath.rollback", AT + 0.04, [("dualpath.rollout", "default")])


def test_a_repeated_attempt_says_how_often_it_was() -> None:
    assert shown(spans(attempt(resend=2))[1])["http.request.resend_count"] == 2


@pytest.mark.parametrize(
    ("status", "failed", "server_error", "client_error"),
    [
        (200, False, None, None),
        (404, False, None, "404"),
        (500, True, "500", "500"),
        (501, False, "501", "501"),
    ],
)
def test_whose_error_a_status_is(
    status: int, failed: bool, server_error: str | None, client_error: str | None
) -> None:
    request, on_v2 = spans(attempt(status=status), status=status, failed=failed)
    assert (request.status == ERROR, shown(request).get("error.type")) == (bool(server_error), server_error)
    assert (on_v2.status == ERROR, shown(on_v2).get("error.type")) == (bool(client_error), client_error)


def test_a_broken_answer_is_an_error_in_words() -> None:
    broken = attempt(error=ErrorClass.TRUNCATED, detail="upstream closed the connection")
    request, on_v2 = spans(broken, failed=True)
    for span in (request, on_v2):
        assert (span.status, span.status_message) == (ERROR, "upstream closed the connection")
        assert shown(span)["error.type"] == "truncated"
    assert shown(request)["http.response.status_code"] == 200


def test_a_failure_that_nobody_knows_more_of_is_another_one() -> None:
    assert shown(spans(failed=True)[0])["error.type"] == "_OTHER"


def test_a_connection_that_was_never_made_has_no_status() -> None:
    never = attempt(status=0, error=ErrorClass.CONNECT, detail="cannot connect: Connection refused")
    request, on_v2 = spans(never, status=502, failed=True, answered_by="")
    assert "http.response.status_code" not in shown(on_v2)
    assert shown(on_v2)["error.type"] == "connect"
    assert (shown(request)["error.type"], request.status_message) == ("502", never.detail)
    assert "dualpath.answered_by" not in shown(request)


def test_a_client_that_has_left_is_nobody_s_error() -> None:
    request, on_v2 = spans(attempt(status=0), status=0, aborted=True, answered_by="")
    assert shown(request)["dualpath.aborted"] is True
    assert (request.status, on_v2.status) == (0, 0)


def test_a_request_of_no_rollout_says_nothing_of_one() -> None:
    [request, on_v1] = spans(
        attempt(Path.V1), rollout="", route="", bucket=None, phase=None, assigned=Path.V1, answered_by="v1"
    )
    assert (request.name, on_v1.name) == ("GET", "GET")
    own = {name for name in shown(request) if name.startswith("dualpath.")}
    assert own == {"dualpath.request_id", "dualpath.answered_by"}
    assert "dualpath.rollout" not in shown(on_v1)


def test_a_method_that_nobody_knows_does_not_name_spans() -> None:
    request, on_v2 = spans(method="BREW")
    assert (request.name, on_v2.name) == ("HTTP /items", "HTTP")
    assert shown(request)["http.request.method"] == "_OTHER"
    assert shown(request)["http.request.method_original"] == "BREW"


def test_what_was_no_request_has_no_method() -> None:
    [request] = SpanMaker(config()).spans(observed(method="", target="", host="", status=400, attempts=()))
    assert "http.request.method_original" not in shown(request)
    assert "server.address" not in shown(request)


@pytest.mark.parametrize(
    ("scheme", "host", "address", "port"),
    [
        ("http", "a.test", "a.test", 80),
        ("https", "a.test", "a.test", 443),
        ("http", "[::1]:81", "::1", 81),
        ("http", "[::1]", "::1", 80),
        ("http", "a.test:", "a.test", 80),
    ],
)
def test_what_the_client_has_called_us(scheme: str, host: str, address: str, port: int) -> None:
    span = spans(scheme=scheme, host=host)[0]
    assert (shown(span)["server.address"], shown(span)["server.port"]) == (address, port)


def test_secrets_in_the_query_are_not_shown() -> None:
    maker = SpanMaker(Config.read({"backends": BACKENDS, "log": {"redact": ["Who"]}}))
    request, on_v2 = maker.spans(observed(target="/x?a=1&token=abc&who=me"))
    assert shown(request)["url.query"] == "a=1&token=***&who=***"
    assert shown(on_v2)["url.full"].endswith("/x?a=1&token=***&who=***")


def test_the_query_may_be_left_out_altogether() -> None:
    request, on_v2 = SpanMaker(config(traces={"query": False})).spans(observed())
    assert "url.query" not in shown(request)
    assert shown(on_v2)["url.full"].endswith("/items/1")


class Export:
    """Takes what is put in."""

    def __init__(self) -> None:
        self.taken: list[tuple[Any, int]] = []

    def put(self, thing: Any, spans: int) -> None:
        self.taken.append((thing, spans))


def test_only_traced_requests_are_sent() -> None:
    export = Export()
    observer = Tracing(export)  # type: ignore[arg-type]
    observer.request_ended(observed(traced=False, logged=True))
    observer.request_ended(observed(FAILED_V2, BY_V1))
    assert [spans for _, spans in export.taken] == [3]


def test_what_waits_is_bounded_in_its_size() -> None:
    export = Export()
    observer = Tracing(export)  # type: ignore[arg-type]
    fields = (("user-agent", "u" * 30_000), ("cookie", "c" * 30_000))
    observer.request_ended(observed(target="/" + "x" * 30_000, fields=fields, trace_state="a=" + "b" * 9000))
    [(request, _)] = export.taken
    assert (len(request.target), request.trace_state) == (2048, "")
    assert [(name, len(value)) for name, value in request.fields] == [("user-agent", 2048)]
    observer.request_ended(observed(method="M" * 30_000, host="h" * 30_000))
    request, _ = export.taken[1]
    assert (len(request.method), len(request.host)) == (256, 256)


def test_nothing_is_sent_unless_there_is_a_collector_and_traces_are_wanted() -> None:
    def count(name: str, n: int) -> None: ...

    assert tracing(Config.read({"backends": BACKENDS}), count) is None
    assert tracing(config(traces={"enabled": False}), count) is None
    assert tracing(config(), count) is not None


def test_a_reload_that_does_not_concern_it_leaves_it_as_it_is() -> None:
    def count(name: str, n: int) -> None: ...

    first = tracing(config(), count)
    assert tracing(config(), count, first) is first
    assert tracing(config(service_name="other"), count, first) is not first
    redacting = config().model_copy(
        update={"log": Config.read({"backends": BACKENDS, "log": {"redact": ["x"]}}).log}
    )
    assert tracing(redacting, count, first) is not first
