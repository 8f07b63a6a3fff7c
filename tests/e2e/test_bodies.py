"""Bodies larger than anything that may be held: streamed both ways, with back-pressure, in flat memory."""

from __future__ import annotations

import asyncio
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e import answers
from tests.e2e.raw_client import RawClient, connected, request
from tests.e2e.waiting import eventually, standstill
from tests.e2e.wire import chunk

if TYPE_CHECKING:
    from tests.e2e.proxy_process import ProxyProcess
    from tests.e2e.raw_backend import Exchange, RawBackend

USER = (b"X-User-Id", b"a")
LARGE = 128 << 20
GROWTH = 32 << 20


@pytest.fixture(scope="module")
def crc() -> int:
    """The checksum of LARGE bytes of the pattern."""
    total = 0
    for _ in range(LARGE // len(answers.PATTERN)):
        total = zlib.crc32(answers.PATTERN, total)
    return total


@pytest.mark.parametrize("chunks", [False, True], ids=["length", "chunked"])
async def test_a_large_download_is_streamed_in_flat_memory(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, crc: int, chunks: bool
) -> None:
    v2.answer = answers.large(LARGE, chunks=chunks)
    resident = proxy.reset_peak()
    async with connected(proxy.listen) as client:
        answer = await client.ask("GET", "/", (USER,))
    assert (answer.complete, answer.length, answer.crc) == (True, LARGE, crc)
    assert proxy.peak_rss() - resident < GROWTH


@pytest.mark.parametrize("chunks", [False, True], ids=["length", "chunked"])
async def test_a_large_upload_is_streamed_in_flat_memory(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, crc: int, chunks: bool
) -> None:
    resident = proxy.reset_peak()
    async with connected(proxy.listen) as client:
        await upload(client, LARGE, chunks=chunks)
        answer = await client.response("POST")
    assert answer.status == 200
    body = v2.received[0].body
    assert (v2.received[0].complete, body.length, body.crc) == (True, LARGE, crc)
    assert proxy.peak_rss() - resident < GROWTH


async def test_a_slow_reader_holds_back_the_backend(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    sent = 0

    async def endless(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.send(b"HTTP/1.1 200 OK\r\nX-Backend: v2\r\nContent-Length: %d\r\n\r\n" % LARGE)
        while sent < LARGE:
            await exchange.send(answers.PATTERN)
            sent += len(answers.PATTERN)

    v2.answer = endless
    resident = proxy.reset_peak()
    async with connected(proxy.listen, receive_buffer=4096, limit=1 << 14) as client:
        await client.send(request("GET", "/", (USER,)))
        held_back = await standstill(lambda: sent)
        # Kernel buffers on the way take some MiB (tcp_wmem, tcp_rmem); the proxy itself next to nothing.
        assert 0 < held_back < kernel_bytes() + (4 << 20)
        assert proxy.peak_rss() - resident < 4 << 20
        client.reset()
    await eventually(lambda: v2.open_connections == 0)


async def test_pipelined_answers_to_a_client_that_does_not_read_are_not_held_in_memory(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    v2.answer = answers.large(4 << 20)
    resident = proxy.reset_peak()
    async with connected(proxy.listen, receive_buffer=4096, limit=1 << 14) as client:
        await client.send(request("GET", "/", (USER,)) * 32)
        await standstill(lambda: v2.count())
        assert proxy.peak_rss() - resident < 8 << 20
        client.reset()
    await eventually(lambda: v2.open_connections == 0)


async def test_a_slow_backend_holds_back_the_client(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    go_on = asyncio.Event()

    async def reads_late(exchange: Exchange) -> None:
        await go_on.wait()
        await exchange.read_body()
        await exchange.reply(b"200 OK", b"at last")

    v2.answer = reads_late
    resident = proxy.reset_peak()
    async with connected(proxy.listen) as client:
        sending = asyncio.create_task(upload(client, LARGE, chunks=False))
        await standstill(lambda: client.sent)
        assert 0 < client.sent < kernel_bytes() + (4 << 20)
        assert not sending.done()
        assert proxy.peak_rss() - resident < 4 << 20
        go_on.set()
        await sending
        assert (await client.response("POST")).body == b"at last"
    assert v2.received[0].body.length == LARGE


@pytest.mark.parametrize("end", ["keep", "close"])
@pytest.mark.parametrize("chunks", [False, True], ids=["length", "chunked"])
async def test_an_early_answer_to_a_large_upload_reaches_the_client(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, chunks: bool, end: str
) -> None:
    """RFC 9112 section 9.3: the answer comes through though the upload is still under way."""
    said = b"Connection: close\r\n" if end == "close" else b""
    v2.answer = answers.unread(
        b"HTTP/1.1 413 Content Too Large\r\nX-Backend: v2\r\n" + said + b"Content-Length: 4\r\n\r\nbig!",
        end=end,
    )
    async with connected(proxy.listen) as client:
        sending = asyncio.create_task(upload(client, 16 << 20, chunks=chunks))
        answer = await client.response("POST")
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert (answer.status, answer.body, answer.complete) == (413, b"big!", True)
    v2.forget()
    async with connected(proxy.listen) as client:
        assert (await client.ask("GET", "/after", (USER,))).body == b"v2 GET /after"
    assert v1.count() == 0


async def test_an_answer_may_stream_while_the_request_still_does(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    async def piecewise(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while exchange.request.body.length < 30:
            exchange.request.body.add(await exchange.reader.readexactly(10))
            await exchange.send(chunk(bytes(exchange.request.body.kept[-10:])))
        exchange.request.complete = True
        await exchange.send(chunk(b""))

    def progress() -> int:
        return v2.received[0].body.length if v2.received else 0

    v2.answer = piecewise
    async with connected(proxy.listen) as client:
        await client.send(request("POST", "/", (USER, (b"Content-Length", b"30"))))
        reading = asyncio.create_task(client.response("POST"))
        for number in range(3):
            await client.send(b"%010d" % number)
            assert await standstill(progress) == 10 * number + 10
        answer = await reading
    assert answer.body == b"000000000000000000010000000002"


async def test_a_hundred_bodies_at_once(proxy: ProxyProcess, v1: RawBackend, v2: RawBackend) -> None:
    v2.answer = answers.large(1 << 20)
    resident = proxy.reset_peak()

    async def ask() -> int:
        async with connected(proxy.listen) as client:
            answer = await client.ask("GET", "/", (USER,))
            return answer.length if answer.complete else -1

    assert await asyncio.gather(*(ask() for _ in range(100))) == [1 << 20] * 100
    assert proxy.peak_rss() - resident < 64 << 20


def kernel_bytes() -> int:
    """What the buffers of two connections may hold (tcp(7)), the client's and the backend's: not ours."""
    largest = (Path(f"/proc/sys/net/ipv4/tcp_{one}").read_text().split()[2] for one in ("rmem", "wmem"))
    return 2 * sum(map(int, largest))


async def upload(client: RawClient, length: int, *, chunks: bool) -> None:
    """A POST of `length` bytes of the pattern."""
    framing = (b"Transfer-Encoding", b"chunked") if chunks else (b"Content-Length", b"%d" % length)
    await client.send(request("POST", "/", (USER, framing)))
    for _ in range(length // len(answers.PATTERN)):
        await client.send(chunk(answers.PATTERN) if chunks else answers.PATTERN)
    if chunks:
        await client.send(chunk(b""))
