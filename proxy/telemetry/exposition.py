"""Readings in Prometheus' text format, or in OpenMetrics with exemplars, as the scraper asks.

Owns which of the two it is. The library owns how they are written.
"""

from __future__ import annotations

from time import sleep
from typing import TYPE_CHECKING, Final

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample

from proxy.core.series import BOUNDS_S
from proxy.telemetry.catalogue import COUNTER, HISTOGRAM
from proxy.telemetry.readings import points

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from proxy.core.series import Labels, Series
    from proxy.telemetry.catalogue import Family
    from proxy.telemetry.readings import Point, Readings

_BREATH: Final = 8
_OPENMETRICS: Final = "application/openmetrics-text"
_BOUNDS: Final = (*(repr(bound) for bound in BOUNDS_S), "+Inf")


def exposition(readings: Readings, accept: str) -> tuple[bytes, str]:
    """The whole text and its media type, for a scraper with this Accept field. Takes its time where there are
    many series: a thread may do it."""
    collected = _Collected(readings)
    if prefers_openmetrics(accept):
        text: bytes = openmetrics.generate_latest(collected)  # type: ignore[no-untyped-call]
        return text, openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(collected), CONTENT_TYPE_PLAIN_0_0_4


def prefers_openmetrics(accept: str) -> bool:
    """Whether the version that we write is acceptable at all, as it is to every Prometheus."""
    for choice in accept.split(","):
        media_type, *parameters = [part.strip().lower() for part in choice.split(";")]
        if media_type == _OPENMETRICS and "q=0" not in parameters:
            versions = [one for one in parameters if one.startswith("version=")]
            if versions in ([], ["version=1.0.0"]):
                return True
    return False


class _Collected(Collector):
    """What the library writes down."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    def collect(self) -> Iterator[Metric]:
        """Histograms first, then the rest in the catalogue's order."""
        for family, series in self._readings.histograms.items():
            yield _histogram(family, series)
        for family, found in points(self._readings).items():
            if found:
                yield _plain(family, found)


def _plain(family: Family, found: list[Point]) -> Metric:
    kind = CounterMetricFamily if family.type == COUNTER else GaugeMetricFamily
    metric = kind(family.name, family.meaning, labels=family.labels, unit=family.unit)
    for labels, value in found:
        metric.add_metric(labels, float(value))
    metric.samples = _Unhurried(metric.samples)
    return metric


def _histogram(family: Family, series: list[tuple[Labels, Series]]) -> Metric:
    assert family.type == HISTOGRAM  # noqa: S101 - for whoever adds one
    metric = HistogramMetricFamily(family.name, family.meaning, labels=family.labels, unit=family.unit)
    for labels, one in series:
        total = 0
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        for index, n in enumerate(one.counts):
            total += n
            seen = one.exemplars.get(index)
            if seen is None:
                buckets.append((_BOUNDS[index], total))
            else:
                ids = {"trace_id": seen.trace_id, "span_id": seen.span_id}
                buckets.append((_BOUNDS[index], total, Exemplar(ids, seen.value_s, seen.at)))
        metric.add_metric(labels, buckets, one.total_us * 1e-6)
    metric.samples = _Unhurried(metric.samples)
    return metric


class _Unhurried(list[Sample]):
    """Samples that are written down with many short breaks: whoever carries requests on the same core goes on
    in between, and has not to wait until the interpreter thinks of it."""

    def __iter__(self) -> Iterator[Sample]:
        for number, sample in enumerate(super().__iter__()):
            if number % _BREATH == 0:
                sleep(0)
            yield sample
