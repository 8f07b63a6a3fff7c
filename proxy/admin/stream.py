"""The audit as it grows, and once a second the status or what the dashboard shows, as server-sent events.

Owns the frames, and that nobody who listens slowly costs more than one of them: nothing is queued, each
listener asks for what it lacks when it has taken what it was given. It decides nothing and keeps nothing but
the last status. Who may listen is settled before; that they still may is asked every second.

An audit event has its `seq` as its id, so that a listener which comes back says where it was (Last-Event-ID).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

import orjson
from aiohttp import web

from proxy.admin import inputs, views
from proxy.admin.problems import RefusedError
from proxy.errors import StoreCorrupt, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from proxy.admin.board import Board
    from proxy.admin.inputs import Listening
    from proxy.controlplane.controller import Controller
    from proxy.model import Event
    from proxy.ports import Clock

log = logging.getLogger("dualpath.admin")

STREAM: Final = "/api/v1/events/stream"
EVERY_S: Final = 1.0
HEARTBEAT_S: Final = 10.0
TAKEN_WITHIN_S: Final = 20.0
"""How long a listener may take to read a frame."""
MOST: Final = 64
MOST_FROM_ONE_PLACE: Final = 16
_AT_ONCE: Final = 200
_FRESH_S: Final = 0.5


class Stream:
    """All listeners. `status` makes the document that they are shown, `still` whether a request may go on."""

    def __init__(
        self,
        controller: Controller,
        clock: Clock,
        board: Board,
        status: Callable[[], views.JsonObject],
        still: Callable[[web.Request], bool],
    ) -> None:
        self._controller = controller
        self._clock = clock
        self._board = board
        self._make_status = status
        self._still = still
        self._places: Counter[str] = Counter()
        self._status = (float("-inf"), b"")
        self._newest = (float("-inf"), 0)
        self._ending = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Stream to {self._places.total()}>"

    async def end(self, app: web.Application) -> None:
        """aiohttp: the application shuts down. Whoever listens comes back to the next one."""
        self._ending.set()

    async def listen(self, request: web.Request) -> web.StreamResponse:
        """Until the listener leaves, may no longer listen, or does not read."""
        wish = inputs.read_listening(request.query.items(), request.headers.get("Last-Event-ID"))
        if wish.rollout:
            self._controller.report(wish.rollout)
        place = request.remote or ""
        if self._places.total() >= MOST or self._places[place] >= MOST_FROM_ONE_PLACE:
            raise RefusedError(503, "too many listen already", headers={"Retry-After": "5"})
        self._places[place] += 1
        try:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            response.headers["X-Accel-Buffering"] = "no"
            response.force_close()  # after hours of listening there is nothing more to ask here
            await response.prepare(request)
            async for frame in self._frames(request, wish):
                async with asyncio.timeout(TAKEN_WITHIN_S):
                    await response.write(frame)
        except (TimeoutError, ConnectionError):
            log.debug("admin: a listener at %s has gone or does not read", place)
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._places[place] -= 1
            if not self._places[place]:
                del self._places[place]
        return response

    async def _frames(self, request: web.Request, wish: Listening) -> AsyncIterator[bytes]:
        yield b"retry: 2000\n\n"
        said, known, beat = self._clock.monotonic(), wish.known, -1
        while request.transport is not None and self._still(request) and not self._ending.is_set():
            now = self._clock.monotonic()
            frame = self._fresh_status(now) if wish.status else b""
            shown, beat = self._shown(wish, beat)
            frame += shown
            newest = await self._newest_seq(now)
            if known is None:
                known = newest
            if newest is not None and known is not None and newest > known:
                events = await self._behind(known)
                frame += b"".join(map(_event_frame, events))
                known = events[-1].seq if events else newest
            if frame:
                said = now
                yield frame
            elif now - said >= HEARTBEAT_S:
                said = now
                yield b": still here\n\n"
            if known is None or newest is None or known >= newest:
                await self._pause()

    def _shown(self, wish: Listening, beat: int) -> tuple[bytes, int]:
        """What there is to be seen since this beat, and the beat by then."""
        if not wish.board and not wish.rollout:
            return b"", beat
        board, now = self._board.since(beat)
        if now == beat:
            return b"", beat
        detail = self._board.detail(wish.rollout) if wish.rollout else b""
        return (board if wish.board else b"") + detail, now

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._ending.wait(), EVERY_S)
        except TimeoutError:
            return

    def _fresh_status(self, now: float) -> bytes:
        at, frame = self._status
        if now - at >= _FRESH_S:
            document = {**self._make_status(), "at": views.instant(self._clock.wall())}
            frame = b"event: status\ndata: %b\n\n" % orjson.dumps(document)
            self._status = (now, frame)
        return frame

    async def _newest_seq(self, now: float) -> int | None:
        """The last event's; None while the store does not tell. Asked once for all who listen."""
        at, seq = self._newest
        if now - at < _FRESH_S:
            return seq
        try:
            found = await self._controller.events(after=-1, limit=1)
        except (StoreUnavailable, StoreCorrupt):
            return None
        seq = found[-1].seq if found else 0
        self._newest = (now, seq)
        return seq

    async def _behind(self, known: int) -> Sequence[Event]:
        try:
            return await self._controller.events(after=known, limit=_AT_ONCE)
        except (StoreUnavailable, StoreCorrupt):
            return ()


def _event_frame(event: Event) -> bytes:
    return b"id: %d\nevent: audit\ndata: %b\n\n" % (event.seq, orjson.dumps(views.event_view(event)))
