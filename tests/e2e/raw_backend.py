"""The upstream side of the harness: a TCP server that records what it gets and answers by script.

Owns listening, recording and the connection's life. What is answered stands in `answers.py`; a test sets
`backend.answer` and reads `backend.received`. It must never know which path of the proxy it plays.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.e2e.raw_client import Address, close, reset
from tests.e2e.wire import (
    Body,
    Head,
    IncompleteError,
    ViolationError,
    content_length,
    is_chunked,
    read_chunked,
    read_head,
    read_sized,
    render,
)

if TYPE_CHECKING:
    import ssl


@dataclass(slots=True)
class Received:
    """One request as it came off the wire. `complete` once its whole body has."""

    head: Head
    connection: int  # which connection, counted from 1 since the last `forget`
    nth: int  # which request on that connection, from 1
    body: Body = field(default_factory=Body)
    complete: bool = False

    @property
    def method(self) -> str:
        """The method."""
        return self.head.start.split(b" ")[0].decode()

    @property
    def target(self) -> str:
        """The request target, untouched."""
        return self.head.start.split(b" ")[1].decode()

    def get(self, name: bytes) -> bytes | None:
        """One field's value."""
        return self.head.get(name)


class Exchange:
    """One request at the backend, for a script to answer."""

    def __init__(
        self,
        backend: RawBackend,
        request: Received,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.backend = backend
        self.request = request
        self.reader = reader
        self.writer = writer
        self.ended = False

    def __repr__(self) -> str:
        return f"<Exchange {self.request.head.start!r} on {self.request.connection}.{self.request.nth}>"

    async def read_body(self) -> Body:
        """Reads the request's body to its end; again and again gives the same body."""
        request = self.request
        if not request.complete:
            if is_chunked(request.head):
                await read_chunked(self.reader, request.body)
            else:
                await read_sized(self.reader, content_length(request.head) or 0, request.body)
            request.complete = True
        return request.body

    async def send(self, data: bytes) -> None:
        """Writes and waits until the peer has taken it, nearly."""
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, status: bytes, body: bytes, *fields: tuple[bytes, bytes]) -> None:
        """A whole answer with Content-Length, naming the backend; without a body for HEAD, 204 and 304."""
        bodiless = self.request.method == "HEAD" or status[:3] in {b"204", b"304"}
        length = () if status[:3] == b"204" else ((b"Content-Length", b"%d" % len(body)),)
        named = ((b"X-Backend", self.backend.name), *length, *fields)
        await self.send(render(b"HTTP/1.1 " + status, named, b"" if bodiless else body))

    async def gone(self) -> None:
        """Waits until the peer ends the connection."""
        with contextlib.suppress(OSError):
            while await self.reader.read(1 << 16):
                pass
        self.ended = True

    def close(self) -> None:
        """Ends the connection by FIN after this."""
        self.ended = True

    def reset(self) -> None:
        """Ends the connection by RST, now."""
        self.ended = True
        reset(self.writer)


Answer = Callable[[Exchange], Awaitable[None]]

UNSCRIPTED = "/unscripted"
"""A target that is answered normally whatever the script says, and recorded nowhere: the harness uses it."""


async def normal(exchange: Exchange) -> None:
    """Reads the whole request and answers 200 with the backend's name, the method and the target."""
    await exchange.read_body()
    request = exchange.request
    body = b"%b %b %b" % (exchange.backend.name, request.method.encode(), request.target.encode())
    await exchange.reply(b"200 OK", body)


class RawBackend:
    """A scripted server on one port of the loopback interface."""

    def __init__(self, name: str, host: str = "127.0.0.1") -> None:
        self.name = name.encode()
        self.answer: Answer = normal
        self.received: list[Received] = []
        self.reset_on_accept = False
        self.connections = 0
        self.violations: list[str] = []
        self.cut = 0  # connections that the peer ended while a script was answering
        self.tls: ssl.SSLContext | None = None  # from the next `listen` on
        self._address: Address = (host, 0)
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def __repr__(self) -> str:
        return f"<RawBackend {self.name.decode()} received={len(self.received)} open={len(self._open)}>"

    @property
    def address(self) -> Address:
        """Host and port."""
        return self._address

    @property
    def url(self) -> str:
        """As an endpoint in the configuration."""
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://{self._address[0]}:{self._address[1]}"

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._open)

    def count(self, method: str | None = None) -> int:
        """How many requests have come, complete or not."""
        return len([one for one in self.received if method in {None, one.method}])

    def forget(self) -> None:
        """Back to normal answers and empty records, for the next test; connections stay."""
        self.answer = normal
        self.reset_on_accept = False
        self.received.clear()
        self.violations.clear()
        self.connections = 0
        self.cut = 0

    async def listen(self, port: int = 0) -> None:
        """Starts to accept; after `refuse`, on the same port as before."""
        host, known = self._address
        self._server = await asyncio.start_server(
            self._serve, host, port or known, limit=1 << 18, backlog=1024, reuse_address=True, ssl=self.tls
        )
        host, port = self._server.sockets[0].getsockname()[:2]
        self._address = (host, port)

    async def refuse(self) -> None:
        """Stops to listen and drops every connection: from now on connecting is refused."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.drop()
        while self._open:
            await asyncio.wait(list(self._open))

    def drop(self) -> None:
        """Resets every connection."""
        for task, writer in list(self._open.items()):
            reset(writer)
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        self.connections += 1
        try:
            await self._converse(reader, writer, self.connections)
        except ViolationError as violation:
            self.violations.append(str(violation))
            reset(writer)
        except (IncompleteError, OSError):
            self.cut += 1
        except asyncio.CancelledError:
            # Ours alone: a connection's task is cancelled by `drop` and by nobody else.
            reset(writer)
        finally:
            writer.close()
            self._open.pop(task, None)

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        if self.reset_on_accept:
            reset(writer)
            return
        nth = 0
        while True:
            try:
                head = await read_head(reader)
            except IncompleteError as end:
                if not end.started:
                    return
                raise
            nth += 1
            request = Received(head, number, nth)
            exchange = Exchange(self, request, reader, writer)
            if request.target == UNSCRIPTED:
                await normal(exchange)
                continue
            self.received.append(request)
            await self.answer(exchange)
            if exchange.ended:
                await close(writer)
                return
            await exchange.read_body()
