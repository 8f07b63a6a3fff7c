"""The counters of one rollout in a report, as they are written now and as the version before wrote them.

Owns their form in `core.delta`'s format, and what has to hold between them. A histogram is its first bucket
that is not empty (`from`) and the counts from there to the last one: a list that is looked at, and added up,
as one, because a judge reads hundreds of them a second. Version 1 had pairs of bucket and count. Must never
know whose counters they are.
"""

from __future__ import annotations

from struct import error as StructError  # noqa: N812 - it is one
from struct import pack
from typing import Final, NamedTuple

from proxy.core.histogram import BUCKET_COUNT, MAX_US, Histogram
from proxy.core.tally import ERROR_CLASSES, FALLBACK_REASONS, PathTally, Tally
from proxy.core.wire_values import MOST, Document, count_of, counts_of, list_of, numbers_of, table_of
from proxy.errors import WireError
from proxy.model import Path

COUNTERS: Final = (
    *("assigned_v1", "assigned_v2", "overridden", "fallback_errors"),
    *("client_requests", "client_errors", "client_aborts"),
)
_GAUGES: Final = ("in_flight_v1", "in_flight_v2")
_PAIRS: Final = 1  # the version whose histograms are pairs


class Spread(NamedTuple):
    """A histogram as it was told: `counts` of the buckets from `first` on, and the sum of the latencies.
    `digits` are the counts as unsigned numbers of 64 bits, the lowest byte first."""

    first: int
    counts: list[int]
    digits: bytes
    total_us: int


class ToldPath(NamedTuple):
    """One path as it was told."""

    requests: int
    errors: list[int]  # in the order of ErrorClass; empty for none
    latency: Spread


class Told(NamedTuple):
    """What a report says of one rollout, checked, and not yet added to anything. What is not named is 0."""

    v1: ToldPath | None
    v2: ToldPath | None
    counters: dict[str, int]  # by `COUNTERS`
    fallbacks: list[int]
    over_budget: list[int]
    in_flight: dict[str, Spread]

    def tally(self) -> Tally:
        """The same, as counters that can be added up."""
        tally = self.ages()
        tally.v1, tally.v2 = _side(self.v1), _side(self.v2)
        for name, count in self.counters.items():
            setattr(tally, name, count)
        tally.fallbacks = list(self.fallbacks) or tally.fallbacks
        tally.over_budget = list(self.over_budget) or tally.over_budget
        return tally

    def in_flight_alone(self) -> Told:
        """Of that only what is under way."""
        return Told(None, None, {}, [], [], self.in_flight)

    def ages(self) -> Tally:
        """The same, as counters that can be added up."""
        tally = Tally()
        for name, spread in self.in_flight.items():
            setattr(tally, name, _histogram_of(spread))
        return tally


def _histogram_of(spread: Spread) -> Histogram:
    """The same, as one that can be added up."""
    return Histogram.of_run(spread.first, spread.counts, spread.total_us)


def _side(told: ToldPath | None) -> PathTally:
    if told is None:
        return PathTally()
    side = PathTally(told.requests, latency=_histogram_of(told.latency))
    side.errors = list(told.errors) or side.errors
    return side


# ... writing


def counters(tally: Tally, version: int) -> Document:
    """As plain JSON values; nothing of what has not happened."""
    document: Document = {}
    for name in COUNTERS:
        if count := getattr(tally, name):
            document[name] = count
    for name, counts in (("fallbacks", tally.fallbacks), ("over_budget", tally.over_budget)):
        if any(counts):
            document[name] = list(counts)
    for path in Path:
        if (side := tally.of(path)).requests:
            document[path.value] = _path(side, version)
    for name in _GAUGES:
        if (ages := getattr(tally, name)).count:
            document[name] = _histogram(ages, version)
    return document


def under_way(told: Told) -> Document:
    """Of what was told only the ages, as plain JSON values of this version."""
    return {
        name: {"total_us": spread.total_us, "from": spread.first, "counts": spread.counts}
        for name, spread in told.in_flight.items()
    }


def _path(side: PathTally, version: int) -> Document:
    document: Document = {"requests": side.requests, **_histogram(side.latency, version)}
    if version == _PAIRS or any(side.errors):
        document["errors"] = list(side.errors)
    return document


def _histogram(latency: Histogram, version: int) -> Document:
    buckets = latency.buckets()
    if version == _PAIRS:
        return {"total_us": latency.total_us, "latency": [number for bucket in buckets for number in bucket]}
    first, beyond = (buckets[0][0], buckets[-1][0] + 1) if buckets else (0, 0)
    return {"total_us": latency.total_us, "from": first, "counts": latency.counts[first:beyond]}


# ... reading


def read_counters(table: Document, at: str, version: int) -> Told:
    """Raises `WireError`."""
    return Told(
        _read_path(table["v1"], f"{at}.v1", version) if "v1" in table else None,
        _read_path(table["v2"], f"{at}.v2", version) if "v2" in table else None,
        {name: count_of(table[name], f"{at}.{name}") for name in COUNTERS if name in table},
        _read_reasons(table, "fallbacks", at),
        _read_reasons(table, "over_budget", at),
        {name: _read_ages(table[name], f"{at}.{name}", version) for name in _GAUGES if name in table},
    )


def _read_reasons(table: Document, name: str, at: str) -> list[int]:
    return counts_of(table[name], len(FALLBACK_REASONS), f"{at}.{name}") if name in table else []


def _read_path(document: object, at: str, version: int) -> ToldPath:
    table = table_of(document, at)
    requests = count_of(table.get("requests"), f"{at}.requests")
    errors = counts_of(table["errors"], len(ERROR_CLASSES), f"{at}.errors") if "errors" in table else []
    total_us = count_of(table.get("total_us"), f"{at}.total_us", most=requests * MAX_US)
    latency = _read_spread(table, at, total_us, version)
    # Each attempt is one request and one latency; a sum that is off would make every quantile wrong for good.
    if sum(latency.counts) != requests or sum(errors) > requests:
        raise WireError(f"{at}: its counts contradict each other")
    return ToldPath(requests, errors, latency)


def _read_ages(document: object, at: str, version: int) -> Spread:
    table = table_of(document, at)
    total_us = count_of(table.get("total_us"), f"{at}.total_us")
    ages = _read_spread(table, at, total_us, version)
    count = sum(ages.counts)
    if count > MOST or total_us > count * MAX_US:
        raise WireError(f"{at}: its counts contradict each other")
    return ages


def _read_spread(table: Document, at: str, total_us: int, version: int) -> Spread:
    """Nothing is said here of how large the counts are: what they add up to is looked at."""
    if version == _PAIRS:
        return _read_pairs(table.get("latency"), f"{at}.latency", total_us)
    first = count_of(table.get("from"), f"{at}.from", most=BUCKET_COUNT - 1)
    counts = list_of(table.get("counts"), f"{at}.counts")
    if first + len(counts) > BUCKET_COUNT:
        raise WireError(f"{at}.counts: there are {BUCKET_COUNT} buckets")
    try:
        return Spread(first, counts, pack(f"<{len(counts)}Q", *counts), total_us)
    except StructError:  # packing looks at each of them, and is quicker than we are
        raise WireError(f"{at}.counts: must be whole numbers from 0") from None


def _read_pairs(value: object, at: str, total_us: int) -> Spread:
    entries = list_of(value, at)
    if len(entries) % 2 or len(entries) > 2 * BUCKET_COUNT:
        raise WireError(f"{at}: must be pairs of bucket and count")
    indices = numbers_of(entries[::2], at, most=BUCKET_COUNT - 1)
    first = min(indices, default=0)
    counts = [0] * (max(indices, default=-1) + 1 - first)
    for index, n in zip(indices, numbers_of(entries[1::2], at), strict=True):
        counts[index - first] += n
    return Spread(first, counts, pack(f"<{len(counts)}Q", *counts), total_us)
