"""The circuit breaker: stops asking v2 within milliseconds when it keeps failing, long before any judgment.

Closed, every attempt is admitted and its result counted. Too many failures in a row, or too large a share of
failures over the window, trip it. Open, nothing is admitted until `open_for_s` has passed; the first attempt
after that finds it half-open, where at most `probes` attempts run at once. As many successes close it, one
failure opens it again. The moves are the table `_MOVES`; there are no others, except `reset`.

An attempt may outlive the state that admitted it: one that was sent before the trip and times out afterwards
says nothing about v2 as it is now, and must not free a probe's place. Therefore `epoch` grows with each
opening; who notes it when an attempt is admitted and hands it in with the result gets exact counts.

Owns one rollout's view of v2 in one worker. Must never know what an attempt is or why it failed.
"""

from __future__ import annotations

import math
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.config.schema import BreakerTable


class BreakerState(StrEnum):
    """Whether v2 is asked."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class _Cause(Enum):
    TRIPPED = auto()  # failures in a row, or their share over the window
    WAITED = auto()  # `open_for_s` has passed
    PROVEN = auto()  # as many probes as configured went well
    RELAPSED = auto()  # a probe failed


_CLOSED = BreakerState.CLOSED
_OPEN = BreakerState.OPEN
_HALF_OPEN = BreakerState.HALF_OPEN

_MOVES: dict[tuple[BreakerState, _Cause], BreakerState] = {
    (_CLOSED, _Cause.TRIPPED): _OPEN,
    (_OPEN, _Cause.WAITED): _HALF_OPEN,
    (_HALF_OPEN, _Cause.PROVEN): _CLOSED,
    (_HALF_OPEN, _Cause.RELAPSED): _OPEN,
}

_SLOTS = 10  # that the window is divided into; it forgets a tenth at a time


class Breaker:
    """One circuit breaker. Every admitted attempt ends in exactly one of `success`, `failure`, `cancel`.

    `now` is monotonic seconds. `state` is open until the first `allow` after `open_for_s`. A breaker that the
    configuration disables admits everything and stays closed.
    """

    __slots__ = (
        "_at",
        "_consecutive",
        "_failures",
        "_opened_at",
        "_proven",
        "_running",
        "_slot",
        "_slot_ends_at",
        "_slot_s",
        "_successes",
        "_table",
        "epoch",
        "state",
    )

    epoch: int
    state: BreakerState
    _consecutive: int
    _running: int
    _proven: int
    _slot: int  # number of the present slot since the clock's zero
    _at: int  # its place in the two lists
    _slot_ends_at: float
    _successes: list[int]
    _failures: list[int]

    def __init__(self, table: BreakerTable) -> None:
        self._table = table
        self._slot_s = table.window_s / _SLOTS
        self.epoch = 0
        self.reset()

    def reset(self) -> None:
        """Closed, with nothing counted and the results of running attempts no longer of interest."""
        self.epoch += 1
        self._opened_at = 0.0
        self._close()

    def allow(self, now: float) -> bool:
        """Whether v2 may be asked now; True in half-open takes one of the probes' places."""
        if self.state is _CLOSED:
            return True
        if self.state is _OPEN:
            if now - self._opened_at < self._table.open_for_s:
                return False
            self._move(_Cause.WAITED, now)
        if self._running >= self._table.probes:
            return False
        self._running += 1
        return True

    def success(self, now: float, epoch: int | None = None) -> None:
        """An admitted attempt went well. `epoch` is that of its admission; an earlier one does not count."""
        if epoch is not None and epoch != self.epoch:
            return
        if self.state is _CLOSED:
            if now >= self._slot_ends_at:
                self._advance(now)
            self._consecutive = 0
            self._successes[self._at] += 1
        elif self.state is _HALF_OPEN:
            self._leave()
            self._proven += 1
            if self._proven >= self._table.probes:
                self._move(_Cause.PROVEN, now)

    def successes(self, now: float, n: int) -> None:
        """As many admitted attempts went well while it was closed: `n` times `success`."""
        self.success(now)
        if self.state is _CLOSED:
            self._successes[self._at] += n - 1

    def failure(self, now: float, epoch: int | None = None) -> None:
        """An admitted attempt failed by v2's fault."""
        if epoch is not None and epoch != self.epoch:
            return
        if self.state is _HALF_OPEN:
            self._move(_Cause.RELAPSED, now)
        elif self.state is _CLOSED and self._table.enabled:
            if now >= self._slot_ends_at:
                self._advance(now)
            self._consecutive += 1
            self._failures[self._at] += 1
            if self._too_many():
                self._move(_Cause.TRIPPED, now)

    def cancel(self, now: float, epoch: int | None = None) -> None:
        """An admitted attempt ended through nobody's fault, because its client left: it frees its place."""
        if self.state is _HALF_OPEN and (epoch is None or epoch == self.epoch):
            self._leave()

    def _too_many(self) -> bool:
        # Looked at on failures alone: a success never opens a breaker.
        if self._consecutive >= self._table.consecutive_failures:
            return True
        failures = sum(self._failures)
        total = failures + sum(self._successes)
        return total >= self._table.min_requests and failures >= self._table.failure_rate * total

    def _move(self, cause: _Cause, now: float) -> None:
        state = _MOVES[self.state, cause]
        if state is _CLOSED:
            self._close()
            return
        self.state = state
        self._running = self._proven = 0
        if state is _OPEN:
            self.epoch += 1
            self._opened_at = now

    def _close(self) -> None:
        self.state = _CLOSED
        self._consecutive = self._running = self._proven = 0
        self._slot = self._at = 0
        self._slot_ends_at = -math.inf
        self._successes = [0] * _SLOTS
        self._failures = [0] * _SLOTS

    def _leave(self) -> None:
        self._running = max(0, self._running - 1)

    def _advance(self, now: float) -> None:
        """Begin the slot that holds `now`, and forget those that have left the window."""
        slot = int(now / self._slot_s)
        for passed in range(max(self._slot + 1, slot - _SLOTS + 1), slot + 1):
            self._successes[passed % _SLOTS] = 0
            self._failures[passed % _SLOTS] = 0
        self._slot = slot
        self._at = slot % _SLOTS
        self._slot_ends_at = (slot + 1) * self._slot_s

    def __repr__(self) -> str:
        failed, total = sum(self._failures), sum(self._failures) + sum(self._successes)
        return f"<Breaker {self.state} {failed} of {total} failed, {self._running} probes running>"
