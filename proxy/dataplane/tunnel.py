"""A connection that has switched protocols: bytes of the client to the backend, and the other way round.

Owns what follows a 101 (RFC 9110 section 7.8): back-pressure, half-close, the idle time-out, and the end of
both connections when either ends. A tunnel stays on the path of its handshake. It looks into no byte, and
counts nothing: either side may end it in any way, so that its end says nothing about the backend.

    open → closing (one side is gone, or it was cut: what is under way still arrives) → ended
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from proxy.dataplane import ledger, relay
from proxy.dataplane.bounded_reads import bound_reads
from proxy.dataplane.routes import UNROUTED_TUNNELS
from proxy.dataplane.sockets import unsent_bytes
from proxy.dataplane.stages import FINISHED
from proxy.model import ErrorClass, Path

if TYPE_CHECKING:
    import asyncio

    from proxy.dataplane.exchange import Exchange
    from proxy.dataplane.routes import Routes
    from proxy.dataplane.upstream import Upstream

_FLUSH_S: Final = 2.0
"""How long a side that takes nothing may keep a tunnel whose other side is gone."""


def switch(exchange: Exchange, lines: list[bytes], rest: bytes) -> None:
    """The upstream has answered 101 with these field lines, and `rest` after it: the exchange becomes a
    tunnel."""
    upstream, downstream = exchange.upstream, exchange.downstream
    if upstream is None or upstream.transport.is_closing():
        exchange.upstream_failed(ErrorClass.RESET, "the backend switched protocols and closed the connection")
        return
    now = exchange.context.monotonic()
    exchange.upstream = None
    exchange.stage = FINISHED
    exchange.deadline = math.inf
    # The pool must never see this connection again, neither as a free one nor when it closes.
    upstream.exchange = None
    exchange.endpoint.forget(upstream)
    tunnel = Tunnel(exchange, upstream, now)
    exchange.context.tunnels.add(tunnel)
    exchange.status = 101
    ledger.attempt_told(exchange, now, None)
    ledger.request_ended(exchange, now, failed=False)
    downstream.write(relay.switching(exchange, lines))
    rest_of_client = downstream.take_rest()
    downstream.resume_reading()
    tunnel.begin(rest_of_client, rest)
    # What either connection had taken no more of, it still takes no more of.
    if downstream.write_paused:
        tunnel.client.pause_writing()
    if upstream.write_paused:
        tunnel.backend.pause_writing()


class Tunnel:
    """Two sides, and the path that they are pinned to. `deadline` is when the sweep is to look at it."""

    __slots__ = (
        "_closing",
        "_cut_at",
        "_moved_at",
        "_unsent_bytes",
        "backend",
        "client",
        "deadline",
        "exchange",
        "path",
        "rollout",
    )

    def __init__(self, exchange: Exchange, upstream: Upstream, now: float) -> None:
        self.exchange = exchange
        self.path = exchange.path
        self.rollout = exchange.rollout  # of the configuration in force
        self.client = Side(self, exchange.downstream.transport)
        self.backend = Side(self, upstream.transport)
        self._moved_at = now
        self._unsent_bytes = 0  # when last looked at
        self._cut_at = math.inf
        self._closing = False
        self.deadline = now + self._idle_timeout_s

    def __repr__(self) -> str:
        state = "closing" if self._closing else "open"
        return f"<Tunnel {self.path} {state} client={self.client!r} backend={self.backend!r}>"

    @property
    def _idle_timeout_s(self) -> float:
        return (UNROUTED_TUNNELS if self.rollout is None else self.rollout.tunnels).idle_timeout_s

    # ... its life ...

    def begin(self, from_client: bytes, from_backend: bytes) -> None:
        """Takes the connections over, with what each side has said already."""
        self.client.take_over()
        self.backend.take_over()
        self.client.send(from_backend)
        self.backend.send(from_client)

    def moved(self) -> None:
        """Bytes have come from either side."""
        self._moved_at = self.exchange.context.monotonic()

    def stalled(self) -> None:
        """A side takes no more for now: from here on, what it takes is movement too."""
        self._unsent_bytes = self._unsent()

    def ended_reading(self, side: Side) -> bool:
        """A side will send nothing more. Whether its connection stays, because the other one is not done."""
        other = side.other
        self.moved()
        if not other.ended and side.can_half_close() and other.can_half_close():
            other.transport.write_eof()
            return True
        # Both are done, or a side cannot say so without ending altogether, as with TLS.
        self.close()
        return False

    def lost(self, side: Side, exc: Exception | None) -> None:
        """A side's connection is gone; what it said before still goes to the other."""
        if side is self.client:
            self.exchange.downstream.connection_lost(exc)
        if not side.other.lost:
            self.close()
            return
        self.exchange.context.tunnels.discard(self)
        ledger.tunnel_ended(self.exchange)

    def close(self) -> None:
        """Ends both sides once they have taken what is under way."""
        self._closing = True
        self._unsent_bytes = self._unsent()
        self.deadline = self.exchange.context.monotonic() + _FLUSH_S
        self.client.transport.close()
        self.backend.transport.close()

    def abort(self) -> None:
        """Ends both sides at once."""
        self._closing = True
        self.client.transport.abort()
        self.backend.transport.abort()

    # ... told by the data plane ...

    def expired(self, now: float) -> None:
        """The sweep found the deadline passed."""
        unsent = self._unsent()
        slow = unsent < self._unsent_bytes  # it has taken something since the last look: slow, not stalled
        self._unsent_bytes = unsent
        if self._closing:
            self.deadline = now + _FLUSH_S
            if not slow:
                self.abort()
            return
        if slow:
            self._moved_at = now
        self.deadline = min(self._moved_at + self._idle_timeout_s, self._cut_at)
        if self.deadline <= now:
            self.close()

    def reconsider(self, routes: Routes, now: float) -> None:
        """Weights or settings have changed: one on v2 whose key goes to v1 now is cut, if so configured."""
        rollout = self.rollout
        if rollout is None:
            return
        present = routes.named(rollout.name)
        if present is not None:
            self.rollout = rollout = present
        exchange = self.exchange
        if self.path is Path.V1 or exchange.by_header:
            return
        if present is not None and present.split.decide(exchange.key) is Path.V2:
            self._cut_at = math.inf
        else:
            self._cut_at = min(self._cut_at, now + rollout.tunnels.drain_s)
        if not self._closing:
            self.deadline = min(self._moved_at + self._idle_timeout_s, self._cut_at)

    def _unsent(self) -> int:
        return self.client.unsent() + self.backend.unsent()


class Side:
    """One of the two connections. `ended`: it sends nothing more; `lost`: it is gone."""

    __slots__ = ("_paused", "_tunnel", "ended", "lost", "transport")

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport) -> None:
        self._tunnel = tunnel
        self._paused = False
        self.transport = transport
        self.ended = False
        self.lost = False

    def __repr__(self) -> str:
        return "lost" if self.lost else "ended" if self.ended else "open"

    @property
    def other(self) -> Side:
        """The side that gets what comes from this one."""
        tunnel = self._tunnel
        return tunnel.backend if self is tunnel.client else tunnel.client

    # ... the methods of asyncio's protocols; derived from none, so that the class can be compiled ...

    def data_received(self, data: bytes) -> None:
        self._tunnel.moved()
        self.other.send(data)

    def eof_received(self) -> bool:
        self.ended = True
        return self._tunnel.ended_reading(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._tunnel.lost(self, exc)

    def pause_writing(self) -> None:
        self._tunnel.stalled()
        self.other.pause_reading()

    def resume_writing(self) -> None:
        self._tunnel.moved()
        self.other.resume_reading()

    # ... what the tunnel asks for ...

    def take_over(self) -> None:
        """From now on what happens on the connection is told to this side."""
        bound_reads(self.transport, self)

    def send(self, data: bytes) -> None:
        """Passes on; on a connection that has just died there is nothing to do, for its end will be told."""
        if data:
            try:
                self.transport.write(data)
            except RuntimeError:
                return

    def can_half_close(self) -> bool:
        """Whether the connection can end in one direction alone; one with TLS cannot."""
        return self.transport.can_write_eof() and not self.transport.is_closing()

    def unsent(self) -> int:
        """Bytes that it has not taken yet; none when it is gone, for its socket may be another's by now."""
        return 0 if self.lost else unsent_bytes(self.transport)

    def pause_reading(self) -> None:
        """The other side takes no more for now."""
        if not self._paused and not self.ended and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """The other side takes more again."""
        if self._paused and not self.ended and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()
