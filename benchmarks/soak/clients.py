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

from benchmarks.soak.content import asked_body, body_of, checksum, version_in

WITHIN_S = 20.0
_HOST = b"soak"
GONE = (OSError, RuntimeError)
"""How it is told that the other side has left; RuntimeError is what uvloop says to who writes then."""
_NO_HTTP = (ValueError, KeyError, asyncio.LimitOverrunError)
"""What comes of reading an answer that is none: no number, no length, no end."""
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

    @property
    def user(self) -> bytes:
        """Who asks."""
        return b"user-%d" % (self.number % 509)

    @property
    def checksum(self) -> int:
        """What a backend has to have seen."""
        return checksum(self.method.encode(), _HOST, self.user, self.body)

    def text(self, *lines: bytes) -> bytes:
        """Its head and, unless it is sent in pieces, its body."""
        target = b"/%d/%d/%b" % (self.number, self.size, self.how.encode())
        head = b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (self.method.encode(), target, _HOST)
        head += b"X-User-Id: %b\r\n" % self.user
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
        with contextlib.suppress(*GONE):
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
        except _NO_HTTP as error:
            self.end()
            return Outcome(ask, "wrong", port=self.port, detail=f"{error!r:.80} in {begun[0]!r:.200}")
        except (*GONE, asyncio.IncompleteReadError) as error:
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
        fields = _fields(head)
        body = await self._body(ask, fields)
        if b"close" in fields.get(b"connection", b"").lower():
            more = await self._last()
            self.end()
            if more:
                return Outcome(ask, "wrong", port=self.port, detail=f"after the last answer: {more[:80]!r}")
        return self._verdict(ask, int(status[1]), fields, body)

    async def _last(self) -> bytes:
        """What comes until the end that the proxy has announced: nothing."""
        with contextlib.suppress(OSError):
            return await self.reader.read()
        return b""

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
        version = fields[b"x-by"].decode()
        if ask.method == "HEAD":
            length = len(body_of(ask.number, version, ask.size, ask.checksum))
            sound = int(fields[b"content-length"]) == length
        else:
            sound = version_in(body, ask.number, ask.size, ask.checksum) == version
        if not sound or path not in _PATHS[version] or int(fields[b"x-asked"]) != ask.checksum:
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


def _fields(head: bytes) -> dict[bytes, bytes]:
    lines = head[:-4].split(b"\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}


async def malformed(port: int, text: bytes) -> tuple[int, int]:
    """Sends what is no request; the status that came of it (0: none), and our port."""
    line = await Line.to(port)
    try:
        line.writer.write(text)
        head = await asyncio.wait_for(line.reader.read(1 << 16), WITHIN_S)
        status = _STATUS.match(head)
        return int(status[1]) if status else 0, line.port
    except GONE:
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
            path = _fields(begun).get(b"x-dualpath-path", b"")
            if path not in _PATHS[version]:
                return Outcome(ask, "wrong", 101, path.decode(), line.port, f"{version} has answered")
            for turn in range(3):
                sent = asked_body(ask.number + turn, 2000)
                line.writer.write(sent)
                if await line.reader.readexactly(len(sent)) != sent:
                    return Outcome(ask, "wrong", 101, path.decode(), line.port, "other bytes came back")
            return Outcome(ask, "right", 101, path.decode(), line.port)
    except _NO_HTTP as error:
        return Outcome(ask, "wrong", port=line.port, detail=f"{error!r:.80} in {begun!r:.200}")
    except (*GONE, asyncio.IncompleteReadError) as error:
        return Outcome(ask, "lost" if begun else "unanswered", 101, port=line.port, detail=repr(error)[:80])
    finally:
        line.end()
