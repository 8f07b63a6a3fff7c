"""Whom a request goes to, and what comes next if that does not serve: waiting, another connection,
another endpoint, v1, or an honest answer.

Owns the order in which these are tried. Whether a fallback is allowed is `core.fallback`'s decision; carrying
it out is the exchange's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.core.breaker import BreakerState
from proxy.core.fallback import decide_on_error, decide_on_status, is_error_status
from proxy.dataplane import ledger
from proxy.dataplane.stages import PENDING
from proxy.model import ErrorClass, FallbackReason, Path

if TYPE_CHECKING:
    from proxy.core.response_head import ResponseHead
    from proxy.dataplane.backend import BackendPool
    from proxy.dataplane.exchange import Exchange
    from proxy.dataplane.routes import LiveRollout
    from proxy.dataplane.upstream import Upstream
    from proxy.dataplane.waiting import Waiting

_CLOSED: Final = BreakerState.CLOSED
_DEAD_WITHIN_S: Final = 0.1


def ask_v1(exchange: Exchange, now: float) -> None:
    """Sends the request to v1, once there is room."""
    pool = exchange.context.v1
    waiting = pool.waiting
    if waiting is not None and not waiting.has_room:
        _wait(exchange, pool, waiting, now)
    else:
        exchange.attempt(Path.V1, now)


def ask_v2(exchange: Exchange, rollout: LiveRollout, now: float) -> None:
    """Sends the request to v2, once there is room."""
    pool = exchange.context.v2
    waiting = pool.waiting
    if waiting is None or waiting.has_room:
        send_to_v2(exchange, rollout, now)
    elif rollout.breaker.state is _CLOSED or exchange.overridden:
        _wait(exchange, pool, waiting, now)
    else:  # those who are there are to find out whether v2 is well: behind them, it might be in vain
        _divert(exchange, FallbackReason.BREAKER, now)


def _wait(exchange: Exchange, pool: BackendPool, waiting: Waiting, now: float) -> None:
    exchange.pool = pool
    exchange.path = pool.path
    if waiting.join(exchange):
        exchange.stage = PENDING
        exchange.deadline = min(now + waiting.timeout_s, exchange.overall)
    else:
        find_no_room(exchange, now)


def stop_waiting(exchange: Exchange) -> None:
    """Its time is over, or its client has left."""
    waiting = exchange.pool.waiting
    if waiting is not None:
        waiting.leave(exchange)


def find_no_room(exchange: Exchange, now: float) -> None:
    """Too many wait already, it has waited too long, or we have no means to ask: v1 stands in for v2, and
    nobody for v1."""
    if exchange.path is Path.V2:
        _divert(exchange, FallbackReason.UNAVAILABLE, now)
    elif exchange.original is not None:
        exchange.answer(503, "no room")
    else:
        exchange.turn_away()


def lack_means(exchange: Exchange, now: float) -> None:
    """No connection can be made because this machine has no file descriptor or port left: no version's fault.
    A connection of v1's may be free all the same."""
    ledger.attempt_over(exchange, now, None, "no file descriptor or port left to connect with")
    ledger.attempt_dropped(exchange, now)
    find_no_room(exchange, now)


def send_to_v2(exchange: Exchange, rollout: LiveRollout, now: float) -> None:
    """Sends the request to v2, unless the breaker or the want of a healthy endpoint says that it is in
    vain."""
    breaker = rollout.breaker
    # Overridden requests say nothing about the split: they neither heed nor probe nor teach the breaker.
    if breaker.state is not _CLOSED and not exchange.overridden and not breaker.allow(now):
        _divert(exchange, FallbackReason.BREAKER, now)
        return
    exchange.breaker_epoch = breaker.epoch
    endpoint = exchange.context.v2.choose(now)
    if endpoint is not None:
        exchange.attempt(Path.V2, now, endpoint)
        return
    if not exchange.overridden:
        breaker.cancel(now, breaker.epoch)
    _divert(exchange, FallbackReason.UNAVAILABLE, now)


def _divert(exchange: Exchange, reason: FallbackReason, now: float) -> None:
    """v2 is not asked at all: nothing has been sent, so any request may go to v1."""
    if _within_budget(exchange, reason, now):
        exchange.fall_back(reason, now)
    else:
        exchange.answer(503, "v2 takes no requests at present")


def replaces(exchange: Exchange, head: ResponseHead, pieces: list[bytes], *, complete: bool) -> bool:
    """A 5xx has arrived: whether another answer takes its place, which is then under way."""
    now = exchange.context.monotonic()
    if exchange.original is not None and is_error_status(head.status):
        # v1 is of no help either: the client gets what v2 said.
        exchange.drop_answer(now)
        exchange.answer(502, "both backends failed")
        return True
    reason = None
    if exchange.path is Path.V2:
        request = exchange.head
        reason = decide_on_status(
            exchange.policy,
            head.status,
            method=request.method,
            keyed=request.keyed,
            replayable=exchange.body.replayable,
        )
    if reason is None or not _within_budget(exchange, reason, now):
        exchange.error = ErrorClass.STATUS if is_error_status(head.status) else None
        return False
    # Kept in case v1 fails too: the whole answer if it is here already, else only its status.
    exchange.original = (head, pieces if complete else [])
    exchange.drop_answer(now)
    exchange.fall_back(reason, now)
    return True


def replaces_stale(exchange: Exchange, upstream: Upstream, now: float) -> bool:
    """A pooled connection that was dead already is nobody's error: the request is sent again on a fresh one
    (RFC 9112 section 9.3.1).

    One that breaks later was alive: what broke it is the request, or the backend.
    """
    was_dead = upstream.uses > 1 and not upstream.answering and now - exchange.attempt_at < _DEAD_WITHIN_S
    if not was_dead or exchange.retried or not exchange.repeatable or not exchange.body.replayable:
        return False
    exchange.retried = True
    ledger.attempt_repeated(exchange, now)
    ledger.attempt_over(exchange, now, ErrorClass.RESET, "the pooled connection was dead already")
    exchange.endpoint.outstanding -= 1
    exchange.attempt(exchange.path, now, exchange.endpoint, fresh=True)
    return True


def goes_elsewhere(exchange: Exchange, now: float) -> bool:
    """A request that never reached its endpoint goes to another one of the same path, once: it is the
    endpoint that failed, not yet the path."""
    if exchange.rerouted or len(exchange.pool.endpoints) == 1:
        return False
    exchange.rerouted = True
    ledger.attempt_repeated(exchange, now)
    ledger.attempt_over(exchange, now, ErrorClass.CONNECT, exchange.detail)
    exchange.endpoint.outstanding -= 1
    exchange.pool.failed(exchange.endpoint, now)
    exchange.attempt(exchange.path, now, exchange.pool.choose(now, other_than=exchange.endpoint))
    return True


def after_failure(exchange: Exchange, kind: ErrorClass, now: float, status: int, detail: str) -> None:
    """An attempt failed before its answer began."""
    reason = None
    if exchange.path is Path.V2:
        request = exchange.head
        reason = decide_on_error(
            exchange.policy,
            kind,
            sent=exchange.sent,
            method=request.method,
            keyed=request.keyed,
            replayable=exchange.body.replayable or not exchange.sent,
            started=False,
        )
    if reason is not None and _within_budget(exchange, reason, now):
        exchange.fall_back(reason, now)
    else:
        exchange.answer(status, detail)


def _within_budget(exchange: Exchange, reason: FallbackReason, now: float) -> bool:
    rollout = exchange.rollout
    if rollout is None or rollout.budget is None or rollout.budget.allow(now):
        return True
    ledger.fallback_refused(exchange, reason)
    return False
