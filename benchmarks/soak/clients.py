"""One request in one manner, and what came of it: right, an honest error, lost, or wrong.

Owns the bytes of a client, and the verdict on an answer. Which requests there are is `traffic`'s affair, who
was to blame for an error `traffic` finds out too.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import time
from dataclasses import dataclass, field
from zlib import crc32

from benchmarks.soak.content import asked_body, version_in

WITHIN_S = 20.0
_RST_ON_CLOSE = struct.pack("ii", 1, 0)
_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
_PATHS = {"v1": {b"v1", b"v1-fallback"}, "v2": {b"v2"}}
MALFORMED = (
    *(
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/3.0\r\nHost: a\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    *(
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
    ),
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\nabc",
    b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
)


@dataclass(slots=True)
class Ask:
    """One request: its number is its identity; `size` and `how` are those of the answer."""

    number: int
    method: str = "GET"
    size: int = 100
    how: str = "sized"
    body_size: int = 0
    chunked: bool = False
    began: float = field(default_factory=time.monotonic)

    @property
    def body(self) -> bytes:
        """What it carries."""
        return asked_body(self.number, self.body_size)

    def text(self, *lines: bytes) -> bytes:
        """Its head and, unless it is sent in pieces, its body."""
        head = b"%b /%d/%d/%b HTTP/1.1\r\nHost: soak\r\nX-User-Id: user-%d\r\n" % (
            *(self.method.encode(), self.number, self.size, self.how.encode()),
            self.number % 509,
        )
        if self.chunked:
            lines = (*lines, b"Transfer-Encoding: chunked")
        elif self.body_size or self.method in {"POST", "PUT"}:
            lines = (*lines, b"Content-Length: %d" % self.body_size)
        head += b"".join(line + b"\r\n" for line in lines) + b"\r\n"
        if self.chunked:
            half = self.body_size // 2
            pieces = [piece for piece in (self.body[:half], self.body[half:]) if piece]
            return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        return head + self.body


@dataclass(frozen=True, slots=True)
class Outcome:
    """`verdict`: `right`, `error` (an honest one, see `status`), `lost` (no whole answer), `unanswered` (not
    a byte of one), `wrong`. `path` is the proxy's word for who answered."""

    ask: Ask
    verdict: str
    status: int = 0
    path: str = ""
    port: int = 0
    detail: str = ""
    ended: float = field(default_factory=time.monotonic)


class Line:
    """One client connection. `uses` counts what was asked over it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.uses = 0
        self.port: int = writer.get_extra_info("sockname")[1]
        self.open = True

    def __repr__(self) -> str:
        return f"<Line {self.port} uses={self.uses}>"

    @classmethod
    async def to(cls, port: int) -> Line:
        """A fresh one."""
        return cls(*await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), WITHIN_S))

    async def ask(self, ask: Ask, *lines: bytes) -> Outcome:
        """One request and its answer."""
        self.uses += 1
        with contextlib.suppress(OSError):
            self.writer.write(ask.text(*lines))
            return await self.answer(ask)
        return Outcome(ask, "unanswered", port=self.port)

    async def answer(self, ask: Ask) -> Outcome:
        """The next answer, which must be that one's."""
        begun = [b""]
        try:
            return await asyncio.wait_for(self._read(ask, begun), WITHIN_S)
        except TimeoutError:
            self.end()
            return Outcome(ask, "lost", port=self.port, detail="silence")
        except (OSError, asyncio.IncompleteReadError) as error:
            self.end()
            partial = begun[0] or (error.partial if isinstance(error, asyncio.IncompleteReadError) else b"")
            return Outcome(ask, "lost" if partial else "unanswered", port=self.port, detail=repr(error)[:80])

    async def _read(self, ask: Ask, begun: list[bytes]) -> Outcome:
        head = b""
        while not head or head.startswith(b"HTTP/1.1 1"):
            head = await self.reader.readuntil(b"\r\n\r\n")
        begun[0] = head
        status = _STATUS.match(head)
        if status is None:
            return Outcome(ask, "wrong", port=self.port, detail=f"no status line: {head[:80]!r}")
        fields = {
            name.lower(): value
            for name, _, value in (one.partition(b": ") for one in head[:-4].split(b"\r\n")[1:])
        }
        body = await self._body(ask, fields)
        if b"close" in fields.get(b"connection", b"").lower():
            self.end()
        return self._verdict(ask, int(status[1]), fields, body)

    async def _body(self, ask: Ask, fields: dict[bytes, bytes]) -> bytes:
        if ask.method == "HEAD":
            return b""
        if fields.get(b"transfer-encoding") == b"chunked":
            pieces = []
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                pieces.append((await self.reader.readexactly(size + 2))[:-2])
            await self.reader.readexactly(2)
            return b"".join(pieces)
        return await self.reader.readexactly(int(fields[b"content-length"]))

    def _verdict(self, ask: Ask, status: int, fields: dict[bytes, bytes], body: bytes) -> Outcome:
        path = fields.get(b"x-dualpath-path", b"")
        told = path.decode()
        if status != 200:
            return Outcome(ask, "error", status, told, self.port, body[:120].decode("latin-1"))
        version: str | None = fields.get(b"x-by", b"").decode()
        if ask.method != "HEAD":
            version = version_in(body, ask.number, ask.size, crc32(ask.body))
        if version not in _PATHS or path not in _PATHS[version] or fields.get(b"x-by") != version.encode():
            return Outcome(ask, "wrong", status, told, self.port, f"{version} {fields} {body[:80]!r}")
        return Outcome(ask, "right", status, told, self.port)

    def end(self) -> None:
        """FIN."""
        self.open = False
        self.writer.close()

    def reset(self) -> None:
        """RST, as of a client that crashes."""
        self.open = False
        sock = self.writer.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        self.writer.transport.abort()


async def malformed(port: int, text: bytes) -> tuple[int, int]:
    """Sends what is no request; the status that came of it (0: none), and our port."""
    line = await Line.to(port)
    try:
        line.writer.write(text)
        head = await asyncio.wait_for(line.reader.read(1 << 16), WITHIN_S)
        status = _STATUS.match(head)
        return int(status[1]) if status else 0, line.port
    except (OSError, TimeoutError):
        return 0, line.port
    finally:
        line.end()


async def tunnel(port: int, ask: Ask) -> Outcome:
    """A WebSocket handshake, then bytes that must come back as they were."""
    line = await Line.to(port)
    upgrade = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13")
    begun = b""
    try:
        async with asyncio.timeout(WITHIN_S):
            line.writer.write(ask.text(*upgrade, b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="))
            begun = await line.reader.readuntil(b"\r\n\r\n")
            status = _STATUS.match(begun)
            if status is None or status[1] != b"101":
                return Outcome(ask, "error", int(status[1]) if status else 0, port=line.port)
            version = (await line.reader.readuntil(b"\n")).strip().decode()
            for turn in range(3):
                sent = asked_body(ask.number + turn, 2000)
                line.writer.write(sent)
                if await line.reader.readexactly(len(sent)) != sent:
                    return Outcome(ask, "wrong", 101, version, line.port, "other bytes came back")
            return Outcome(ask, "right", 101, version, line.port)
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        return Outcome(ask, "lost" if begun else "unanswered", 101, port=line.port, detail=repr(error)[:80])
    finally:
        line.end()
