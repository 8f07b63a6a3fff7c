"""Counts per second of synthetic traffic: how many requests each path got, and how many of them failed.

Owns how they are drawn. Must never know a rule. Requests come by chance (Poisson) and fail by chance, each
on its own: given how many came, the failed ones are binomial. The same generator gives the same counts.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from math import exp, lgamma, log, sqrt
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

_SPREAD = 9.0  # standard deviations that a table covers
_GRID = 1e-3  # relative: means that differ by less share a table


class Span(NamedTuple):
    """Seconds in which the shares of requests that fail stay the same."""

    seconds: int
    v1: float
    v2: float


@dataclass(slots=True)
class Counts:
    """Second by second: requests and failed ones of v1 and of v2."""

    n1: list[int] = field(default_factory=list)
    s1: list[int] = field(default_factory=list)
    n2: list[int] = field(default_factory=list)
    s2: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.n1)

    def to_v2(self, first: int, last: int) -> int:
        """Requests to v2 from second `first` to `last`, both included."""
        return sum(self.n2[first : last + 1])


def drawn(rng: Random, rps: float, share: float, spans: Iterable[Span]) -> Counts:
    """Counts of `rps` requests a second on average, `share` of them to v2."""
    counts = Counts()
    for span in spans:
        for mean, fails, n, s in (
            (rps * (1.0 - share), span.v1, counts.n1, counts.s1),
            (rps * share, span.v2, counts.n2, counts.s2),
        ):
            failed = poisson(rng, mean * fails, span.seconds)
            good = poisson(rng, mean * (1.0 - fails), span.seconds)
            s += failed
            n += map(int.__add__, failed, good)
    return counts


def poisson(rng: Random, mean: float, number: int) -> list[int]:
    """So many Poisson numbers of one mean."""
    if mean <= 0.0:
        return [0] * number
    random = rng.random
    first, cumulative = _table(round(log(mean) / _GRID))
    return [first + bisect_right(cumulative, random()) for _ in range(number)]


@lru_cache(maxsize=4096)
def _table(at: int) -> tuple[int, list[float]]:
    mean = exp(at * _GRID)
    reach = _SPREAD * sqrt(mean) + 12.0
    first = max(0, int(mean - reach))
    chances = [exp(n * log(mean) - mean - lgamma(n + 1)) for n in range(first, int(mean + reach) + 1)]
    return first, list(accumulate(chances))
