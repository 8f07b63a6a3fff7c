"""One client connection: parses requests, runs their exchanges one after the other, writes the answers in
order.

Owns the request parser (llhttp), the limits on a head, pipelining and connection persistence. What a request
means is `admission`'s affair, what happens to it the exchange's. Nothing that follows a refusal or a `close`
is read.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final, cast

import httptools

from proxy.core.addresses import canonical
from proxy.dataplane.admission import admit
from proxy.dataplane.answers import problem
from proxy.dataplane.sockets import reset, unsent_bytes
from proxy.errors import BadRequest

if TYPE_CHECKING:
    import asyncio

    from proxy.dataplane.context import Context
    from proxy.dataplane.exchange import Exchange

_SLICE: Final = 16 << 10
"""How much is parsed at once where requests may begin, so that a flood of tiny ones cannot stall the loop."""
_STASH_BYTES: Final = 64 << 10
_LINGER_BYTES: Final = 64 << 10
_LINGER_S: Final = 2.0
_WRITE_HIGH: Final = 64 << 10

# What is done with bytes that arrive. Lingering: the request is answered, the rest of it is read and dropped
# (RFC 9112 section 9.6).
_OPEN: Final = 0
_LINGERING: Final = 1
_CLOSED: Final = 2


class Downstream:
    """A client connection. `write_paused` says that the client does not read what it was sent."""

    __slots__ = (
        "_context",
        "_current",
        "_fields",
        "_head_bytes",
        "_left",
        "_linger_left",
        "_mode",
        "_names",
        "_overhead",
        "_parser",
        "_queue",
        "_reading_paused",
        "_receiving",
        "_refused",
        "_renew",
        "_starting",
        "_stash",
        "_target",
        "_unsent_bytes",
        "chunk",
        "deadline",
        "forwarding_cache",
        "peer",
        "transport",
        "trusted",
        "write_paused",
    )

    transport: asyncio.Transport

    def __init__(self, context: Context) -> None:
        self._context = context
        self._parser = httptools.HttpRequestParser(self)
        self._names: list[bytes] = []
        self._fields: list[tuple[bytes, bytes]] = []
        self._target = b""
        self.chunk: bytes | memoryview = b""  # what is being parsed
        self._head_bytes = 0
        self._left = 0
        self._overhead = 0  # bytes of a chunked body since its last content
        self._renew = False
        self._receiving: Exchange | None = None
        self._current: Exchange | None = None
        self._queue: deque[Exchange | BadRequest] = deque()
        self._stash: list[bytes] = []
        self._refused = False
        self._starting = False
        self._reading_paused = False
        self._mode = _OPEN
        self._linger_left = _LINGER_BYTES
        self.write_paused = False
        self._unsent_bytes = 0  # when last looked at
        self.deadline = math.inf
        self.peer = ""
        self.trusted = False
        self.forwarding_cache: tuple[bytes, bytes] = (b"", b"")

    def __repr__(self) -> str:
        return f"<Downstream {self.peer} mode={self._mode} {self._current} queued={len(self._queue)}>"

    @property
    def idle(self) -> bool:
        """Whether no request is running, waiting or half received."""
        return self._current is None and not self._queue and not self._stash and not self._head_bytes

    # ... the methods of asyncio.Protocol; not derived from it, so that the class can be compiled ...

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=_WRITE_HIGH)
        address = transport.get_extra_info("peername")
        self.peer = canonical(address[0]) if isinstance(address, tuple) else ""
        self._context.arrived(self)
        self.deadline = self._context.now + self._context.listen.header_timeout_s

    def data_received(self, data: bytes) -> None:
        if self._mode != _OPEN:
            self._linger(len(data))
            return
        if self._stash or (self._receiving is None and (self._current is not None or self.write_paused)):
            self._keep_for_later(data)
            return
        self._consume(data)
        if self._current is None:
            self._advance()

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._mode = _CLOSED
        self._context.connections.discard(self)
        self._queue.clear()
        current, self._current = self._current, None
        self._receiving = None
        if current is not None:
            current.client_gone()

    def pause_writing(self) -> None:
        self.write_paused = True
        if self._current is not None:
            self._current.pause_response()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._current is not None:
            self._current.resume_response()
        elif self._mode == _OPEN:
            self.deadline = self._context.now + self._context.listen.keepalive_timeout_s
            self._advance()

    # ... what exchanges ask for ...

    def write(self, piece: bytes) -> None:
        """Sends to the client; if it has just gone, `connection_lost` will follow."""
        try:
            self.transport.write(piece)
        except RuntimeError:
            self._mode = _CLOSED

    def pause_reading(self) -> None:
        """Take nothing more from the client for now."""
        if not self._reading_paused and not self.transport.is_closing():
            self._reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Take more from the client again, unless requests wait that it has sent already."""
        if self._reading_paused and not self._stash and not self.transport.is_closing():
            self._reading_paused = False
            self.transport.resume_reading()

    def exchange_done(self, exchange: Exchange) -> None:
        """The present exchange has written the whole of its answer."""
        self._current = None
        if not exchange.keep_alive:
            self._receiving = None
            self._end(linger=not exchange.body.complete)
            return
        if self.write_paused:
            self._wait_for_reader()
        else:
            self.deadline = self._context.now + self._context.listen.keepalive_timeout_s
        if (self._queue or self._stash or self._reading_paused) and not self._starting:
            self._advance()

    def refuse(self, status: int, detail: str) -> None:
        """Answer the request that is being received, which has had no answer yet, and close."""
        self._current = self._receiving = None
        self.write(problem(status, detail, date=self._context.date_line, extra=b"Connection: close\r\n"))
        self._end(linger=True)

    def abort(self) -> None:
        """Breaks the connection, by RST, so that what the client has read is not taken for the whole."""
        self._current = self._receiving = None
        self._mode = _CLOSED
        reset(self.transport)

    def expired(self) -> None:
        """The sweep found the connection's own deadline passed: it idles, lingers, reads or sends slowly."""
        if unsent_bytes(self.transport) < self._unsent_bytes:
            self._wait_for_reader()  # it has taken something since the last look: slow, but not stalled
            return
        self.deadline = math.inf
        if self._mode == _OPEN and self._head_bytes and self._current is None:
            self.refuse(408, "the request head took too long")
        elif self._mode == _OPEN and not self.transport.get_write_buffer_size():
            self.transport.close()
        else:
            self.transport.abort()

    def _keep_for_later(self, data: bytes) -> None:
        """A pipelined request waits, unparsed, until its predecessors are answered."""
        self._stash.append(data)
        if len(data) > _STASH_BYTES or sum(map(len, self._stash)) > _STASH_BYTES:
            self.pause_reading()

    def _consume(self, data: bytes | memoryview) -> None:
        while data and not self._refused:
            if self._renew:
                data = self._take_known_length(data)
                continue
            if len(data) > _SLICE:
                data = memoryview(data)
            # In two lines: mypyc evaluates a slice's bound twice where the sliced value is of a union type.
            done = self._parse(data[:_SLICE])
            data = data[done:]
            if data and len(self._queue) > 1 and self._receiving is None:
                self._keep_for_later(bytes(data))
                return

    def _take_known_length(self, data: bytes | memoryview) -> bytes | memoryview:
        """The rest of a body of known length needs no parser; what follows it gets a fresh one."""
        piece, data = data[: self._left], data[self._left :]
        self._left -= len(piece)
        receiving = self._receiving
        if receiving is not None:
            receiving.body_piece(bytes(piece))
        if self._left == 0:
            self._renew = False
            self._parser = httptools.HttpRequestParser(self)
            self._receiving = None
            if receiving is not None:
                receiving.request_complete()
        return data

    def _parse(self, chunk: bytes | memoryview) -> int:
        """How much is done with: all, unless llhttp stopped at a request that asks to switch protocols."""
        size = len(chunk)
        self.chunk = chunk
        if self._receiving is None:
            self._head_bytes += size
        else:
            self._overhead += size
        try:
            self._parser.feed_data(chunk)
        except httptools.HttpParserUpgrade as upgrade:
            # We never switch: its body or the next request follows (RFC 9110 section 7.8).
            self._parser = httptools.HttpRequestParser(self)
            size = upgrade.args[0]
        except httptools.HttpParserError as error:
            known = self._parser.get_http_version().startswith(("0.", "1."))
            self._refuse_input(BadRequest(400 if known else 505, str(error)))
        if self._left:
            self._renew = True
        elif self._overhead > self._context.listen.max_head_bytes and not self._refused:
            self._refuse_input(BadRequest(431, "chunk extensions or trailers over the limit"))
        elif self._head_bytes and not self._refused:
            self._check_unfinished_head()
        self.chunk = b""
        return size

    def _check_unfinished_head(self) -> None:
        if self._head_bytes > self._context.listen.max_head_bytes:
            status, what = (431, "request head") if self._fields else (414, "request target")
            self._refuse_input(BadRequest(status, f"{what} over the limit"))
        elif self._current is None:
            self.deadline = min(self.deadline, self._context.now + self._context.listen.header_timeout_s)

    def _refuse_input(self, error: BadRequest) -> None:
        """The client broke a rule. Earlier requests are answered first; a half-received one is given up."""
        self._refused = True
        self._head_bytes = 0
        receiving, self._receiving = self._receiving, None
        if receiving is not None and receiving is self._current:
            answered = receiving.answered
            receiving.client_gone()
            self.abort() if answered else self.refuse(error.status, error.detail)
            return
        if receiving is not None:
            self._queue.remove(receiving)
        self._queue.append(error)

    # ... httptools callbacks ...

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), value))
        self._names.append(name)

    def on_headers_complete(self) -> None:
        if self._refused:
            return
        parser = self._parser
        target, fields, names = self._target, self._fields, self._names
        size, self._head_bytes = self._head_bytes, 0
        self._target, self._fields, self._names = b"", [], []
        try:
            exchange = admit(self._context, self, parser, target, fields, names, size)
        except BadRequest as error:
            self._refuse_input(error)
            return
        self._queue.append(exchange)
        if not exchange.body.complete:
            self._receiving = exchange
            self._left = max(0, exchange.head.length)

    def on_body(self, piece: bytes) -> None:
        receiving = self._receiving
        if receiving is None:
            return
        if self._left:
            self._left -= len(piece)
        self._overhead = 0
        receiving.body_piece(piece)

    def on_message_complete(self) -> None:
        self._overhead = 0
        if self._fields:
            # Trailers are dropped (RFC 9110 section 6.5.1).
            self._fields, self._names = [], []
        receiving = self._receiving
        if receiving is not None and not self._left:
            self._receiving = None
            receiving.request_complete()

    # ... one exchange after the other ...

    def _advance(self) -> None:
        while self._current is None and self._mode == _OPEN and not self.write_paused:
            if self._queue:
                turn = self._queue.popleft()
                if isinstance(turn, BadRequest):
                    self.refuse(turn.status, turn.detail)
                    return
                self._current = turn
                self.deadline = math.inf
                self._starting = True
                turn.start()
                self._starting = False
            elif self._stash:
                data = b"".join(self._stash)
                self._stash = []
                self._consume(data)
                if self._receiving is not None or self._head_bytes:
                    self.resume_reading()
                if not self._queue:
                    return
            else:
                self.resume_reading()
                return

    def _end(self, *, linger: bool) -> None:
        """Closes after the answer; with more of the request on its way, only when that is read (bounded)."""
        self._queue.clear()
        self._stash = []
        if self.transport.is_closing():
            return
        if not linger:
            self._mode = _CLOSED
            self._wait_for_reader()
            self.transport.close()
            return
        self._mode = _LINGERING
        self._unsent_bytes = unsent_bytes(self.transport)
        self.deadline = self._context.now + _LINGER_S
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.resume_reading()

    def _linger(self, size: int) -> None:
        self._linger_left -= size
        if self._linger_left < 0:
            self.pause_reading()  # to close over unread bytes would be a reset, which can overtake the answer

    def _wait_for_reader(self) -> None:
        """The client has some time to take more of its answer."""
        self._unsent_bytes = unsent_bytes(self.transport)
        self.deadline = self._context.now + self._context.listen.body_idle_timeout_s
