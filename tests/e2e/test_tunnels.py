"""Tunnels over real sockets: what follows a 101, however either side behaves."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.e2e.answers import CLOSE, GARBAGE, RESET, status
from tests.e2e.proxy_process import ProxyProcess, config, refused, running_proxy
from tests.e2e.raw_backend import Exchange
from tests.e2e.raw_client import LIMIT_S, RawClient, connected, request
from tests.e2e.waiting import eventually, standstill, stopwatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.e2e.proxy_process import Table
    from tests.e2e.raw_backend import Answer, RawBackend

USER = (b"X-User-Id", b"u")
ASKING = ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), (b"Sec-WebSocket-Key", b"a2V5"))
HANDSHAKE = request("GET", "/chat", (USER, *ASKING))
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: eHh4\r\n\r\n"
)


@pytest.fixture(scope="module")
def settings() -> dict[str, Table]:
    return {
        "listen": {"expose_path": True},
        "v1": {"response_timeout": "5s"},
        "v2": {"response_timeout": "1s"},
        "rollout": {"tunnels": {"idle_timeout": "1500ms", "on_rollback": "cut", "drain_timeout": "200ms"}},
    }


@pytest_asyncio.fixture(loop_scope="session")
async def at_rest(proxy: ProxyProcess, v1: RawBackend, v2: RawBackend) -> AsyncIterator[ProxyProcess]:
    """The proxy; after the test nothing of it may be left: no tunnel, no attempt, no connection of a backend
    but pooled ones."""
    yield proxy
    await proxy.set(99.999)

    async def still() -> bool:
        ends = (await proxy.status())["endpoints"]
        idle = sum(end["idle_connections"] for end in ends)
        busy = any(end["outstanding"] for end in ends)
        return not busy and v1.open_connections + v2.open_connections == idle

    await eventually(still)


async def echo(exchange: Exchange) -> None:
    """Switches, greets in the same write, says everything back, and is done when the client is."""
    await exchange.send(SWITCHED + b"hello")
    while data := await exchange.reader.read(1 << 16):
        await exchange.send(data)
    await exchange.send(b"bye")
    exchange.close()


def switching(gate: asyncio.Event, end: str) -> Answer:
    """Switches, and ends the connection in that way when told to."""

    async def answer(exchange: Exchange) -> None:
        await exchange.send(SWITCHED)
        await gate.wait()
        exchange.reset() if end == "reset" else exchange.close()

    return answer


async def opened(client: RawClient, handshake: bytes = HANDSHAKE) -> bytes | None:
    """Shakes hands; the path that answered."""
    await client.send(handshake)
    head = await client.interim()
    assert head.start == b"HTTP/1.1 101 Switching Protocols"
    assert sorted(name for name, _ in head.fields) == [
        b"connection",
        b"sec-websocket-accept",
        b"upgrade",
        b"x-dualpath-path",
    ]
    return head.get(b"x-dualpath-path")


async def read(client: RawClient, count: int) -> bytes:
    return await asyncio.wait_for(client.reader.readexactly(count), LIMIT_S)


async def test_rfc9110_7_8_nothing_of_either_side_is_lost_or_read_as_http(
    at_rest: ProxyProcess, v2: RawBackend
) -> None:
    v2.answer = echo
    early = b"GET /no-request HTTP/1.1\r\n\r\n" + bytes(range(256)) * 100
    async with connected(at_rest.listen) as client:
        assert await opened(client, HANDSHAKE + early) == b"v2"
        assert await read(client, 5 + len(early)) == b"hello" + early
        client.half_close()
        assert await read(client, 3) == b"bye"  # its own direction was still open
        assert await client.ended() == "closed"
    assert [one.target for one in v2.received] == ["/chat"]
    assert not v2.violations


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_the_client_learns_at_once_that_the_backend_is_gone(
    at_rest: ProxyProcess, v2: RawBackend, end: str
) -> None:
    gate = asyncio.Event()
    v2.answer = switching(gate, end)
    async with connected(at_rest.listen) as client:
        await opened(client)
        gate.set()
        assert await client.ended() == "closed"


async def test_the_backend_learns_at_once_that_the_client_is_gone(
    at_rest: ProxyProcess, v2: RawBackend
) -> None:
    v2.answer = echo
    clients = []
    for _ in range(20):
        async with connected(at_rest.listen) as client:
            await opened(client)
            clients.append(client)
            client.reset()
    async with stopwatch(at_rest.tree()) as watch:
        await eventually(lambda: v2.open_connections == 0)
    assert watch.own_s < 1.0, watch


@pytest.mark.parametrize(
    "answer",
    [CLOSE, RESET, GARBAGE, status("503 Unavailable"), None],
    ids=["fin", "rst", "garbage", "503", "hang"],
)
async def test_a_handshake_that_v2_fails_goes_to_v1(
    at_rest: ProxyProcess, v1: RawBackend, v2: RawBackend, answer: Answer | None
) -> None:
    v1.answer = echo
    v2.answer = Exchange.gone if answer is None else answer
    async with connected(at_rest.listen) as client:
        assert await opened(client, HANDSHAKE + b"early") == b"v1-fallback"
        assert await read(client, 10) == b"helloearly"


async def test_another_answer_is_an_ordinary_one(at_rest: ProxyProcess, v2: RawBackend) -> None:
    v2.answer = status("426 Upgrade Required")
    async with connected(at_rest.listen) as client:
        await client.send(HANDSHAKE + request("GET", "/next", (USER,)))
        assert (await client.response()).status == 426
        assert (await client.response()).status == 426
    assert [one.target for one in v2.received] == ["/chat", "/next"]


async def test_a_tunnel_that_stands_still_is_closed_and_one_that_moves_is_not(
    at_rest: ProxyProcess, v2: RawBackend
) -> None:
    v2.answer = echo
    async with connected(at_rest.listen) as quiet, connected(at_rest.listen) as busy:
        await opened(quiet)
        await opened(busy)
        await read(quiet, 5)
        await read(busy, 5)
        async with stopwatch(at_rest.tree()) as watch:
            ended = asyncio.ensure_future(quiet.ended())
            while not ended.done():
                await busy.send(b"x")
                assert await read(busy, 1) == b"x"
                await asyncio.wait([ended], timeout=0.1)
        assert await ended == "closed"
        assert watch.total_s > 1.2, watch
        assert watch.own_s < 3.0, watch
        await busy.send(b"y")
        assert await read(busy, 1) == b"y"


async def test_what_a_side_does_not_take_is_not_heaped_up(at_rest: ProxyProcess, v2: RawBackend) -> None:
    total = 24 << 20
    sent = 0

    async def flood(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.send(SWITCHED)
        while sent < total:
            await exchange.send(b"x" * 65_536)
            sent += 65_536
        exchange.close()

    v2.answer = flood
    before = at_rest.reset_peak()
    async with connected(at_rest.listen, receive_buffer=4096, limit=4096) as client:
        await opened(client)
        assert await standstill(lambda: sent) < total
        assert at_rest.peak_rss() - before < 2 << 20
        left = total
        while left:
            left -= len(await read(client, min(left, 1 << 16)))
        assert await client.ended() == "closed"


async def test_tunnels_of_v2_are_cut_after_a_rollback(
    at_rest: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    v1.answer = v2.answer = echo
    async with connected(at_rest.listen) as client, connected(at_rest.listen) as other:
        assert await opened(client) == b"v2"
        assert await opened(other, request("GET", "/chat", ASKING)) == b"v1"
        assert (await at_rest.get("/api/v1/status"))["tunnels"] == {"v1": 1, "v2": 1}
        await read(client, 5)
        await read(other, 5)
        await at_rest.command("rollback", reason="test")
        ended = asyncio.ensure_future(client.reader.read(1))
        while not ended.done():
            await client.send(b"")
            await other.send(b"x")
            assert await read(other, 1) == b"x"
            await asyncio.wait([ended], timeout=0.1)
        assert await ended == b""
        await other.send(b"y")
        assert await read(other, 1) == b"y"


async def test_a_handshake_is_one_attempt_and_one_outcome(at_rest: ProxyProcess, v2: RawBackend) -> None:
    v2.answer = echo
    before = await at_rest.settled()
    for _ in range(3):
        async with connected(at_rest.listen) as client:
            await opened(client)
            client.reset()
    after = await at_rest.settled()
    assert after["paths"]["v2"]["requests"] - before["paths"]["v2"]["requests"] == 3
    assert after["paths"]["v2"]["errors"] == before["paths"]["v2"]["errors"]
    assert after["client"]["errors"] == before["client"]["errors"]


async def test_the_end_of_the_process_waits_for_tunnels_and_then_cuts_them(
    backends: tuple[RawBackend, RawBackend], v2: RawBackend, tmp_path: Path
) -> None:
    v2.answer = echo
    document = config(
        backends[0].url, backends[1].url, listen={"drain_timeout": "1500ms", "expose_path": True}
    )
    async with running_proxy(document, tmp_path) as proxy, connected(proxy.listen) as client:
        await opened(client)
        await read(client, 5)
        proxy.process.send_signal(signal.SIGTERM)
        await eventually(lambda: refused(proxy))
        await client.send(b"x")
        assert await read(client, 1) == b"x"
        assert await client.ended() in {"closed", "reset"}
        await asyncio.wait_for(proxy.process.wait(), LIMIT_S)
    assert v2.open_connections == 0
