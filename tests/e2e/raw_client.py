"""The client side of the harness: sends any bytes, reads answers strictly, and tells complete from broken.

It must never retry, follow, decode or forgive anything.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tests.e2e.waiting import HANG_S
from tests.e2e.wire import (
    Body,
    Fields,
    Head,
    IncompleteError,
    ViolationError,
    content_length,
    is_chunked,
    read_chunked,
    read_head,
    read_sized,
    read_until_close,
    render,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Address = tuple[str, int]

LIMIT_S = HANG_S
"""No single wait of the harness lasts longer; running into it is a failure with a traceback."""


class Outcome(StrEnum):
    """How an answer ended."""

    COMPLETE = "complete"
    SHORT = "short"  # FIN before the end that its framing promised
    RESET = "reset"  # RST, inside an answer or before it
    CLOSED = "closed"  # FIN before the first byte


@dataclass(frozen=True, slots=True)
class Response:
    """One final answer, as far as it came, and the interim ones before it. `status` is 0 without a head."""

    outcome: Outcome
    status: int
    version: bytes
    head: Head
    body: bytes
    length: int
    crc: int
    trailers: Fields
    interim: tuple[Head, ...]
    elapsed_s: float

    @property
    def complete(self) -> bool:
        """Whether the whole answer came, by its own framing."""
        return self.outcome is Outcome.COMPLETE

    @property
    def backend(self) -> bytes | None:
        """The name of the raw backend that answered."""
        return self.head.get(b"x-backend")

    def get(self, name: bytes) -> bytes | None:
        """One field's value."""
        return self.head.get(name)


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.sent = 0  # bytes that the kernel has taken, nearly

    def __repr__(self) -> str:
        return f"<RawClient {self.writer.get_extra_info('sockname')}>"

    async def send(self, data: bytes) -> None:
        """Writes and waits until it is with the kernel, or nearly."""
        self.writer.write(data)
        await asyncio.wait_for(self.writer.drain(), LIMIT_S)
        self.sent += len(data)

    async def ask(
        self, method: str = "GET", target: str = "/", fields: Fields = (), body: bytes | None = None
    ) -> Response:
        """Sends one request (with Content-Length if there is a body) and reads its answer."""
        await self.send(request(method, target, fields, body))
        return await self.response(method)

    async def response(self, method: str = "GET") -> Response:
        """Reads the next final answer; `ViolationError` for what is not HTTP, `TimeoutError` for silence."""
        return await asyncio.wait_for(_read_response(self.reader, method), LIMIT_S)

    async def interim(self) -> Head:
        """Reads one head, of whatever status, and no body."""
        return await asyncio.wait_for(read_head(self.reader), LIMIT_S)

    async def ended(self) -> Outcome:
        """Waits for the end of the connection: CLOSED or RESET; `ViolationError` if the peer speaks first."""
        try:
            extra = await asyncio.wait_for(self.reader.read(1024), LIMIT_S)
        except OSError:
            return Outcome.RESET
        if extra:
            raise ViolationError(f"bytes where there should be none: {extra[:200]!r}")
        return Outcome.CLOSED

    def half_close(self) -> None:
        """FIN; the other direction stays open."""
        self.writer.write_eof()

    def reset(self) -> None:
        """RST at once, as of a client that has crashed or left."""
        reset(self.writer)

    async def close(self) -> None:
        """FIN, and waits until the connection is gone."""
        await close(self.writer)


@asynccontextmanager
async def connected(
    address: Address, *, receive_buffer: int | None = None, limit: int = 1 << 18
) -> AsyncIterator[RawClient]:
    """A connection that is closed at the end; a small `receive_buffer` and `limit` make a slow reader."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(sock, address), LIMIT_S)
    except BaseException:
        sock.close()
        raise
    client = RawClient(*await asyncio.open_connection(sock=sock, limit=limit))
    try:
        yield client
    finally:
        await client.close()


async def fetch(
    address: Address, method: str = "GET", target: str = "/", fields: Fields = (), body: bytes | None = None
) -> Response:
    """One request on a connection of its own."""
    async with connected(address) as client:
        return await client.ask(method, target, fields, body)


def request(method: str, target: str, fields: Fields = (), body: bytes | None = None) -> bytes:
    """The bytes of a plain HTTP/1.1 request; Host and Content-Length are added unless given."""
    names = {name.lower() for name, _ in fields}
    added: Fields = () if b"host" in names else ((b"Host", b"example.test"),)
    if body is not None and b"content-length" not in names and b"transfer-encoding" not in names:
        added += ((b"Content-Length", b"%d" % len(body)),)
    return render(f"{method} {target} HTTP/1.1".encode(), added + fields, body or b"")


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection by RST (SO_LINGER of zero)."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def close(writer: asyncio.StreamWriter) -> None:
    """Ends a connection by FIN and waits for it; what was not flushed after a second is dropped."""
    writer.close()
    try:
        await asyncio.wait_for(writer.wait_closed(), 1.0)
    except OSError:  # TimeoutError is one too
        writer.transport.abort()


async def _read_response(reader: asyncio.StreamReader, method: str) -> Response:
    began = time.perf_counter()
    head = Head(b"", ())
    body = Body()
    interim: list[Head] = []
    outcome = Outcome.COMPLETE
    try:
        head = await read_head(reader)
        while _status(head) < 200:
            interim.append(head)
            head = Head(b"", ())
            head = await read_head(reader, started=True)
        await _read_body(reader, method, head, body)
    except IncompleteError as end:
        outcome = Outcome.RESET if end.reset else Outcome.SHORT if end.started else Outcome.CLOSED
    return Response(
        outcome=outcome,
        status=_status(head) if head.start else 0,
        version=head.start[:8],
        head=head,
        body=bytes(body.kept),
        length=body.length,
        crc=body.crc,
        trailers=body.trailers,
        interim=tuple(interim),
        elapsed_s=time.perf_counter() - began,
    )


async def _read_body(reader: asyncio.StreamReader, method: str, head: Head, body: Body) -> None:
    """RFC 9112 section 6.3, in its order."""
    chunked, length = is_chunked(head), content_length(head)
    if method == "HEAD" or _status(head) in {204, 304}:
        return
    if chunked:
        if head.start.startswith(b"HTTP/1.0"):
            raise ViolationError("chunked in an HTTP/1.0 answer")
        await read_chunked(reader, body)
    elif length is not None:
        await read_sized(reader, length, body)
    else:
        await read_until_close(reader, body)


def _status(head: Head) -> int:
    version, _, rest = head.start.partition(b" ")
    code = rest[:3]
    if version not in {b"HTTP/1.1", b"HTTP/1.0"} or not code.isdigit() or rest[3:4] not in {b" ", b""}:
        raise ViolationError(f"not a status line: {head.start[:200]!r}")
    return int(code)
