"""Sums of what many reports say of one rollout.

Owns how they are added up without looking at each bucket: the counts of a histogram are the digits of one
long number, 64 bits each, so that one addition adds all of them. A count is at most 2^40, and there are far
fewer than 2^24 reports between two readings, so no digit ever runs over. Must never know whose they are.
"""

from __future__ import annotations

from struct import unpack
from typing import Final

from proxy.core.tally import Tally
from proxy.core.tally_wire import COUNTERS, Spread, Told, ToldPath

_BITS: Final = 64  # of a digit


class Pile:
    """Add to it, and read the `tally`."""

    __slots__ = ("_counters", "_fallbacks", "_in_flight", "_is_empty", "_over_budget", "_v1", "_v2")

    def __init__(self) -> None:
        self._is_empty = True
        self._v1 = _Side()
        self._v2 = _Side()
        self._counters = dict.fromkeys(COUNTERS, 0)
        self._fallbacks: list[int] = []
        self._over_budget: list[int] = []
        self._in_flight: dict[str, _Spreads] = {}

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

    def see(self, told: Told) -> None:
        """Merge in what it has under way. That is no count: it is seen once in each reading."""
        self._is_empty = False
        for name, spread in told.in_flight.items():
            self._in_flight.setdefault(name, _Spreads()).add(spread)

    def told(self) -> Told:
        """All of it, as one report would tell it."""
        return Told(
            self._v1.told(),
            self._v2.told(),
            {name: count for name, count in self._counters.items() if count},
            self._fallbacks,
            self._over_budget,
            {name: spreads.told() for name, spreads in self._in_flight.items()},
        )

    def tally(self) -> Tally:
        """All of it, as counters that can be added up."""
        return Tally() if self._is_empty else self.told().tally()


class _Spreads:
    __slots__ = ("_counts", "_total_us")

    def __init__(self) -> None:
        self._counts = 0
        self._total_us = 0

    def add(self, spread: Spread) -> None:
        self._counts += int.from_bytes(spread.digits, "little") << _BITS * spread.first
        self._total_us += spread.total_us

    def told(self) -> Spread:
        digits = self._counts
        first = max((digits & -digits).bit_length() - 1, 0) // _BITS
        count = -(-digits.bit_length() // _BITS) - first
        run = (digits >> _BITS * first).to_bytes(_BITS // 8 * count, "little")
        return Spread(first, list(unpack(f"<{count}Q", run)), run, self._total_us)


class _Side:
    __slots__ = ("_errors", "_latencies", "_requests")

    def __init__(self) -> None:
        self._requests = 0
        self._errors: list[int] = []
        self._latencies = _Spreads()

    def add(self, told: ToldPath) -> None:
        self._latencies.add(told.latency)
        self._requests += told.requests
        self._errors = _sums(self._errors, told.errors)

    def told(self) -> ToldPath | None:
        if not self._requests:
            return None
        return ToldPath(self._requests, self._errors, self._latencies.told())


def _sums(counts: list[int], more: list[int]) -> list[int]:
    if not more:
        return counts
    return [one + other for one, other in zip(counts, more, strict=True)] if counts else more
