"""One connection to an endpoint: writes requests, parses what comes back, trusts none of it.

Owns the check that one answer is exactly one answer. A head that comes whole and plain is read at once
(`core.response_head`); all else goes through the parser (llhttp). It tells its exchange in one call per read
what has arrived, and its endpoint when it is free or gone. It knows nothing of clients and fallback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import httptools

from proxy.core.framing import CHUNKED, CONTRADICTORY, UNTIL_CLOSE
from proxy.core.response_head import ResponseFields, read_head
from proxy.dataplane.sockets import left_behind
from proxy.model import ErrorClass

if TYPE_CHECKING:
    import asyncio

    from proxy.core.response_head import ResponseHead
    from proxy.dataplane.endpoint import Endpoint
    from proxy.dataplane.exchange import Exchange

MAX_INTERIM: Final = 32
_DISCARD_BYTES: Final = 64 << 10
_WRITE_HIGH: Final = 64 << 10
_MAX_TRAILERS: Final = 100
_CHUNKED_START: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
"""What the parser is told of a chunked answer whose head was read without it."""


class Upstream:
    """An upstream connection. `exchange` is the one it works for; None while it is pooled or being
    emptied."""

    __slots__ = (
        "_bodiless",
        "_bypass",
        "_complete",
        "_dirty",
        "_discard_left",
        "_fields",
        "_head",
        "_head_bytes",
        "_interim",
        "_parser",
        "_pieces",
        "_received",
        "_renew",
        "endpoint",
        "exchange",
        "idle_since",
        "on_header",
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
        self._fields = ResponseFields()
        self.on_header = self._fields.add  # the parser's callback
        self._parser = httptools.HttpResponseParser(self)
        self._renew = False
        self._discard_left = 0
        self._head: ResponseHead | None = None
        self._pieces: list[bytes] = []
        self._received = 0
        self._bypass = 0
        self._head_bytes = 0
        self._interim = 0
        self._bodiless = False
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
        if self._renew:
            self._parser = httptools.HttpResponseParser(self)
            self._renew = False
        self._fields.clear()
        self._head = None
        self._pieces = []
        self._received = 0
        self._head_bytes = 0
        self._interim = 0
        self._bodiless = bodiless
        self._complete = False
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
        return self._head_bytes > 0 or self._head is not None

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
            return
        if self._bypass:
            self._pass_through(exchange, data)
            return
        if not self._head_bytes and self._read_at_once(exchange, data):
            return
        if self._head is None:
            self._head_bytes += len(data)
        had_head = self._head is not None
        self._deliver(exchange, self._feed(data), had_head=had_head)

    def _read_at_once(self, exchange: Exchange, data: bytes) -> bool:
        """Takes an answer whose head has come whole and says plainly how long the body is. Else: False."""
        block, empty, body = data.partition(b"\r\n\r\n")
        if not empty or len(block) > self.endpoint.max_head_bytes:
            return False
        head = read_head(block, bodiless=self._bodiless)
        if head is None or head.length < CHUNKED:
            return False
        self._head_bytes = len(block) + len(empty)
        self._head = head
        if head.length == CHUNKED:
            problem = self._feed(_CHUNKED_START)
            self._fields.clear()
            if problem is None and body:
                problem = self._feed(body)
            self._deliver(exchange, problem, had_head=False)
            return True
        left = head.length - len(body)
        if left > 0:
            self._bypass = left
        else:
            self._complete = True
            if left < 0:
                body = body[: head.length]
                self._dirty = True
        exchange.response(head, [body] if body else [], complete=self._complete)
        return True

    def _deliver(self, exchange: Exchange, problem: str | None, *, had_head: bool) -> None:
        """Tells the exchange what the parser has made of a read."""
        head = self._head
        if head is None:
            if problem is None and self._head_bytes > self.endpoint.max_head_bytes:
                problem = "response head over the limit"
            if problem is not None:
                exchange.upstream_failed(ErrorClass.INVALID, problem)
            return
        pieces = self._pieces
        if pieces:
            self._pieces = []
        if problem is not None and not had_head and not self._complete:
            exchange.upstream_failed(ErrorClass.INVALID, problem)
            return
        exchange.response(None if had_head else head, pieces, complete=self._complete)
        if problem is not None and not self._complete and self.exchange is exchange:
            exchange.upstream_failed(ErrorClass.INVALID, problem)

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.endpoint.forget(self)
        if exc is not None and self.exchange is not None:
            # It may have answered before it closed on what we still wrote (RFC 9112 section 9.5).
            data = left_behind(self.transport)
            if data:
                self.data_received(data)
        exchange = self.exchange
        if exchange is None:
            return
        head = self._head
        if exc is None and head is not None and head.length == UNTIL_CLOSE and not self._complete:
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

    # ... parsing ...

    def _feed(self, data: bytes) -> str | None:
        """Parses; returns what is wrong with the answer, or None. Trouble after a complete answer is no
        fault."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._dirty = True
            return "unexpected upgrade"
        except httptools.HttpParserError as error:
            self._dirty = True
            if not self._complete:
                return str(error)
        head = self._head
        if self._interim > MAX_INTERIM:
            return self._disbelieve("too many interim responses")
        if head is None:
            return None
        if head.length == CONTRADICTORY:
            return self._disbelieve("contradictory framing")
        limit = self.endpoint.max_head_bytes
        if self._head_bytes > limit and sum(map(len, head.lines)) > limit:
            return self._disbelieve("response head over the limit")
        if len(self._fields.fields) > _MAX_TRAILERS:
            self._dirty = True
            return "trailers over the limit"
        # A long body of known length needs no parser: count the bytes instead of copying them.
        if head.length > 0 and not self._complete:
            left = head.length - self._received
            if left > 0:
                self._bypass = left
                self._renew = True
        return None

    def _disbelieve(self, problem: str) -> str:
        """An answer with such a head is none, even if all of it has come in the same read."""
        self._dirty = True
        self._complete = False
        return problem

    def _pass_through(self, exchange: Exchange, data: bytes) -> None:
        left = self._bypass - len(data)
        if left > 0:
            self._bypass = left
            exchange.response(None, [data], complete=False)
            return
        if left < 0:
            data = data[:left]
            self._dirty = True
        self._bypass = 0
        self._complete = True
        exchange.response(None, [data], complete=True)

    def _unasked(self, data: bytes) -> None:
        """Bytes that nobody waits for: the rest of a discarded answer, or a reason to close (RFC 9112
        9.2)."""
        self._discard_left -= len(data)
        if self._discard_left <= 0:
            self.close()
            return
        if self._bypass:
            self._bypass -= len(data)
            self._complete = self._bypass == 0
            self._dirty = self._bypass < 0
        elif self._feed(data) is not None:
            self._dirty = True
        self._pieces = []
        if self._dirty:
            self.close()
        elif self._complete:
            self._discard_left = 0
            self.endpoint.emptying.discard(self)
            self.endpoint.release(self, self.idle_since)

    def on_message_begin(self) -> None:
        if self._complete:
            self._dirty = True

    def on_headers_complete(self) -> None:
        if self._complete:
            self._dirty = True
            return
        if self._head is not None:
            return  # of `_CHUNKED_START`
        status = self._parser.get_status_code()
        version = self._parser.get_http_version()
        if status < 200:
            self._interim += 1
            if status == 101 or status < 100:
                raise ValueError("no answer to a request that did not ask to switch protocols")
            return
        head = self._fields.finish(status, 1 if version == "1.1" else 0, bodiless=self._bodiless)
        if version != "1.1" and version != "1.0":
            head.length = CONTRADICTORY
        self._head = head
        if self._bodiless:
            self._complete = True
            self._dirty = True  # what follows, the parser may take for the beginning of a body

    def on_body(self, piece: bytes) -> None:
        if self._complete or self._head is None:
            self._stray_body()
            return
        self._received += len(piece)
        self._pieces.append(piece)

    def _stray_body(self) -> None:
        self._dirty = True
        if not self._complete:
            raise ValueError("an interim response with a body")  # RFC 9112 section 6.3

    def on_message_complete(self) -> None:
        if self._head is not None:
            self._complete = True
            # It may heed what we do not, and then takes no more from this connection.
            self._renew = self._renew or not self._parser.should_keep_alive()
            return
        if self.exchange is not None and self._interim <= MAX_INTERIM:
            status = self._parser.get_status_code()
            self.exchange.interim(status, self._fields.finish(status, 1, bodiless=True).lines)
        self._fields.clear()
