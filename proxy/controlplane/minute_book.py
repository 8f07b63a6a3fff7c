"""The intervals of every rollout: what was counted since each began, at one weight and in one phase.

Owns when an interval ends. It costs nothing at a tick: the sums of a watch are there anyway, and what was
counted is their difference. An interval ends with the minute, and where weight or phase change, so that what
was counted under one weight is never mixed with another's. Must never know where minutes go.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.core.minute import Minute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.controlplane.watch import RolloutWatch
    from proxy.core.tally import Tally
    from proxy.model import RolloutState
    from proxy.ports import Clock

log = logging.getLogger("dualpath.control")

_MOST_WAITING = 2_000  # minutes that wait for the store, some ten kilobytes each; the oldest are lost
_BREATH = 10  # rollouts whose sums are taken before requests have their turn


@dataclass(slots=True)
class _Open:
    """An interval that has not ended: where it began, and what had been counted until then."""

    watch: RolloutWatch
    state: RolloutState
    since: float
    base: Tally
    requests: int


class MinuteBook:
    """The open intervals, and those that wait to be written. `entering` is called when a state comes into
    force, before what is counted counts for it."""

    def __init__(self, clock: Clock, *, most: int = _MOST_WAITING) -> None:
        self._clock = clock
        self._open: dict[str, _Open] = {}
        self._waiting: deque[Minute] = deque(maxlen=most)

    def entering(self, watch: RolloutWatch, state: RolloutState) -> None:
        """From now on what `watch` counts belongs to `state`. Never raises: a decision is on its way."""
        try:
            interval = self._open.get(state.name)
            if interval is None or interval.watch is not watch:
                self._leave(state.name)
                now, base = self._clock.wall(), watch.counted()
                self._open[state.name] = _Open(watch, state, now, base, watch.requests)
                return
            if (state.weight, state.phase) != (interval.state.weight, interval.state.phase):
                self._end(interval)
            interval.state = state
        except Exception:
            log.exception("%s: a minute is lost", state.name)

    async def turn(self, watches: Sequence[RolloutWatch]) -> None:
        """End every interval. The next one begins where the watch is one of `watches`, those in force."""
        kept = {watch.plan.name: watch for watch in watches}
        for place, name in enumerate(list(self._open)):
            if (interval := self._open.get(name)) is not None:
                if kept.get(name) is interval.watch:
                    self._end(interval)
                else:
                    self._leave(name)
            if place % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)

    def take(self, most: int) -> list[Minute]:
        """The oldest that wait; they are the caller's now."""
        return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def put_back(self, minutes: Sequence[Minute]) -> None:
        """They could not be written: they wait again, as far as there is room; the oldest are lost."""
        room = (self._waiting.maxlen or 0) - len(self._waiting)
        self._waiting.extendleft(list(minutes)[::-1][:room])

    def _leave(self, name: str) -> None:
        """A watch that a reload has replaced counts nothing more."""
        if (interval := self._open.pop(name, None)) is not None:
            self._end(interval)

    def _end(self, interval: _Open) -> None:
        now, since = self._clock.wall(), interval.since
        interval.since = now
        if interval.requests == interval.watch.requests:
            return
        interval.requests = interval.watch.requests
        tally = interval.watch.counted()
        tally.subtract(interval.base)
        interval.base.add(tally)
        state = interval.state
        self._waiting.append(
            Minute(
                rollout=state.name,
                at=round(since, 3),
                seconds=round(max(now - since, 0.001), 3),
                state=state.state,
                weight=state.weight,
                phase=state.phase,
                verdict=interval.watch.verdict,
                tally=tally,
            )
        )

    def __repr__(self) -> str:
        return f"MinuteBook({len(self._open)} open, {len(self._waiting)} waiting)"
