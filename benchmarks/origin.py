"""A backend that answers 200 bytes at once, on as many ports as asked, until it is told to fail.

`python -m benchmarks.origin [--ports 1]` prints its ports in one line and runs until SIGTERM. A GET of
/-/fail/HOW makes it fail from now on (`status`: 500, `reset`: RST, `hang`: no answer); /-/seen tells what it
has met since then. All instants are those of the system's monotonic clock, which other processes share.
"""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import socket
import struct
import time
from typing import TYPE_CHECKING, Annotated, cast

import typer
import uvloop

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILURES = ("status", "reset", "hang")
GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 200\r\n\r\n" + b"x" * 200
BAD = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 7\r\n\r\nfailed\n"
_RST_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER for no time at all
_CONTROL = b"GET /-/"


class Origin:
    """What the connections share: how to fail, and what was met while failing."""

    def __init__(self) -> None:
        self.failure = ""
        self.arrivals: list[float] = []
        self.first_failure_at: float | None = None
        self.served = 0

    def __repr__(self) -> str:
        return f"<Origin {self.failure or 'well'} {self.served} served, {len(self.arrivals)} met failing>"

    def failed(self) -> None:
        """An answer has failed, as the other side sees it."""
        if self.first_failure_at is None:
            self.first_failure_at = time.monotonic()

    def control(self, target: bytes) -> bytes:
        """The answer to a request under /-/."""
        verb, _, argument = target.decode().removeprefix("/-/").partition("/")
        if verb == "fail" and argument in FAILURES:
            self.failure, self.arrivals, self.first_failure_at = argument, [], None
        text = json.dumps(
            {
                "now": time.monotonic(),
                "served": self.served,
                "arrivals": self.arrivals,
                "first_failure_at": self.first_failure_at,
            }
        ).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)


class Serving(asyncio.Protocol):
    """One connection. Requests have no bodies and come one at a time."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._buffer = b""
        self._hangs = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if not self._buffer.endswith(b"\r\n\r\n") or self._transport is None:
            return
        request, self._buffer = self._buffer, b""
        origin = self._origin
        if request.startswith(_CONTROL):
            self._transport.write(origin.control(request.split(b" ", 2)[1]))
        elif origin.failure:
            self._fail(origin, self._transport)
        else:
            origin.served += 1
            self._transport.write(GOOD)

    def _fail(self, origin: Origin, transport: asyncio.Transport) -> None:
        origin.arrivals.append(time.monotonic())
        if origin.failure == "hang":
            self._hangs = True
            return
        origin.failed()
        if origin.failure == "status":
            transport.write(BAD)
        else:
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
            transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if self._hangs:
            self._origin.failed()  # the other side has given up


def main(ports: Annotated[int, typer.Option(min=1, max=1000)] = 1) -> None:
    """Serves on free ports of the loopback interface."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(_serve(ports))


async def _serve(count: int) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    origin = Origin()
    servers: Sequence[asyncio.Server] = [
        await loop.create_server(lambda: Serving(origin), "127.0.0.1", 0, backlog=4096) for _ in range(count)
    ]
    typer.echo(" ".join(str(server.sockets[0].getsockname()[1]) for server in servers))
    await ended.wait()


if __name__ == "__main__":
    typer.run(main)
