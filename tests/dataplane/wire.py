"""A whole data plane without a socket: clients and backends are the far ends of fake transports, and time
passes when a test says so. What both sides read and what the recorder heard is the transcript.

A request with an `X-User` field belongs to v2 unless a test configures it otherwise; one without goes to v1.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from proxy.config.schema import Config
from proxy.dataplane.plane import DataPlane
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from proxy.model import ErrorClass, FallbackReason, Path


class _Bound:
    """A socket with nobody in its queue."""

    def accept(self) -> None:
        raise BlockingIOError


BOUND = cast("socket.socket", _Bound())
"""Stands for the socket that the composition root has bound."""

DATE = b"Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FAILED = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\ndown"

Settings = dict[str, Any]


def request(
    method: str = "GET",
    target: str = "/x",
    *lines: str,
    user: str = "u",
    body: bytes = b"",
    version: str = "1.1",
) -> bytes:
    """A request of `user`, which is v2's; without user it is v1's. `lines` are further fields."""
    head = [f"{method} {target} HTTP/{version}", "Host: a", *lines]
    if user:
        head.append(f"X-User: {user}")
    if body:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + body


GET = request()
GET_V1 = request(user="")


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it was read: start line, fields in lower case, body without its framing."""

    start: bytes
    fields: dict[bytes, bytes]
    body: bytes

    @property
    def status(self) -> int:
        return int(self.start.split(b" ")[1])


def read_message(data: bytes, *, bodiless: bool = False) -> tuple[Message, bytes]:
    """The first message in `data`, which must be whole, and what follows it."""
    head, empty, rest = data.partition(b"\r\n\r\n")
    assert empty, f"no whole head in {data!r}"
    start, *lines = head.split(b"\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}
    assert len(fields) == len(lines), f"a field came twice: {lines}"
    if bodiless:
        return Message(start, fields, b""), rest
    if fields.get(b"transfer-encoding") == b"chunked":
        body = b""
        while True:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            body += rest[:length]
            assert rest[length : length + 2] == b"\r\n", f"a broken chunk in {data!r}"
            rest = rest[length + 2 :]
            if length == 0:
                return Message(start, fields, body), rest
    length = int(fields.get(b"content-length", b"0"))
    assert len(rest) >= length, f"a body of {length} is short: {data!r}"
    return Message(start, fields, rest[:length]), rest[length:]


class FakeSocket:
    """Remembers whether closing it is to be a reset."""

    def fileno(self) -> int:
        return -1

    def __init__(self) -> None:
        self.resets = False

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        self.resets = (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER)


class FakeTransport(asyncio.Transport):
    """One end of a connection whose other end is a test. As with uvloop, to write after its end fails."""

    def __init__(self, peername: object) -> None:
        super().__init__()
        self.protocol = cast("asyncio.Protocol", None)
        self.peername = peername
        self.socket: FakeSocket | None = FakeSocket()
        self.written = bytearray()
        self.pending = bytearray()  # what the other end does not take for now
        self.inbox: list[bytes] = []  # what waits until reading is resumed
        self.stalled = False
        self.end = ""
        self.reading = True
        self.lost = False
        self.can_half_close = True
        self._high = 64 << 10
        self._writing_paused = False

    # ... asyncio.Transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": self.peername, "socket": self.socket}.get(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = cast("asyncio.Protocol", protocol)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high or 0

    def get_write_buffer_size(self) -> int:
        return len(self.pending)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.lost:
            raise RuntimeError("the handle is closed")
        if not self.stalled:
            self.written += data
            return
        self.pending += data
        if len(self.pending) > self._high and not self._writing_paused:
            self._writing_paused = True
            self.protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return self.can_half_close

    def writelines(self, pieces: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        self.end = self.end or "half-closed"

    def is_closing(self) -> bool:
        return self.end in {"closed", "aborted", "reset"}

    def close(self) -> None:
        if not self.is_closing():
            self.end = "closed"
            if not self.pending:
                asyncio.get_running_loop().call_soon(self.lose, None)

    def abort(self) -> None:
        if not self.lost:
            self.end = "reset" if self.socket is not None and self.socket.resets else "aborted"
            self.pending.clear()
            asyncio.get_running_loop().call_soon(self.lose, None)

    def pause_reading(self) -> None:
        assert not self.lost
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.lost
        self.reading = True
        asyncio.get_running_loop().call_soon(self.deliver)

    # ... the other end

    def deliver(self) -> None:
        while self.inbox and self.reading and not self.is_closing():
            self.protocol.data_received(self.inbox.pop(0))

    def lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            self.end = self.end or "left"
            self.protocol.connection_lost(error)

    def catch_up(self) -> None:
        self.stalled = False
        self.written += self.pending
        self.pending.clear()
        if self._writing_paused:
            self._writing_paused = False
            self.protocol.resume_writing()
        if self.end == "closed":
            self.lose(None)


async def settle() -> None:
    """Lets everything run that is ready."""
    for _ in range(8):
        await asyncio.sleep(0)


class Peer:
    """The far end of one connection: a client, or a backend."""

    def __init__(self, transport: FakeTransport, port: int = 0) -> None:
        self.transport = transport
        self.port = port

    async def sends(self, data: bytes) -> None:
        """Bytes arrive at the proxy, in one read; or later, if it has paused reading."""
        self.transport.inbox.append(data)
        self.transport.deliver()
        await settle()

    async def leaves(self, error: Exception | None = None) -> None:
        """The connection ends from this side: by FIN, or with `error`."""
        if error is None and self.transport.protocol.eof_received():
            return
        self.transport.lose(error)
        await settle()

    def stalls(self) -> None:
        """Stops reading."""
        self.transport.stalled = True

    async def catches_up(self) -> None:
        """Reads everything, and goes on reading."""
        self.transport.catch_up()
        await settle()

    def got(self) -> bytes:
        """What has arrived here since the last look."""
        data = bytes(self.transport.written)
        self.transport.written.clear()
        return data

    def messages(self, *, bodiless: bool = False) -> list[Message]:
        """The same as whole messages; nothing may be left over."""
        rest, found = self.got(), []
        while rest:
            message, rest = read_message(rest, bodiless=bodiless)
            found.append(message)
        return found

    def message(self, *, bodiless: bool = False) -> Message:
        """The one message that has arrived."""
        [found] = self.messages(bodiless=bodiless)
        return found

    @property
    def end(self) -> str:
        """How the proxy ended it: "" if it has not, "half-closed", "closed", "aborted" or "reset"."""
        return self.transport.end

    def is_read(self) -> bool:
        """Whether the proxy takes what this side sends."""
        return self.transport.reading


class SteadyRandom:
    """Chance that says the same for ever."""

    def getrandbits(self, k: int, /) -> int:
        return int("5" * (k // 4), 16)

    def random(self) -> float:
        return 0.0


class TranscriptRecorder:
    """Writes down in words what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.latencies: list[float] = []

    def assigned(self, rollout: int, path: Path, *, overridden: bool) -> None:
        self.lines.append(f"overridden {path}" if overridden else f"assigned {path}")

    def attempt(self, rollout: int, path: Path, latency_s: float, error: ErrorClass | None) -> None:
        self.lines.append(f"attempt {path} {error or 'good'}")
        self.latencies.append(round(latency_s, 3))

    def fallback(self, rollout: int, reason: FallbackReason, *, failed: bool) -> None:
        self.lines.append(f"fallback {reason}{' failed' if failed else ''}")

    def over_budget(self, rollout: int, reason: FallbackReason) -> None:
        self.lines.append(f"over budget {reason}")

    def outcome(self, rollout: int, *, failed: bool, aborted: bool) -> None:
        self.lines.append("outcome aborted" if aborted else "outcome failed" if failed else "outcome good")


class FakeTimer:
    """A call that a loop was asked to make later."""

    def __init__(self, at: float, call: Callable[[], object]) -> None:
        self.at = at
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeServer:
    """A listener: makes protocols until it is closed."""

    def __init__(self, factory: Callable[[], asyncio.Protocol]) -> None:
        self.factory = factory
        self.closed = False
        self.sockets = [self]

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 8080

    def close(self) -> None:
        self.closed = True


class World:
    """A data plane, the loop's three doors to the outside (server, connections, timers), and who is there.

    `refusing`, `silent` and `stalling` are ports that refuse connections, that never answer, and that take
    connections but read nothing.
    """

    def __init__(self, config: Config) -> None:
        self.clock = FakeClock()
        self.recorder = TranscriptRecorder()
        self.plane = DataPlane(config, recorder=self.recorder, clock=self.clock, random=SteadyRandom())
        self.context = self.plane.context
        self.refusing: set[int] = set()
        self.silent: set[int] = set()
        self.stalling: set[int] = set()
        self.address_taken = False
        self.timers: list[FakeTimer] = []
        self.connections: list[Peer] = []
        self.dialled: list[tuple[str, int, bool]] = []
        self.servers: list[FakeServer] = []

    # ... what the loop is replaced by

    async def create_server(
        self, factory: Callable[[], asyncio.Protocol], *, sock: object, backlog: int
    ) -> FakeServer:
        assert sock is BOUND
        assert backlog > 0
        if self.address_taken:
            raise OSError(98, "Address already in use")
        self.servers.append(FakeServer(factory))
        return self.servers[-1]

    async def create_connection(
        self,
        factory: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        *,
        ssl: object,
        server_hostname: object,
    ) -> tuple[FakeTransport, asyncio.Protocol]:
        self.dialled.append((host, port, ssl is not None))
        if port in self.silent:
            await asyncio.get_running_loop().create_future()
        if port in self.refusing:
            raise ConnectionRefusedError(111, "Connection refused")
        transport = FakeTransport((host, port))
        transport.stalled = port in self.stalling
        self.connections.append(Peer(transport, port))
        protocol = transport.protocol = factory()
        protocol.connection_made(transport)
        return transport, protocol

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: object, **_: object
    ) -> FakeTimer:
        timer = FakeTimer(self.clock.monotonic() + delay, lambda: callback(*args))
        self.timers.append(timer)
        return timer

    # ... what tests do

    async def passes(self, seconds: float) -> None:
        """Time passes, and with it every timer that falls due."""
        end = self.clock.monotonic() + seconds
        while True:
            self.timers = [timer for timer in self.timers if not timer.cancelled]
            due = min((timer for timer in self.timers if timer.at <= end), key=lambda t: t.at, default=None)
            if due is None:
                break
            self.timers.remove(due)
            self.clock.advance(max(0.0, due.at - self.clock.monotonic()))
            due.call()
            await settle()
        self.clock.advance(max(0.0, end - self.clock.monotonic()))
        await settle()

    def client(self, address: object = ("192.0.2.7", 50_000)) -> Peer:
        """A client has connected."""
        transport = FakeTransport(address)
        transport.protocol = self.servers[0].factory()
        transport.protocol.connection_made(transport)
        return Peer(transport)

    def backend(self, port: int) -> Peer:
        """The newest connection to that port."""
        return [peer for peer in self.connections if peer.port == port][-1]

    @property
    def v1(self) -> Peer:
        """The newest connection to v1."""
        return self.backend(9001)

    @property
    def v2(self) -> Peer:
        """The newest connection to v2."""
        return self.backend(9002)

    @property
    def ports(self) -> list[int]:
        """The ports that were connected to, in order, whether or not they answered."""
        return [port for _, port, _ in self.dialled]

    def heard(self) -> list[str]:
        """What the recorder was told since the last look."""
        lines, self.recorder.lines = self.recorder.lines, []
        return lines

    def is_clean(self) -> bool:
        """Whether no request and no tunnel is running, and no attempt is counted as outstanding."""
        outstanding = [status.outstanding for status in self.plane.statuses()]
        return not self.context.active and not self.context.tunnels and not any(outstanding)


def settings(
    *,
    listen: Settings | None = None,
    v1: Settings | None = None,
    v2: Settings | None = None,
    rollouts: Iterable[Settings] = (),
    **rollout: object,
) -> Config:
    """A configuration with the given tables; the other keywords are the only rollout's."""
    only = {"name": "default", "key": ["header:X-User"], "percentage": 99, **rollout}
    document: Settings = {
        "listen": listen or {},
        "backends": {
            "v1": {"endpoints": ["http://127.0.0.1:9001"], **(v1 or {})},
            "v2": {"endpoints": ["http://127.0.0.1:9002"], **(v2 or {})},
        },
        "rollouts": [*rollouts] or [only],
    }
    return Config.model_validate(document)
