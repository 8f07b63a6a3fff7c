"""The admin's application over no socket: bytes in, bytes out, through aiohttp's own protocol."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOST = "127.0.0.1:9900"


@dataclass(frozen=True, slots=True)
class Answer:
    """One response as it stood on the wire; names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class Wire(asyncio.Transport):
    """One connection of a client at `peer`, which keeps what the server writes."""

    def __init__(self, peer: str) -> None:
        super().__init__({"peername": (peer, 40_000)})
        self.written = bytearray()
        self.ended = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data
        head, end, body = bytes(self.written).partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        if end and length is not None and len(body) >= int(length[1]):
            self.ended.set()  # the server may keep reading a body that it has no use for

    def close(self) -> None:
        self.ended.set()

    def abort(self) -> None:
        self.ended.set()

    def is_closing(self) -> bool:
        return self.ended.is_set()

    def pause_reading(self) -> None:
        """The server has enough for now; all of the request is there already."""

    def resume_reading(self) -> None:
        """See `pause_reading`."""


class Client:
    """Sends requests to a running application, each on a connection of its own."""

    def __init__(self, runner: web.AppRunner) -> None:
        self._runner = runner

    async def get(self, target: str, **headers: str) -> Answer:
        return await self.send("GET", target, b"", **headers)

    async def post(self, target: str, body: object = None, **headers: str) -> Answer:
        raw = b"" if body is None else orjson.dumps(body)
        return await self.send("POST", target, raw, **{"Content_Type": "application/json", **headers})

    async def send(
        self, method: str, target: str, body: bytes, peer: str = "127.0.0.1", **headers: str
    ) -> Answer:
        """One request; header names have underscores for hyphens, and a Host that is empty is left out."""
        fields = {"Host": HOST, "Connection": "close", "Content_Length": str(len(body)), **headers}
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items() if value]
        return await self.exchange(
            "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""]).encode() + body, peer
        )

    async def exchange(self, raw: bytes, peer: str = "127.0.0.1") -> Answer:
        """Any bytes, and the first answer to them."""
        server = self._runner.server
        assert server is not None
        protocol, wire = server(), Wire(peer)
        protocol.connection_made(wire)
        protocol.data_received(raw)
        async with asyncio.timeout(5):
            await wire.ended.wait()
        protocol.connection_lost(None)
        head, _, body = bytes(wire.written).partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        fields = (line.partition(": ") for line in lines)
        return Answer(int(status.split()[1]), {name.lower(): value for name, _, value in fields}, body)

    async def say_and_leave(self, raw: bytes) -> None:
        """These bytes, and the end of the connection before there was an answer."""
        server = self._runner.server
        assert server is not None
        protocol = server()
        protocol.connection_made(Wire("127.0.0.1"))
        protocol.data_received(raw)
        await _others_have_had_their_turn()
        protocol.connection_lost(None)
        await _others_have_had_their_turn()


async def _others_have_had_their_turn() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def client_of(app: web.Application) -> AsyncIterator[Client]:
    """The application, running."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        yield Client(runner)
    finally:
        await runner.cleanup()
