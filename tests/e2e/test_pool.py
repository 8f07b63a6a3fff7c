"""Kept upstream connections: reused, found stale, and never trusted after they said too much."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.e2e import answers
from tests.e2e.raw_backend import normal
from tests.e2e.raw_client import Outcome, connected, fetch
from tests.e2e.waiting import eventually, stopwatch

if TYPE_CHECKING:
    from tests.e2e.proxy_process import ProxyProcess, Table
    from tests.e2e.raw_backend import Exchange, RawBackend

USER = (b"X-User-Id", b"a")


@pytest.fixture(scope="module")
def settings() -> dict[str, Table]:
    return {
        "v2": {"keepalive_timeout": "2s", "response_timeout": "5s"},
        "listen": {"keepalive_timeout": "1s"},
    }


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def empty_pools(v1: RawBackend, v2: RawBackend) -> None:
    """Every test here counts connections from none."""
    for backend in (v1, v2):
        backend.drop()
    await eventually(lambda: v1.open_connections + v2.open_connections == 0)
    v1.forget()
    v2.forget()


async def test_connections_are_reused_across_clients(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    for _ in range(20):
        assert (await fetch(proxy.listen, "GET", "/", (USER,))).backend == b"v2"
    assert v2.connections == 1


async def test_concurrent_requests_have_a_connection_each(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    gate = asyncio.Event()
    v2.answer = answers.held(gate)
    asking = [asyncio.create_task(fetch(proxy.listen, "GET", "/", (USER,))) for _ in range(30)]
    await eventually(lambda: v2.count() == 30)
    gate.set()
    assert {answer.status for answer in await asyncio.gather(*asking)} == {200}
    assert v2.connections == 30


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_stale_connection_is_retried_on_a_fresh_one_and_nobodys_error(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, method: str
) -> None:
    before = await proxy.settled()
    v2.answer = answers.stale()
    body = b"content" if method == "PUT" else None
    for _ in range(6):
        answer = await fetch(proxy.listen, method, "/", (USER,), body)
        assert (answer.status, answer.backend) == (200, b"v2")
    await same_errors(proxy, before)
    assert v1.count() == 0
    assert v2.connections >= 3


async def test_a_post_is_not_sent_again_after_a_stale_connection(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    v2.answer = answers.stale()
    assert (await fetch(proxy.listen, "GET", "/", (USER,))).status == 200
    answer = await fetch(proxy.listen, "POST", "/", (USER,), b"content")
    assert answer.status == 502
    assert (v1.count(), v2.count("POST")) == (0, 1)


async def test_a_connection_that_was_closed_while_idle_is_not_used(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    """Its end is read before the next request is written, so that a POST goes to a fresh one without risk."""
    v2.answer = answers.last_words()
    for _ in range(5):
        answer = await fetch(proxy.listen, "POST", "/", (USER,), b"content")
        assert (answer.status, answer.backend) == (200, b"v2")
        await eventually(lambda: v2.open_connections == 0)
        await fetch(proxy.listen, "GET", "/elsewhere")  # a round trip: the proxy has seen the end by now
    assert v2.count("POST") == 5


async def test_connection_close_from_the_backend_is_honoured(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    v2.answer = answers.status("200 OK", b"ok", (b"Connection", b"close"))
    async with connected(proxy.listen) as client:
        for _ in range(3):
            answer = await client.ask("GET", "/", (USER,))
            assert (answer.status, answer.complete) == (200, True)
    assert v2.connections == 3


async def test_bytes_after_a_complete_answer_are_never_the_next_one(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    v2.answer = answers.EXTRA_BYTES
    answer = await fetch(proxy.listen, "GET", "/", (USER,))
    assert (answer.status, answer.body, answer.complete) == (200, b"hello", True)
    v2.forget()
    for number in range(3):
        answer = await fetch(proxy.listen, "GET", f"/{number}", (USER,))
        assert (answer.backend, answer.body) == (b"v2", b"v2 GET /%d" % number)
    assert v2.connections == 1  # a new one: the old one is not trusted


async def test_bytes_on_an_idle_connection_end_it(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    async def speaks_unasked(exchange: Exchange) -> None:
        await normal(exchange)
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await exchange.gone()

    v2.answer = speaks_unasked
    assert (await fetch(proxy.listen, "GET", "/1", (USER,))).body == b"v2 GET /1"
    await eventually(lambda: v2.open_connections == 0)
    assert (await fetch(proxy.listen, "GET", "/2", (USER,))).body == b"v2 GET /2"


async def test_head_with_a_body_poisons_nothing(proxy: ProxyProcess, v1: RawBackend, v2: RawBackend) -> None:
    v2.answer = answers.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", end="keep")
    assert (await fetch(proxy.listen, "HEAD", "/", (USER,))).complete
    v2.forget()
    assert (await fetch(proxy.listen, "GET", "/next", (USER,))).body == b"v2 GET /next"


async def test_an_http_1_0_backend_is_understood(proxy: ProxyProcess, v1: RawBackend, v2: RawBackend) -> None:
    v2.answer = answers.raw(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold school")
    answer = await fetch(proxy.listen, "GET", "/", (USER,))
    assert (answer.version, answer.body, answer.complete) == (b"HTTP/1.1", b"old school", True)


async def test_a_connection_comes_back_from_a_slow_client_in_working_order(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    """Its reading was held back for that client's sake; whoever gets it next must not have to wait."""

    async def as_asked(exchange: Exchange) -> None:
        await answers.large(int(exchange.request.target[1:]))(exchange)

    v2.answer = as_asked
    for length in range(1 << 20, 4 << 20, 128 << 10):
        async with connected(proxy.listen, receive_buffer=4096, limit=1 << 14) as client:
            answer = await client.ask("GET", f"/{length}", (USER,))
            assert (answer.complete, answer.length) == (True, length)
        assert (await fetch(proxy.listen, "GET", "/5", (USER,))).backend == b"v2"


async def test_idle_connections_are_closed_on_both_sides(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    async with connected(proxy.listen) as client:
        assert (await client.ask("GET", "/", (USER,))).status == 200
        assert v2.open_connections == 1
        async with stopwatch(proxy.tree()) as watch:
            assert await client.ended() is Outcome.CLOSED
            await eventually(lambda: v2.open_connections == 0)
    assert watch.own_s < 4.0, watch


async def same_errors(proxy: ProxyProcess, before: Table) -> None:
    """Once the last requests are counted, neither path has more errors than before."""
    after = await proxy.settled()
    for path in ("v1", "v2"):
        assert after["paths"][path]["errors"] == before["paths"][path]["errors"]
    assert after["paths"]["v2"]["fallbacks"] == before["paths"]["v2"]["fallbacks"]
