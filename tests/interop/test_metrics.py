"""Metrics that the proxy pushes to a real collector: the same families as /metrics, and the same figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e import answers
from tests.e2e.proxy_process import config, running_proxy
from tests.e2e.raw_backend import normal
from tests.e2e.raw_client import fetch
from tests.e2e.waiting import eventually
from tests.interop.programs import scraped

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.otlp import Point
    from tests.e2e.raw_backend import Exchange, RawBackend
    from tests.interop.collector import Collector

PUSHED_S = 15.0
REQUESTS = 60
SERVER = "http.server.request.duration"
CLIENT = "http.client.request.duration"


async def failing_where_told(exchange: Exchange) -> None:
    """Answers 503 below /failing."""
    if exchange.request.target.startswith("/failing"):
        await answers.status("503 Service Unavailable")(exchange)
    else:
        await normal(exchange)


def latest(collector: Collector, metric: str, **labels: str) -> list[Point]:
    """The last point of each series of a metric with these attributes of ours."""
    wanted = {f"dualpath.{name}": value for name, value in labels.items()}
    series = {
        tuple(sorted(point.attributes.items())): point
        for point in collector.points()
        if point.metric == metric and wanted.items() <= point.attributes.items()
    }
    return list(series.values())


async def test_histograms_count_what_was_sent(
    collector: Collector, v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    v2.answer = failing_where_told
    document = config(v1.url, v2.url, listen={"workers": 2}, rollout={"percentage": 50})
    document["telemetry"] = {
        "otlp_endpoint": collector.otlp_url,
        "service_name": "shop-edge",
        "traces": {"sample": 100, "every": "200ms"},
        "metrics": {"push_every": "500ms"},
    }
    async with running_proxy(document, tmp_path) as proxy:
        for number in range(REQUESTS):
            target = f"/failing/{number}" if number % 4 == 0 else f"/orders/{number}"
            answer = await fetch(proxy.listen, "GET", target, ((b"X-User-Id", b"u%d" % (number % 20)),))
            assert answer.status == 200

        def counted() -> bool:
            return sum(point.count for point in latest(collector, SERVER)) == REQUESTS

        await eventually(counted, PUSHED_S)
        attempts = v1.count() + v2.count()
        await eventually(lambda: sum(one.count for one in latest(collector, CLIENT)) == attempts, PUSHED_S)
        address = "{}:{}".format(*proxy.admin)
        assert await scraped(address, "http_client_request_duration_seconds_count") == attempts
    check_histograms(collector, v2)
    await eventually(lambda: len(collector.spans()) == REQUESTS + attempts, PUSHED_S)
    check_exemplars(collector)
    (weight,) = latest(collector, "dualpath.rollout_weight_ratio", rollout="default")
    assert (weight.kind, weight.value) == ("gauge", 0.5)
    assert {point.resource["service.name"] for point in collector.points()} == {"shop-edge"}
    assert len({point.resource["service.instance.id"] for point in collector.points()}) == 1
    assert not await scraped(collector.own_metrics, "otelcol_receiver_refused_metric_points")


def check_histograms(collector: Collector, v2: RawBackend) -> None:
    """Seconds since the start, in buckets that add up; v2's failures are where they belong."""
    failed = len([one for one in v2.received if one.target.startswith("/failing")])
    assert failed > 0
    for metric in (SERVER, CLIENT):
        for point in latest(collector, metric):
            assert (point.kind, point.unit, point.temporality) == ("histogram", "s", "CUMULATIVE")
            assert sum(point.buckets) == point.count
            assert len(point.buckets) == len(point.bounds) + 1
            assert 0 < point.start_ns < point.at_ns
            assert 0 < point.value < point.count * 5
    of_v2 = latest(collector, CLIENT, path="v2")
    assert sum(point.count for point in of_v2) == v2.count()
    assert sum(point.count for point in latest(collector, CLIENT, path="v2", status_class="5xx")) == failed
    assert {point.attributes["http.request.method"] for point in of_v2} == {"GET"}


def check_exemplars(collector: Collector) -> None:
    """Each stands for a span that has arrived too, and its value lies in a bucket that counts something."""
    spans = {(span.trace_id, span.span_id): span for span in collector.spans()}
    for metric, kind in ((SERVER, "SERVER"), (CLIENT, "CLIENT")):
        exemplars = [one for point in latest(collector, metric) for one in point.exemplars]
        assert exemplars
        assert {spans[one.trace_id, one.span_id].kind for one in exemplars} == {kind}
