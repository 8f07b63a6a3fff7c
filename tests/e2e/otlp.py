"""What OTLP carries, as plain values: spans and points of metrics, each with the resource it belongs to.

Owns the decoding, of protobuf (what exporters send) and of JSON (what a collector's file exporter writes). It
must never know who sent it or over what.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.json_format import ParseDict  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

Attributes = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened while a span lasted."""

    name: str
    at_ns: int
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class SpanLink:
    """Another span that this one has to do with; ids in hexadecimal."""

    trace_id: str
    span_id: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Span:
    """One span; ids in hexadecimal, `parent_id` is "" for a root."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str  # INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER
    start_ns: int
    end_ns: int
    attributes: Attributes
    events: tuple[SpanEvent, ...]
    links: tuple[SpanLink, ...]
    status: str  # UNSET, OK, ERROR
    status_message: str
    trace_state: str
    flags: int
    scope: str
    resource: Attributes

    def event(self, name: str) -> SpanEvent | None:
        """The first event of that name."""
        return next((one for one in self.events if one.name == name), None)


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A measurement that stands for its point, and the span it was taken in."""

    trace_id: str
    span_id: str
    value: float


@dataclass(frozen=True, slots=True)
class Point:
    """One point of one series. `value` is a sum's or a gauge's figure, or the sum of what a histogram has."""

    metric: str
    unit: str
    kind: str  # gauge, sum, histogram, exponential_histogram, summary
    temporality: str  # CUMULATIVE, DELTA, or "" where there is none
    monotonic: bool
    attributes: Attributes
    value: float
    count: int
    bounds: tuple[float, ...]
    buckets: tuple[int, ...]
    exemplars: tuple[Exemplar, ...]
    start_ns: int
    at_ns: int
    resource: Attributes = field(default_factory=dict)


def spans_of(message: ExportTraceServiceRequest) -> list[Span]:
    """All spans, in the order they stand in."""
    return [
        _span(span, scoped.scope.name, _attributes(of_one.resource.attributes))
        for of_one in message.resource_spans
        for scoped in of_one.scope_spans
        for span in scoped.spans
    ]


def points_of(message: ExportMetricsServiceRequest) -> list[Point]:
    """All points of all metrics."""
    return [
        _point(metric, point, _attributes(of_one.resource.attributes))
        for of_one in message.resource_metrics
        for scoped in of_one.scope_metrics
        for metric in scoped.metrics
        for point in getattr(metric, metric.WhichOneof("data")).data_points
    ]


def trace_message(document: Any) -> ExportTraceServiceRequest:
    """From OTLP's JSON, in which ids are hexadecimal."""
    message = ExportTraceServiceRequest()
    ParseDict(_with_base64_ids(document), message)
    return message


def metrics_message(document: Any) -> ExportMetricsServiceRequest:
    """From OTLP's JSON, in which ids are hexadecimal."""
    message = ExportMetricsServiceRequest()
    ParseDict(_with_base64_ids(document), message)
    return message


def _span(span: Any, scope: str, resource: Attributes) -> Span:
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        kind=SpanMessage.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        events=tuple(
            SpanEvent(one.name, one.time_unix_nano, _attributes(one.attributes)) for one in span.events
        ),
        links=tuple(
            SpanLink(one.trace_id.hex(), one.span_id.hex(), _attributes(one.attributes)) for one in span.links
        ),
        status=Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
        status_message=span.status.message,
        trace_state=span.trace_state,
        flags=span.flags,
        scope=scope,
        resource=resource,
    )


def _point(metric: Any, point: Any, resource: Attributes) -> Point:
    kind = metric.WhichOneof("data")
    holder = getattr(metric, kind)
    is_number = kind in {"gauge", "sum"}
    temporality = getattr(holder, "aggregation_temporality", 0)
    return Point(
        metric=metric.name,
        unit=metric.unit,
        kind=kind,
        temporality=AggregationTemporality.Name(temporality).rpartition("_")[2] if temporality else "",
        monotonic=getattr(holder, "is_monotonic", False),
        attributes=_attributes(point.attributes),
        value=getattr(point, point.WhichOneof("value") or "as_int") if is_number else point.sum,
        count=0 if is_number else point.count,
        bounds=tuple(getattr(point, "explicit_bounds", ())),
        buckets=tuple(point.bucket_counts) if kind == "histogram" else (),
        exemplars=tuple(_exemplar(one) for one in getattr(point, "exemplars", ())),
        start_ns=point.start_time_unix_nano,
        at_ns=point.time_unix_nano,
        resource=resource,
    )


def _exemplar(exemplar: Any) -> Exemplar:
    value = getattr(exemplar, exemplar.WhichOneof("value") or "as_int")
    return Exemplar(exemplar.trace_id.hex(), exemplar.span_id.hex(), value)


def _attributes(pairs: Any) -> Attributes:
    return {pair.key: _plain(pair.value) for pair in pairs}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_plain(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind)


def _with_base64_ids(document: Any) -> Any:
    """As protobuf's own JSON has bytes."""
    if isinstance(document, list):
        return [_with_base64_ids(one) for one in document]
    if isinstance(document, dict):
        return {
            key: base64.b64encode(bytes.fromhex(value)).decode()
            if key in {"traceId", "spanId", "parentSpanId"}
            else _with_base64_ids(value)
            for key, value in document.items()
        }
    return document
