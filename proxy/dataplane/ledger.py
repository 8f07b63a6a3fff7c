"""The accounting of a request: one sample per attempt, one outcome per request, each counted once.

Owns who is told what an attempt came to: the comparison, the breaker, the endpoint's ejection. Attribution
comes first: what a client or a stale connection caused reaches none of them. And what is still to come: for
how long those that will be samples have been under way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.core.histogram import Histogram
from proxy.core.refusals import OVERLOADED
from proxy.dataplane.stages import CONNECTING, FINISHED
from proxy.model import Path

if TYPE_CHECKING:
    from proxy.dataplane.exchange import Exchange
    from proxy.model import ErrorClass, FallbackReason

_V1: Final = Path.V1
_V2: Final = Path.V2

Ages = dict[int, tuple[Histogram, Histogram]]
"""By the index of the rollout, on v1 and v2."""


def attempt_ended(exchange: Exchange, now: float, error: ErrorClass | None) -> None:
    """An attempt ended, with `error` if it failed by the upstream's fault."""
    _leave_endpoint(exchange)
    attempt_told(exchange, now, error)


def attempt_told(exchange: Exchange, now: float, error: ErrorClass | None) -> None:
    """What an attempt came to is known, while it may go on to load its endpoint: as a tunnel."""
    endpoint = exchange.endpoint
    if error is None:
        exchange.pool.succeeded(endpoint, now)
    else:
        exchange.pool.failed(endpoint, now)
        attempt_over(exchange, now, error, exchange.detail)
    rollout = exchange.rollout
    path = exchange.path
    took_s = (exchange.head_at or now) - exchange.attempt_at - exchange.stalled_s
    if error is None and took_s == now - exchange.started_at and path is exchange.assigned:
        exchange.told_in_s = took_s
    else:
        _measure_attempt(exchange, took_s)
    # A fallback's attempt on v1 is no first choice, and an overridden request says nothing about the split.
    if rollout is None or exchange.overridden or path is not exchange.assigned:
        return
    exchange.context.recorder.attempt(rollout.index, path, took_s, error)
    if path is _V2:
        if error is not None:
            rollout.breaker.failure(now, exchange.breaker_epoch)
        elif not exchange.head_at:
            rollout.breaker.success(now, exchange.breaker_epoch)


def attempt_repeated(exchange: Exchange, now: float) -> None:
    """A try came to nothing, and the same path is asked again: it yields no sample, and took time."""
    _measure_attempt(exchange, now - exchange.attempt_at)


def _measure_attempt(exchange: Exchange, took_s: float) -> None:
    context, rollout = exchange.context, exchange.rollout
    if context.meter is not None:
        number = -1 if rollout is None else rollout.index
        context.meter.attempt_ended(number, exchange.path, exchange.head.method, exchange.status, took_s)


def attempt_over(exchange: Exchange, now: float, error: ErrorClass | None, detail: str) -> None:
    """An attempt has come to nothing, whoever's fault it is: those who see requests will want to know."""
    watch = exchange.context.watch
    if watch is not None:
        watch.attempt_over(exchange, now, error, detail)
    exchange.detail = ""


def stream_begun(exchange: Exchange, now: float) -> None:
    """The head of an event stream has come. It lasts as long as its client likes: its length says nothing of
    the backend's speed, and the breaker does not wait for its end."""
    exchange.head_at = now
    rollout = exchange.rollout
    if rollout is not None and exchange.path is _V2 and not exchange.overridden and exchange.error is None:
        rollout.breaker.success(now, exchange.breaker_epoch)


def attempt_dropped(exchange: Exchange, now: float) -> None:
    """An attempt ended by nobody's fault: it yields no sample."""
    _leave_endpoint(exchange)
    rollout = exchange.rollout
    if rollout is not None and exchange.path is _V2 and not exchange.overridden:
        rollout.breaker.cancel(now, exchange.breaker_epoch)


def tunnel_ended(exchange: Exchange) -> None:
    """The endpoint is rid of a tunnel, whose attempt was told when it began."""
    _leave_endpoint(exchange)


def _leave_endpoint(exchange: Exchange) -> None:
    exchange.endpoint.outstanding -= 1
    waiting = exchange.pool.waiting
    if waiting is not None:
        waiting.freed()


def request_ended(exchange: Exchange, now: float, *, failed: bool, aborted: bool = False) -> None:
    """The client has its answer, a broken one, or has left."""
    context = exchange.context
    context.active.discard(exchange)
    rollout = exchange.rollout
    _measure_request(exchange, now, -1 if rollout is None else rollout.index)
    if context.watch is not None:
        context.watch.request_ended(exchange, now, failed=failed, aborted=aborted)
    if rollout is None:
        return
    recorder = context.recorder
    if exchange.fallback is not None and not exchange.overridden:
        recorder.fallback(rollout.index, exchange.fallback, failed=failed)
    recorder.outcome(rollout.index, failed=failed, aborted=aborted)


def _measure_request(exchange: Exchange, now: float, number: int) -> None:
    context = exchange.context
    meter = context.meter
    if meter is None:
        return
    took_s = exchange.told_in_s
    if took_s >= 0.0:
        meter.answered(number, exchange.assigned, exchange.head.method, exchange.status, took_s)
    else:
        took_s = now - exchange.started_at
        meter.request_ended(number, exchange.assigned, exchange.head.method, exchange.status, took_s)


def request_refused(exchange: Exchange, now: float) -> None:
    """There was no room for the request: that says nothing about either version."""
    context = exchange.context
    context.active.discard(exchange)
    _measure_request(exchange, now, -1 if exchange.rollout is None else exchange.rollout.index)
    context.refused(OVERLOADED)
    if context.watch is not None:
        context.watch.request_ended(exchange, now, failed=True, aborted=False)


def fallback_refused(exchange: Exchange, reason: FallbackReason) -> None:
    """v1 was not to stand in, by its budget or by configuration."""
    rollout = exchange.rollout
    if rollout is not None and not exchange.overridden:
        exchange.context.recorder.over_budget(rollout.index, reason)


# ... what is still under way


def ages(active: set[Exchange], now: float) -> Ages:
    """How long the attempts that are to be samples have taken so far, where latency is judged: a version that
    answers nobody ends nothing. What they amount to at their end is told by `attempt_told`, by the same
    clock, so that neither can be long without the other."""
    found: Ages = {}
    for exchange in active:
        rollout = exchange.rollout
        if rollout is None or not rollout.judges_latency or exchange.overridden:
            continue
        path = exchange.path
        if path is not exchange.assigned or not CONNECTING <= exchange.stage < FINISHED:
            continue
        both = found.get(rollout.index)
        if both is None:
            both = found[rollout.index] = (Histogram(), Histogram())
        until = exchange.head_at or exchange.stalled_at or now
        (both[0] if path is _V1 else both[1]).record(until - exchange.attempt_at - exchange.stalled_s)
    return found
