"""Readings as an OTLP message: the same families that /metrics shows, under OpenTelemetry's names.

Owns names, units and attributes towards OpenTelemetry. All sums are cumulative: what does not arrive once is
in the next message. Must never know how it is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from proxy import __version__
from proxy.core.series import BOUNDS_S
from proxy.telemetry.catalogue import COUNTER
from proxy.telemetry.readings import points

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from proxy.core.series import Labels, Series
    from proxy.telemetry.catalogue import Family
    from proxy.telemetry.readings import Point, Readings

SCOPE: Final = "dualpath"
_CUMULATIVE: Final = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
_UNITS: Final = {"seconds": "s", "bytes": "By", "ratio": "1", "": ""}
_ATTRIBUTES: Final = {"method": "http.request.method", "status": "dualpath.status_class"}


def attribute_of(label: str) -> str:
    """What OpenTelemetry calls a label."""
    return _ATTRIBUTES.get(label, f"dualpath.{label}")


def message(readings: Readings, resource: Mapping[str, str | int], started_at: float, at: float) -> bytes:
    """Everything as of the wall time `at`, counted since `started_at`. Takes its time: a thread may do it."""
    request = ExportMetricsServiceRequest()
    about = request.resource_metrics.add()
    _attribute(about.resource.attributes, resource.items())
    scoped = about.scope_metrics.add()
    scoped.scope.name, scoped.scope.version = SCOPE, __version__
    span = round(started_at * 1e9), round(at * 1e9)
    for family, series in readings.histograms.items():
        if series:
            _histogram(_metric(scoped, family), family, series, span)
    for family, found in points(readings).items():
        if found:
            _numbers(_metric(scoped, family), family, found, span)
    content: bytes = request.SerializeToString()
    return content


def rejected_points(answer: bytes) -> int:
    """How many points a collector has taken none of, by its answer; 0 for one that cannot be read."""
    try:
        response = ExportMetricsServiceResponse.FromString(answer)
    except Exception:  # protobuf's DecodeError, of which there are several
        return 0
    return int(response.partial_success.rejected_data_points)


def _metric(scoped: Any, family: Family) -> Any:
    metric = scoped.metrics.add()
    metric.name, metric.unit, metric.description = family.otel_name, _UNITS[family.unit], family.meaning
    return metric


def _numbers(metric: Any, family: Family, found: Sequence[Point], span: tuple[int, int]) -> None:
    is_sum = family.type == COUNTER
    holder = metric.sum if is_sum else metric.gauge
    if is_sum:
        holder.aggregation_temporality, holder.is_monotonic = _CUMULATIVE, True
    names = [attribute_of(label) for label in family.labels]
    for labels, value in found:
        point = holder.data_points.add()
        _attribute(point.attributes, zip(names, labels, strict=True))
        if is_sum:
            point.start_time_unix_nano = span[0]
        point.time_unix_nano = span[1]
        if is_sum and isinstance(value, int):
            point.as_int = value
        else:
            point.as_double = float(value)


def _histogram(
    metric: Any, family: Family, series: Sequence[tuple[Labels, Series]], span: tuple[int, int]
) -> None:
    metric.histogram.aggregation_temporality = _CUMULATIVE
    names = [attribute_of(label) for label in family.labels]
    for labels, one in series:
        point = metric.histogram.data_points.add()
        _attribute(point.attributes, zip(names, labels, strict=True))
        point.start_time_unix_nano, point.time_unix_nano = span
        point.count, point.sum = sum(one.counts), one.total_us * 1e-6
        point.bucket_counts.extend(one.counts)
        point.explicit_bounds.extend(BOUNDS_S)
        for seen in one.exemplars.values():
            exemplar = point.exemplars.add()
            exemplar.trace_id, exemplar.span_id = bytes.fromhex(seen.trace_id), bytes.fromhex(seen.span_id)
            exemplar.as_double, exemplar.time_unix_nano = seen.value_s, round(seen.at * 1e9)


def _attribute(attributes: Any, pairs: Iterable[tuple[str, str | int]]) -> None:
    for name, value in pairs:
        pair = attributes.add()
        pair.key = name
        if isinstance(value, str):
            pair.value.string_value = value
        else:
            pair.value.int_value = value
