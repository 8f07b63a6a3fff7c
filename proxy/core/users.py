"""How many users were seen, and how many of them on v2, without keeping one: HyperLogLog over hashes that the
split computes anyway.

Owns the sketch: 4,096 registers of a byte for either question, each with the longest run of zeroes among the
hashes that fell to it. An estimate is off by 1.6 % on average (Flajolet et al. 2007), for ten users as for a
billion (Ertl 2017, "improved raw estimator"). Sketches of several processes merge into the sketch of all.
Must never know a key.
"""

from __future__ import annotations

from collections import Counter
from math import log
from typing import TYPE_CHECKING, Final

from proxy.model import Users

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_BITS: Final = 12
PLACES: Final = 1 << _BITS
LONGEST: Final = 49
"""The longest run that is told apart: the bits that a hash has beside its place."""


class UserSketch:
    """Both questions at once. `see` is on the hot path, and writes only for a hash that is rare."""

    __slots__ = ("_changed", "_on_v2", "_seen")

    def __init__(self) -> None:
        self._seen = bytearray(PLACES)
        self._on_v2 = bytearray(PLACES)
        self._changed: set[int] | None = None  # places; None until `changes` is asked for the first time

    def see(self, hashed: int, on_v2: bool) -> None:
        """The 64-bit hash of a user, and where they go. Python's own hash of it is its remainder by 2^61 - 1:
        just as random, and small enough for the compiler to keep it in a register."""
        word = hash(hashed)
        place, rest = word & (PLACES - 1), word >> _BITS
        if rest >> (LONGEST - self._seen[place]) == 0:
            self._take(self._seen, place, _run(rest))
        if on_v2 and rest >> (LONGEST - self._on_v2[place]) == 0:
            self._take(self._on_v2, place, _run(rest))

    def changes(self) -> list[int]:
        """What another sketch has to `merge` to have seen what this one has, if it has merged all that was
        told before: places, each followed by its two runs."""
        places: Iterable[int] = ()
        if self._changed is not None:
            places = sorted(self._changed)
        elif self._seen.count(0) < PLACES:
            places = range(PLACES)
        self._changed = set()
        return [n for place in places if self._seen[place] for n in (place, *self._runs(place))]

    def merge(self, changes: Sequence[int]) -> None:
        """Take in another one's `changes`; again changes nothing."""
        for place, seen, on_v2 in zip(changes[::3], changes[1::3], changes[2::3], strict=True):
            self._take(self._seen, place, seen)
            self._take(self._on_v2, place, on_v2)

    def count(self) -> Users:
        """About how many."""
        return Users(_estimate(self._seen), _estimate(self._on_v2))

    def _runs(self, place: int) -> tuple[int, int]:
        return self._seen[place], self._on_v2[place]

    def _take(self, registers: bytearray, place: int, run: int) -> None:
        if run > registers[place]:
            registers[place] = run
            if self._changed is not None:
                self._changed.add(place)

    def __repr__(self) -> str:
        return f"UserSketch({self.count()})"


def _run(rest: int) -> int:
    return min(LONGEST, LONGEST + 1 - rest.bit_length())


def _estimate(registers: bytearray) -> int:
    runs = Counter(registers)
    if runs[0] == PLACES:
        return 0
    unlikely = 0.0
    for run in range(LONGEST, 0, -1):
        unlikely = 0.5 * (unlikely + runs[run])
    unlikely += PLACES * _sigma(runs[0] / PLACES)
    return round(PLACES * PLACES / (2.0 * log(2.0) * unlikely))


def _sigma(empty: float) -> float:
    """What the empty registers, of which there is that share, add up to."""
    found, weight, before = empty, 1.0, -1.0
    while found != before:
        empty *= empty
        before = found
        found += empty * weight
        weight += weight
    return found
