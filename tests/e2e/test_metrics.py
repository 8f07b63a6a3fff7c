"""/metrics of a running proxy, as a scraper reads it: what is there, and that it adds up."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from proxy.telemetry.catalogue import FAMILIES
from tests.e2e.otlp_receiver import Mood, otlp_receiver
from tests.e2e.proxy_process import config, running_proxy
from tests.e2e.raw_client import fetch
from tests.e2e.waiting import eventually, stopwatch

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from prometheus_client.metrics_core import Metric
    from prometheus_client.samples import Sample

    from proxy.telemetry.catalogue import Family
    from tests.e2e.proxy_process import ProxyProcess, Table
    from tests.e2e.raw_backend import Exchange, RawBackend

SERVER = "http_server_request_duration_seconds"
CLIENT = "http_client_request_duration_seconds"
USER = ((b"X-User-Id", b"u1"),)
HOST = (b"Host", b"localhost")
OPENMETRICS = (b"Accept", b"application/openmetrics-text; version=1.0.0")
TELEMETRY = "dualpath_telemetry_items_total"
DOWN = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\ndown"


@pytest.fixture(scope="module", name="settings", params=[1, 2], ids=["one process", "two workers"])
def _settings(request: pytest.FixtureRequest) -> dict[str, Table]:
    return {"listen": {"workers": request.param}}


async def scraped(proxy: ProxyProcess, *fields: tuple[bytes, bytes]) -> dict[str, list[Sample]]:
    """All samples by name."""
    answer = await fetch(proxy.admin, "GET", "/metrics", (HOST, *fields))
    assert answer.status == 200, answer.body
    parse = openmetrics_families if OPENMETRICS in fields else text_string_to_metric_families
    return by_name(parse(answer.body.decode()))


def by_name(families: Iterable[Metric]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def value(found: dict[str, list[Sample]], name: str, **labels: str) -> float:
    """The sum of those samples that have these labels."""
    return sum(one.value for one in found.get(name, ()) if labels.items() <= one.labels.items())


async def test_what_was_sent_is_what_is_counted(proxy: ProxyProcess, v1: RawBackend, v2: RawBackend) -> None:
    async def failing(exchange: Exchange) -> None:
        await exchange.send(DOWN)

    for _ in range(3):
        assert (await fetch(proxy.listen, "GET", "/", USER)).status == 200
    assert (await fetch(proxy.listen, "POST", "/", body=b"x")).status == 200
    assert (await fetch(proxy.listen, "BREW", "/")).status == 200
    v2.answer = failing
    assert (await fetch(proxy.listen, "GET", "/", USER)).status == 200  # v1 stands in
    assert (await fetch(proxy.listen, "POST", "/", USER, b"x")).status == 503

    async def counted() -> bool:
        found = await scraped(proxy)
        return value(found, "dualpath_client_answers_total") == 7 == value(found, f"{SERVER}_count")

    await eventually(counted)
    found = await scraped(proxy)
    assert value(found, f"{SERVER}_count", path="v2", method="GET", status="2xx", rollout="default") == 4
    assert value(found, f"{SERVER}_count", path="v2", method="POST", status="5xx") == 1
    assert value(found, f"{SERVER}_count", path="v1", method="_OTHER", status="2xx") == 1
    assert value(found, f"{CLIENT}_count", path="v2", status="5xx") == 2
    assert value(found, f"{CLIENT}_count", path="v1", method="GET", status="2xx") == 1  # the fallback
    assert value(found, f"{CLIENT}_count") == 8
    assert value(found, f"{SERVER}_bucket", le="+Inf") == 7
    assert 0 < value(found, f"{CLIENT}_sum") < 5
    assert value(found, "dualpath_attempts_total", path="v2", outcome="status") == 2
    assert value(found, "dualpath_attempts_total", path="v2", outcome="ok") == 3
    assert value(found, "dualpath_fallbacks_total", reason="status") == 1
    assert value(found, "dualpath_client_answers_total", outcome="error") == 1
    assert value(found, "dualpath_assigned_total", path="v2") == 5
    assert value(found, "dualpath_rollout_weight_ratio") == pytest.approx(0.99999)
    assert value(found, "dualpath_rollout_state", state="running") == 1
    assert value(found, "dualpath_breaker_state", state="disabled") == 1
    assert value(found, "dualpath_endpoint_healthy") == 2


async def test_every_process_is_there_with_its_figures(
    proxy: ProxyProcess, settings: dict[str, Table]
) -> None:
    workers = settings["listen"]["workers"]

    async def complete() -> bool:
        found = await scraped(proxy)
        return len(found["dualpath_process_resident_memory_bytes"]) == 1 + (workers if workers > 1 else 0)

    await eventually(complete)
    found = await scraped(proxy)
    assert value(found, "dualpath_workers") == workers
    serving = {"main"} if workers == 1 else {"worker-0", "worker-1"}
    assert {one.labels["process"] for one in found["dualpath_connections"]} == serving
    assert all(one.value > 1e6 for one in found["dualpath_process_resident_memory_bytes"])
    assert all(one.value > 0 for one in found["dualpath_process_cpu_seconds_total"])
    assert all(one.value > 3 for one in found["dualpath_process_open_files"])
    assert all(one.value < 5 for one in found["dualpath_event_loop_lag_seconds"])


async def test_a_scraper_that_prefers_openmetrics_gets_it(proxy: ProxyProcess) -> None:
    accept = (b"Accept", b"application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3")
    answer = await fetch(proxy.admin, "GET", "/metrics", (HOST, accept))
    assert answer.get(b"content-type") == b"application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert answer.body.endswith(b"# EOF\n")
    assert "dualpath_build_info" in by_name(openmetrics_families(answer.body.decode()))  # type: ignore[no-untyped-call]


async def test_metrics_are_open_where_that_is_configured(
    backends: tuple[RawBackend, RawBackend], tmp_path: Path
) -> None:
    digest = hashlib.sha256(b"a-token").hexdigest()
    admin = {"tokens": [{"name": "prometheus", "role": "viewer", "sha256": digest}]}
    document = config(backends[0].url, backends[1].url, admin=admin)
    document["telemetry"] = {"metrics": {"open": True}}
    async with running_proxy(document, tmp_path) as proxy:
        assert value(await scraped(proxy), "dualpath_workers") == 1
        assert (await proxy.ask_admin("/api/v1/status")).status == 401


async def test_all_of_it_is_pushed_to_a_collector(
    backends: tuple[RawBackend, RawBackend], tmp_path: Path
) -> None:
    async with otlp_receiver() as receiver:
        document = config(backends[0].url, backends[1].url)
        document["telemetry"] = {
            "otlp_endpoint": receiver.url,
            "otlp_headers": {"X-Token": "t"},
            "resource": {"deployment.environment.name": "tests"},
            "metrics": {"push_every": "100ms"},
            "traces": {"sample": 100},
        }
        async with running_proxy(document, tmp_path) as proxy:
            for _ in range(5):
                assert (await fetch(proxy.listen, "GET", "/", USER)).status == 200

            def arrived() -> bool:
                points = receiver.latest("http.server.request.duration")
                answers = receiver.latest("dualpath.client_answers")
                ok = [one.value for one in answers if one.attributes["dualpath.outcome"] == "ok"]
                return [one.count for one in points] == [5] and ok == [5]

            await eventually(arrived)
            scraped_names = set(await scraped(proxy, OPENMETRICS))
        (point,) = receiver.latest("http.server.request.duration")
        assert (point.kind, point.unit, point.temporality) == ("histogram", "s", "CUMULATIVE")
        assert point.attributes == {
            "dualpath.rollout": "default",
            "dualpath.path": "v2",
            "http.request.method": "GET",
            "dualpath.status_class": "2xx",
        }
        assert sum(point.buckets) == 5
        assert len(point.buckets) == len(point.bounds) + 1
        assert 0 < point.value < 5
        assert point.start_ns < point.at_ns
        assert point.resource["service.name"] == "dualpath"
        assert point.resource["deployment.environment.name"] == "tests"
        traced = {span.trace_id for span in receiver.spans if span.kind == "SERVER"}
        assert {one.trace_id for one in point.exemplars} <= traced
        assert point.exemplars
        assert all(one.headers["x-token"] == "t" for one in receiver.exports)
        pushed = {one.metric for one in receiver.points}
        assert pushed == {family.otel_name for family in FAMILIES if set(shown(family)) & scraped_names}


def shown(family: Family) -> list[str]:
    """The names of its samples."""
    return [f"{family.name}_bucket"] if family.type == "histogram" else [family.name]


async def test_a_collector_in_trouble_delays_nothing_and_what_is_lost_is_counted(
    backends: tuple[RawBackend, RawBackend], tmp_path: Path
) -> None:
    async with otlp_receiver() as receiver:
        receiver.mood = Mood.HANG
        document = config(backends[0].url, backends[1].url, log={"level": "error"})
        document["telemetry"] = {
            "otlp_endpoint": receiver.url,
            "otlp_timeout": "200ms",
            "otlp_retry_for": "100ms",
            "metrics": {"push_every": "50ms"},
            "traces": {"enabled": False},
        }
        async with running_proxy(document, tmp_path) as proxy:
            for mood in (Mood.HANG, Mood.UNAVAILABLE, Mood.REJECT):
                receiver.mood = mood
                receiver.let_go()
                await eventually(partial(failed_more_often, proxy, await failures(proxy)))
            receiver.mood = Mood.ACCEPT
            await eventually(lambda: bool(receiver.latest("http.server.request.duration")))
        count = sum(one.count for one in receiver.latest("http.server.request.duration"))
        answers = receiver.latest("dualpath.client_answers")
        assert count == sum(one.value for one in answers) > 0


async def failures(proxy: ProxyProcess) -> float:
    """How many messages did not arrive, while requests are answered as ever."""
    async with stopwatch(proxy.tree()) as watch:
        assert (await fetch(proxy.listen, "GET", "/")).status == 200
    assert watch.own_s < 0.2, watch
    return value(await scraped(proxy), TELEMETRY, signal="metrics", outcome="failed")


async def failed_more_often(proxy: ProxyProcess, before: float) -> bool:
    """Whether another message has not arrived since."""
    return await failures(proxy) > before
