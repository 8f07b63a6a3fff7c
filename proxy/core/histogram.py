"""Log-linear latency histograms: fixed arrays of counters that merge and subtract exactly.

Owns the bucket layout and the arithmetic on it. Must never know what was measured, when, or by whom.

Layout (octaves as in OpenTelemetry's exponential histograms, cut into linear steps as in HdrHistogram):
latencies are whole microseconds, rounded down. Below 64 µs each microsecond has its bucket; above, each
octave [2^k, 2^(k+1)) is cut into 32 equal ones. The middle of a bucket is therefore within 1/64 = 1.6 % of
every latency in it. Nothing is kept beside the counts and their integer sum: so merging is associative, and
subtracting restores exactly what was there, which a kept maximum or a sum of floats would not allow.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import accumulate, compress
from math import ceil
from typing import TypeAlias

from proxy.model import LatencySummary

MAX_US = (1 << 30) - 1
"""The longest latency, 17.9 minutes; longer ones count as this long. CPython's largest one-digit integer."""

_LINEAR = 64  # latencies below have a bucket each
_SPLIT_BITS = 5  # above, 2^5 buckets per octave


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


BUCKET_COUNT = bucket_index(MAX_US) + 1
"""Number of buckets: 832."""

_INDICES = tuple(range(BUCKET_COUNT))
_MIDDLES_S = tuple(sum(bucket_bounds_us(index)) * 0.5e-6 for index in _INDICES)


def _empty() -> list[int]:
    return [0] * BUCKET_COUNT


_Filled: TypeAlias = "tuple[tuple[int, ...], tuple[int, ...]]"
"""The buckets that are not empty, ascending, and the count of each."""


@dataclass(slots=True, repr=False)
class Histogram:
    """Latencies of one path: `counts` per bucket, and their sum `total_us`.

    `counts` is for reading: only the methods write it. They remember which buckets are filled, because one
    second's histogram is merged into several sums and later taken out of them, and a sum is read every
    second, though it has hardly any latencies outside a few octaves. What they remember holds for one value
    of `total_us`: `record`, which is on the hot path, voids it merely by adding to that.
    """

    counts: list[int] = field(default_factory=_empty)
    total_us: int = 0
    _known_us: int = field(default=-1, init=False, compare=False)  # the `total_us` that the next two are of
    _span: tuple[int, int] = field(default=(0, 0), init=False, compare=False)  # outside, buckets are empty
    _filled: _Filled | None = field(default=None, init=False, compare=False)

    def record(self, latency_s: float) -> None:
        """Count one latency in seconds. On the hot path: `bucket_index` for the usual range, written out."""
        us = int(latency_s * 1e6)
        if 63 < us <= 1073741823:
            shift = us.bit_length() - 6
            self.counts[(shift << 5) + (us >> shift)] += 1
        else:
            us = min(max(us, 0), MAX_US)
            self.counts[bucket_index(us)] += 1
            self._known_us = -1  # 0 µs would leave the sum as it is
        self.total_us += us

    def add(self, other: Histogram) -> None:
        """Merge `other` in."""
        indices, more = other._filling()
        if indices:
            low, high = self._spanning()
            counts = self.counts
            for index, n in zip(indices, more, strict=True):
                counts[index] += n
            self._span = (min(low, indices[0]), max(high, indices[-1] + 1))
            self._changed_by(other.total_us)

    def subtract(self, other: Histogram) -> None:
        """Take `other`, which was added before, out again."""
        indices, fewer = other._filling()
        if indices:
            self._spanning()
            counts = self.counts
            for index, n in zip(indices, fewer, strict=True):
                counts[index] -= n
            self._changed_by(-other.total_us)

    def _changed_by(self, us: int) -> None:
        self.total_us = self._known_us = self.total_us + us
        self._filled = None

    def _spanning(self) -> tuple[int, int]:
        if self._known_us != self.total_us:
            self._filling()
        return self._span

    def _filling(self) -> _Filled:
        filled = self._filled
        if filled is None or self._known_us != self.total_us:
            counts = self.counts
            indices = tuple(compress(_INDICES, counts))
            filled = self._filled = indices, tuple([counts[index] for index in indices])
            self._span = (indices[0], indices[-1] + 1) if indices else (BUCKET_COUNT, 0)
            self._known_us = self.total_us
        return filled

    @property
    def count(self) -> int:
        """Number of latencies."""
        low, high = self._spanning()
        return sum(self.counts[low:high])

    @property
    def total_s(self) -> float:
        """Sum of all latencies in seconds."""
        return self.total_us * 1e-6

    @property
    def max_s(self) -> float:
        """The longest latency in seconds, within 1.6 %; 0 when empty."""
        return self.quantile(1.0)

    def quantile(self, q: float) -> float:
        """The nearest-rank quantile in seconds, within 1.6 % (half a microsecond below 32 µs); 0 when empty.

        That is the `ceil(q * count)`-th smallest latency, and at least the first. Raises ValueError unless
        0 <= q <= 1.
        """
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"a quantile lies between 0 and 1, not {q}")
        _, quantiles = self._quantiles((q,))
        return quantiles[0]

    def summary(self) -> LatencySummary:
        """Mean, quantiles and maximum in seconds, in one pass over the buckets that may be filled."""
        count, (p50, p90, p95, p99, longest) = self._quantiles((0.5, 0.9, 0.95, 0.99, 1.0))
        mean = self.total_us * 1e-6 / max(count, 1)
        return LatencySummary(mean=mean, p50=p50, p90=p90, p95=p95, p99=p99, max=longest)

    def _quantiles(self, wanted: tuple[float, ...]) -> tuple[int, list[float]]:
        """How many latencies there are, and a quantile for each that is wanted; 0 when empty."""
        low, high = self._spanning()
        up_to = list(accumulate(self.counts[low:high]))
        count = up_to[-1] if up_to else 0
        if not count:
            return 0, [0.0] * len(wanted)
        return count, [_MIDDLES_S[low + bisect_left(up_to, max(ceil(q * count), 1))] for q in wanted]

    def __repr__(self) -> str:
        return f"Histogram({self.count} latencies, {self.total_s:.6f} s in all, at most {self.max_s:.6f} s)"
