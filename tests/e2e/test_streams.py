"""Answers that take their time: server-sent events and long polls, piece by piece."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.e2e.answers import held
from tests.e2e.proxy_process import config, running_proxy
from tests.e2e.raw_client import LIMIT_S, Outcome, RawClient, connected, request
from tests.e2e.waiting import eventually, stopwatch
from tests.e2e.wire import chunk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.proxy_process import ProxyProcess
    from tests.e2e.raw_backend import Answer, Exchange, RawBackend

USER = (b"X-User-Id", b"u")
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
ASK = request("GET", "/events", (USER,))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def proxy(
    backends: tuple[RawBackend, RawBackend], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ProxyProcess]:
    """One rollout whose time-out a stream outlasts, and one that leaves a long poll its time."""
    document = config(
        backends[0].url,
        backends[1].url,
        listen={"body_idle_timeout": "200ms", "drain_timeout": "300ms"},
        v1={"idle_timeout": "300ms"},
        v2={"idle_timeout": "1500ms"},
        rollout={"timeout": "2s", "fallback": {"reserve": 0.1}},
    )
    [usual] = document["rollouts"]
    document["rollouts"] = [
        {**usual, "name": "polls", "routes": [{"prefix": "/poll"}], "timeout": "1m"},
        usual,
    ]
    async with running_proxy(document, tmp_path_factory.mktemp("proxy")) as process:
        yield process


class Stream:
    """An event stream that says what a test tells it to, in one chunk or bare until the connection ends."""

    def __init__(self, *, chunked: bool = True) -> None:
        self.chunked = chunked
        self.said: asyncio.Queue[bytes] = asyncio.Queue()
        self.gone = asyncio.Event()

    async def answer(self, exchange: Exchange) -> None:
        """The script for the backend; nothing ends the stream."""
        await exchange.read_body()
        leaving = asyncio.ensure_future(exchange.gone())
        await exchange.send(EVENTS + (b"Transfer-Encoding: chunked\r\n\r\n" if self.chunked else b"\r\n"))
        while True:
            saying = asyncio.ensure_future(self.said.get())
            await asyncio.wait([saying, leaving], return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                saying.cancel()
                self.gone.set()
                return
            piece = await saying
            await exchange.send(chunk(piece) if self.chunked else piece)
            if not piece:
                leaving.cancel()
                if not self.chunked:
                    exchange.close()
                return

    def say(self, piece: bytes) -> None:
        """The next event; an empty one is the end."""
        self.said.put_nowait(piece)


async def read(client: RawClient, piece: bytes) -> None:
    """Reads one event, which has come as a chunk of its own."""
    expected = chunk(piece)
    assert await asyncio.wait_for(client.reader.readexactly(len(expected)), LIMIT_S) == expected


async def started(client: RawClient, backend: RawBackend, answer: Answer) -> None:
    """Asks, and has the head of the stream."""
    backend.answer = answer
    await client.send(ASK)
    head = await client.interim()
    assert head.get(b"content-type") == b"text/event-stream"
    assert head.get(b"transfer-encoding") == b"chunked"


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "until close"])
async def test_each_event_reaches_the_client_before_the_next_is_sent(
    proxy: ProxyProcess, v2: RawBackend, chunked: bool
) -> None:
    stream = Stream(chunked=chunked)
    async with connected(proxy.listen) as client:
        await started(client, v2, stream.answer)
        for number in range(5):
            stream.say(b"data: %d\n\n" % number)
            await read(client, b"data: %d\n\n" % number)
        stream.say(b"")
        assert await asyncio.wait_for(client.reader.readexactly(5), LIMIT_S) == b"0\r\n\r\n"
        v2.forget()
        assert (await client.ask("GET", "/", (USER,))).status == 200  # and the connection goes on


async def test_a_stream_outlasts_every_limit_but_its_own_idle_time(
    proxy: ProxyProcess, v2: RawBackend
) -> None:
    stream = Stream()
    async with connected(proxy.listen) as client:
        await started(client, v2, stream.answer)
        for _ in range(5):  # 2.25 s in all: longer than the rollout's time-out for a whole request
            await asyncio.sleep(0.45)  # longer than a body of the client's may stand still
            stream.say(b"ping")
            await read(client, b"ping")
        async with stopwatch(proxy.tree()) as watch:
            assert await client.ended() is Outcome.RESET
        assert watch.total_s > 1.2, watch
        assert watch.own_s < 2.0, watch
        await asyncio.wait_for(stream.gone.wait(), LIMIT_S)


async def test_a_client_that_leaves_ends_the_stream_at_once_and_blames_nobody(
    proxy: ProxyProcess, v2: RawBackend
) -> None:
    before = await proxy.settled()
    stream = Stream()
    async with connected(proxy.listen) as client:
        await started(client, v2, stream.answer)
        stream.say(b"one")
        await read(client, b"one")
    async with stopwatch(proxy.tree()) as watch:
        await asyncio.wait_for(stream.gone.wait(), LIMIT_S)
    assert watch.own_s < 0.5, watch
    v2.forget()
    after = await proxy.settled()
    assert after["paths"]["v2"]["requests"] - before["paths"]["v2"]["requests"] == 1
    assert after["paths"]["v2"]["errors"] == before["paths"]["v2"]["errors"]
    assert after["client"]["errors"] == before["client"]["errors"]


async def test_a_stream_of_v2_runs_on_after_a_rollback_and_counts_for_v2(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    before = await proxy.settled()
    stream = Stream()
    async with connected(proxy.listen) as client:
        await started(client, v2, stream.answer)
        await proxy.command("rollback", reason="test")
        async with connected(proxy.listen) as other:
            assert (await other.ask("GET", "/", (USER,))).backend == b"v1"
        stream.say(b"still here")
        await read(client, b"still here")
        stream.say(b"")
        assert await asyncio.wait_for(client.reader.readexactly(5), LIMIT_S) == b"0\r\n\r\n"
    after = await proxy.settled()
    await proxy.set(99.999)
    assert after["paths"]["v2"]["requests"] - before["paths"]["v2"]["requests"] == 1
    assert after["paths"]["v2"]["errors"] == before["paths"]["v2"]["errors"]


async def test_a_long_poll_may_take_as_long_as_an_answer_may(proxy: ProxyProcess, v1: RawBackend) -> None:
    gate = asyncio.Event()
    v1.answer = held(gate)
    async with connected(proxy.listen) as client:
        await client.send(request("GET", "/poll"))
        answer = asyncio.ensure_future(client.response())
        done, _ = await asyncio.wait([answer], timeout=0.6)  # longer than a body may stand still
        assert not done
        gate.set()
        assert (await answer).backend == b"v1"


async def test_a_client_that_leaves_a_long_poll_cancels_it_at_once(
    proxy: ProxyProcess, v2: RawBackend
) -> None:
    gone = asyncio.Event()

    async def never(exchange: Exchange) -> None:
        await exchange.gone()
        gone.set()

    v2.answer = never
    async with connected(proxy.listen) as client:
        await client.send(ASK)
        await eventually(lambda: v2.count() == 1)
        assert not gone.is_set()
    async with stopwatch(proxy.tree()) as watch:
        await asyncio.wait_for(gone.wait(), LIMIT_S)
    assert watch.own_s < 0.5, watch
