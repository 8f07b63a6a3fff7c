"""The cases of latency and of promotion, which need a histogram for every second.

Owns what is played, and what comes of it. Must never know how figures are shown. Everything goes through
`core.comparison`, as the judge asks it. There are no others' rules beside: a limit in milliseconds, which is
what they have, says nothing of v1.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Any

from benchmarks.judging.counts import poisson
from benchmarks.judging.playing import Detection, detections, generator, spread
from proxy.core.comparison import Comparison
from proxy.core.histogram import Histogram, bucket_index
from proxy.core.policy import JudgePolicy
from proxy.core.tally import Tally
from proxy.simulation.shape import Mode, filled, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from proxy.simulation.shape import Modes

_Z95 = 1.6449
_TIMEOUT_S = 30
_TIMED_OUT = bucket_index(_TIMEOUT_S * 1_000_000)
_LEARNING_S = 600
_BASE = 0.001
_LONGEST_S = 4 * 3600  # a promotion that takes longer counts as none


@dataclass(frozen=True, slots=True)
class LatencyCase:
    """v1's latencies, and v2's from `onset_s` on; None: it never answers."""

    group: str
    name: str
    v1: Modes
    v2: Modes | None
    onset_s: int | None = None
    length_s: int = 86_400
    rps: float = 10.0
    share: float = 0.1
    limit_s: float | None = None


def lognormal(p50_s: float, p95_s: float, weight: float = 1.0) -> Mode:
    """By two of its quantiles."""
    return Mode(weight, p50_s, log(p95_s / p50_s) / _Z95)


_SHAPES: dict[str, Modes] = {
    "20/60 ms": (lognormal(0.020, 0.060),),
    "50/150 ms": (lognormal(0.050, 0.150),),
    "100/300 ms": (lognormal(0.100, 0.300),),
}
_CACHED: Modes = (lognormal(0.005, 0.010, 0.9), lognormal(0.200, 0.400, 0.1))
_HALF_CACHED: Modes = (lognormal(0.005, 0.010, 0.5), lognormal(0.200, 0.400, 0.5))
_STUCK: Modes = (lognormal(0.020, 0.060, 0.98), lognormal(5.0, 8.0, 0.02))


def latency_cases() -> list[LatencyCase]:
    """Of a v2 that is as fast, and of slower ones."""
    return [*_equal(), *_slower()]


def _equal() -> Iterator[LatencyCase]:
    for name, modes in {**_SHAPES, "5 and 200 ms, 9 to 1": _CACHED}.items():
        yield LatencyCase("latency_equal", f"{name}, v2 as fast as v1", modes, modes)


def _slower() -> Iterator[LatencyCase]:
    for name, modes in _SHAPES.items():
        twice = (modes[0]._replace(median_s=2.0 * modes[0].median_s),)
        yield _fault(f"{name}, v2 takes twice as long", modes, twice, 190.0)
    plain = _SHAPES["20/60 ms"]
    yield _fault("20/60 ms, v2 hangs", plain, None, None)
    yield _fault("20/60 ms, 2 % of v2 take 5 s", plain, _STUCK, None)
    yield _fault("5 and 200 ms, 9 to 1; v2 half and half", _CACHED, _HALF_CACHED, None)


def _fault(name: str, v1: Modes, v2: Modes | None, limit_s: float | None) -> LatencyCase:
    return LatencyCase("latency_fault", name, v1, v2, 3600, 7200, limit_s=limit_s)


def played_latency(case: LatencyCase, runs: int, seed: int) -> dict[str, Any]:
    """The row of a case, as `playing.played` makes them."""
    outcomes = [_play(case, generator(f"{case.group}/{case.name}", seed, run)) for run in range(runs)]
    row: dict[str, Any] = {"group": case.group, "case": case.name, "runs": runs}
    if case.onset_s is None:
        row["rollbacks"] = {"dualpath": sum(one is not None for one in outcomes)}
    else:
        row["rules"] = {"dualpath": detections(outcomes)}
        row["limit_requests"], row["limit_s"] = None, case.limit_s
    return row


def _play(case: LatencyCase, rng: Random) -> int | Detection | None:
    comparison = Comparison(JudgePolicy())
    traffic = Latencies(rng, case.rps, case.share)
    onset_s = case.length_s if case.onset_s is None else case.onset_s
    requests = 0
    for second in range(case.length_s):
        is_on = second >= onset_s
        tally = traffic.second(case.v1, case.v2 if is_on else case.v1)
        if is_on:
            requests += traffic.to_v2
        comparison.observe(tally, 1.0, split=True)
        if comparison.evidence >= comparison.needed:
            return Detection(requests, second - onset_s + 1) if is_on else second
    return None


class Latencies:
    """Seconds of traffic with latencies. Requests to a v2 that hangs are under way until their time is up."""

    def __init__(self, rng: Random, rps: float, share: float) -> None:
        self._rng = rng
        self._means = rps * (1.0 - share), rps * share
        self._hanging: deque[int] = deque([0] * _TIMEOUT_S, _TIMEOUT_S)
        self.to_v2 = 0  # requests in the last second
        self.failing = _BASE, _BASE

    def second(self, v1: Modes, v2: Modes | None) -> Tally:
        """One second; `v2` is None while it hangs."""
        tally, rng = Tally(), self._rng
        late = self._hanging[0]
        if v2 is None:
            self.to_v2 = poisson(rng, self._means[1], 1)[0]
            self._hanging.append(self.to_v2)
            pairs = []
        else:
            self._hanging.append(0)
            pairs = shape_of(v2).arrivals(rng, self._means[1])
            self.to_v2 = sum(n for _, n in pairs)
        tally.v2.latency = filled([*pairs, (_TIMED_OUT, late)] if late else pairs)
        answered = self.to_v2 if v2 is not None else 0
        tally.v2.requests = answered + late
        tally.v2.errors[0] = late + self._failed(answered, self.failing[1])
        pairs = shape_of(v1).arrivals(rng, self._means[0])
        tally.v1.latency = filled(pairs)
        tally.v1.requests = n1 = sum(n for _, n in pairs)
        tally.v1.errors[0] = self._failed(n1, self.failing[0])
        if any(self._hanging):
            tally.in_flight_v2 = self._ages()
        return tally

    def _failed(self, n: int, share: float) -> int:
        random = self._rng.random
        return sum(random() < share for _ in range(n))

    def _ages(self) -> Histogram:
        ages = Histogram()
        for seconds, n in enumerate(reversed(self._hanging)):
            for _ in range(n):
                ages.record(seconds + 0.5)
        return ages


# ... promotion


def played_promotion(share: float, points: float, runs: int, seed: int) -> dict[str, Any]:
    """How many requests v2 needs to be shown as good, if it fails by `points` more than v1."""
    v2 = f"v2 fails by {100.0 * points:g} points more" if points else "v2 as good as v1"
    name = f"10 rps, {100.0 * share:g} % to v2, base 0.1 %, {v2}"
    taken = [_promote(share, points, generator(f"promotion/{name}", seed, run)) for run in range(runs)]
    done = [one for one in taken if one is not None]
    return {
        "group": "promotion",
        "case": name,
        "share": share,
        "is_good": not points,
        "runs": runs,
        "promoted": len(done),
        "requests": spread(done),
    }


def _promote(share: float, points: float, rng: Random) -> int | None:
    """Requests to v2 until it might be promoted; None if it is rolled back first, or after four hours."""
    comparison = Comparison(JudgePolicy())
    modes = _SHAPES["20/60 ms"]
    before = Latencies(rng, 10.0, 0.0)
    for _ in range(_LEARNING_S):
        comparison.observe(before.second(modes, modes), 1.0, split=False)
    traffic = Latencies(rng, 10.0, share)
    traffic.failing = _BASE, _BASE + points
    requests = 0
    for _ in range(_LONGEST_S):
        comparison.observe(traffic.second(modes, modes), 1.0, split=True)
        requests += traffic.to_v2
        if comparison.evidence >= comparison.needed:
            return None
        if comparison.satisfied and comparison.evidence < comparison.doubtful:
            return requests
    return None
