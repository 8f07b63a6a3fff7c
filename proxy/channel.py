"""Frames between processes of ours on one machine: a length of four bytes, then JSON, over a Unix socket.

Owns framing, its limits and back-pressure. It must never know what a frame says.

A peer that does not read (stopped, swapped out) must not cost the sender more than a bounded amount of
memory, nor any time: frames wait in an `Outbox`, where a newer one takes the place of an older one of the
same topic.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import orjson

from proxy.errors import WireError

if TYPE_CHECKING:
    import socket

Frame = dict[str, Any]

MOST_BYTES: Final = 256 << 20
"""The largest frame: a configuration with a million long pinned keys fits. Who sends what people have written
asks `size_of` first."""

_HEADER: Final = 4


class Channel:
    """One connection. Raises `WireError` for what is no frame; the connection is of no use after that."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most_bytes: int = MOST_BYTES
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._most_bytes = most_bytes

    @classmethod
    async def over(cls, sock: socket.socket) -> Channel:
        """A channel over a connected socket, which belongs to it from now on."""
        return cls(*await asyncio.open_unix_connection(sock=sock))

    async def receive(self) -> Frame | None:
        """The next frame; None once the peer is gone, however it went. Raises `WireError`."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_HEADER), "big")
            if length > self._most_bytes:
                raise WireError(f"a frame of {length} bytes, of which {self._most_bytes} are allowed")
            content = await self._reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            return None
        try:
            frame = orjson.loads(content)
        except orjson.JSONDecodeError:
            frame = None
        if not isinstance(frame, dict):
            raise WireError("a frame that is no JSON object")
        return frame

    def send(self, frame: Frame) -> None:
        """Write a frame without waiting; to nobody, if the peer is gone."""
        if not self._writer.is_closing():
            self._writer.write(framed(frame))

    @property
    def is_writable(self) -> bool:
        """Whether the peer has taken so much that there is no need to wait."""
        return not self._writer.is_closing() and self._writer.transport.get_write_buffer_size() == 0

    async def writable(self) -> None:
        """Until the peer has taken most of what was sent. Raises OSError if it is gone."""
        await self._writer.drain()

    async def close(self) -> None:
        """End the connection once everything is written."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def __repr__(self) -> str:
        return f"<Channel {'closing' if self._writer.is_closing() else 'open'}>"


def framed(frame: Frame) -> bytes:
    """A frame as it goes over the wire."""
    content = orjson.dumps(frame)
    return len(content).to_bytes(_HEADER, "big") + content


def size_of(frame: Frame) -> int:
    """How many bytes a frame has. Raises `WireError` for one that no peer takes."""
    size = len(framed(frame))
    if size > MOST_BYTES:
        raise WireError(f"{size} bytes, of which {MOST_BYTES} are allowed")
    return size


class Outbox:
    """What is still to be sent over a channel: the newest frame of each topic, in the order of these."""

    def __init__(self) -> None:
        self._waiting: dict[str, Frame] = {}
        self._filled = asyncio.Event()

    def put(self, frame: Frame, topic: str = "") -> None:
        """Send `frame` as soon as the peer takes it, in place of one of the same topic (by default: kind)."""
        topic = topic or frame["kind"]
        self._waiting.pop(topic, None)  # it goes to the end: a configuration in between holds older states
        self._waiting[topic] = frame
        self._filled.set()

    async def empty_into(self, channel: Channel) -> None:
        """Send for as long as the peer is there."""
        with contextlib.suppress(OSError):
            while True:
                await self._filled.wait()
                await channel.writable()
                channel.send(self._next())
                if not self._waiting:
                    self._filled.clear()

    def _next(self) -> Frame:
        """The frame at the front. States that follow one another go as one: the peer reports all that it has
        counted before one comes into force, and an emergency stop is of every rollout."""
        states: list[object] = []
        while self._waiting and "state" in (frame := self._first()):
            states.append(frame["state"])
            del self._waiting[next(iter(self._waiting))]
        if states:
            return {"kind": "states", "states": states}
        return self._waiting.pop(next(iter(self._waiting)))

    def _first(self) -> Frame:
        return next(iter(self._waiting.values()))

    def __repr__(self) -> str:
        return f"Outbox({', '.join(self._waiting)})"
