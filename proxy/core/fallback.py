"""Whether v1 may answer what v2 failed: the whole fallback policy.

Owns when a request may be repeated (RFC 9110 section 9.2.2), which failures ask for it, how much time v2 may
use up and how many fallbacks v1 can bear. Must never know how a request is sent or how a failure was noticed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.model import ErrorClass, FallbackReason

if TYPE_CHECKING:
    from proxy.config.schema import Fallback

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
"""RFC 9110 section 9.2.2. Methods that are not known here are not idempotent."""

_5XX = frozenset({500, 502, 503, 504})
_ERRORS = {
    "connect": frozenset({ErrorClass.CONNECT}),
    "timeout": frozenset({ErrorClass.TIMEOUT}),
    "reset": frozenset({ErrorClass.RESET, ErrorClass.INVALID}),
}
_REASONS = {
    ErrorClass.CONNECT: FallbackReason.CONNECT,
    ErrorClass.TIMEOUT: FallbackReason.TIMEOUT,
    ErrorClass.RESET: FallbackReason.RESET,
    ErrorClass.INVALID: FallbackReason.INVALID,
}


@dataclass(frozen=True, slots=True)
class FallbackPolicy:
    """One rollout's fallback, compiled. `max_body_bytes` is what the replay buffer may keep."""

    enabled: bool
    errors: frozenset[ErrorClass]
    statuses: frozenset[int]
    all_methods: bool
    max_body_bytes: int

    @classmethod
    def of(cls, table: Fallback) -> FallbackPolicy:
        """The policy of a `[rollouts.fallback]` table."""
        errors: frozenset[ErrorClass] = frozenset()
        statuses: frozenset[int] = frozenset()
        for cause in table.on:
            if cause in _ERRORS:
                errors |= _ERRORS[cause]
            else:
                statuses |= _5XX if cause == "5xx" else {int(cause)}
        return cls(table.enabled, errors, statuses, table.methods == "all", table.max_body_bytes)


def is_error_status(status: int) -> bool:
    """Whether a status counts against the upstream that sent it.

    501 and 505 blame the request. A status over 599 is to be taken for a 5xx (RFC 9110 section 15).
    """
    return status >= 500 and status != 501 and status != 505


def may_repeat(method: bytes, *, keyed: bool, sent: bool, policy: FallbackPolicy) -> bool:
    """Whether a request may be made once more after a failed attempt (RFC 9110 section 9.2.2).

    `sent`: some byte of it may have reached the upstream. `keyed`: it carries an Idempotency-Key, by which
    the service itself recognises the repetition.
    """
    return not sent or keyed or policy.all_methods or method in IDEMPOTENT


def decide_on_error(
    policy: FallbackPolicy,
    kind: ErrorClass,
    *,
    sent: bool,
    method: bytes,
    keyed: bool,
    replayable: bool,
    started: bool,
) -> FallbackReason | None:
    """Why v1 shall answer after v2's attempt broke, or None if the failure stands.

    `replayable`: the body is still complete in the replay buffer. `started`: a byte of v2's answer has gone
    downstream, after which there is no second answer.
    """
    if started or not replayable or not policy.enabled or kind not in policy.errors:
        return None
    return _REASONS[kind] if may_repeat(method, keyed=keyed, sent=sent, policy=policy) else None


def decide_on_status(
    policy: FallbackPolicy, status: int, *, method: bytes, keyed: bool, replayable: bool
) -> FallbackReason | None:
    """Why v1 shall answer instead of v2's complete answer with `status`, or None if that goes through.

    v2 has had the request, whatever it says about it.
    """
    if status not in policy.statuses or not replayable or not policy.enabled:
        return None
    return FallbackReason.STATUS if may_repeat(method, keyed=keyed, sent=True, policy=policy) else None


def attempt_timeout(now: float, deadline: float, response_timeout_s: float, reserve: float) -> float:
    """The instant at which v2's attempt ends.

    `reserve` (0..1) of what is left until `deadline` stays with v1; where no fallback is possible it is 0.
    A deadline in the past gives `now`.
    """
    return now + min(response_timeout_s, max(0.0, deadline - now) * (1.0 - reserve))


# ... how many


_SLOTS = 10  # of one second each: what "recent" means


class Budget:
    """How many fallbacks v1 is asked to bear: a share of the last 10 s of requests, and a floor per second.

    Without the floor a service of few requests could never fall back. A share of 1.0 refuses nothing, and
    counts nothing.
    """

    __slots__ = (
        "_floor",
        "_floor_at",
        "_floor_left",
        "_floor_per_s",
        "_requests",
        "_second",
        "_share",
        "_spent",
    )

    def __init__(self, share: float, floor_per_s: float) -> None:
        self._share = share
        self._floor_per_s = floor_per_s
        self._floor_left = 0.0
        self._floor_at = -math.inf  # so that it is full at first
        self._second = 0
        self._requests = [0] * _SLOTS
        self._spent = [0] * _SLOTS

    def request(self, now: float) -> None:
        """Count a request of the rollout, whichever path it takes."""
        if self._share >= 1.0:
            return
        second = int(now)
        if second != self._second:
            self._advance(second)
        self._requests[second % _SLOTS] += 1

    def allow(self, now: float) -> bool:
        """Whether one more fallback may go to v1; True has spent it."""
        if self._share >= 1.0:
            return True
        return self._take_floor(now) or self._take_share(int(now))

    def _take_floor(self, now: float) -> bool:
        # Fills at the floor's rate and holds one second of it, or one fallback where that is less.
        filled = self._floor_left + (now - self._floor_at) * self._floor_per_s if self._floor_per_s else 0.0
        self._floor_left = min(filled, max(1.0, self._floor_per_s))
        self._floor_at = now
        if self._floor_left < 1.0:
            return False
        self._floor_left -= 1.0
        return True

    def _take_share(self, second: int) -> bool:
        if second != self._second:
            self._advance(second)
        if sum(self._spent) + 1 > self._share * sum(self._requests):
            return False
        self._spent[second % _SLOTS] += 1
        return True

    def _advance(self, second: int) -> None:
        """Forget the seconds that are no longer recent."""
        for passed in range(self._second + 1, min(second, self._second + _SLOTS) + 1):
            self._requests[passed % _SLOTS] = 0
            self._spent[passed % _SLOTS] = 0
        self._second = second

    def __repr__(self) -> str:
        return f"<Budget {sum(self._spent)} spent of {self._share:g} x {sum(self._requests)} requests>"
