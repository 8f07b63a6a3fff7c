"""One connection to an endpoint: writes requests, reads what comes back, trusts none of it.

Owns the check that one answer is exactly one answer. Heads are read by `core.response_head` once they are
whole, chunked bodies by `core.chunked`: where a read ends changes nothing. It tells its exchange in one call
per read what has arrived, and its endpoint when it is free or gone. It knows nothing of clients and fallback.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

from proxy.core.chunked import ChunkDecoder, ChunkError
from proxy.core.framing import CHUNKED, CONTRADICTORY, UNTIL_CLOSE
from proxy.core.response_head import read_head
from proxy.dataplane.bounded_reads import READ_BYTES, bound_reads, unbound_reads
from proxy.dataplane.sockets import is_said_to_end, left_behind
from proxy.model import ErrorClass

if TYPE_CHECKING:
    import asyncio

    from proxy.core.response_head import ResponseHead
    from proxy.dataplane.endpoint import Endpoint
    from proxy.dataplane.exchange import Exchange

MAX_INTERIM: Final = 32
_DISCARD_BYTES: Final = 64 << 10
_WRITE_HIGH: Final = 64 << 10
_SMALL: Final = 4 << 10
"""Reads up to this size are taken apart with one call; in a longer one the body stays where it is, and is
copied once, behind the client's head."""
_VERSION: Final = b"HTTP/1."
_END: Final = b"\r\n\r\n"
_BARE_LINE_FEED: Final = re.compile(rb"(?<!\r)\n")


class Upstream:
    """An upstream connection. `exchange` is the one it works for; None while it is pooled or being
    emptied."""

    __slots__ = (
        "_bodiless",
        "_bounded",
        "_buffer",
        "_chunks",
        "_complete",
        "_dirty",
        "_discard_left",
        "_head",
        "_interim",
        "_left",
        "endpoint",
        "exchange",
        "idle_since",
        "transport",
        "uses",
        "write_paused",
    )

    transport: asyncio.Transport

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.exchange: Exchange | None = None
        self.uses = 0
        self.idle_since = 0.0
        self.write_paused = False
        self._discard_left = 0
        self._buffer = b""  # of an unfinished head
        self._head: ResponseHead | None = None
        self._left = 0  # of a body of known length
        self._chunks: ChunkDecoder | None = None
        self._interim = 0
        self._bodiless = False
        self._bounded = False  # whether it is read in small pieces
        self._complete = False
        self._dirty = False

    def __repr__(self) -> str:
        state = "busy" if self.exchange is not None else "emptying" if self._discard_left else "idle"
        return f"<Upstream {self.endpoint.url} {state} uses={self.uses}>"

    # ... one request ...

    def begin(self, exchange: Exchange, opening: bytes, *, bodiless: bool) -> None:
        """Sends `opening` for `exchange`. `bodiless`: the answer has no body whatever its fields say
        (HEAD)."""
        # A connection comes here fresh or after a clean answer: only what that left behind is reset.
        self.exchange = exchange
        self.uses += 1
        self._head = None
        self._chunks = None
        self._interim = 0
        self._bodiless = bodiless
        self._complete = False
        if self._bounded:
            self._bounded = False
            unbound_reads(self.transport, self)
        self.send(opening)

    def send(self, piece: bytes) -> None:
        """Writes; on a connection that has just died there is nothing to do, for `connection_lost` will
        follow."""
        try:
            self.transport.write(piece)
        except RuntimeError:
            self._dirty = True

    @property
    def connected(self) -> bool:
        """Whether there is a connection at all."""
        return hasattr(self, "transport")

    @property
    def answering(self) -> bool:
        """Whether any byte of the present answer has arrived."""
        return self._head is not None or self._interim > 0 or bool(self._buffer)

    def detach(self, now: float, *, request_complete: bool) -> None:
        """The exchange needs no more of this connection: back to the pool if it is clean, else closed."""
        self.exchange = None
        if self._complete and request_complete and self._reusable():
            self.endpoint.release(self, now)
        else:
            self.close()

    def discard(self, now: float, *, request_complete: bool) -> None:
        """The exchange wants another answer: read the rest of this one if it is short, to keep the
        connection."""
        if self._complete or not request_complete or not self._reusable():
            self.detach(now, request_complete=request_complete)
            return
        self.exchange = None
        self._discard_left = _DISCARD_BYTES
        self.endpoint.empty(self, now)

    def close(self) -> None:
        """Closes without waiting for anything."""
        self.exchange = None
        self.transport.abort()

    def _reusable(self) -> bool:
        head = self._head
        return head is not None and not self._dirty and not head.closes and head.length > UNTIL_CLOSE

    # ... the methods of asyncio.Protocol; not derived from it, so that the class can be compiled ...

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=_WRITE_HIGH)

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            self._unasked(data)
        elif self._left:
            self._count(exchange, data)
        elif self._head is None:
            self._read_head(exchange, data)
        elif self._chunks is not None:
            self._decode(exchange, self._chunks, data)
        else:
            exchange.response(None, [data], complete=False)

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.endpoint.forget(self)
        if exc is not None and self.exchange is not None:
            # It may have answered before it closed on what we still wrote (RFC 9112 section 9.5).
            data = left_behind(self.transport)
            if data:
                self._dirty = True  # the answer may be whole, the connection is none
                self.data_received(data)
        exchange = self.exchange
        if exchange is None:
            return
        head = self._head
        until_close = head is not None and head.length == UNTIL_CLOSE and not self._complete
        if exc is None and until_close and is_said_to_end(self.transport):
            self._complete = True
            exchange.response(None, [], complete=True)
            return
        self.exchange = None
        kind = ErrorClass.RESET if head is None else ErrorClass.TRUNCATED
        exchange.upstream_failed(
            kind, "upstream closed the connection" if exc is None else f"upstream: {exc}"
        )

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.exchange is not None:
            self.exchange.pause_request()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.exchange is not None:
            self.exchange.resume_request()

    # ... the head of an answer ...

    def _read_head(self, exchange: Exchange, data: bytes) -> None:
        """Takes the next heads, of which all but the last are interim, and what follows of a body."""
        known = len(self._buffer)
        if known:
            data = self._buffer + data
            self._buffer = b""
        while True:
            at = 0  # where the body begins in `data`
            if len(data) > _SMALL and (size := data.find(_END)) >= 0:
                block, empty, at = data[:size], _END, size + 4
            else:
                block, empty, data = data.partition(_END)
            if not empty or len(block) > self.endpoint.max_head_bytes:
                self._keep_for_later(exchange, block, known)
                return
            head = read_head(block, bodiless=self._bodiless)
            if head is None or head.length == CONTRADICTORY:
                problem = "a malformed head" if head is None else "contradictory framing"
                exchange.upstream_failed(ErrorClass.INVALID, problem)
                return
            if head.status >= 200:
                break
            if head.status == 101:
                self._switch(exchange, head, data[at:])
                return
            if self._interim == MAX_INTERIM:
                exchange.upstream_failed(ErrorClass.INVALID, "too many interim responses")
                return
            self._interim += 1
            exchange.interim(head.status, head.lines)
            data = data[at:]
            if not data:
                return
            known = 0
        self._head = head
        if head.length >= 0:
            self._begin_sized(exchange, head, data, at)
        elif head.length == CHUNKED:
            self._begin_chunked(exchange, head, data[at:])
        else:
            data = data[at:]
            self._bound()
            exchange.response(head, [data] if data else [], complete=False)

    def _keep_for_later(self, exchange: Exchange, block: bytes, known: int) -> None:
        """A head that is not whole waits for the rest of it, unless that is of no use; `known` bytes of it
        were looked at before."""
        if len(block) > self.endpoint.max_head_bytes:
            exchange.upstream_failed(ErrorClass.INVALID, "response head over the limit")
        elif not block.startswith(_VERSION[: len(block)]) or _BARE_LINE_FEED.search(block, known):
            exchange.upstream_failed(ErrorClass.INVALID, "a malformed head")
        else:
            self._buffer = block

    def _switch(self, exchange: Exchange, head: ResponseHead, rest: bytes) -> None:
        """The upstream speaks another protocol from here on, which only a client that asked can want (RFC
        9110 section 7.8); the connection is the exchange's from now on."""
        if not exchange.head.upgrade or head.upgrade.lower() != exchange.head.upgrade:
            exchange.upstream_failed(ErrorClass.INVALID, "an upgrade that was not asked for")
            return
        self._dirty = True
        switch = b"Connection: upgrade\r\nUpgrade: %b\r\n" % head.upgrade
        exchange.switched([*head.lines, switch], rest)

    def _begin_sized(self, exchange: Exchange, head: ResponseHead, data: bytes, at: int) -> None:
        left = head.length + at - len(data)
        if left > 0:
            self._left = left
            if left > READ_BYTES:
                self._bound()
        else:
            self._complete = True
            if left < 0:
                data = data[:left]
                self._dirty = True  # nothing that follows an answer is a new one (RFC 9112 section 9.2)
        if at and head.status >= 500:  # of which the body may be kept
            data, at = data[at:], 0
        exchange.response(head, [data] if data else [], complete=self._complete, skip=at)

    def _begin_chunked(self, exchange: Exchange, head: ResponseHead, data: bytes) -> None:
        chunks = self._chunks = ChunkDecoder()
        pieces: list[bytes] = []
        problem = self._feed(chunks, data, pieces) if data else None
        if problem is None:
            if not self._complete:
                self._bound()
            exchange.response(head, pieces, complete=self._complete)
        else:
            exchange.upstream_failed(ErrorClass.INVALID, problem)

    # ... the rest of its body ...

    def _bound(self) -> None:
        """The body may be long: it comes in pieces, in case the client takes no more."""
        self._bounded = True
        bound_reads(self.transport, self)

    def _decode(self, exchange: Exchange, chunks: ChunkDecoder, data: bytes) -> None:
        pieces: list[bytes] = []
        problem = self._feed(chunks, data, pieces)
        exchange.response(None, pieces, complete=self._complete)
        if problem is not None and self.exchange is exchange:
            exchange.upstream_failed(ErrorClass.INVALID, problem)

    def _feed(self, chunks: ChunkDecoder, data: bytes, pieces: list[bytes]) -> str | None:
        """What is wrong with the coding, or None; trailers are dropped (RFC 9110 section 6.5.1)."""
        try:
            at = chunks.feed(data, 0, pieces)
        except ChunkError as error:
            self._dirty = True
            return error.detail
        if chunks.ended:
            self._complete = True
            self._dirty = self._dirty or at < len(data)
        return None

    def _count(self, exchange: Exchange, data: bytes) -> None:
        """A body of known length is passed through."""
        left = self._left - len(data)
        if left > 0:
            self._left = left
            exchange.response(None, [data], complete=False)
            return
        if left < 0:
            data = data[:left]
            self._dirty = True
        self._left = 0
        self._complete = True
        exchange.response(None, [data], complete=True)

    def _unasked(self, data: bytes) -> None:
        """Bytes that nobody waits for: the rest of a discarded answer, or a reason to close (RFC 9112
        9.2)."""
        self._discard_left -= len(data)
        if self._discard_left <= 0:
            self.close()
            return
        if self._left:
            self._dirty = len(data) > self._left
            self._left = max(0, self._left - len(data))
            self._complete = self._left == 0
        elif self._chunks is not None:
            self._feed(self._chunks, data, [])
        if self._dirty:
            self.close()
        elif self._complete:
            self._discard_left = 0
            self.endpoint.emptying.discard(self)
            self.endpoint.release(self, self.idle_since)
