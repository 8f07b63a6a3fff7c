"""The OTLP receiver of the tests, held against OpenTelemetry's own SDK and encoder."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, set_span_in_context

from tests.e2e.otlp import spans_of, trace_message
from tests.e2e.otlp_receiver import PROTOBUF, Mood, otlp_receiver
from tests.e2e.waiting import HANG_S, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.otlp_receiver import OtlpReceiver

RESOURCE = Resource({"service.name": "edge"})
NOBODY = 0


@pytest_asyncio.fixture(loop_scope="session")
async def receiver() -> AsyncIterator[OtlpReceiver]:
    """One that accepts."""
    async with otlp_receiver() as one:
        yield one


def a_server_and_its_attempt() -> list[Any]:
    """Two spans of one trace, the parent first."""
    tracer = TracerProvider(resource=RESOURCE, shutdown_on_exit=False).get_tracer("dualpath")
    server = tracer.start_span("GET", kind=SpanKind.SERVER, attributes={"http.response.status_code": 200})
    attempt = tracer.start_span(
        "GET", set_span_in_context(server), SpanKind.CLIENT, links=[Link(server.get_span_context())]
    )
    attempt.add_event("fallback", {"reason": "timeout", "statuses": [500, 502]})
    attempt.set_status(Status(StatusCode.ERROR, "late"))
    attempt.end()
    server.end()
    return [server, attempt]


async def posted(url: str, content: bytes, within_s: float = 5, content_type: str = PROTOBUF) -> int:
    """The status that OTLP over HTTP, with gzip, is answered; 0 where nobody answers in time."""
    fields = {"Content-Type": content_type, "Content-Encoding": "gzip"}
    timeout = aiohttp.ClientTimeout(total=within_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, data=gzip.compress(content), headers=fields) as answer,
        ):
            return answer.status
    except (aiohttp.ClientError, TimeoutError):
        return NOBODY


async def exported(url: str, spans: list[Any], within_s: float = 5) -> int:
    """The answer to spans of the SDK."""
    return await posted(f"{url}/v1/traces", encode_spans(spans).SerializeToString(), within_s)


async def test_spans_arrive_with_all_that_they_had(receiver: OtlpReceiver) -> None:
    assert await exported(receiver.url, a_server_and_its_attempt()) == 200
    server, attempt = receiver.spans
    assert (server.kind, server.parent_id, server.resource["service.name"]) == ("SERVER", "", "edge")
    assert server.attributes == {"http.response.status_code": 200}
    assert (attempt.kind, attempt.parent_id, attempt.trace_id) == ("CLIENT", server.span_id, server.trace_id)
    assert (attempt.status, attempt.status_message, attempt.scope) == ("ERROR", "late", "dualpath")
    assert attempt.links[0].span_id == server.span_id
    (event,) = attempt.events
    assert (event.name, event.attributes) == ("fallback", {"reason": "timeout", "statuses": [500, 502]})
    assert server.start_ns <= attempt.start_ns <= event.at_ns <= attempt.end_ns <= server.end_ns
    assert receiver.trace(server.trace_id) == [server, attempt]
    (export,) = receiver.exports
    assert export.headers["content-encoding"] == "gzip"


async def test_points_arrive_with_their_kind(receiver: OtlpReceiver) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], RESOURCE, shutdown_on_exit=False)
    meter = provider.get_meter("dualpath")
    meter.create_histogram("duration", "s", explicit_bucket_boundaries_advisory=[0.1, 1]).record(0.5)
    meter.create_gauge("weight").set(0.25)
    for counted in (3, 1):
        meter.create_counter("requests", "{request}").add(counted, {"path": "v2"})
        content = encode_metrics(reader.get_metrics_data()).SerializeToString()  # type: ignore[arg-type]
        assert await posted(f"{receiver.url}/v1/metrics", content) == 200
    provider.shutdown()
    (requests,), (duration,), (weight,) = map(receiver.latest, ("requests", "duration", "weight"))
    assert (requests.value, requests.unit, requests.attributes) == (4, "{request}", {"path": "v2"})
    assert (requests.kind, requests.temporality, requests.monotonic) == ("sum", "CUMULATIVE", True)
    assert (duration.count, duration.value, duration.bounds, duration.buckets) == (
        1,
        0.5,
        (0.1, 1),
        (0, 1, 0),
    )
    assert (weight.kind, weight.temporality, weight.value) == ("gauge", "", 0.25)
    assert requests.resource["service.name"] == "edge"


@pytest.mark.parametrize(
    ("mood", "status"), [(Mood.UNAVAILABLE, 503), (Mood.REJECT, 400), (Mood.HANG, NOBODY)]
)
async def test_what_is_not_taken_is_not_counted(receiver: OtlpReceiver, mood: Mood, status: int) -> None:
    receiver.mood = mood
    within_s = 0.3 if mood is Mood.HANG else HANG_S
    assert await exported(receiver.url, a_server_and_its_attempt(), within_s=within_s) == status
    assert receiver.exports
    assert not receiver.spans


async def test_what_is_no_otlp_is_refused(receiver: OtlpReceiver) -> None:
    assert await posted(f"{receiver.url}/v1/traces", b"{}", content_type="application/json") == 415
    assert await posted(f"{receiver.url}/v1/traces", b"\xff\xff") == 400
    assert await posted(f"{receiver.url}/v1/metrics", b"\xff\xff") == 400
    assert await posted(f"{receiver.url}/v1/nothing", b"") == 404


async def test_one_that_hangs_can_be_let_go(receiver: OtlpReceiver) -> None:
    receiver.mood = Mood.HANG
    export = asyncio.create_task(exported(receiver.url, a_server_and_its_attempt()))
    await eventually(lambda: bool(receiver.exports))
    receiver.mood = Mood.ACCEPT
    receiver.let_go()
    assert await export == 200
    assert len(receiver.spans) == 2


async def test_it_refuses_and_comes_back_where_it_was(receiver: OtlpReceiver) -> None:
    url = receiver.url
    await receiver.refuse()
    assert await exported(url, a_server_and_its_attempt()) == NOBODY
    await receiver.listen()
    assert receiver.url == url
    assert await exported(url, a_server_and_its_attempt()) == 200


def test_json_says_the_same() -> None:
    """As a collector's file exporter writes it: ids in hexadecimal, 64 bits as text."""
    document = json.loads(
        """{"resourceSpans": [{"resource": {"attributes": [{"key": "a", "value": {"intValue": "7"}}]},
            "scopeSpans": [{"scope": {"name": "s"}, "spans": [{"traceId": "0123456789abcdef0123456789abcdef",
            "spanId": "0123456789abcdef", "parentSpanId": "", "name": "GET", "kind": 2,
            "startTimeUnixNano": "5", "endTimeUnixNano": "6", "status": {}}]}]}]}"""
    )
    (span,) = spans_of(trace_message(document))
    assert (span.trace_id, span.span_id, span.parent_id) == ("0123456789abcdef" * 2, "0123456789abcdef", "")
    assert (span.kind, span.start_ns, span.resource, span.scope) == ("SERVER", 5, {"a": 7}, "s")
