"""Which connection of an exchange waits for the other: back-pressure, in both directions.

Owns when reading is paused and resumed while a request or an answer passes, and whose time the waiting is. It
knows no message and no failure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.dataplane.sockets import unsent_bytes
from proxy.dataplane.stages import STREAMING, UPLOADING

if TYPE_CHECKING:
    from proxy.dataplane.exchange import Exchange


def pause_request(exchange: Exchange) -> None:
    """The upstream takes no more for now."""
    if not exchange.body.complete:
        if exchange.upstream is not None:
            exchange.unsent_bytes = unsent_bytes(exchange.upstream.transport)
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
        exchange.unsent_bytes = unsent_bytes(exchange.downstream.transport)
        exchange.deadline = exchange.context.now + exchange.context.listen.body_idle_timeout_s


def resume_response(exchange: Exchange) -> None:
    """The client takes more again."""
    if exchange.upstream is not None and exchange.stalled_at:
        exchange.upstream.transport.resume_reading()
        exchange.stalled_s += exchange.context.now - exchange.stalled_at
        exchange.stalled_at = 0.0
        exchange.deadline = exchange.context.now + exchange.pool.idle_timeout_s
