"""Spans on the wire, beside OpenTelemetry's own encoder and decoder."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event as SdkEvent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from proxy.telemetry import span_wire
from proxy.telemetry.span_wire import CLIENT, ERROR, INTERNAL, SERVER, Envelope, Event, Shared, Span

KINDS = {INTERNAL: SpanKind.INTERNAL, SERVER: SpanKind.SERVER, CLIENT: SpanKind.CLIENT}
STATUSES = {0: StatusCode.UNSET, 1: StatusCode.OK, 2: StatusCode.ERROR}
RESOURCE: dict[str, str | int] = {"service.name": "dualpath", "process.pid": 7}

ids = st.text("0123456789abcdef", min_size=16, max_size=16).filter(lambda text: text.strip("0"))
trace_ids = st.tuples(ids, ids).map("".join)
texts = st.text(st.characters(codec="utf-8"), max_size=300)
values = st.one_of(
    texts,
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False),
)
attributes = st.dictionaries(
    st.one_of(st.sampled_from(["url.path", "http.route", "dualpath.bucket"]), texts), values, max_size=6
).map(lambda named: list(named.items()))
instants = st.integers(1, 2_000_000_000).map(float)
spans = st.builds(
    Span,
    name=texts,
    kind=st.sampled_from(list(KINDS)),
    trace_id=trace_ids,
    span_id=ids,
    parent_id=st.one_of(st.just(""), ids),
    start_s=instants,
    end_s=instants,
    attributes=attributes,
    shared=st.one_of(st.none(), attributes.map(Shared)),
    trace_state=st.sampled_from(["", "a=1", "a=1,b=2"]),
    parent_is_remote=st.booleans(),
    events=st.lists(st.builds(Event, name=texts, at_s=instants, attributes=attributes), max_size=2),
    links=st.lists(st.tuples(trace_ids, ids), max_size=2),
    status=st.sampled_from(list(STATUSES)),
    status_message=texts,
)


def context(trace_id: str, span_id: str, *, remote: bool = False, state: str = "") -> SpanContext:
    return SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        remote,
        TraceFlags(1),
        TraceState([tuple(pair.split("=")) for pair in state.split(",") if pair]),  # type: ignore[misc]
    )


def as_the_sdk_has_it(span: Span) -> ReadableSpan:
    parent = None
    if span.parent_id:
        parent = context(span.trace_id, span.parent_id, remote=span.parent_is_remote)
    message = span.status_message if span.status == ERROR else None
    return ReadableSpan(
        span.name,
        context=context(span.trace_id, span.span_id, state=span.trace_state),
        parent=parent,
        resource=Resource({**RESOURCE}),
        attributes=dict([*span.attributes, *([] if span.shared is None else span.shared.attributes)]),
        events=[SdkEvent(e.name, dict(e.attributes), int(e.at_s * 1e9)) for e in span.events],
        links=[Link(context(*pair)) for pair in span.links],
        kind=KINDS[span.kind],
        status=Status(STATUSES[span.status], message),
        start_time=int(span.start_s * 1e9),
        end_time=int(span.end_s * 1e9),
        instrumentation_scope=InstrumentationScope("dualpath", "1"),
    )


def decoded(*made: Span) -> ExportTraceServiceRequest:
    envelope = Envelope({**RESOURCE}, "dualpath", "1")
    message = ExportTraceServiceRequest()
    message.ParseFromString(envelope.around([span_wire.encoded(one) for one in made]))
    return message


@given(st.lists(spans, min_size=1, max_size=3))
def test_a_message_reads_as_that_of_the_sdk_s_encoder(made: list[Span]) -> None:
    for one in made:
        if one.shared is not None:
            named = dict(one.shared.attributes)
            one.attributes = [(name, value) for name, value in one.attributes if name not in named]
        if one.status != ERROR:
            one.status_message = ""
        if not one.parent_id:
            one.parent_is_remote = False
    expected = encode_spans([as_the_sdk_has_it(one) for one in made])
    ours = decoded(*made)
    for resource_spans in ours.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                assert span.flags & 0xFF == 1, "the SDK leaves out that the span is sampled"
                span.flags &= ~0xFF
                for link in span.links:
                    link.flags = 0x100
                if not span.status.code:
                    span.status.SetInParent()
    assert ours == expected


def test_the_same_value_of_another_type_is_another_attribute() -> None:
    kept: list[tuple[str, span_wire.Value]] = [
        ("x", 1),
        ("x", True),
        ("x", 1.0),
        ("x", "1"),
        ("x", False),
        ("x", 0),
    ]
    for name, value in kept * 2:
        span = Span("s", SERVER, "1" * 32, "2" * 16, "", 1.0, 2.0, [(name, value)])
        [found] = decoded(span).resource_spans[0].scope_spans[0].spans[0].attributes
        assert getattr(found.value, found.value.WhichOneof("value")) == value
        assert type(getattr(found.value, found.value.WhichOneof("value"))) is type(value)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_wire, "_MOST_KEPT", 10)
    for number in range(50):
        attributes = [("http.route", f"/{number}"), ("url.path", f"/{number}"), ("y", "z" * 1000)]
        span_wire.encoded(Span("s", SERVER, "1" * 32, "2" * 16, "", 1.0, 2.0, list(attributes)))
        assert len(span_wire._kept) <= 10
    names = {name for _, name, _, _ in span_wire._kept}
    assert names == {"http.route"}, "neither what is long nor what never comes again"


def test_text_that_is_no_text_does_not_stop_a_span() -> None:
    span = Span("s", SERVER, "1" * 32, "2" * 16, "", 1.0, 2.0, [("x", "\ud800")])
    [found] = decoded(span).resource_spans[0].scope_spans[0].spans[0].attributes
    assert found.value.string_value == "?"


@pytest.mark.parametrize("number", [1, 127, 128, 300, 1 << 40])
def test_what_a_collector_has_rejected_is_read(number: int) -> None:
    partial = ExportTracePartialSuccess(rejected_spans=number, error_message="why")
    answer = ExportTraceServiceResponse(partial_success=partial).SerializeToString()
    assert span_wire.rejected_spans(answer) == number


@pytest.mark.parametrize("answer", [b"", b"{}", b"\x0a\x00", b"\x0a\x02\x08", b"\x0a\x20\x08" + b"\xff" * 32])
def test_an_answer_that_says_nothing_of_it_has_rejected_none(answer: bytes) -> None:
    assert span_wire.rejected_spans(answer) == 0


def test_the_values_of_a_span_are_its_own() -> None:
    one = Span("s", SERVER, "1" * 32, "2" * 16, "", 1.0, 2.0, [("x", math.inf)])
    other = dataclasses.replace(one, name="t")
    assert [s.name for s in decoded(one, other).resource_spans[0].scope_spans[0].spans] == ["s", "t"]
