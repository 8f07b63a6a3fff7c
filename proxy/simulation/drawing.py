"""Drawn evidence: what the recorder of a proxy would have counted, had this traffic come.

Implements `ports.Evidence` and `ports.RolloutSink`. Owns what one span of time adds to the tally: attempts,
the breaker, fallbacks, and what is still under way. Must never know what is made of the evidence.

An attempt that ends within the tick counts at once. A longer one is under way until it ends, and counts then.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import ceil
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.core.histogram import Histogram, bucket_index
from proxy.core.routing import Split
from proxy.core.tally import FALLBACK_INDEX, PathTally, Tally
from proxy.model import FallbackReason, Path
from proxy.simulation.breaking import Admission
from proxy.simulation.chance import generator
from proxy.simulation.crowd import Crowd, Streams
from proxy.simulation.shape import MIDDLES_S, filled, some_of
from proxy.simulation.streams import GOOD
from proxy.simulation.substitute import Substitute
from proxy.simulation.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from proxy.config.schema import Config
    from proxy.core.breaker import Breaker
    from proxy.model import RolloutState
    from proxy.simulation.scenario import Scenario
    from proxy.simulation.shape import Pair
    from proxy.simulation.streams import Slow, Stream

_COHORTS = 8  # that the slow attempts of one span and one bucket are spread over


_NOTHING: Final = Histogram()


def _empty() -> Tally:
    """One whose latencies are put in when it is drained: most of them are never asked for empty ones."""
    return Tally(PathTally(latency=_NOTHING), PathTally(latency=_NOTHING))


class UnderWay(NamedTuple):
    """Attempts that have begun and not ended, in the order in which they will."""

    ends: float
    order: int
    began: float
    path: Path
    bucket: int
    n: int
    failed: int
    epoch: int
    v1_fails: float


@dataclass(slots=True)
class Totals:
    """What came, all in all. Requests to v2 are those that it was sent."""

    v1_requests: int = 0
    v2_requests: int = 0
    v2_requests_after_change: int = 0
    v2_not_sent: int = 0
    fallbacks: int = 0
    client_errors: int = 0
    unknown: int = 0  # requests of a path that nothing was recorded of


class DrawnEvidence:
    """The traffic of `scenario` on the one rollout of `config`."""

    def __init__(self, config: Config, scenario: Scenario, seed: int) -> None:
        rollout = config.rollouts[0]
        self.totals = Totals()
        self.begins_s = 0.0
        self._tick_s = rollout.judge.tick_s
        self._duration_s = scenario.duration_s
        self._admission = Admission(rollout.breaker)
        self.split = Split.of(0, rollout)
        self._breaks = rollout.breaker.enabled
        self._substitute = Substitute(rollout.fallback, generator(seed, "fallback"))
        self._counts = self._substitute.counts
        self._timeline = Timeline(scenario, seed)
        self._changed_s = self._timeline.first_change_s()
        self._crowd = Crowd(config, scenario, seed)
        self._rng = generator(seed, "requests")
        self._order = count()
        self._under_way: list[UnderWay] = []
        self._now = 0.0
        self._until = 0.0
        self._streams = Streams([], [])
        self._tally = _empty()
        self._pairs_v1: list[Pair] = []
        self._pairs_v2: list[Pair] = []
        self.conditions, _ = self._timeline.at(0.0)

    @property
    def breaker(self) -> Breaker:
        """The rollout's breaker."""
        return self._admission.breaker

    # ... ports.RolloutSink ...

    def publish(self, state: RolloutState) -> None:
        """The next request heeds the state."""
        self.split.apply(state)
        self._until = self._now  # other streams

    # ... ports.Evidence ...

    def drain(self) -> Sequence[Tally]:
        """What has come since the last call."""
        drained, self._tally = self._tally, _empty()
        for side, pairs in ((drained.v1, self._pairs_v1), (drained.v2, self._pairs_v2)):
            if pairs:
                side.latency = filled(pairs)
                pairs.clear()
        if self._under_way:
            drained.in_flight_v1, drained.in_flight_v2 = self._ages(Path.V1), self._ages(Path.V2)
        return (drained,)

    def late(self) -> Sequence[Tally]:
        """Nothing: a single process reports."""
        return ()

    # ... the passing of time ...

    def instants(self) -> Iterator[float]:
        """The end of every tick."""
        for number in range(1, ceil(self._duration_s / self._tick_s) + 1):
            yield number * self._tick_s

    def advance(self, now: float) -> None:
        """Let everything come that does until `now`, seconds since the beginning."""
        while self._now < now:
            if self._now >= self._until:
                self._renew()
            ends = min(now, self._until)
            for stream in self._streams.v1:
                self._ask_v1(stream, ends)
            for stream, v1_fails in self._streams.v2:
                self._ask_v2(stream, ends, v1_fails)
            if self._under_way:
                self._end_those_due(ends)
            self._now = ends

    def _renew(self) -> None:
        self.conditions, until = self._timeline.at(self._now)
        self._streams, leaving = self._crowd.streams(self.conditions, self.split, self._now)
        self._until = min(until, leaving)

    def _ask_v1(self, stream: Stream, ends: float) -> None:
        good, bad, pairs, slow = stream.draw(self._rng, ends - self._now)
        tally, quick = self._tally, good + bad
        tally.v1.requests += quick
        tally.assigned_v1 += quick
        tally.client_requests += quick
        if bad:
            tally.v1.errors[stream.kind] += bad
            tally.client_errors += bad
            self.totals.client_errors += bad
        self._pairs_v1 += pairs
        for one in slow:
            tally.assigned_v1 += one.n
            quick += one.n
            self._begin(one, Path.V1, ends, 0.0)
        self.totals.v1_requests += quick
        if self._counts:
            self._substitute.requests(self._now, quick)

    def _ask_v2(self, stream: Stream, ends: float, v1_fails: float) -> None:
        drawn = stream.draw(self._rng, ends - self._now)
        good, bad, pairs, slow = drawn
        came = good + bad
        for one in slow:
            came += one.n
        self._tally.assigned_v2 += came
        if self._counts:
            self._substitute.requests(self._now, came)
        if self.conditions.v2.health <= 0:
            self._divert(came, FallbackReason.UNAVAILABLE, v1_fails)
            return
        if self._breaks and not self._admission.passed(drawn, ends):
            good, bad, admitted, lost = self._admission.asked(self._rng, drawn, self._now, ends)
            if lost:
                pairs = some_of(self._rng, pairs, good + bad)
                slow = [drawn.slow[place]._replace(n=1) for place in admitted]
                self._divert(lost, FallbackReason.BREAKER, v1_fails)
                came -= lost
        tally = self._tally
        tally.v2.requests += good + bad
        tally.client_requests += good
        self._pairs_v2 += pairs
        if bad:
            tally.v2.errors[stream.kind] += bad
            self._stand_in(bad, stream.kind, v1_fails)
        for one in slow:
            self._begin(one, Path.V2, ends, v1_fails)
        self.totals.v2_requests += came
        if self._changed_s is not None and self._now >= self._changed_s:
            self.totals.v2_requests_after_change += came

    # ... attempts that take longer ...

    def _begin(self, slow: Slow, path: Path, ends: float, v1_fails: float) -> None:
        left = slow.n
        for part in range(min(_COHORTS, left), 0, -1):
            n = left // part
            left -= n
            began = self._now + (ends - self._now) * self._rng.random()
            due, order = began + MIDDLES_S[slow.bucket], next(self._order)
            epoch = self.breaker.epoch
            attempt = UnderWay(due, order, began, path, slow.bucket, n, slow.failed, epoch, v1_fails)
            heappush(self._under_way, attempt)

    def _end_those_due(self, now: float) -> None:
        while self._under_way and self._under_way[0].ends <= now:
            self._end(heappop(self._under_way))

    def _end(self, attempt: UnderWay) -> None:
        n, failed, tally = attempt.n, attempt.failed, self._tally
        side = tally.of(attempt.path)
        side.requests += n
        pairs = self._pairs_v1 if attempt.path is Path.V1 else self._pairs_v2
        pairs.append((attempt.bucket, n))
        if failed != GOOD:
            side.errors[failed] += n
        if attempt.path is Path.V2 and self._breaks:
            for _ in range(n):
                self._admission.ended(attempt.ends, failed=failed != GOOD, epoch=attempt.epoch)
        if failed == GOOD or attempt.path is Path.V1:
            tally.client_requests += n
            self._lose(n if failed != GOOD else 0)
        else:
            self._stand_in(n, failed, attempt.v1_fails)

    def _ages(self, path: Path) -> Histogram:
        ages = [(one, self._now - one.began) for one in self._under_way if one.path is path]
        return filled([(bucket_index(int(age_s * 1e6)), one.n) for one, age_s in ages])

    # ... what clients get in place of v2's answer ...

    def _stand_in(self, n: int, kind: int, v1_fails: float) -> None:
        """v2 has failed `n` requests."""
        reason = self._substitute.reason(kind)
        if reason is not None:
            self._divert(n, reason, v1_fails)
        else:
            self._tally.client_requests += n
            self._lose(n)

    def _divert(self, n: int, reason: FallbackReason, v1_fails: float) -> None:
        """v1 is to answer `n` requests."""
        answered, failed = self._substitute.answer(self._now, n, v1_fails)
        tally, index = self._tally, FALLBACK_INDEX[reason]
        tally.client_requests += n
        tally.fallbacks[index] += answered
        tally.fallback_errors += failed
        tally.over_budget[index] += n - answered
        self.totals.fallbacks += answered
        if reason in {FallbackReason.BREAKER, FallbackReason.UNAVAILABLE}:
            self.totals.v2_not_sent += n
        self._lose(failed + n - answered)

    def _lose(self, n: int) -> None:
        self._tally.client_errors += n
        self.totals.client_errors += n
