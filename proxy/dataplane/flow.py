"""Which connection of an exchange waits for the other: back-pressure, in both directions.

Owns when reading is paused and resumed while a request or an answer passes, and whose time the waiting is. It
knows no message and no failure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.dataplane.sockets import next_look, unsent_bytes
from proxy.dataplane.stages import STREAMING, UPLOADING

if TYPE_CHECKING:
    import asyncio

    from proxy.dataplane.exchange import Exchange
    from proxy.dataplane.upstream import Upstream

_SHORT_BYTES: Final = 64 << 10
"""A body of which the system's buffers take all at once: nothing is asked for the sake of it."""


def pause_request(exchange: Exchange) -> None:
    """The upstream takes no more for now."""
    if not exchange.body.complete:
        if exchange.upstream is not None:
            deadline = exchange.deadline
            _begin_to_wait(exchange, exchange.upstream.transport)
            if exchange.stage != UPLOADING:
                exchange.deadline = deadline  # there is an answer already, whose pauses have their own
        exchange.downstream.pause_reading()


def resume_request(exchange: Exchange) -> None:
    """The upstream takes more again."""
    if exchange.stage == UPLOADING:
        exchange.extend_upload(exchange.context.now)
    exchange.downstream.resume_reading()


def pause_response(exchange: Exchange) -> None:
    """The client takes no more for now; what the upstream waits for it is not its own time."""
    if exchange.upstream is not None and exchange.stage == STREAMING:
        exchange.upstream.transport.pause_reading()
        exchange.stalled_at = exchange.context.now
        _begin_to_wait(exchange, exchange.downstream.transport)


def _begin_to_wait(exchange: Exchange, transport: asyncio.WriteTransport) -> None:
    context = exchange.context
    exchange.unsent_bytes = unsent_bytes(transport)
    exchange.moved_at = context.now
    exchange.deadline = next_look(context.now, context.now, context.listen.body_idle_timeout_s)


def moves_slowly(exchange: Exchange, now: float) -> bool:
    """Whether a side that takes no more from us is slow and not stalled: it has taken something of late."""
    upstream = exchange.upstream
    if upstream is None or exchange.stage not in (UPLOADING, STREAMING):
        return False
    if exchange.stage == STREAMING and exchange.downstream.write_paused:
        left = unsent_bytes(exchange.downstream.transport)
    elif upstream.write_paused:
        left = unsent_bytes(upstream.transport)
    else:
        return False
    if left < exchange.unsent_bytes:
        exchange.moved_at = now
    exchange.unsent_bytes = left
    look_at = next_look(now, exchange.moved_at, exchange.context.listen.body_idle_timeout_s)
    if look_at <= now:
        return False
    exchange.deadline = look_at
    return True


def is_request_taken(exchange: Exchange, upstream: Upstream) -> bool:
    """Whether the upstream has all of the request, as far as that can be known. One that has answered may
    still leave much of it unread: the next request on the connection would wait behind that."""
    if not exchange.body.complete:
        return False
    return 0 <= exchange.head.length <= _SHORT_BYTES or not unsent_bytes(upstream.transport)


def resume_response(exchange: Exchange) -> None:
    """The client takes more again."""
    if exchange.upstream is not None and exchange.stalled_at:
        exchange.upstream.transport.resume_reading()
        exchange.stalled_s += exchange.context.now - exchange.stalled_at
        exchange.stalled_at = 0.0
        exchange.deadline = exchange.context.now + exchange.pool.idle_timeout_s
