"""Every wait has an end: connecting, the head, the body's pauses, and the request as a whole."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.e2e import answers
from tests.e2e.proxy_process import ProxyProcess, Table, config, running_proxy
from tests.e2e.raw_client import connected, fetch, request
from tests.e2e.waiting import eventually, stopwatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.e2e.raw_backend import Exchange, RawBackend

USER = (b"X-User-Id", b"a")
SLACK_S = 0.6  # one coarse sweep, and what is to be done besides


@asynccontextmanager
async def lasting(proxy: ProxyProcess, seconds: float) -> AsyncIterator[None]:
    """What is done meanwhile takes so long, and not much longer."""
    async with stopwatch(proxy.tree()) as watch:
        yield
    assert watch.total_s > seconds - 0.05, watch
    assert watch.own_s < seconds + SLACK_S, watch


@pytest.fixture(scope="module")
def settings() -> dict[str, Table]:
    times = {"connect_timeout": "500ms", "response_timeout": "600ms", "idle_timeout": "1s"}
    return {
        "v1": times,
        "v2": times,
        "rollout": {"timeout": "2s"},
        "listen": {"body_idle_timeout": "1s"},
    }


async def test_v1_answers_at_v2s_response_time_out(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    v2.answer = answers.HANG
    async with lasting(proxy, 0.6):
        answer = await fetch(proxy.listen, "GET", "/", (USER,))
    assert (answer.status, answer.backend) == (200, b"v1")
    await eventually(lambda: v2.open_connections == 0)


async def test_a_time_out_that_cannot_be_covered_is_a_504(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    v2.answer = answers.HANG
    async with lasting(proxy, 0.6):
        answer = await fetch(proxy.listen, "POST", "/", (USER,), b"content")
    assert (answer.status, answer.complete, v1.count()) == (504, True, 0)


async def test_v1s_own_time_out_is_a_504(proxy: ProxyProcess, v1: RawBackend, v2: RawBackend) -> None:
    v1.answer = answers.HANG
    async with lasting(proxy, 0.6):
        answer = await fetch(proxy.listen, "GET", "/")
    assert (answer.status, answer.complete) == (504, True)


async def test_both_hang_and_the_client_still_gets_an_answer(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    v1.answer = v2.answer = answers.HANG
    async with lasting(proxy, 1.2):
        answer = await fetch(proxy.listen, "GET", "/", (USER,))
    assert (answer.status, answer.complete) == (504, True)


async def test_pauses_shorter_than_the_idle_time_out_are_no_fault(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    async def in_steps(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nX-Backend: v2\r\nContent-Length: 4\r\n\r\n")
        for _ in range(4):
            await asyncio.sleep(0.3)  # the idle time-out is for one pause, not for all of them
            await exchange.send(b"x")

    v2.answer = in_steps
    answer = await fetch(proxy.listen, "GET", "/", (USER,))
    assert (answer.complete, answer.body) == (True, b"xxxx")


async def test_a_pause_longer_than_the_idle_time_out_breaks_the_answer(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    v2.answer = answers.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", end="hang")
    async with lasting(proxy, 1.0):
        answer = await fetch(proxy.listen, "GET", "/", (USER,))
    assert (answer.status, answer.complete) == (200, False)


async def test_an_answer_that_keeps_coming_outlives_the_requests_time_out(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    """A long download or an event stream is no fault: once it has begun, only its pauses are limited."""
    head = b"HTTP/1.1 200 OK\r\nX-Backend: v2\r\nContent-Length: 100000\r\n\r\n"
    v2.answer = answers.dripping(head, b"x", 0.05)
    async with connected(proxy.listen) as client:
        await client.send(request("GET", "/", (USER,)))
        await client.interim()
        assert len(await client.reader.readexactly(50)) == 50  # 2.5 s, of a time-out of 2 s
    await eventually(lambda: v2.open_connections == 0)


async def test_an_upload_that_stalls_is_cut_and_is_not_v2s_error(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    before = await proxy.settled()
    async with connected(proxy.listen) as client, lasting(proxy, 1.0):
        await client.send(request("POST", "/", (USER, (b"Content-Length", b"10")), None) + b"some")
        answer = await client.response("POST")
    assert answer.status in {0, 408}
    assert not any(one.complete for one in v2.received)
    after = await proxy.settled()
    assert after["paths"]["v2"]["errors"] == before["paths"]["v2"]["errors"]


async def test_both_attempts_share_the_requests_time_out(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    """v2's attempt ends early enough for v1 to have its share, and both within the whole."""
    document = config(v1.url, v2.url, rollout={"timeout": "1600ms", "fallback": {"reserve": 0.5}})
    async with running_proxy(document, tmp_path) as proxy:
        v2.answer = answers.HANG
        async with lasting(proxy, 0.8):
            answer = await fetch(proxy.listen, "GET", "/", (USER,))
        assert (answer.status, answer.backend) == (200, b"v1")
        v1.answer = answers.HANG
        async with lasting(proxy, 1.6):
            answer = await fetch(proxy.listen, "GET", "/", (USER,))
        assert (answer.status, answer.complete) == (504, True)


async def test_a_backend_that_answers_no_syn_is_a_connect_time_out(
    v1: RawBackend, full_backlog: str, settings: dict[str, Table], tmp_path: Path
) -> None:
    document = config(v1.url, full_backlog, **settings)
    async with running_proxy(document, tmp_path) as proxy:
        for method in ("GET", "POST"):  # never connected: any method may go to v1
            async with lasting(proxy, 0.5):
                answer = await fetch(proxy.listen, method, "/", (USER,), b"content")
            assert (answer.status, answer.backend) == (200, b"v1")


@pytest.fixture
def full_backlog() -> Iterator[str]:
    """An endpoint whose accept queue is full, so that the kernel drops every further SYN."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield "http://{}:{}".format(*server.getsockname())
