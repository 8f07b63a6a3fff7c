"""How long is waited for an answer, and what it means that a deadline has passed: whose fault it is, and
whether anything moves after all.

Owns the table of docs/life-of-a-request.md. What happens then is the exchange's affair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.core.fallback import attempt_timeout
from proxy.dataplane import flow, recovery
from proxy.dataplane.answers import CONTINUE
from proxy.dataplane.stages import CONNECTING, PENDING, STREAMING, UPLOADING, WAITING
from proxy.model import ErrorClass, Path

if TYPE_CHECKING:
    from proxy.dataplane.exchange import Exchange

_V2: Final = Path.V2


def await_answer(exchange: Exchange, now: float) -> None:
    """The backend has the whole request: from now on it is its time that passes."""
    exchange.stage = WAITING
    response_timeout_s = exchange.pool.response_timeout_s
    rollout = exchange.rollout
    reserve = rollout.reserve if rollout is not None and _could_fall_back(exchange) else 0.0
    exchange.deadline = attempt_timeout(now, exchange.overall, response_timeout_s, reserve)


def _could_fall_back(exchange: Exchange) -> bool:
    policy = exchange.policy
    return (
        exchange.path is _V2
        and exchange.repeatable
        and exchange.body.replayable
        and policy.enabled
        and ErrorClass.TIMEOUT in policy.errors
    )


def expire(exchange: Exchange, now: float) -> None:
    """The exchange's deadline has passed."""
    stage = exchange.stage
    if stage == PENDING:
        recovery.stop_waiting(exchange)
        recovery.find_no_room(exchange, now)
    elif stage == CONNECTING:
        exchange.cancel_dial()
        exchange.upstream_failed(ErrorClass.CONNECT, "connecting to the backend timed out", status=504)
    elif stage == UPLOADING and exchange.awaits_continue():
        # RFC 9110 section 10.1.1: never waited for without end; the upstream may not know the expectation.
        exchange.continued = True
        exchange.extend_upload(now)
        exchange.downstream.write(CONTINUE)
    elif flow.moves_slowly(exchange, now):
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
