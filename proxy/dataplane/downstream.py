"""One client connection: runs the exchanges of its requests one after the other, writes the answers in order.

Owns pipelining, connection persistence and how a connection ends. Where requests begin and end is
`request_reader`'s affair, what happens to one the exchange's. Nothing that follows a refusal or a `close` is
read.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, Final, cast

from proxy.core.addresses import canonical
from proxy.core.refusals import OVERLOADED, reason_of
from proxy.dataplane.answers import CLOSE, overloaded, problem
from proxy.dataplane.bounded_reads import bound_reads, unbound_reads
from proxy.dataplane.request_reader import RequestReader
from proxy.dataplane.sockets import next_look, reset, unsent_bytes
from proxy.errors import BadRequest

if TYPE_CHECKING:
    from proxy.dataplane.context import Context
    from proxy.dataplane.exchange import Exchange

_STASH_BYTES: Final = 64 << 10
_LINGER_BYTES: Final = 64 << 10
_LINGER_S: Final = 2.0
_WRITE_HIGH: Final = 64 << 10
_TURNS: Final = 256
"""How many requests are answered on the spot before others have their turn on the loop."""

# What is done with bytes that arrive. Lingering: answered, the rest is read, dropped (RFC 9112 section 9.6).
_OPEN: Final = 0
_LINGERING: Final = 1
_CLOSED: Final = 2


class Downstream:
    """A client connection. `write_paused` says that the client does not read what it was sent."""

    __slots__ = (
        "_context",
        "_current",
        "_linger_left",
        "_mode",
        "_moved_at",
        "_queue",
        "_reader",
        "_reading_paused",
        "_requests_granted",
        "_requests_left",
        "_starting",
        "_stash",
        "_stash_at",
        "_stash_bytes",
        "_unsent_bytes",
        "client_cert",
        "deadline",
        "forwarding_cache",
        "peer",
        "scheme",
        "transport",
        "trusted",
        "write_paused",
    )

    transport: asyncio.Transport

    def __init__(self, context: Context) -> None:
        self._context = context
        self._reader = RequestReader(context, self)
        self._current: Exchange | None = None
        self._queue: deque[Exchange | BadRequest] = deque()
        self._stash: list[bytes] = []
        self._stash_at = 0  # what of its first piece has been read
        self._stash_bytes = 0  # of the rest; kept, because there may be a piece for every byte
        self._starting = False
        self._reading_paused = False
        self._mode = _OPEN
        self._linger_left = _LINGER_BYTES
        self._requests_granted = context.listen.max_requests_per_connection or -1  # which never gets to 0
        self._requests_left = self._requests_granted
        self.write_paused = False
        self._unsent_bytes = 0  # when last looked at; 0 while that is no matter
        self._moved_at = 0.0  # when it was last seen to have taken something
        self.deadline = math.inf
        self.peer = ""
        self.scheme = b"http"
        self.client_cert = b""  # what upstreams are told of it
        self.trusted = False
        self.forwarding_cache: tuple[bytes, bytes] = (b"", b"")

    def __repr__(self) -> str:
        return f"<Downstream {self.peer} mode={self._mode} {self._current} queued={len(self._queue)}>"

    @property
    def idle(self) -> bool:
        """Whether no request is running, waiting or half received, nor the rest of one that is answered."""
        is_between = self._current is None and self._mode != _LINGERING
        return is_between and not (self._queue or self._stash or self._reader.head_bytes)

    @property
    def has_asked(self) -> bool:
        """Whether any request has come on it."""
        return self._requests_left != self._requests_granted

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return len(self._queue)

    # ... the methods of asyncio.Protocol; not derived from it, so that the class can be compiled ...

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=_WRITE_HIGH)
        if not self.peer:
            address = transport.get_extra_info("peername")
            self.peer = canonical(address[0]) if isinstance(address, tuple) else ""
        if self._context.arrived(self):
            self.deadline = self._context.now + self._context.listen.header_timeout_s
        else:
            self._turn_away()

    def data_received(self, data: bytes) -> None:
        if self._mode != _OPEN:
            self._linger(len(data))
            return
        if self._stash or (
            self._reader.receiving is None and (self._current is not None or self.write_paused)
        ):
            self._keep_for_later(data)
            return
        self._consume(data)
        if self._current is None:
            self._advance()

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._mode = _CLOSED
        self._context.left(self)
        self._queue.clear()
        current, self._current = self._current, None
        self._reader.stop()
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
            self._unsent_bytes = 0
            self.deadline = self._context.now + self._context.listen.keepalive_timeout_s
            self._advance()

    # ... a reload ...

    def go_over_to(self, context: Context) -> None:
        """From its next request on, the connection follows another configuration."""
        self._context = context
        self._reader.go_over_to(context)

    def has_waiting(self, context: Context) -> bool:
        """Whether a request of that configuration waits for its turn, or is being read."""
        return self._reader.context is context or any(
            not isinstance(turn, BadRequest) and turn.context is context for turn in self._queue
        )

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

    def take_rest(self) -> bytes:
        """What has come behind the present request and was not read: it belongs to the protocol that the
        connection switches to."""
        rest = b"".join(self._stash)[self._stash_at :]
        self._stash = []
        return rest

    def exchange_done(self, exchange: Exchange) -> None:
        """The present exchange has written the whole of its answer."""
        self._current = None
        if not exchange.keep_alive:
            self._reader.stop()
            # Who has sent on may send more, and a reset for that could overtake the answer.
            self._end(linger=not exchange.body.complete or bool(self._stash))
            return
        if self.write_paused:
            self._wait_for_reader()
        else:
            listen = self._context.listen
            wait = listen.header_timeout_s if self._reader.head_bytes else listen.keepalive_timeout_s
            self.deadline = self._context.now + wait
        if (self._queue or self._stash or self._reading_paused) and not self._starting:
            self._advance()

    def refuse(self, status: int, detail: str) -> None:
        """Answer the request that is being received, which has had no answer yet, and close."""
        self._context.refused(reason_of(status))
        if self._current is None and self._context.watch is not None:
            self._context.watch.request_refused(self._context, self, status)
        self._current = None
        self._reader.stop()
        self.write(problem(status, detail, date=self._context.date_line, extra=CLOSE))
        self._end(linger=True)

    def abort(self) -> None:
        """Breaks the connection, by RST, so that what the client has read is not taken for the whole."""
        self._current = None
        self._reader.stop()
        self._mode = _CLOSED
        reset(self.transport)

    def expired(self) -> None:
        """The sweep found the connection's own deadline passed: it idles, lingers, reads or sends slowly."""
        if self._unsent_bytes and self._reads_slowly():
            return
        self.deadline = math.inf
        if self._mode == _OPEN and self._reader.head_bytes and self._current is None:
            self.refuse(408, "the request head took too long")
        elif self._mode == _OPEN and not self.transport.get_write_buffer_size():
            self.transport.close()
        else:
            self.transport.abort()

    def _keep_for_later(self, data: bytes, at: int = 0) -> None:
        """A pipelined request waits, unparsed, until its predecessors are answered."""
        if not self._stash:
            self._stash_at = at
            self._stash_bytes = -at
        self._stash.append(data)
        self._stash_bytes += len(data)
        if self._stash_bytes > _STASH_BYTES:
            self.pause_reading()

    def _consume(self, data: bytes, at: int = 0) -> None:
        end = self._reader.consume(data, at)
        if end < len(data):
            self._keep_for_later(data, end)

    # ... told by the reader ...

    def admitted(self, exchange: Exchange) -> None:
        """A request has come; it waits for its turn."""
        self._requests_left -= 1
        if self._requests_left == 0:
            exchange.keep_alive = False
        self._queue.append(exchange)

    def head_begun(self) -> None:
        """There is the beginning of a head: the rest has to come in time."""
        if self._current is None:
            self.deadline = min(self.deadline, self._context.now + self._context.listen.header_timeout_s)

    def bound_reads(self) -> None:
        """A body comes that may be long."""
        if not self.transport.is_closing():
            bound_reads(self.transport, self)

    def unbound_reads(self) -> None:
        """All of that body is here."""
        if not self.transport.is_closing():
            unbound_reads(self.transport, self)

    def refuse_input(self, error: BadRequest) -> None:
        """The client broke a rule. Earlier requests are answered first; a half-received one is given up."""
        receiving = self._reader.receiving
        self._reader.stop()
        if receiving is not None and receiving is self._current:
            answered = receiving.answered
            receiving.client_gone()
            if answered:
                self._context.refused(reason_of(error.status))
                self.abort()
            else:
                self.refuse(error.status, error.detail)
            return
        if receiving is not None:
            self._queue.remove(receiving)
        self._queue.append(error)

    # ... one exchange after the other ...

    def _advance(self) -> None:
        turns = 0
        while self._current is None and self._mode == _OPEN and not self.write_paused:
            turns += 1
            if turns > _TURNS:
                asyncio.get_running_loop().call_soon(self._advance)
                return
            if self._queue:
                turn = self._queue.popleft()
                if isinstance(turn, BadRequest):
                    self.refuse(turn.status, turn.detail)
                    return
                if self._context.shedding:
                    self._shed(turn)
                    continue
                self._current = turn
                self.deadline = math.inf
                self._starting = True
                turn.start()
                self._starting = False
            elif self._stash:
                data = self._stash[0] if len(self._stash) == 1 else b"".join(self._stash)
                self._stash = []
                self._consume(data, self._stash_at)
                if self._reader.receiving is not None or self._reader.head_bytes or not self._queue:
                    self.resume_reading()
                if not self._queue:
                    return
            else:
                self.resume_reading()
                return

    def _shed(self, exchange: Exchange) -> None:
        """The loop is late: what is there has to be done first. No path is asked, and none is to blame."""
        self._context.refused(OVERLOADED)
        if exchange.context.watch is not None:
            exchange.context.watch.request_shed(exchange)
        stays = exchange.keep_alive and exchange.body.complete and exchange.head.minor_version == 1
        bodiless = exchange.head.method == b"HEAD"
        self.write(overloaded("requests", date=self._context.date_line, stays=stays, bodiless=bodiless))
        if not stays:
            self._reader.stop()
            self._end(linger=not exchange.body.complete)

    def _turn_away(self) -> None:
        """There are too many connections: nothing of this one is read."""
        self._mode = _CLOSED
        self.write(overloaded("connections", date=self._context.date_line, stays=False))
        self.transport.close()

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
        self._moved_at = -math.inf
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
        now = self._context.now
        self._unsent_bytes = unsent_bytes(self.transport)
        self._moved_at = now
        self.deadline = next_look(now, now, self._context.listen.body_idle_timeout_s)

    def _reads_slowly(self) -> bool:
        """Whether it has taken something of late: slow, but not stalled."""
        now = self._context.now
        unsent = unsent_bytes(self.transport)
        if unsent < self._unsent_bytes:
            self._moved_at = now
        self._unsent_bytes = unsent
        self.deadline = next_look(now, self._moved_at, self._context.listen.body_idle_timeout_s)
        return self.deadline > now
