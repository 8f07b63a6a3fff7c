"""Counts drawn by chance: how many requests come in a tick, and how many of them fail.

Owns two distributions, and what makes them cheap enough for days of ticks: a Poisson number of one fixed
mean is looked up in a table that is made once. Must never know what is counted. The same seed gives the same
counts.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from math import exp, lgamma, log, sqrt
from random import Random

_MOST_TABULATED = 20_000.0  # above, a normal number is the same for every practical purpose
_SPREAD = 9.0  # standard deviations that a table covers; what lies beyond has a chance below 1e-18
_FEW = 32.0  # expected successes that are counted up to


def generator(seed: int, purpose: str) -> Random:
    """The chance of one purpose: what is drawn for another one does not disturb it."""
    return Random(f"{seed}/{purpose}")  # noqa: S311 - it has to be repeatable, and guards nothing


class Poisson:
    """A Poisson number of one mean. Make it with `poisson`, which keeps the tables."""

    __slots__ = ("_cumulative", "_first", "mean")

    def __init__(self, mean: float) -> None:
        self.mean = mean
        reach = _SPREAD * sqrt(mean) + 20
        self._first = max(0, int(mean - reach))
        self._cumulative: list[float] = []
        if 0 < mean <= _MOST_TABULATED:
            chances = [
                exp(n * log(mean) - mean - lgamma(n + 1)) for n in range(self._first, int(mean + reach))
            ]
            self._cumulative = list(accumulate(chances))

    def draw(self, rng: Random) -> int:
        """One such number."""
        if self._cumulative:
            return self._first + bisect_right(self._cumulative, rng.random())
        return max(0, round(rng.gauss(self.mean, sqrt(self.mean)))) if self.mean > 0 else 0


@lru_cache(maxsize=8192)
def poisson(mean: float) -> Poisson:
    """The Poisson number of this mean."""
    return Poisson(mean)


def binomial(rng: Random, n: int, p: float) -> int:
    """How many of `n` tries succeed, each with chance `p`; exact, and quick where few do."""
    if n <= 0 or p <= 0.0:
        return 0
    if n * p <= _FEW and p <= 0.5:
        left = rng.random()
        return 0 if left <= (1.0 - p) ** n else _inverted(left, n, p)
    if p >= 1.0:
        return n
    if p > 0.5:
        return n - binomial(rng, n, 1.0 - p)
    found = 0
    while n * p > _FEW:  # split at the middle one of n uniform numbers, which has a beta distribution
        middle = 1 + n // 2
        split = rng.betavariate(middle, n + 1 - middle)
        if split <= p:
            found += middle
            n, p = n - middle, (p - split) / (1.0 - split)
        else:
            n, p = middle - 1, p / split
    return found + _inverted(rng.random(), n, p)


def _inverted(left: float, n: int, p: float) -> int:
    """The same by going up from no success until the chances add up to `left`, a uniform number."""
    if p <= 0.0:
        return 0
    found, odds = 0, p / (1.0 - p)
    chance = (1.0 - p) ** n
    while left > chance and found < n:
        left -= chance
        found += 1
        chance *= odds * (n - found + 1) / found
    return found
