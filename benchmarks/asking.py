"""A raw HTTP/1.1 client for measurements: kept connections that know one answer at a time.

Owns the bytes of a connection, and the ring in which connections take turns. It reads only answers with
Content-Length, as the backends of the measurements give. Must never know what is measured.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BROKEN = 0
"""In place of a status: the connection ended before its answer did."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CONNECTS_AT_ONCE = 100


class Connection(asyncio.Protocol):
    """One connection; `ask` may be called again once the answer has been told."""

    def __init__(self) -> None:
        self.alive = False
        self._buffer = b""
        self._answered: Callable[[Connection, int, bytes], None] | None = None
        self._transport: asyncio.Transport | None = None

    def __repr__(self) -> str:
        return f"<Connection alive={self.alive} asked={self._answered is not None}>"

    def ask(self, request: bytes, answered: Callable[[Connection, int, bytes], None]) -> None:
        """Sends `request`; `answered` gets this connection, the status and the body."""
        self._answered = answered
        if self._transport is not None:
            self._transport.write(request)

    def close(self) -> None:
        """Ends the connection; what was asked is never answered."""
        self._answered = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.alive = True

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        answer = whole_answer(self._buffer)
        if answer is not None:
            self._buffer = b""
            self._tell(*answer)

    def connection_lost(self, error: Exception | None) -> None:
        self.alive = False
        self._tell(BROKEN, b"")

    def _tell(self, status: int, body: bytes) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(self, status, body)


def whole_answer(read: bytes) -> tuple[int, bytes] | None:
    """Status and body once all of one answer has been read, else None. Its length must be told."""
    end = read.find(b"\r\n\r\n")
    if end < 0:
        return None
    length = _LENGTH.search(read, 0, end + 2)
    if length is None:
        raise ValueError(f"an answer without Content-Length: {read[:200]!r}")
    body = read[end + 4 :]
    return (int(read[9:12]), body) if len(body) >= int(length[1]) else None


async def connected(port: int, count: int) -> list[Connection]:
    """So many connections to a port of the loopback interface."""
    loop = asyncio.get_running_loop()
    made: list[Connection] = []
    while len(made) < count:
        some = min(_CONNECTS_AT_ONCE, count - len(made))
        pairs = await asyncio.gather(
            *(loop.create_connection(Connection, "127.0.0.1", port) for _ in range(some))
        )
        made.extend(connection for _, connection in pairs)
    return made


async def asked(port: int, target: str) -> tuple[int, bytes]:
    """One answer over a connection of its own."""
    [connection] = await connected(port, 1)
    answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
    connection.ask(
        b"GET %b HTTP/1.1\r\nHost: bench\r\n\r\n" % target.encode(),
        lambda _, status, body: answer.set_result((status, body)),
    )
    try:
        return await asyncio.wait_for(answer, 10.0)
    finally:
        connection.close()


class Ring:
    """A closed loop: `busy` requests under way at any time, each connection in turn gets the next one."""

    def __init__(self, connections: Sequence[Connection], requests: Sequence[bytes], busy: int) -> None:
        self.answered = 0
        self.failed = 0
        self._waiting = deque(connections)
        self._requests = requests
        self._next = 0
        self._under_way = 0
        self._busy = min(busy, len(connections))
        self._running = False
        self._idle = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Ring {self._under_way} under way, {len(self._waiting)} wait, {self.answered} answered>"

    async def run(self, seconds: float) -> None:
        """Asks for so long, and returns once all has been answered."""
        self._running = True
        self._idle.clear()
        for _ in range(self._busy):
            self._ask()
        await asyncio.sleep(seconds)
        self._running = False
        await self._idle.wait()

    def _ask(self) -> None:
        self._under_way += 1
        request = self._requests[self._next]
        self._next = (self._next + 1) % len(self._requests)
        self._waiting.popleft().ask(request, self._on_answer)

    def _on_answer(self, connection: Connection, status: int, _: bytes) -> None:
        self._under_way -= 1
        if status == 200:
            self.answered += 1
        else:
            self.failed += 1
        if connection.alive:
            self._waiting.append(connection)
        if self._running and self._waiting:
            self._ask()
        elif not self._under_way:
            self._idle.set()
