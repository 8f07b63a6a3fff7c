"""What it means that a deadline has passed: whose fault it is, and whether anything moves after all.

Owns the table of docs/life-of-a-request.md. What happens then is the exchange's affair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.dataplane.answers import CONTINUE
from proxy.dataplane.sockets import unsent_bytes
from proxy.dataplane.stages import CONNECTING, STREAMING, UPLOADING
from proxy.model import ErrorClass

if TYPE_CHECKING:
    from proxy.dataplane.exchange import Exchange


def expire(exchange: Exchange, now: float) -> None:
    """The exchange's deadline has passed."""
    stage = exchange.stage
    if stage == CONNECTING:
        exchange.cancel_dial()
        exchange.upstream_failed(ErrorClass.CONNECT, "connecting to the backend timed out", status=504)
    elif stage == UPLOADING and exchange.awaits_continue():
        # RFC 9110 section 10.1.1: never waited for without end; the upstream may not know the expectation.
        exchange.continued = True
        exchange.extend_upload(now)
        exchange.downstream.write(CONTINUE)
    elif _moves_slowly(exchange, now):
        return
    elif stage == UPLOADING and _waits_for_body(exchange):
        exchange.client_gone()
        exchange.downstream.refuse(408, "the request body stalled")
    elif stage == STREAMING and (exchange.downstream.write_paused or _waits_for_body(exchange)):
        exchange.client_gone()
        exchange.downstream.abort()
    else:
        exchange.upstream_failed(ErrorClass.TIMEOUT, "the backend did not answer in time", status=504)


def _waits_for_body(exchange: Exchange) -> bool:
    upstream = exchange.upstream
    return not exchange.body.complete and upstream is not None and not upstream.write_paused


def _moves_slowly(exchange: Exchange, now: float) -> bool:
    """A side that takes no more from us, but has taken something since the last look, is slow and not
    stalled."""
    upstream = exchange.upstream
    if upstream is None or exchange.stage not in (UPLOADING, STREAMING):
        return False
    if exchange.stage == STREAMING and exchange.downstream.write_paused:
        left = unsent_bytes(exchange.downstream.transport)
    elif upstream.write_paused:
        left = unsent_bytes(upstream.transport)
    else:
        return False
    moved = left < exchange.unsent_bytes
    exchange.unsent_bytes = left
    if moved:
        exchange.deadline = now + exchange.context.listen.body_idle_timeout_s
    return moved
