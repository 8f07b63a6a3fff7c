"""The breaker's part: which of the attempts that were drawn v2 is really asked.

Owns the order in which a span's attempts come, and drives the real `core.breaker`. Must never know why an
attempt fails. There is one breaker, as with one worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from proxy.core.breaker import Breaker, BreakerState

if TYPE_CHECKING:
    from random import Random

    from proxy.config.rollout import BreakerTable
    from proxy.simulation.streams import Drawn

_BAD = -1


class Asked(NamedTuple):
    """What v2 is asked of what was drawn; `slow` names places in `Drawn.slow`, one for each attempt."""

    good: int
    bad: int
    slow: list[int]
    not_asked: int


class Admission:
    """A breaker and who gets past it."""

    def __init__(self, table: BreakerTable) -> None:
        self.breaker = Breaker(table)
        self._open_for_s = table.open_for_s
        self._open_until = 0.0

    def asked(self, rng: Random, drawn: Drawn, began: float, ends: float) -> Asked:
        """Let what was drawn come between two instants, in random order, evenly; all but the slow end at
        once."""
        kinds = [_BAD] * drawn.bad
        kinds += [place for place, one in enumerate(drawn.slow) for _ in range(one.n)]
        total = drawn.good + len(kinds)
        if not total:
            return Asked(0, 0, [], 0)
        rng.shuffle(kinds)
        places = dict(zip(sorted(rng.sample(range(total), len(kinds))), kinds, strict=True))
        return self._one_by_one(places, total, began, (ends - began) / total)

    def passed(self, drawn: Drawn, ends: float) -> bool:
        """Whether nothing stands in the way of what was drawn, and nothing comes of it: mostly."""
        if drawn.bad or drawn.slow or self.breaker.state is not BreakerState.CLOSED:
            return False
        if drawn.good:
            self.breaker.successes(ends, drawn.good)
        return True

    def ended(self, now: float, *, failed: bool, epoch: int) -> None:
        """A slow attempt that was admitted in this epoch has ended."""
        if failed:
            self._failed(now, epoch)
        else:
            self.breaker.success(now, epoch)

    def _one_by_one(self, places: dict[int, int], total: int, began: float, step_s: float) -> Asked:
        breaker = self.breaker
        good = lost = at = 0
        admitted: list[int] = []
        following = iter([*places, total])
        special = next(following)
        while at < total:
            now = began + (at + 0.5) * step_s
            if breaker.state is BreakerState.CLOSED and at < special:
                breaker.successes(now, special - at)
                good += special - at
                at = special
            elif breaker.state is BreakerState.OPEN and now < self._open_until:
                skipped = min(total - at, int((self._open_until - now) / step_s) + 1)
                lost += skipped
                at += skipped
            else:
                kind = places.get(at)
                at += 1
                if not breaker.allow(now):
                    lost += 1
                elif kind is None:
                    breaker.success(now)
                    good += 1
                else:
                    admitted.append(kind)
                    if kind == _BAD:
                        self._failed(now, breaker.epoch)
            while special < at:
                special = next(following)
        slow = [kind for kind in admitted if kind != _BAD]
        return Asked(good, len(admitted) - len(slow), slow, lost)

    def _failed(self, now: float, epoch: int) -> None:
        before = self.breaker.epoch
        self.breaker.failure(now, epoch)
        if self.breaker.epoch != before:
            self._open_until = now + self._open_for_s
