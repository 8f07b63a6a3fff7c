"""WebSocket as people use it: aiohttp's client and server with the proxy between them."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest_asyncio
from aiohttp import WSMsgType, web

from tests.certificates import Authority
from tests.e2e.proxy_process import config, running_proxy
from tests.e2e.tls_client import trusting
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from tests.e2e.proxy_process import ProxyProcess, Table

MIB = 1 << 20


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Says everything back, and how it was spoken to."""
    socket = web.WebSocketResponse(max_msg_size=4 * MIB, protocols=["chat"])
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            if message.data == "close":
                await socket.close(code=4001, message=b"as you like")
            else:
                await socket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


@asynccontextmanager
async def server(context: ssl.SSLContext | None) -> AsyncIterator[str]:
    """A WebSocket server; its URL."""
    app = web.Application()
    app.router.add_get("/chat", echo)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    yield f"{'http' if context is None else 'https'}://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


class Through:
    """A proxy, and how it is spoken to."""

    def __init__(self, proxy: ProxyProcess, trust: ssl.SSLContext | None) -> None:
        self.proxy = proxy
        self.url = f"{'ws' if trust is None else 'wss'}://127.0.0.1:{proxy.listen[1]}/chat"
        self.trust = trust


@pytest_asyncio.fixture(
    scope="module", loop_scope="session", params=["one process", "workers", "tls on both sides"]
)
async def through(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Through]:
    """A proxy before the same kind of server on both paths."""
    directory = tmp_path_factory.mktemp("ws")
    listen: Table = {"workers": 2 if request.param == "workers" else 1}
    backend: Table = {}
    context = trust = None
    if request.param == "tls on both sides":
        authority = Authority(directory)
        pair = authority.signs(["localhost"])
        listen["tls"] = {"certificates": [pair.table]}
        backend["tls"] = {"ca_file": str(authority.file), "server_name": "localhost"}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        trust = trusting(authority.file)
    async with server(context) as v1, server(context) as v2:
        document = config(v1, v2, listen=listen, v1=backend, v2=backend)
        async with running_proxy(document, directory) as proxy:
            yield Through(proxy, trust)


@asynccontextmanager
async def talking(
    through: Through, *, compress: int = 0, autoping: bool = True
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A client in a session of its own."""
    async with (
        aiohttp.ClientSession(headers={"X-User-Id": "u"}) as session,
        session.ws_connect(
            through.url,
            max_msg_size=4 * MIB,
            timeout=aiohttp.ClientWSTimeout(ws_close=5),
            protocols=["chat"],
            compress=compress,
            autoping=autoping,
            ssl=through.trust or True,
            server_hostname=None if through.trust is None else "localhost",
        ) as socket,
    ):
        yield socket


async def test_messages_of_every_kind_pass(through: Through) -> None:
    async with talking(through, autoping=False) as socket:
        assert socket.protocol == "chat"
        await socket.send_str("grüße")
        assert await socket.receive_str(timeout=5) == "grüße"
        await socket.send_bytes(b"\0\xff\r\n\r\n")
        assert await socket.receive_bytes(timeout=5) == b"\0\xff\r\n\r\n"
        await socket.ping(b"are you there")
        pong = await socket.receive(timeout=5)
        assert (pong.type, pong.data) == (WSMsgType.PONG, b"are you there")
        await socket.send_str("close")
        last = await socket.receive(timeout=5)
        assert (last.type, last.data, last.extra) == (WSMsgType.CLOSE, 4001, "as you like")


async def test_the_client_closes_in_good_order(through: Through) -> None:
    async with talking(through) as socket:
        assert await socket.close(code=1000)
        assert socket.close_code == 1000


async def test_compression_is_a_matter_of_the_two_ends(through: Through) -> None:
    async with talking(through, compress=15) as socket:
        assert socket.compress == 15
        await socket.send_str("a" * 100_000)
        assert await socket.receive_str(timeout=5) == "a" * 100_000
    async with talking(through) as socket:
        assert socket.compress == 0


async def test_long_messages_pass(through: Through) -> None:
    message = bytes(range(256)) * (MIB // 256)
    async with talking(through) as socket:
        for _ in range(3):
            await socket.send_bytes(message)
            assert await socket.receive_bytes(timeout=5) == message


async def test_fifty_talk_at_once(through: Through) -> None:
    together = asyncio.Barrier(50)

    async def talk(number: int) -> None:
        async with talking(through) as socket:
            await together.wait()
            for turn in range(20):
                await socket.send_str(f"{number} {turn}")
                assert await socket.receive_str(timeout=10) == f"{number} {turn}"

    await asyncio.gather(*map(talk, range(50)))

    async def counted() -> bool:
        return bool((await through.proxy.status())["paths"]["v2"]["requests"] >= 50)

    await eventually(counted)
    assert (await through.proxy.status())["paths"]["v2"]["errors"] == 0
