"""Requests out of the bytes of one connection: heads, bodies, and where one ends and the next begins.

Owns the limits on a head that is not finished. Heads are read by `core.request_head` once they are whole,
chunked bodies by `core.chunked`, bodies of known length are counted: where a read ends changes nothing. What
a request means is `admission`'s affair, whose turn it is the connection's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from proxy.core.chunked import ChunkDecoder, ChunkError
from proxy.core.framing import CHUNKED
from proxy.dataplane.admission import admit
from proxy.dataplane.bounded_reads import READ_BYTES
from proxy.errors import BadRequest

if TYPE_CHECKING:
    from proxy.core.field_line import FieldLine
    from proxy.core.request_head import RequestHead
    from proxy.dataplane.context import Context
    from proxy.dataplane.downstream import Downstream
    from proxy.dataplane.exchange import Exchange

_SMALL: Final = 4 << 10
"""Reads up to this size are taken apart with one call; of a longer one nothing is copied but the head."""
_AHEAD: Final = 1
"""How many requests may wait for their turn before no more of them are read."""
_AROUND_TARGET: Final = 128
"""A request line may be this much longer than its target."""
_CR: Final = 13
_BARE_LINE_FEED: Final = re.compile(rb"(?<!\r)\n")
_NO_METHOD: Final = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z\r]")


class RequestReader:
    """Reads for one `Downstream`. `receiving` is the exchange whose body is not complete, `head_bytes` how
    much there is of an unfinished head; once `refused`, nothing more is read."""

    __slots__ = (
        "_blank",
        "_bounded",
        "_buffer",
        "_chunks",
        "_counting",
        "_downstream",
        "_left",
        "_next_context",
        "_pausing",
        "_started",
        "_taken",
        "context",
        "head_bytes",
        "receiving",
        "refused",
    )

    def __init__(self, context: Context, downstream: Downstream) -> None:
        self.context = context
        self._downstream = downstream
        self._buffer = b""  # of an unfinished head
        self._blank = False  # whether an empty line came before it
        self._started = False  # whether its first line was looked at
        self._left = 0  # of a body of known length
        self._counting = False
        self._bounded = False  # whether the connection is read in small pieces
        self._chunks: ChunkDecoder | None = None
        self._taken = 0  # of a chunked body
        self._pausing = False  # what follows may not be a request
        self._next_context: Context | None = None
        self.head_bytes = 0
        self.receiving: Exchange | None = None
        self.refused = False

    def __repr__(self) -> str:
        return f"<RequestReader head_bytes={self.head_bytes} left={self._left} refused={self.refused}>"

    def consume(self, data: bytes, at: int = 0) -> int:
        """Reads what has come, from `at` on; returns where it stopped, because earlier requests have to have
        their turn before what follows is looked at."""
        size = len(data)
        self._pausing = False
        while at < size and not self.refused:
            if self._counting:
                at = self._count(data, at)
            elif self._chunks is not None:
                at = self._decode(self._chunks, data, at)
            else:
                end = 0 if self.head_bytes or data[at] == _CR else self._read_at_once(data, at)
                at = end or self._gather(data, at)
            if at < size and self.receiving is None and (self._pausing or self._downstream.waiting > _AHEAD):
                return at
        if self.receiving is not None and not self._bounded:
            self._bound()
        return size

    def _bound(self) -> None:
        """What is still to come of a body may be long: it comes in pieces, in case the backend takes no
        more."""
        if self._chunks is not None or self._left > READ_BYTES:
            self._bounded = True
            self._downstream.bound_reads()

    def go_over_to(self, context: Context) -> None:
        """Reads the next requests for another configuration; a head that has begun is still the present
        one's."""
        if self.head_bytes:
            self._next_context = context
        else:
            self.context = context

    def stop(self) -> None:
        """Reads nothing more; the request that is being received is given up."""
        self.refused = True
        self.head_bytes = 0
        self._buffer = b""
        self.receiving = None

    # ... heads ...

    def _read_at_once(self, data: bytes, at: int) -> int:
        """Where the head that begins at `at` ends, if it is all there; else 0."""
        limit = self.context.listen.max_head_bytes
        if at == 0 and len(data) <= _SMALL:
            block = data.partition(b"\r\n\r\n")[0]
            end = len(block)
        else:
            end = data.find(b"\r\n\r\n", at, at + limit + 4)
            if end < 0:
                return 0
            block = data[at:end]
        if len(block) > limit or end == len(data):
            return 0
        end += 4
        self._take_head(block, end - at)
        return end

    def _gather(self, data: bytes, at: int) -> int:
        """Takes in more of a head that comes in pieces, or after an empty line; returns how far."""
        limit = self.context.listen.max_head_bytes
        known = len(self._buffer)
        piece = data[at : at + limit + 4 - known + 1]
        buffer = self._buffer + piece
        if not self._blank and buffer.startswith(b"\r\n"):
            self._blank = True  # one empty line is skipped (RFC 9112 section 2.2)
            buffer = buffer[2:]
            known -= 2
        end = buffer.find(b"\r\n\r\n", max(0, known - 3))
        if 0 < end <= limit:
            self._buffer = b""
            self.head_bytes = 0
            self._started = False
            self._take_head(buffer[:end], end + 4)
            if self._next_context is not None:
                self.context, self._next_context = self._next_context, None
            return at + end + 4 - known
        self._buffer = buffer
        self.head_bytes = len(buffer)
        try:
            self._check_begun(buffer, max(0, known))
        except BadRequest as error:
            self._downstream.refuse_input(error)
        else:
            if buffer:
                self._downstream.head_begun()
        return at + len(piece)

    def _check_begun(self, buffer: bytes, known: int) -> None:
        """A head that is hopeless is refused before all of it is here: `known` bytes were looked at before.

        Raises `BadRequest`.
        """
        listen = self.context.listen
        if not self._started:
            line, crlf, _ = buffer.partition(b"\r\n")
            if crlf:
                self.context.lines.start(line)
                self._started = True
            elif len(line) > listen.max_target_bytes + _AROUND_TARGET:
                raise BadRequest(414, "request target over the limit")
            elif _NO_METHOD.match(line):
                raise BadRequest(400, "this is not a request of HTTP/1.1")
        if _BARE_LINE_FEED.search(buffer, known):
            raise BadRequest(400, "a bare line feed")  # RFC 9112 section 2.2
        if len(buffer) > listen.max_head_bytes:
            raise BadRequest(431, "request head over the limit")

    def _take_head(self, block: bytes, size: int) -> None:
        try:
            head, fields = self.context.lines.head(block)
            self._admit(head, fields, size)
        except BadRequest as error:
            self._downstream.refuse_input(error)

    def _admit(self, head: RequestHead, fields: list[FieldLine], size: int) -> None:
        exchange = admit(self.context, self._downstream, head, fields, size)
        self._downstream.admitted(exchange)
        # Behind a last request nothing is processed (RFC 9112 section 9.6), and what follows a wish to switch
        # protocols belongs to the other one if that is granted (RFC 9110 section 7.8).
        self._pausing = bool(head.upgrade) or not head.keep_alive
        self._blank = False
        if not exchange.body.complete:
            self.receiving = exchange
            if head.length == CHUNKED:
                self._chunks = ChunkDecoder()
                self._taken = 0
            else:
                self._left = head.length
                self._counting = True

    # ... bodies ...

    def _count(self, data: bytes, at: int) -> int:
        """The next of a body of known length."""
        piece = data[at : at + self._left]
        self._left -= len(piece)
        receiving = self.receiving
        if receiving is not None:
            receiving.body_piece(piece)
        if self._left == 0:
            self._counting = False
            self._end_body(receiving)
        return at + len(piece)

    def _decode(self, chunks: ChunkDecoder, data: bytes, at: int) -> int:
        """The next of a chunked body; extensions and trailers are dropped (RFC 9110 section 6.5.1)."""
        pieces: list[bytes] = []
        try:
            at = chunks.feed(data, at, pieces)
        except ChunkError as error:
            self._downstream.refuse_input(BadRequest(error.status, error.detail))
            return len(data)
        receiving = self.receiving
        if pieces and receiving is not None:
            content = b"".join(pieces)
            self._taken += len(content)
            if self._taken > self.context.listen.max_body_bytes:
                self._downstream.refuse_input(BadRequest(413, "request body over the limit"))
                return len(data)
            receiving.body_piece(content)
        if chunks.ended:
            self._chunks = None
            self._end_body(receiving)
        return at

    def _end_body(self, receiving: Exchange | None) -> None:
        self.receiving = None
        if self._bounded:
            self._bounded = False
            self._downstream.unbound_reads()
        if receiving is not None:
            receiving.request_complete()
