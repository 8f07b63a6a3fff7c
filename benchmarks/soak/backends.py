"""What stands behind the proxy: one server per version, in our own process, so that it can tell what it was
asked and what it did to whom.

Owns answering, faults, and the record of both: `met` has every request that has come whole. A target is
/NUMBER/SIZE/HOW, with HOW one of `sized`, `chunked`, `slow`, `until-close`. It must never know what a client
made of an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from base64 import b64encode
from collections import Counter
from hashlib import sha1
from typing import TYPE_CHECKING

from benchmarks.soak.content import body_of, checksum

if TYPE_CHECKING:
    from random import Random

FAULTS = ("status", "reset", "half-head", "half-body", "hang", "garbage", "surplus", "interim", "refuse")
"""503; RST; FIN in the head; RST in the body; no answer; no HTTP; bytes after the answer; forty 1xx; no
listener."""
HANG_S = 4.0
_RST_ON_CLOSE = struct.pack("ii", 1, 0)
_WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


_GONE = (OSError, RuntimeError, asyncio.IncompleteReadError, asyncio.CancelledError)
"""Ways in which the other side has left; RuntimeError is what uvloop says to who writes then."""


class SampleBackend:
    """One version. `fault` strikes a share of the requests until `fault_until` (monotonic seconds)."""

    def __init__(self, version: str, rng: Random) -> None:
        self.version = version
        self.port = 0
        self.met: Counter[int] = Counter()
        self.broken: set[int] = set()  # those whose answers were spoilt after they had begun
        self.struck: set[int] = set()
        self.fault = ""
        self.fault_until = 0.0
        self.strangers = 0
        self._rng = rng
        self._share = 0.0
        self._server: asyncio.Server | None = None
        self._arrivals: dict[int, asyncio.Event] = {}
        self._serving: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<SampleBackend {self.version} {self.port} {self.fault or 'well'} {len(self.met)} met>"

    async def listen(self) -> None:
        """Accepts, on the same port every time."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=512)
            self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Accepts no more, and ends what is there."""
        await self._refuse()
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def strike(self, fault: str, share: float, seconds: float) -> None:
        """Fails so for a while."""
        self._share = share
        self.fault = fault
        self.fault_until = time.monotonic() + seconds
        if fault == "refuse":
            await self._refuse()
        await asyncio.sleep(seconds)
        await self.listen()
        self.fault = ""

    def arrival(self, number: int) -> asyncio.Event:
        """Set once that request has come here."""
        return self._arrivals.setdefault(number, asyncio.Event())

    def forget(self, number: int) -> None:
        """Nobody waits for its arrival any more."""
        self._arrivals.pop(number, None)

    async def _refuse(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    # ... connections

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            with contextlib.suppress(*_GONE):
                while await self._serve(reader, writer):
                    pass
        except (ValueError, asyncio.LimitOverrunError):
            self.strangers += 1  # this is no request
        finally:
            self._serving.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether another may follow."""
        head = await reader.readuntil(b"\r\n\r\n")
        start, *lines = head[:-4].split(b"\r\n")
        method, target, _ = start.split(b" ", 2)
        fields = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}
        body = await _body(reader, fields)
        parts = target.decode("latin-1").split("/")
        if len(parts) != 4 or not parts[1].isdigit():
            self.strangers += 1
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return True
        number, size, how = int(parts[1]), int(parts[2]), parts[3]
        crc = checksum(method, fields.get(b"host", b""), fields.get(b"x-user-id", b""), body)
        self.met[number] += 1
        if number in self._arrivals:
            self._arrivals[number].set()
        if how == "tunnel":
            await self._switch(fields, reader, writer)
            return False
        if self.fault and self._rng.random() < self._share:
            self.struck.add(number)
            return await self._fail(number, writer, bodiless=method == b"HEAD")
        start = b"HTTP/1.1 200 OK\r\nX-By: %b\r\nX-Asked: %d\r\n" % (self.version.encode(), crc)
        answer = body_of(number, self.version, size, crc)
        return await self._answer(writer, start, method == b"HEAD", how, answer)

    async def _answer(
        self, writer: asyncio.StreamWriter, start: bytes, bodiless: bool, how: str, body: bytes
    ) -> bool:
        if how == "chunked" or how == "slow":
            writer.write(start + b"Transfer-Encoding: chunked\r\n\r\n")
            step = max(1, len(body) // 4)
            for at in range(0, 0 if bodiless else len(body), step):
                piece = body[at : at + step]
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
                if how == "slow":
                    await asyncio.sleep(0.05)
            if not bodiless:
                writer.write(b"0\r\n\r\n")
        elif how == "until-close":
            writer.write(start + b"Connection: close\r\n\r\n" + (b"" if bodiless else body))
        else:
            length = b"Content-Length: %d\r\n\r\n" % len(body)
            writer.write(start + length + (b"" if bodiless else body))
        await writer.drain()
        return how != "until-close"

    # ... faults

    async def _fail(self, number: int, writer: asyncio.StreamWriter, *, bodiless: bool) -> bool:
        fault = self.fault
        if fault == "half-body" and bodiless:  # the head alone would be all of its answer, and no fault
            fault = "half-head"
        if fault == "status":
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\ndown")
            return True
        if fault == "hang":
            await asyncio.sleep(HANG_S)
        elif fault == "half-head":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
        elif fault == "garbage":
            writer.write(b"220 mail.example ESMTP\r\n\r\n")
        elif fault == "interim":
            writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 40)
        elif fault == "surplus":
            self.broken.add(number)
            writer.write(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
            return True
        elif fault == "half-body":
            self.broken.add(number)
            head = b"HTTP/1.1 200 OK\r\nX-By: %b\r\n" % self.version.encode()
            if self._rng.random() < 0.5:
                writer.write(head + b"Content-Length: 1000\r\n\r\nonly this")
            else:
                writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n")
            await asyncio.sleep(0.02)
        if fault in {"reset", "half-body"}:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
            writer.transport.abort()
        return False

    # ... tunnels

    async def _switch(
        self, fields: dict[bytes, bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answers 101, names itself, and echoes what comes until the other side ends."""
        accept = b64encode(sha1(fields.get(b"sec-websocket-key", b"") + _WEBSOCKET).digest())  # noqa: S324
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n%b\n" % (accept, self.version.encode())
        )
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()


async def _body(reader: asyncio.StreamReader, fields: dict[bytes, bytes]) -> bytes:
    if fields.get(b"transfer-encoding") == b"chunked":
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
        return body
    return await reader.readexactly(int(fields.get(b"content-length", b"0")))
