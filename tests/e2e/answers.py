"""A catalogue of answers, from the well-behaved to the hostile, for `RawBackend.answer`.

Each is a script or makes one. None asserts anything: what must come of it is the test's matter.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.e2e.raw_backend import Answer, Exchange, normal
from tests.e2e.wire import chunk

if TYPE_CHECKING:
    from collections.abc import Sequence

PATTERN = bytes(range(256)) * 256
"""64 KiB whose every byte says where it stands; large bodies repeat it."""

PAUSE_S = 0.03


# ... well-behaved


def status(line: str, body: bytes = b"as scripted", *fields: tuple[bytes, bytes]) -> Answer:
    """A complete answer with that status, for example "503 Service Unavailable"."""

    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.reply(line.encode(), body, *fields)

    return answer


def chunked(pieces: Sequence[bytes], trailers: bytes = b"") -> Answer:
    """A chunked 200, one chunk per piece."""

    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        head = (
            b"HTTP/1.1 200 OK\r\nX-Backend: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % exchange.backend.name
        )
        if exchange.request.method == "HEAD":
            await exchange.send(head)
            return
        await exchange.send(head + b"".join(map(chunk, pieces)) + b"0\r\n" + trailers + b"\r\n")

    return answer


def large(length: int, *, chunks: bool = False) -> Answer:
    """A 200 of `length` bytes of `PATTERN`, as fast as the peer takes it."""

    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        framing = b"Transfer-Encoding: chunked" if chunks else b"Content-Length: %d" % length
        await exchange.send(
            b"HTTP/1.1 200 OK\r\nX-Backend: %b\r\n%b\r\n\r\n" % (exchange.backend.name, framing)
        )
        left = length
        while left:
            piece = PATTERN[:left]
            await exchange.send(chunk(piece) if chunks else piece)
            left -= len(piece)
        if chunks:
            await exchange.send(chunk(b""))

    return answer


async def echo(exchange: Exchange) -> None:
    """A 200 whose body is the request's."""
    body = await exchange.read_body()
    await exchange.reply(b"200 OK", bytes(body.kept))


def interim(*heads: bytes, then: Answer = normal) -> Answer:
    """Sends interim answers ("103 Early Hints\\r\\nLink: ..."), and then the final one."""

    async def answer(exchange: Exchange) -> None:
        for head in heads:
            await exchange.send(b"HTTP/1.1 " + head + b"\r\n\r\n")
        await then(exchange)

    return answer


def held(gate: asyncio.Event, then: Answer = normal) -> Answer:
    """Answers once the gate is open."""

    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        await gate.wait()
        await then(exchange)

    return answer


def slow(delay_s: float, then: Answer = normal) -> Answer:
    """Answers after a while."""

    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        await asyncio.sleep(delay_s)
        await then(exchange)

    return answer


def in_turn(*answers: Answer) -> Answer:
    """One answer per request in that order, over all connections; the last one stays."""
    left = list(answers)

    async def answer(exchange: Exchange) -> None:
        current = left.pop(0) if len(left) > 1 else left[0]
        await current(exchange)

    return answer


def last_words(then: Answer = normal) -> Answer:
    """Answers, and then closes the connection without having said so."""

    async def answer(exchange: Exchange) -> None:
        await then(exchange)
        exchange.close()

    return answer


# ... broken


def raw(*parts: bytes, end: str = "close") -> Answer:
    """Reads the request, sends just these bytes, and then "close"s, "reset"s, "keep"s or "hang"s.

    A pause between the parts lets the peer read and pass on each by itself.
    """

    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        for number, part in enumerate(parts):
            if number:
                await asyncio.sleep(PAUSE_S)
            await exchange.send(part)
        await _finish(exchange, end)

    return answer


def unread(data: bytes, *, end: str = "keep") -> Answer:
    """Sends these bytes at once, before the request's body is read.

    "close" lingers as a sane server does: FIN first, and what still comes is read; RST would eat the answer.
    """

    async def answer(exchange: Exchange) -> None:
        await exchange.send(data)
        if end == "close":
            exchange.writer.write_eof()
            await exchange.gone()
        await _finish(exchange, end)

    return answer


def dripping(head: bytes, piece: bytes, every_s: float) -> Answer:
    """Sends a head and then a piece of body every while until the peer leaves."""

    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(head)
        leaving = asyncio.ensure_future(exchange.gone())
        while not leaving.done():
            await exchange.send(piece)
            await asyncio.wait([leaving], timeout=every_s)

    return answer


def stale(then: Answer = normal) -> Answer:
    """Answers the first request of each connection and ends the connection on the second without a word."""

    async def answer(exchange: Exchange) -> None:
        if exchange.request.nth == 1:
            await then(exchange)
        else:
            exchange.reset()

    return answer


def storm(count: int) -> Answer:
    """That many interim answers before a proper final one."""

    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        for _ in range(count):
            await exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
        await normal(exchange)

    return answer


RESET = raw(end="reset")
CLOSE = raw()
HANG = raw(end="hang")
MID_HEAD = raw(b"HTTP/1.1 200 OK\r\nContent-Le")
MID_HEAD_RESET = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", end="reset")
MID_HEAD_HANG = raw(b"HTTP/1.1 200 OK\r\nContent-Le", end="hang")
GARBAGE = raw(b"\x16\x03\x01\x02\x00 this is no HTTP at all\r\n\r\n")
NOT_HTTP = raw(b"SSH-2.0-OpenSSH_9.2p1\r\n")
BIG_HEAD = raw(b"HTTP/1.1 200 OK\r\nX-Big: " + b"a" * (4 << 20) + b"\r\nContent-Length: 2\r\n\r\nok")
BAD_LENGTH = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\nok")
UNEQUAL_LENGTHS = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok")
BOTH_FRAMINGS = raw(
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
)
SIZED = b"HTTP/1.1 200 OK\r\nX-Backend: v2\r\nContent-Length: 100\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nX-Backend: v2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
UNSIZED = b"HTTP/1.1 200 OK\r\nX-Backend: v2\r\n\r\n"
BODY_SHORT = raw(SIZED, b"x" * 50)
BODY_RESET = raw(SIZED, b"x" * 50, end="reset")
CHUNKS_SHORT = raw(CHUNKED, b"5\r\nhe")
CHUNKS_WITHOUT_LAST = raw(CHUNKED, b"5\r\nhello\r\n")
CHUNKS_RESET = raw(CHUNKED, b"5\r\nhello\r\n", end="reset")
CHUNK_SIZE_BAD = raw(CHUNKED, b"zz\r\nhello\r\n0\r\n\r\n")
CHUNK_OVERRUN = raw(CHUNKED, b"5\r\nhello world\r\n0\r\n\r\n")
UNTIL_CLOSE = raw(UNSIZED, b"to the end")
UNTIL_RESET = raw(UNSIZED, b"to the e", end="reset")
EXTRA_BYTES = raw(
    b"HTTP/1.1 200 OK\r\nX-Backend: v2\r\nContent-Length: 5\r\n\r\nhello"
    b"HTTP/1.1 200 OK\r\nX-Backend: smuggled\r\nContent-Length: 4\r\n\r\nevil",
    end="keep",
)


async def _finish(exchange: Exchange, end: str) -> None:
    if end == "reset":
        exchange.reset()
    elif end == "close":
        exchange.close()
    elif end == "hang":
        await exchange.gone()
