"""A whole data plane per input, without a socket: `tests.dataplane.wire` on a loop of its own.

Owns how bytes come in (in which reads) and who answers. What must hold is said by those who feed it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.dataplane.wire import BOUND, World, settings, settle
from tests.fuzz import llhttp, strict

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from tests.dataplane.wire import Peer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
_DOORS = ("create_server", "create_connection", "call_later")
_LIMITS = {"max_head": "4KiB", "max_target": "2KiB"}
_BACKEND = {"response_timeout": "100ms", "idle_timeout": "100ms"}
_CONFIGS = {
    version: settings(percentage=share, listen=_LIMITS, v1=_BACKEND, v2=_BACKEND)
    for version, share in ((1, 0), (2, 99.999))
}
LATE_S = 0.25
"""Longer than a backend may be silent."""
_loop = asyncio.new_event_loop()


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """An input as reads, and as a whole: its first byte says how often it is cut, the next ones where."""
    cuts = data[0] % 6 if data else 0
    places, payload = data[1 : 1 + cuts], data[1 + cuts :]
    if cuts == 5:
        return [payload[at : at + 1] for at in range(len(payload))], payload
    ends = sorted(place * (len(payload) + 1) // 256 for place in places)
    begins = [0, *ends]
    reads = [payload[begin:end] for begin, end in zip(begins, [*ends, len(payload)], strict=True)]
    return [read for read in reads if read], payload


def cut(payload: bytes, *places: int) -> bytes:
    """The input that `split` takes apart at these places (of 256, at most four)."""
    return bytes([len(places), *places]) + payload


def bytewise(payload: bytes) -> bytes:
    """The input that comes in single bytes."""
    return bytes([5, 0, 0, 0, 0, 0]) + payload


class Stage:
    """A world whose backends answer every whole request at once; `seen` are those, in their order."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.seen: list[strict.Message] = []
        self.partial: list[strict.Message] = []
        self._heard: dict[int, bytes] = {}

    async def answer(self) -> None:
        """Until nobody is waiting for an answer. What came over must be requests to the letter."""
        answered = True
        while answered:
            answered = False
            self.partial = []
            for at, peer in enumerate(self.world.connections):
                answered = await self._hear(at, peer) or answered

    async def _hear(self, at: int, peer: Peer) -> bool:
        data = self._heard.get(at, b"") + peer.got()
        reading = strict.requests(data)
        assert not reading.fault, f"{reading.fault} went upstream: {data!r}"
        self._heard[at] = data
        whole = reading.complete
        assert len(whole) <= 1, f"two requests went upstream at once: {data!r}"
        self.partial += reading.messages[len(whole) :]
        if not whole:
            return False
        assert not reading.rest, f"something follows the request upstream: {data!r}"
        theirs = llhttp.request_bodies(data.replace(whole[0].start[0], b"GET", 1))  # it knows few methods
        assert theirs in ([whole[0].body], None), f"llhttp reads {theirs} in {data!r}"
        self.seen += whole
        self._heard[at] = b""
        await peer.sends(OK + (b"" if whole[0].start[0] == b"HEAD" else b"ok"))
        return True


def play(story: Coroutine[Any, Any, Any]) -> Any:
    """Runs one input's story to its end."""
    return _loop.run_until_complete(story)


async def opened(*, everybody_to: int = 1) -> World:
    """A listening data plane; everybody goes to one of the versions."""
    world = World(_CONFIGS[everybody_to])
    for door in _DOORS:
        setattr(_loop, door, getattr(world, door))
    await world.plane.start(BOUND)
    return world


async def closed(world: World) -> None:
    """Ends it; nothing may be left of any request."""
    await world.plane.stop()
    await settle()
    assert world.is_clean(), "an exchange or an attempt is left over"
    for door in _DOORS:
        vars(_loop).pop(door, None)
