"""Traces as a collector gets them: whole, with the parentage that upstreams were told, and never at a
request's expense."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from proxy.config.schema import Config
from tests.e2e import answers
from tests.e2e.here import Here, serving
from tests.e2e.otlp_receiver import Mood, OtlpReceiver, otlp_receiver
from tests.e2e.proxy_process import Table, config, running_proxy
from tests.e2e.raw_client import fetch
from tests.e2e.test_reload import reloaded
from tests.e2e.waiting import eventually, stopwatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.e2e.otlp import Span
    from tests.e2e.raw_backend import RawBackend, Received

USER = (b"X-User-Id", b"u1")
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = (b"traceparent", f"00-{TRACE_ID}-b7ad6b7169203331-01".encode())
DOWN = answers.status("503 Service Unavailable")


@pytest_asyncio.fixture(loop_scope="session")
async def receiver() -> AsyncIterator[OtlpReceiver]:
    async with otlp_receiver() as one:
        yield one


def document(v1: RawBackend, v2: RawBackend, url: str, **traces: Any) -> Table:
    return {
        **config(v1.url, v2.url),
        "telemetry": {
            "otlp_endpoint": url,
            "otlp_headers": {"X-Token": "secret"},
            "otlp_timeout": "5s",
            "traces": {"sample": 100, "every": "20ms", **traces},
        },
    }


def counted(here: Here) -> dict[str, int]:
    return {name: n for name, n in here.traffic.telemetry.counts.items() if name.startswith("traces.")}


def context_of(request: Received) -> tuple[str, str, str]:
    value = request.get(b"traceparent")
    assert value is not None
    _, trace_id, span_id, flags = value.decode().split("-")
    return trace_id, span_id, flags


def server(spans: list[Span]) -> Span:
    [one] = [span for span in spans if span.kind == "SERVER"]
    return one


# ... what arrives


async def test_a_fallback_arrives_whole_with_the_spans_that_upstreams_were_told(
    v1: RawBackend, v2: RawBackend, receiver: OtlpReceiver
) -> None:
    v2.answer = DOWN
    baggage = (b"baggage", b"a=1;p=2,b=3")
    state = (b"tracestate", b"x=1,y=2")
    async with serving(document(v1, v2, receiver.url), weight=100_000) as here:
        answer = await fetch(here.listen, "GET", "/a?token=t", (USER, PARENT, state, baggage))
        assert (answer.status, answer.backend) == (200, b"v1")
        await eventually(lambda: len(receiver.spans) == 3)
        await eventually(lambda: counted(here) == {"traces.exported": 3})
    request, *attempts = receiver.trace(TRACE_ID)
    assert (request.kind, request.parent_id, request.trace_state) == ("SERVER", "b7ad6b7169203331", "x=1,y=2")
    assert [(one.kind, one.parent_id) for one in attempts] == [("CLIENT", request.span_id)] * 2
    asked = [v2.received[0], v1.received[0]]
    assert [context_of(one) for one in asked] == [(TRACE_ID, one.span_id, "01") for one in attempts]
    assert [one.get(b"baggage") for one in asked] == [baggage[1]] * 2
    assert [one.get(b"tracestate") for one in asked] == [state[1]] * 2
    event = request.event("dualpath.fallback")
    assert event is not None
    assert request.start_ns <= attempts[0].start_ns < event.at_ns <= attempts[1].end_ns <= request.end_ns
    assert request.attributes["url.query"] == "token=***"
    assert request.resource["service.name"] == "dualpath"
    [export] = receiver.exports
    assert export.headers["x-token"] == "secret"
    assert export.headers["content-encoding"] == "gzip"


async def test_a_request_that_is_not_wanted_leaves_no_trace(
    v1: RawBackend, v2: RawBackend, receiver: OtlpReceiver
) -> None:
    async with serving(document(v1, v2, receiver.url, sample=0), weight=100_000) as here:
        await fetch(here.listen, "GET", "/good", (USER,))
        v2.answer = DOWN
        await fetch(here.listen, "GET", "/bad", (USER,))
        await eventually(lambda: len(receiver.spans) == 3)
    assert [context_of(one)[2] for one in v2.received] == ["00", "00"]
    assert server(receiver.spans).attributes["url.path"] == "/bad"
    assert receiver.trace(context_of(v2.received[1])[0])[1].span_id == context_of(v2.received[1])[1]


async def test_all_that_waits_is_sent_at_the_end(
    v1: RawBackend, v2: RawBackend, receiver: OtlpReceiver
) -> None:
    async with serving(document(v1, v2, receiver.url, every="1h"), weight=0) as here:
        for _ in range(5):
            await fetch(here.listen, "GET", "/", (USER,))
        assert receiver.spans == []
        await here.traffic.drain()
        assert len(receiver.spans) == 10
        await eventually(lambda: counted(here) == {"traces.exported": 10})


async def test_a_reload_sends_to_another_collector_and_loses_nothing(
    v1: RawBackend, v2: RawBackend, receiver: OtlpReceiver
) -> None:
    async with otlp_receiver() as other, serving(document(v1, v2, receiver.url, every="1h")) as here:
        await fetch(here.listen, "GET", "/first", (USER,))
        await here.traffic.replace(Config.read(document(v1, v2, other.url)))
        await fetch(here.listen, "GET", "/second", (USER,))
        await eventually(lambda: len(receiver.spans) == 2 and len(other.spans) == 2)
        assert server(receiver.spans).attributes["url.path"] == "/first"
        assert server(other.spans).attributes["url.path"] == "/second"
        await here.traffic.replace(Config.read(config(v1.url, v2.url)))
        await fetch(here.listen, "GET", "/third", (USER, PARENT))
        assert v1.received[-1].get(b"traceparent") == PARENT[1], (
            "without traces nothing is added to the context"
        )


# ... while the collector does not do its part


async def test_what_it_cannot_take_now_is_sent_again(
    v1: RawBackend, v2: RawBackend, receiver: OtlpReceiver
) -> None:
    receiver.mood = Mood.UNAVAILABLE
    async with serving(document(v1, v2, receiver.url)) as here:
        await fetch(here.listen, "GET", "/", (USER,))
        await eventually(lambda: len(receiver.exports) >= 2)
        receiver.mood = Mood.ACCEPT
        await eventually(lambda: len(receiver.spans) == 2)
        await eventually(lambda: counted(here) == {"traces.exported": 2})


async def test_what_it_refuses_for_good_is_counted_and_not_sent_again(
    v1: RawBackend, v2: RawBackend, receiver: OtlpReceiver
) -> None:
    receiver.mood = Mood.REJECT
    async with serving(document(v1, v2, receiver.url)) as here:
        await fetch(here.listen, "GET", "/", (USER,))
        await eventually(lambda: counted(here) == {"traces.failed": 2})
        assert len(receiver.exports) == 1
        receiver.mood = Mood.ACCEPT
        await fetch(here.listen, "GET", "/", (USER,))
        await eventually(lambda: counted(here) == {"traces.failed": 2, "traces.exported": 2})


async def test_one_that_went_away_and_came_back_is_found_again(
    v1: RawBackend, v2: RawBackend, receiver: OtlpReceiver
) -> None:
    async with serving(document(v1, v2, receiver.url)) as here:
        await fetch(here.listen, "GET", "/", (USER,))
        await eventually(lambda: len(receiver.spans) == 2)
        await receiver.refuse()
        await fetch(here.listen, "GET", "/", (USER,))
        await receiver.listen()
        await eventually(lambda: len(receiver.spans) == 4)


@pytest.mark.parametrize("trouble", ["hangs", "refuses", "is unavailable"])
async def test_no_request_waits_for_it_and_the_end_takes_two_seconds_at_most(
    v1: RawBackend, v2: RawBackend, receiver: OtlpReceiver, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.telemetry.span_export.FLUSH_S", 0.3)
    receiver.mood = Mood.HANG if trouble == "hangs" else Mood.UNAVAILABLE
    if trouble == "refuses":
        await receiver.refuse()
    async with serving(document(v1, v2, receiver.url, max_queue=20, max_batch=10)) as here:
        for _ in range(60):
            assert (await fetch(here.listen, "GET", "/", (USER,))).status == 200
        counts = counted(here)
        assert 2 * (60 - 20 - 10 * 2) <= counts["traces.dropped"] <= 2 * (60 - 20), counts
        async with stopwatch() as watch:
            await here.traffic.stop()
        assert watch.own_s < 1.5, watch
        await eventually(lambda: sum(counted(here).values()) == 120)
        assert "traces.exported" not in counted(here)


# ... several processes, and what they decide


async def test_workers_trace_requests_and_the_decision_leads_to_them(
    v1: RawBackend, v2: RawBackend, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    table = document(v1, v2, receiver.url)
    table["listen"]["workers"] = 2
    slow = asyncio.Event()

    async def answer(exchange: Any) -> None:
        if exchange.request.target == "/slow":
            await slow.wait()
        await answers.status("500 No" if exchange.request.target == "/bad" else "200 OK")(exchange)

    v2.answer = answer
    async with running_proxy(table, tmp_path) as proxy:
        for _ in range(8):
            await fetch(proxy.listen, "GET", "/bad", (USER,))
        await eventually(lambda: bool(receiver.spans))
        under_way = asyncio.create_task(fetch(proxy.listen, "GET", "/slow", (USER,)))
        await eventually(lambda: any(one.target == "/slow" for one in v2.received))
        await proxy.settled()
        assert (await proxy.command("rollback", reason="it is bad")).status == 200
        await eventually(lambda: decision(receiver, "rollback") is not None)
        await fetch(proxy.listen, "GET", "/after", (USER,))
        slow.set()
        assert (await under_way).backend == b"v2"
    rolled_back = decision(receiver, "rollback")
    assert rolled_back is not None
    assert rolled_back.attributes["dualpath.reason"] == "it is bad"
    assert rolled_back.attributes["dualpath.weight_before"] == 99_999
    linked = {(link.trace_id, link.span_id) for link in rolled_back.links}
    bad = {(s.trace_id, s.span_id) for s in receiver.spans if s.attributes.get("url.path") == "/bad"}
    tried = {
        (s.trace_id, s.span_id) for s in receiver.spans if str(s.attributes.get("url.full")).endswith("/bad")
    }
    assert linked
    assert linked <= bad | tried
    through = server([s for s in receiver.spans if s.attributes.get("url.path") == "/slow"])
    event = through.event("dualpath.rollback")
    assert event is not None
    assert through.attributes["dualpath.weight"] == 99_999
    senders = {s.resource["service.instance.id"] for s in receiver.spans if s.kind == "SERVER"}
    assert rolled_back.resource["service.instance.id"] not in senders


def decision(receiver: OtlpReceiver, kind: str) -> Span | None:
    found = [one for one in receiver.spans if one.attributes.get("dualpath.decision") == kind]
    return found[0] if found else None


async def test_sighup_begins_and_ends_tracing(
    v1: RawBackend, v2: RawBackend, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    plain = config(v1.url, v2.url)
    async with running_proxy(plain, tmp_path) as proxy:
        await fetch(proxy.listen, "GET", "/", (USER,))
        await reloaded(proxy, document(v1, v2, receiver.url))
        await fetch(proxy.listen, "GET", "/traced", (USER,))
        await eventually(lambda: len(receiver.spans) == 2)
        await reloaded(proxy, plain)
        await fetch(proxy.listen, "GET", "/", (USER,))
    assert server(receiver.spans).attributes["url.path"] == "/traced"
