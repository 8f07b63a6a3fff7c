"""Recorded evidence: the minutes that a store has kept, for a judge that may decide otherwise.

Implements `ports.Evidence` and `ports.RolloutSink`. Owns what a minute tells under another weight than it was
recorded at. Must never know what is made of it. A minute is one tick: what happened within it is not known.

At the recorded weight a minute counts as it is. At another one, as many requests are drawn for each path as
it would have had, and end as those did that were recorded; where none was, nothing is known or counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.core.breaker import Breaker
from proxy.core.routing import Split
from proxy.core.tally import FALLBACK_INDEX, PathTally, Tally
from proxy.model import BUCKETS, FallbackReason
from proxy.simulation.chance import binomial, generator
from proxy.simulation.drawing import Totals
from proxy.simulation.scenario import Scenario
from proxy.simulation.shape import filled
from proxy.simulation.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

    from proxy.config.schema import Config
    from proxy.core.minute import Minute
    from proxy.model import RolloutState

_MINUTE_S = 60.0
_NOT_ASKED = (FALLBACK_INDEX[FallbackReason.BREAKER], FALLBACK_INDEX[FallbackReason.UNAVAILABLE])


class RecordedEvidence:
    """The traffic of `minutes`, at least one, oldest first, on the one rollout of `config`."""

    def __init__(self, config: Config, minutes: Sequence[Minute], seed: int) -> None:
        rollout = config.rollouts[0]
        self.totals = Totals()
        self.breaker = Breaker(rollout.breaker)  # what it did is in the record
        self.split = Split.of(0, rollout)
        self.conditions, _ = Timeline(Scenario(), seed).at(0.0)
        self._start = minutes[0].at
        self._minutes = minutes
        self._next = 0
        self._rng = generator(seed, "recorded")
        self._tally = Tally()

    @property
    def begins_s(self) -> float:
        """When v2 was given a share for the first time, by the record."""
        split = [minute.at for minute in self._minutes if minute.weight > 0]
        return min(split, default=self._start) - self._start

    def instants(self) -> Iterator[float]:
        """The ends of all minutes, and of those in between that have no record."""
        now = 0.0
        for minute in self._minutes:
            while minute.at - self._start - now >= _MINUTE_S:
                now += _MINUTE_S
                yield now
            now = minute.at + minute.seconds - self._start
            yield now

    def advance(self, now: float) -> None:
        """Take in what was recorded until `now`, seconds since the beginning."""
        while self._next < len(self._minutes):
            minute = self._minutes[self._next]
            if minute.at + minute.seconds - self._start > now:
                break
            self._next += 1
            self._take(minute)

    def _take(self, minute: Minute) -> None:
        weight = self.split.weight
        if weight == minute.weight:
            seen = minute.tally
        else:
            seen, unseen = drawn_again(self._rng, minute.tally, weight)
            self.totals.unknown += unseen
        self._tally.add(seen)
        totals = self.totals
        totals.v1_requests += seen.v1.requests
        totals.v2_requests += seen.v2.requests
        totals.v2_not_sent += sum(seen.fallbacks[index] + seen.over_budget[index] for index in _NOT_ASKED)
        totals.fallbacks += sum(seen.fallbacks)
        totals.client_errors += seen.client_errors

    # ... ports.RolloutSink, ports.Evidence ...

    def publish(self, state: RolloutState) -> None:
        """The next minute is taken at this weight."""
        self.split.apply(state)

    def drain(self) -> Sequence[Tally]:
        """What has come since the last call."""
        drained, self._tally = self._tally, Tally()
        return (drained,)

    def late(self) -> Sequence[Tally]:
        """Nothing: a single process reports."""
        return ()


# ... the same minute at another weight


def drawn_again(rng: Random, seen: Tally, weight: int) -> tuple[Tally, int]:
    """As many requests in all, split by `weight`, ending as in `seen`; and how many are left out because
    nothing was recorded of their path."""
    found = Tally()
    total = seen.assigned_v1 + seen.assigned_v2
    for_v2 = binomial(rng, total, weight / BUCKETS)
    for_v1 = total - for_v2
    unseen = 0
    if seen.v1.requests:
        found.assigned_v1 = for_v1
        found.v1 = _attempts(rng, seen.v1, for_v1)
    else:
        unseen += for_v1
    if seen.assigned_v2:
        found.assigned_v2 = for_v2
        _draw_v2(rng, seen, found)
    else:
        unseen += for_v2
    stood_in = sum(found.fallbacks)
    given_up = sum(found.over_budget) + sum(found.v2.errors) + _not_asked(found.fallbacks) - stood_in
    found.client_requests = total - unseen
    found.client_errors = sum(found.v1.errors) + found.fallback_errors + max(0, given_up)
    return found, unseen


def _draw_v2(rng: Random, seen: Tally, found: Tally) -> None:
    """What becomes of `found.assigned_v2` requests: not sent, failed, stood in for."""
    left, of = found.assigned_v2, seen.assigned_v2
    for index in _NOT_ASKED:
        for counts, into in ((seen.fallbacks, found.fallbacks), (seen.over_budget, found.over_budget)):
            into[index] = binomial(rng, left, counts[index] / of if of else 0.0)
            left, of = left - into[index], of - counts[index]
    found.v2 = _attempts(rng, seen.v2, left)
    failed, of = sum(found.v2.errors), sum(seen.v2.errors)
    for index, n in enumerate(seen.fallbacks):
        if index not in _NOT_ASKED and n:
            found.fallbacks[index] = binomial(rng, failed, n / of if of else 0.0)
            failed, of = failed - found.fallbacks[index], of - n
    before = sum(seen.fallbacks)
    found.fallback_errors = binomial(
        rng, sum(found.fallbacks), seen.fallback_errors / before if before else 0.0
    )


def _attempts(rng: Random, seen: PathTally, n: int) -> PathTally:
    """`n` attempts that end as those that were seen."""
    found = PathTally()
    if not seen.requests or n <= 0:
        return found
    found.requests = left = n
    of = seen.requests
    for index, errors in enumerate(seen.errors):
        found.errors[index] = binomial(rng, left, errors / of if of else 0.0)
        left, of = left - found.errors[index], of - errors
    buckets = seen.latency.buckets()
    drawn = rng.choices([bucket for bucket, _ in buckets], [count for _, count in buckets], k=n)
    found.latency = filled([(bucket, 1) for bucket in drawn])
    return found


def _not_asked(fallbacks: Sequence[int]) -> int:
    return sum(fallbacks[index] for index in _NOT_ASKED)
