"""What the proxy sends to a real collector: every request and every attempt, once, and under whom."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.e2e import answers
from tests.e2e.proxy_process import config, running_proxy
from tests.e2e.raw_backend import normal
from tests.e2e.raw_client import fetch
from tests.e2e.waiting import eventually
from tests.interop.collector import running_collector
from tests.interop.programs import free_ports, scraped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.e2e.otlp import Span
    from tests.e2e.proxy_process import ProxyProcess, Table
    from tests.e2e.raw_backend import Exchange, RawBackend
    from tests.e2e.raw_client import Response
    from tests.interop.collector import Collector

ARRIVING_S = 10.0
REQUESTS = 120
ROUNDING_NS = 1_000
"""Instants are seconds in floating point, in which a nanosecond of this century has no place."""


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def workers(request: pytest.FixtureRequest) -> int:
    """Who serves."""
    return int(request.param)


@dataclass(frozen=True, slots=True)
class Sent:
    """A request of ours, and its answer."""

    method: str
    target: str
    user: str
    trace_id: str  # "" where we sent no traceparent
    span_id: str
    answer: Response


@dataclass(slots=True)
class Client:
    """Sends one request after the other, each to a target of its own; every other one belongs to a trace."""

    proxy: ProxyProcess
    sent: list[Sent] = field(default_factory=list)
    begun: int = 0

    async def send(self, method: str, prefix: str = "/orders") -> Sent:
        """One request; of twenty users, half of whom are on v2."""
        number = self.begun = self.begun + 1
        target, user = f"{prefix}/{number}?page={number}", f"u{number % 20}"
        trace_id, span_id = (f"{number:032x}", f"{number:016x}") if number % 2 else ("", "")
        given = ((b"traceparent", f"00-{trace_id}-{span_id}-01".encode()),) if trace_id else ()
        fields = ((b"X-User-Id", user.encode()), (b"User-Agent", b"interop/1"), *given)
        answer = await fetch(self.proxy.listen, method, target, fields, b"{}" if method == "POST" else None)
        self.sent.append(Sent(method, target, user, trace_id, span_id, answer))
        return self.sent[-1]


@asynccontextmanager
async def traced_proxy(
    otlp_url: str, backends: tuple[str | list[str], str], directory: Path, /, **changes: Table
) -> AsyncIterator[ProxyProcess]:
    """A proxy that sends its spans there, nearly at once."""
    document = config(*backends, **{"rollout": {"percentage": 50}, **changes})
    document["telemetry"] = {
        "otlp_endpoint": otlp_url,
        "service_name": "shop-edge",
        "resource": {"deployment.environment.name": "interop"},
        "traces": {"sample": 100, "every": "200ms", "max_queue": 10_000, **changes.get("traces", {})},
        "metrics": {"push_every": "0s"},
    }
    async with running_proxy(document, directory) as proxy:
        yield proxy


async def failing_where_told(exchange: Exchange) -> None:
    """Answers 503 below /failing."""
    if exchange.request.target.startswith("/failing"):
        await answers.status("503 Service Unavailable")(exchange)
    else:
        await normal(exchange)


def upstream_spans(*backends: RawBackend) -> list[tuple[str, str]]:
    """Trace and span as each backend was told them, of every request that has reached it."""
    told = [request.get(b"traceparent") for backend in backends for request in backend.received]
    assert all(one is not None and one.startswith(b"00-") and one.endswith(b"-01") for one in told), told
    return sorted((one[3:35].decode(), one[36:52].decode()) for one in told if one is not None)


def of_kind(spans: list[Span], kind: str) -> list[Span]:
    return [span for span in spans if span.kind == kind]


async def test_every_request_and_every_attempt_arrives_once(
    collector: Collector, v1: RawBackend, v2: RawBackend, tmp_path: Path, workers: int
) -> None:
    v2.answer = failing_where_told
    async with traced_proxy(
        collector.otlp_url, (v1.url, v2.url), tmp_path, listen={"workers": workers}
    ) as proxy:
        client = Client(proxy)
        for number in range(REQUESTS):
            method = ("GET", "POST", "PUT")[number % 3]
            await client.send(method, "/failing" if number % 4 == 0 else "/orders")
    # It has ended, so that all is sent; the collector writes it down in its own time.
    attempts = v1.count() + v2.count()
    await eventually(lambda: len(collector.spans()) >= REQUESTS + attempts, ARRIVING_S)
    spans = collector.spans()
    servers, clients = of_kind(spans, "SERVER"), of_kind(spans, "CLIENT")
    assert (len(servers), len(clients)) == (REQUESTS, attempts)
    assert sorted((span.trace_id, span.span_id) for span in clients) == upstream_spans(v1, v2)
    check_parents(client.sent, servers, clients)
    check_outcomes(client.sent, servers, clients, v2)
    for span in spans:
        assert span.scope == "dualpath"
        assert span.resource["service.name"] == "shop-edge"
        assert span.resource["deployment.environment.name"] == "interop"
        assert {"service.version", "service.instance.id", "telemetry.sdk.name"} <= span.resource.keys()
        assert span.end_ns >= span.start_ns > 0
    assert len({span.resource["process.pid"] for span in servers}) == workers
    assert await scraped(collector.own_metrics, "otelcol_receiver_accepted_spans") == len(collector.spans())
    assert not await scraped(collector.own_metrics, "otelcol_receiver_refused_spans")


def check_parents(sent: list[Sent], servers: list[Span], clients: list[Span]) -> None:
    """Each request has one SERVER span, below its client's; each attempt one CLIENT span below that."""
    by_target = {f"{span.attributes['url.path']}?{span.attributes['url.query']}": span for span in servers}
    assert by_target.keys() == {one.target for one in sent}
    for one in sent:
        server = by_target[one.target]
        assert server.parent_id == one.span_id
        assert not one.trace_id or server.trace_id == one.trace_id
    requests = {(span.trace_id, span.span_id): span for span in servers}
    assert len({span.trace_id for span in servers}) == len(servers)
    for span in clients:
        parent = requests[span.trace_id, span.parent_id]
        assert parent.start_ns <= span.start_ns <= span.end_ns <= parent.end_ns + ROUNDING_NS


def check_outcomes(sent: list[Sent], servers: list[Span], clients: list[Span], v2: RawBackend) -> None:
    """What the spans say is what happened: to the client, at v2, and in between."""
    children: dict[str, list[Span]] = {}
    for span in sorted(clients, key=lambda one: one.start_ns):
        children.setdefault(span.parent_id, []).append(span)
    failed_at_v2 = {one.target: one.method for one in v2.received if one.target.startswith("/failing")}
    assert failed_at_v2
    answered = {one.target: one for one in sent}
    for span in servers:
        target = f"{span.attributes['url.path']}?{span.attributes['url.query']}"
        one = answered[target]
        attributes = span.attributes
        assert attributes["http.response.status_code"] == one.answer.status
        assert attributes["http.request.method"] == one.method
        assert (attributes["url.scheme"], attributes["network.protocol.version"]) == ("http", "1.1")
        assert (attributes["client.address"], attributes["server.address"]) == ("127.0.0.1", "example.test")
        assert attributes["user_agent.original"] == "interop/1"
        assert (attributes["dualpath.rollout"], attributes["dualpath.weight"]) == ("default", 50_000)
        assert (attributes["dualpath.bucket"] < 50_000) is (attributes["dualpath.path"] == "v2")
        paths = [child.attributes["dualpath.path"] for child in children[span.span_id]]
        if failed_at_v2.get(target) in {"GET", "PUT"}:
            assert (paths, attributes["dualpath.answered_by"]) == (["v2", "v1"], "v1-fallback")
            check_fallback(span, *children[span.span_id])
        elif target in failed_at_v2:  # a POST may have taken effect: v2's answer went to its client
            assert (paths, attributes["dualpath.answered_by"], one.answer.status) == (["v2"], "v2", 503)
            assert (span.status, attributes["error.type"], span.events) == ("ERROR", "503", ())
        else:
            assert paths == [attributes["dualpath.path"]] == [attributes["dualpath.answered_by"]]
            assert (span.status, one.answer.status, span.events) == ("UNSET", 200, ())


def check_fallback(request: Span, failed: Span, stood_in: Span) -> None:
    """v2 has failed, v1 has answered, and the request says so."""
    assert request.status == "UNSET"
    assert (failed.status, failed.attributes["error.type"]) == ("ERROR", "503")
    assert failed.attributes["http.response.status_code"] == 503
    assert (stood_in.status, stood_in.attributes["http.response.status_code"]) == ("UNSET", 200)
    assert failed.end_ns <= stood_in.start_ns + ROUNDING_NS
    (event,) = request.events
    assert event.name == "dualpath.fallback"
    assert (
        event.attributes["dualpath.fallback.reason"]
        == "status"
        == request.attributes["dualpath.fallback.reason"]
    )
    assert request.start_ns <= event.at_ns <= request.end_ns + ROUNDING_NS


async def test_an_endpoint_that_is_down_is_an_attempt_too(
    collector: Collector, v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    down = f"http://127.0.0.1:{free_ports(1)[0]}"
    backends = [down, v1.url], v2.url
    async with traced_proxy(collector.otlp_url, backends, tmp_path, rollout={"percentage": 0}) as proxy:
        client = Client(proxy)
        for _ in range(20):
            assert (await client.send("GET")).answer.status == 200
    await eventually(lambda: len(collector.spans()) > 40, ARRIVING_S)
    clients = of_kind(collector.spans(), "CLIENT")
    refused = [span for span in clients if "error.type" in span.attributes]
    again = [span for span in clients if span.attributes.get("http.request.resend_count") == 1]
    assert len(refused) == len(again) == len(clients) - 20 > 0
    assert {span.attributes["error.type"] for span in refused} == {"connect"}
    assert {span.attributes["url.full"].rpartition("/orders")[0] for span in refused} == {down}
    assert {span.parent_id for span in refused} == {span.parent_id for span in again}


async def test_what_went_wrong_arrives_though_nothing_is_sampled(
    collector: Collector, v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    v2.answer = failing_where_told
    changes: dict[str, Table] = {"listen": {"workers": 2}, "traces": {"sample": 0, "parent": "ignore"}}
    async with traced_proxy(collector.otlp_url, (v1.url, v2.url), tmp_path, **changes) as proxy:
        client = Client(proxy)
        for number in range(REQUESTS):
            method = ("GET", "POST", "PUT")[number % 3]
            await client.send(method, "/failing" if number % 4 == 0 else "/orders")
    failures = {one.target for one in v2.received if one.target.startswith("/failing")}
    await eventually(lambda: len(of_kind(collector.spans(), "SERVER")) >= len(failures), ARRIVING_S)
    servers = of_kind(collector.spans(), "SERVER")
    seen = [f"{span.attributes['url.path']}?{span.attributes['url.query']}" for span in servers]
    assert sorted(seen) == sorted(failures)


async def test_a_rollback_is_told(
    collector: Collector, v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    guard = {"metric": "fallback_rate", "above": 0.2, "window": "60s", "min_requests": 20}
    changes: dict[str, Table] = {"listen": {"workers": 2}, "rollout": {"percentage": 50, "guards": [guard]}}
    rolled_back_now = asyncio.Event()
    v2.answer = answers.held(rolled_back_now)
    async with traced_proxy(collector.otlp_url, (v1.url, v2.url), tmp_path, **changes) as proxy:
        client = Client(proxy)
        under_way = [asyncio.create_task(client.send("GET", "/held")) for _ in range(10)]
        await eventually(lambda: v1.count() + v2.count() == 10)
        held = v2.count()
        v2.answer = failing_where_told

        async def rolled_back() -> bool:
            await client.send("GET", "/failing")
            return bool((await proxy.status())["state"] == "rolled_back")

        await eventually(rolled_back, 20)
        fallbacks = v2.count() - held
        rolled_back_now.set()
        await asyncio.gather(*under_way)
    assert {one.answer.status for one in client.sent} == {200}
    await eventually(lambda: len(decisions(collector)) == 1, ARRIVING_S)
    (decision,) = decisions(collector)
    spans = collector.spans()
    servers = of_kind(spans, "SERVER")
    assert len(servers) == len(client.sent)
    assert len([span for span in servers if span.event("dualpath.fallback")]) == fallbacks
    assert len([span for span in servers if span.event("dualpath.rollback")]) == held > 0
    assert decision.attributes["dualpath.rollout"] == "default"
    assert decision.links
    assert {link.trace_id for link in decision.links} <= {span.trace_id for span in servers}


def decisions(collector: Collector) -> list[Span]:
    """Spans of decisions that are rollbacks."""
    spans = of_kind(collector.spans(), "INTERNAL")
    return [span for span in spans if span.name.startswith("rollback")]


async def test_a_collector_that_comes_back_has_missed_nothing(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    ports = free_ports(4)
    (tmp_path / "proxy").mkdir()
    otlp_url = f"http://127.0.0.1:{ports[0]}"
    async with traced_proxy(otlp_url, (v1.url, v2.url), tmp_path / "proxy") as proxy:
        client = Client(proxy)
        async with running_collector(tmp_path, ports) as collector:
            for _ in range(50):
                await client.send("GET")
            await eventually(lambda: len(of_kind(collector.spans(), "SERVER")) == 50, ARRIVING_S)
        for _ in range(50):
            await client.send("GET")
        async with running_collector(tmp_path, ports) as collector:
            await eventually(lambda: len(of_kind(collector.spans(), "SERVER")) == 100, 20)
    assert len({span.span_id for span in collector.spans()}) == len(collector.spans()) == 200
