"""Sums of what many reports say of one rollout.

Owns how they are added up without looking at each bucket: the counts of a histogram are the digits of one
long number, 64 bits each, so that one addition adds all of them. A count is at most 2^40, and there are far
fewer than 2^24 reports between two readings, so no digit ever runs over. Must never know whose they are.
"""

from __future__ import annotations

from struct import unpack
from typing import Final

from proxy.core.histogram import Histogram
from proxy.core.tally import PathTally, Tally
from proxy.core.tally_wire import COUNTERS, Told, ToldPath

_BITS: Final = 64  # of a digit


class Pile:
    """Add to it, and read the `tally`."""

    __slots__ = ("_counters", "_fallbacks", "_is_empty", "_over_budget", "_v1", "_v2")

    def __init__(self) -> None:
        self._is_empty = True
        self._v1 = _Side()
        self._v2 = _Side()
        self._counters = dict.fromkeys(COUNTERS, 0)
        self._fallbacks: list[int] = []
        self._over_budget: list[int] = []

    def add(self, told: Told) -> None:
        """Merge it in."""
        self._is_empty = False
        if told.v1 is not None:
            self._v1.add(told.v1)
        if told.v2 is not None:
            self._v2.add(told.v2)
        for name, count in told.counters.items():
            self._counters[name] += count
        self._fallbacks = _sums(self._fallbacks, told.fallbacks)
        self._over_budget = _sums(self._over_budget, told.over_budget)

    def tally(self) -> Tally:
        """All of it."""
        if self._is_empty:
            return Tally()
        tally = Tally(self._v1.tally(), self._v2.tally())
        for name, count in self._counters.items():
            setattr(tally, name, count)
        tally.fallbacks = list(self._fallbacks) or tally.fallbacks
        tally.over_budget = list(self._over_budget) or tally.over_budget
        return tally


class _Side:
    __slots__ = ("_counts", "_errors", "_requests", "_total_us")

    def __init__(self) -> None:
        self._requests = 0
        self._errors: list[int] = []
        self._counts = 0
        self._total_us = 0

    def add(self, told: ToldPath) -> None:
        latency = told.latency
        self._counts += int.from_bytes(latency.digits, "little") << _BITS * latency.first
        self._total_us += latency.total_us
        self._requests += told.requests
        self._errors = _sums(self._errors, told.errors)

    def tally(self) -> PathTally:
        side = PathTally(self._requests, latency=_histogram(self._counts, self._total_us))
        side.errors = list(self._errors) or side.errors
        return side


def _histogram(digits: int, total_us: int) -> Histogram:
    first = max((digits & -digits).bit_length() - 1, 0) // _BITS
    count = -(-digits.bit_length() // _BITS) - first
    run = (digits >> _BITS * first).to_bytes(_BITS // 8 * count, "little")
    return Histogram.of_run(first, list(unpack(f"<{count}Q", run)), total_us)


def _sums(counts: list[int], more: list[int]) -> list[int]:
    if not more:
        return counts
    return [one + other for one, other in zip(counts, more, strict=True)] if counts else more
