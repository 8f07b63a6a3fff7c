"""The shape of latencies: mixtures of log-normal ones, cut into the buckets of `core.histogram`.

Owns the chance of each bucket, and drawing from it. Must never know a path, a rate or a deadline. Within a
bucket every latency counts as its middle, as it does for whoever reads the histogram.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import lru_cache
from itertools import accumulate, compress
from math import erf, exp, log, sqrt
from typing import TYPE_CHECKING, NamedTuple

from proxy.core.histogram import BUCKET_COUNT, Histogram, bucket_bounds_us, bucket_index
from proxy.simulation.chance import poisson

if TYPE_CHECKING:
    from random import Random

    from proxy.simulation.chance import Poisson

Pair = tuple[int, int]
"""A bucket, and how many latencies are in it."""

_ENDS_US = tuple(bucket_bounds_us(index)[1] for index in range(BUCKET_COUNT))
MIDDLES_US = tuple(sum(bucket_bounds_us(index)) // 2 for index in range(BUCKET_COUNT))
"""The latency that stands for each bucket."""
MIDDLES_S = tuple((us + 0.25) * 1e-6 for us in MIDDLES_US)  # a little more: never rounded into the one below

MANY = 150.0
"""From this mean on, a number for each bucket costs less than a bucket for each latency."""

_RARE = 0.02  # buckets that hold so few on average are drawn together


class Mode(NamedTuple):
    """One log-normal latency: its median in seconds and the standard deviation of its logarithm."""

    weight: float
    median_s: float
    sigma: float


Modes = tuple[Mode, ...]


class Shape:
    """How latencies of these modes fall into buckets. Make it with `shape_of`, which keeps them."""

    __slots__ = ("_cumulative", "_first", "_singles", "_vectors")

    def __init__(self, modes: Modes) -> None:
        total = sum(mode.weight for mode in modes)
        chances = [0.0] * BUCKET_COUNT
        for mode in modes:
            for index, chance in enumerate(_lognormal(mode)):
                chances[index] += chance * mode.weight / total
        self._first = next((i for i, chance in enumerate(chances) if chance > 1e-15), 0)
        last = max((i for i, chance in enumerate(chances) if chance > 1e-15), default=0)
        self._cumulative = list(accumulate(chances[self._first : last + 1]))
        self._cumulative[-1] = 1.0
        self._singles = [(bucket, 1) for bucket in range(self._first, last + 2)]
        self._vectors: dict[float, _Vector] = {}

    def arrivals(self, rng: Random, mean: float) -> list[Pair]:
        """A Poisson number of latencies with this mean, by bucket; below `MANY`, one by one."""
        if mean < MANY:
            n = poisson(mean).draw(rng)
            cumulative, singles, random = self._cumulative, self._singles, rng.random
            return [singles[bisect_right(cumulative, random())] for _ in range(n)]
        vector = self._vectors.get(mean)
        if vector is None:
            if len(self._vectors) > 64:
                self._vectors.clear()
            vector = self._vectors[mean] = self._vector(mean)
        return vector.draw(rng)

    def _vector(self, mean: float) -> _Vector:
        before = 0.0
        usual: list[tuple[int, Poisson]] = []
        rare: list[int] = []
        cumulative: list[float] = []
        for index, upto in enumerate(self._cumulative, self._first):
            expected = (upto - before) * mean
            before = upto
            if expected >= _RARE:
                usual.append((index, poisson(expected)))
            elif expected > 0:
                rare.append(index)
                cumulative.append((cumulative[-1] if cumulative else 0.0) + expected)
        return _Vector(usual, rare, cumulative)


class _Vector:
    """One independent Poisson number for each usual bucket, and one for all the rare ones together."""

    __slots__ = ("_cumulative", "_rare", "_rest", "_usual")

    def __init__(self, usual: list[tuple[int, Poisson]], rare: list[int], cumulative: list[float]) -> None:
        self._usual = usual
        self._rare = rare
        self._cumulative = cumulative
        self._rest = poisson(cumulative[-1] if cumulative else 0.0)

    def draw(self, rng: Random) -> list[Pair]:
        counts = [draw.draw(rng) for _, draw in self._usual]
        drawn = list(
            compress([(index, n) for (index, _), n in zip(self._usual, counts, strict=True)], counts)
        )
        for _ in range(self._rest.draw(rng)):
            place = bisect_left(self._cumulative, rng.random() * self._cumulative[-1])
            drawn.append((self._rare[place], 1))
        return drawn


@lru_cache(maxsize=1024)
def shape_of(modes: Modes, factor: float = 1.0) -> Shape:
    """The shape of these modes, all `factor` times as long."""
    return Shape(tuple(mode._replace(median_s=mode.median_s * factor) for mode in modes))


def mixed(before: Modes, after: Modes, progress: float) -> Modes:
    """What lies between two shapes, `progress` (0..1) of the way: one mode moves, several are blended."""
    if progress >= 1.0 or before == after:
        return after
    if len(before) == len(after) == 1:
        one, other = before[0], after[0]
        median_s = exp((1 - progress) * log(one.median_s) + progress * log(other.median_s))
        return (Mode(1.0, median_s, (1 - progress) * one.sigma + progress * other.sigma),)
    return (*_weighing(before, 1 - progress), *_weighing(after, progress))


def filled(pairs: list[Pair]) -> Histogram:
    """These latencies, as a recorder would have counted them."""
    found: dict[int, int] = {}
    total_us = 0
    for bucket, n in pairs:
        found[bucket] = found.get(bucket, 0) + n
        total_us += MIDDLES_US[bucket] * n
    return Histogram.of_few(found, total_us)


def some_of(rng: Random, pairs: list[Pair], n: int) -> list[Pair]:
    """`n` of these latencies, chosen at random."""
    if n == 0:
        return []
    chosen = rng.sample([bucket for bucket, _ in pairs], n, counts=[count for _, count in pairs])
    return [(bucket, 1) for bucket in chosen]


def _weighing(modes: Modes, weight: float) -> Modes:
    total = sum(mode.weight for mode in modes)
    return tuple(mode._replace(weight=mode.weight / total * weight) for mode in modes)


def _lognormal(mode: Mode) -> list[float]:
    """The chance of each bucket; what is longer than all of them is in the last one."""
    if mode.sigma <= 0:
        only = bucket_index(round(mode.median_s * 1e6))
        return [float(index == only) for index in range(BUCKET_COUNT)]
    centre, scale = log(mode.median_s * 1e6), mode.sigma * sqrt(2)
    upto = [0.5 * (1 + erf((log(end) - centre) / scale)) for end in _ENDS_US[:-1]]
    return [one - before for one, before in zip([*upto, 1.0], [0.0, *upto], strict=True)]
