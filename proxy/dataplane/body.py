"""A request's body on its way through: what a second attempt would need, and no more.

Owns the replay buffer. Pieces are kept as long as their sum is within the limit; a larger body is streamed
and gives up its second attempt, it is never refused for that. It knows neither connection nor policy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.core.framing import CHUNKED

if TYPE_CHECKING:
    from collections.abc import Callable

LAST_CHUNK: Final = b"0\r\n\r\n"


class RequestBody:
    """The body of one request; `length` is in bytes or `CHUNKED`, `limit` the size that is kept for a replay.

    `complete`: the client has sent all of it. `replayable`: all that it has sent is still here.
    """

    __slots__ = ("_chunked", "_limit", "_pieces", "complete", "held_bytes", "received_bytes", "replayable")

    def __init__(self, length: int, limit: int) -> None:
        self.complete = length == 0
        # A declared length over the limit will not fit: there is no point in keeping its beginning.
        self.replayable = length <= limit
        self.held_bytes = 0
        self.received_bytes = 0
        self._chunked = length == CHUNKED
        self._limit = limit
        self._pieces: list[bytes] = []

    def __repr__(self) -> str:
        return f"<RequestBody {self.held_bytes} B held complete={self.complete} replayable={self.replayable}>"

    def push(self, piece: bytes, write: Callable[[bytes], None] | None) -> None:
        """Takes the next piece, and passes it on at once if there is a connection to `write` to."""
        self.received_bytes += len(piece)
        if write is not None:
            write(self._framed(piece))
            if not self.replayable:
                return
        self._pieces.append(piece)
        self.held_bytes += len(piece)
        if self.held_bytes > self._limit:
            self.replayable = False
            if write is not None:
                self._forget()

    def finish(self, write: Callable[[bytes], None] | None) -> None:
        """The client has sent all of it."""
        self.complete = True
        if write is not None and self._chunked:
            write(LAST_CHUNK)

    def opening(self, head: bytes) -> bytes:
        """What an attempt begins with: `head` and all of the body that is here, framed."""
        ends = self._chunked and self.complete
        if not self._pieces and not ends:
            return head
        parts = [head, *map(self._framed, self._pieces)]
        if ends:
            parts.append(LAST_CHUNK)
        if not self.replayable:
            self._forget()
        return b"".join(parts)

    def _framed(self, piece: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece

    def _forget(self) -> None:
        self._pieces = []
        self.held_bytes = 0


NO_BODY: Final = RequestBody(0, 0)
"""The body of every request without one; nothing is ever pushed into it."""
