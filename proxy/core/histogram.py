"""Log-linear latency histograms: fixed arrays of counters that merge and subtract exactly.

Owns the bucket layout and the arithmetic on it. Must never know what was measured, when, or by whom.

Layout (octaves as in OpenTelemetry's exponential histograms, cut into linear steps as in HdrHistogram):
latencies are whole microseconds, rounded down. Below 64 µs each microsecond has its bucket; above, each
octave [2^k, 2^(k+1)) is cut into 32 equal ones. The middle of a bucket is therefore within 1/64 = 1.6 % of
every latency in it. Nothing is kept beside the counts and their integer sum: so merging is associative, and
subtracting restores exactly what was there, which a kept maximum or a sum of floats would not allow.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import compress
from math import ceil
from typing import TYPE_CHECKING, Final

from proxy.model import LatencySummary

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_US: Final = (1 << 30) - 1
"""The longest latency, 17.9 minutes; longer ones count as this long. CPython's largest one-digit integer."""

_LINEAR: Final = 64  # latencies below have a bucket each
_SPLIT_BITS: Final = 5  # above, 2^5 buckets per octave
_OCTAVE: Final = 1 << _SPLIT_BITS


def bucket_index(us: int) -> int:
    """The bucket, 0..BUCKET_COUNT-1, of a latency in whole microseconds; out of range goes to the ends."""
    if us < _LINEAR:
        return max(us, 0)
    us = min(us, MAX_US)
    shift = us.bit_length() - _SPLIT_BITS - 1
    return (shift << _SPLIT_BITS) + (us >> shift)


def bucket_bounds_us(index: int) -> tuple[int, int]:
    """The first latency of a bucket and the first beyond it, in microseconds."""
    shift = max((index >> _SPLIT_BITS) - 1, 0)
    first = (index - (shift << _SPLIT_BITS)) << shift
    return first, first + (1 << shift)


BUCKET_COUNT: Final = bucket_index(MAX_US) + 1
"""Number of buckets: 832."""

_MIDDLES_S: Final = tuple(sum(bucket_bounds_us(index)) * 0.5e-6 for index in range(BUCKET_COUNT))


def first_above(limit_s: float) -> int:
    """The first bucket that counts as longer than `limit_s`: its middle does. `BUCKET_COUNT` for none.

    So `count_from(first_above(limit_s))` is how many latencies exceed the limit by the same figures as a
    quantile is told in.
    """
    return bisect_right(_MIDDLES_S, limit_s)


def _empty() -> list[int]:
    return [0] * BUCKET_COUNT


class Histogram:
    """Latencies of one path: `counts` per bucket, and their sum `total_us`.

    `counts` is for reading: only the methods write it. One second's histogram is merged into several sums and
    later taken out of them, though it has hardly any latencies outside a few octaves. So `record` notes which
    buckets it is the first to fill, and a sum knows outside which two all are empty. One that is made of few
    latencies (`of_few`) knows nothing else: it has `counts` only once somebody asks.
    """

    __slots__ = (
        "_added",
        "_counts",
        "_few",
        "_filled",
        "_high",
        "_is_few",
        "_is_sum",
        "_low",
        "_spanned",
        "total_us",
    )

    def __init__(self, *, is_few: bool = False) -> None:
        self._counts = [] if is_few else _empty()
        self._is_few = is_few
        self._few: list[int] = []  # the counts of `_filled`, if it is few
        self.total_us = 0
        self._is_sum = False
        self._added = 0  # how many latencies `add` has brought; into a sum nothing is recorded
        self._filled: list[int] = []  # by `record`; unless it is a sum, there are no others
        self._spanned = 0  # how many of these lie between the next two
        self._low, self._high = BUCKET_COUNT, 0

    @classmethod
    def of(cls, counts: Iterable[tuple[int, int]], total_us: int) -> Histogram:
        """From pairs of a bucket and how many latencies are in it, and the sum of all of them."""
        made = cls()
        for index, n in counts:
            made._counts[index] += n
        made._filled = list(compress(range(BUCKET_COUNT), made._counts))
        made.total_us = total_us
        return made

    @classmethod
    def of_run(cls, first: int, counts: list[int], total_us: int) -> Histogram:
        """As `of`, from the counts of adjacent buckets, of which `first` is the first."""
        made, beyond = cls(), first + len(counts)
        made._counts[first:beyond] = counts
        made._filled = list(compress(range(first, beyond), counts))
        made.total_us = total_us
        return made

    @classmethod
    def of_few(cls, counts: dict[int, int], total_us: int) -> Histogram:
        """From the count of each bucket that is not empty, 1 at least. To be read and merged, not to be
        recorded into."""
        made = cls(is_few=True)
        made._filled = list(counts)
        made._few = list(counts.values())
        made.total_us = total_us
        return made

    @property
    def counts(self) -> list[int]:
        """How many there are, by bucket."""
        if self._is_few:
            self._counts = _empty()
            for index, n in zip(self._filled, self._few, strict=True):
                self._counts[index] = n
            self._is_few = False
        return self._counts

    def record(self, latency_s: float) -> None:
        """Count one latency in seconds. On the hot path: `bucket_index` for the usual range, written out."""
        us = int(latency_s * 1e6)
        if 63 < us <= 1073741823:
            shift = us.bit_length() - 6
            index = (shift << 5) + (us >> shift)
        else:
            us = min(max(us, 0), MAX_US)
            index = bucket_index(us)
        n = self._counts[index]
        if n == 0:
            self._filled.append(index)
        self._counts[index] = n + 1
        self.total_us += us

    def add(self, other: Histogram) -> None:
        """Merge `other` in."""
        counts, total = self.counts, self._added
        self._is_sum = True
        if other._is_few:
            for index, m in zip(other._filled, other._few, strict=True):
                n = counts[index]  # compiled, `+=` on an item would add objects, not integers
                counts[index] = n + m
                total += m
        else:
            more = other._counts
            for index in other._indices():
                n, m = counts[index], more[index]
                counts[index] = n + m
                total += m
        self._added = total
        self.total_us += other.total_us
        low, high = other._span()
        if low < self._low:
            self._low = low
        if high > self._high:
            self._high = high

    def subtract(self, other: Histogram) -> None:
        """Take `other`, which was added before, out again."""
        counts, total = self.counts, self._added
        self._is_sum = True
        if other._is_few:
            for index, m in zip(other._filled, other._few, strict=True):
                n = counts[index]
                counts[index] = n - m
                total -= m
        else:
            fewer = other._counts
            for index in other._indices():
                n, m = counts[index], fewer[index]
                counts[index] = n - m
                total -= m
        self._added = total
        self.total_us -= other.total_us

    def _span(self) -> tuple[int, int]:
        """The first bucket that may be filled, and the first beyond the last one."""
        filled = self._filled
        if self._spanned != len(filled):
            low, high = min(filled), max(filled) + 1
            if low < self._low:
                self._low = low
            if high > self._high:
                self._high = high
            self._spanned = len(filled)
        return self._low, self._high

    def _indices(self) -> list[int]:
        """The buckets that are not empty, in any order."""
        if not self._is_sum:
            return self._filled
        low, high = self._span()
        return list(compress(range(low, high), self._counts[low:high]))

    def buckets(self) -> list[tuple[int, int]]:
        """The buckets that are not empty, ascending, and the count of each."""
        counts = self.counts
        return [(index, counts[index]) for index in sorted(self._indices())]

    @property
    def count(self) -> int:
        """Number of latencies."""
        if self._is_sum and not self._filled:
            return self._added
        low, high = self._span()
        return sum(self._few) if self._is_few else sum(self._counts[low:high])

    def count_from(self, index: int) -> int:
        """Number of latencies in bucket `index` and above."""
        low, high = self._span()
        if index >= high:
            return 0
        if self._is_few:
            return sum([n for place, n in zip(self._filled, self._few, strict=True) if place >= index])
        return sum(self._counts[max(low, index) : high])

    def sort_into(self, on: list[int], steps: bytes) -> None:
        """Add every latency to the place in `on` that `steps` has for its bucket."""
        if self._is_few:
            for index, m in zip(self._filled, self._few, strict=True):
                step = steps[index]
                n = on[step]
                on[step] = n + m
            return
        counts = self._counts
        for index in self._indices():
            step = steps[index]
            n, m = on[step], counts[index]
            on[step] = n + m

    def quantile(self, q: float) -> float:
        """As `Reading.quantile`."""
        longer = _longer(q, self.count)
        if longer < 0:
            return 0.0
        low, high = self._span()
        return _MIDDLES_S[_bucket(self.counts, low, high, longer)]

    @property
    def total_s(self) -> float:
        """Sum of all latencies in seconds."""
        return self.total_us * 1e-6

    def reading(self) -> Reading:
        """What is in it now, frozen."""
        low, high = self._span()
        return Reading(low, self.counts[low:high], self.total_us)

    def summary(self) -> LatencySummary:
        """All figures of a reading."""
        return LatencySummary(*self.reading().figures())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return self.total_us == other.total_us and self.counts == other.counts

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        read = self.reading()
        return f"Histogram({read.count} latencies, {self.total_s:.6f} s in all, at most {read.max:.6f} s)"


class Reading:
    """The latencies of one moment, in seconds. Implements `model.Latencies`.

    A figure is found when it is asked for: a judge asks for one or two of them, a person for all.
    """

    __slots__ = ("_count", "_counts", "_low", "_total_us")

    def __init__(self, low: int, counts: list[int], total_us: int) -> None:
        self._low = low  # the bucket of the first count
        self._counts = counts
        self._total_us = total_us
        self._count = -1  # until somebody asks

    @property
    def count(self) -> int:
        """Number of latencies."""
        if self._count < 0:
            self._count = sum(self._counts)
        return self._count

    @property
    def mean(self) -> float:
        """The mean; 0 when empty, as all figures."""
        return self._total_us * 1e-6 / max(self.count, 1)

    @property
    def p50(self) -> float:
        """The median."""
        return self.quantile(0.5)

    @property
    def p90(self) -> float:
        """The 90th percentile."""
        return self.quantile(0.9)

    @property
    def p95(self) -> float:
        """The 95th percentile."""
        return self.quantile(0.95)

    @property
    def p99(self) -> float:
        """The 99th percentile."""
        return self.quantile(0.99)

    @property
    def max(self) -> float:
        """The longest latency."""
        return self.quantile(1.0)

    def quantile(self, q: float) -> float:
        """The nearest-rank quantile in seconds, within 1.6 % (half a microsecond below 32 µs); 0 when empty.

        That is the `ceil(q * count)`-th smallest latency, and at least the first. Raises ValueError unless
        0 <= q <= 1.
        """
        longer = _longer(q, self.count)
        if longer < 0:
            return 0.0
        return _MIDDLES_S[self._low + _bucket(self._counts, 0, len(self._counts), longer)]

    def buckets(self) -> list[tuple[int, int]]:
        """The buckets that are not empty, ascending, and the count of each."""
        return [(self._low + place, n) for place, n in enumerate(self._counts) if n]

    def figures(self) -> tuple[float, ...]:
        """All of them, in the order of `LatencySummary`."""
        return self.mean, self.p50, self.p90, self.p95, self.p99, self.max

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Reading):
            return self.figures() == other.figures()
        return LatencySummary(*self.figures()) == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Reading({self.count} latencies, p50 {self.p50:.6f} s, p95 {self.p95:.6f} s)"


def _longer(q: float, count: int) -> int:
    """How many of `count` latencies come after the quantile; negative if there is none."""
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"a quantile lies between 0 and 1, not {q}")
    return count - (ceil(q * count) or 1)


def _bucket(counts: list[int], low: int, high: int, longer: int) -> int:
    """The bucket between these two beyond which there are `longer` latencies; from the top, by octaves."""
    n = sum(counts[max(high - _OCTAVE, low) : high])
    while n <= longer:
        longer -= n
        high -= _OCTAVE
        n = sum(counts[max(high - _OCTAVE, low) : high])
    while counts[high - 1] <= longer:
        longer -= counts[high - 1]
        high -= 1
    return high - 1
