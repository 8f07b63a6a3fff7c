"""Histograms of durations by a few labels, as metrics show them: coarse, mergeable, and of a bounded number.

Owns the labels' values, the buckets, and what becomes of more series than are allowed. Whatever a client or a
backend sends ends in one of a fixed set: methods that HTTP does not define are `_OTHER`, statuses are
classes. Must never know how a series is shown or sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.core.histogram import MAX_US

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

BOUNDS_S: Final[tuple[float, ...]] = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1),
    *(0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0),
)
"""The upper bounds of the buckets, which include them; one more has no bound. They are those that
OpenTelemetry recommends for HTTP, and some below and above."""

BUCKETS: Final = len(BOUNDS_S) + 1

BOUNDS_US: Final[list[int]] = [*(round(bound * 1e6) for bound in BOUNDS_S), 1 << 62]
"""The same in whole microseconds, in which durations are counted, and one that nothing exceeds."""

FIRST_BUCKETS: Final[list[int]] = [
    next(index for index, bound in enumerate(BOUNDS_US) if bound >= (1 << bits) >> 1) for bits in range(31)
]
"""Where to begin to look for a duration's bucket, by the number of its bits: no octave has more than two."""

OTHER: Final = "_OTHER"
METHODS: Final = (
    *("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"),
    OTHER,
)
"""The methods of RFC 9110 and PATCH (RFC 5789), and one for all others, as OpenTelemetry calls it."""

STATUSES: Final = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
"""Classes of status codes; "none" is no answer, and any code that HTTP does not know."""

SERVER: Final = "server"
CLIENT: Final = "client"
BOTH: Final = "both"
KINDS: Final = (BOTH, SERVER, CLIENT)
"""Requests as clients saw them, attempts on backends, and requests that were one attempt and nothing else."""

MOST_EXEMPLARS: Final = 64
"""Of one report."""
MOST_TOLD: Final = 8
"""Of one rollout, to explain what was decided about it."""

_FAILED: Final = frozenset({"none", "5xx"})
_V2: Final = "v2"


class Labels(NamedTuple):
    """Which series of a family. Requests outside any rollout have "" for its name."""

    rollout: str
    path: str  # of the attempt; of a request, where routing sent it
    method: str
    status: str


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A request that stands for those in a bucket."""

    trace_id: str
    span_id: str
    value_s: float
    at: float  # wall


@dataclass(frozen=True, slots=True)
class Increment:
    """What has been added to one series: so many in each bucket, and their sum."""

    kind: str
    labels: Labels
    counts: tuple[tuple[int, int], ...]  # bucket and how many
    total_us: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """An exemplar and the series that it belongs to."""

    kind: str  # SERVER or CLIENT
    labels: Labels
    exemplar: Exemplar


@dataclass(slots=True)
class Series:
    """All durations of one series so far."""

    counts: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    total_us: int = 0
    exemplars: dict[int, Exemplar] = field(default_factory=dict)  # the latest, by bucket


def bucket(seconds: float) -> int:
    """The bucket of a duration, of which microseconds are whole: what is less is left out. Where requests are
    counted, the same is written out."""
    us = min(max(int(seconds * 1e6), 0), MAX_US)
    index = FIRST_BUCKETS[us.bit_length()]
    while us > BOUNDS_US[index]:
        index += 1
    return index


def method_of(text: str) -> str:
    """The method as a label."""
    return text if text in METHODS else OTHER


def status_of(code: int) -> str:
    """The class of a status code."""
    return STATUSES[code // 100] if 100 <= code <= 599 else STATUSES[0]


class SeriesTable:
    """The series of both families, of all processes together. There are at most `most` of each; beyond that,
    all methods of a rollout, path and status class share `_OTHER`, of which there are never more than the
    rollouts allow."""

    __slots__ = ("_families", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self._families: dict[str, dict[Labels, Series]] = {SERVER: {}, CLIENT: {}}

    def __repr__(self) -> str:
        return f"<SeriesTable {', '.join(f'{len(of)} {kind}' for kind, of in self._families.items())}>"

    def add(self, increments: Iterable[Increment]) -> None:
        """Count what a process has counted since it last said so."""
        for increment in increments:
            for kind in (SERVER, CLIENT) if increment.kind == BOTH else (increment.kind,):
                series = self._series(kind, increment.labels)
                for index, n in increment.counts:
                    series.counts[index] += n
                series.total_us += increment.total_us

    def _series(self, kind: str, labels: Labels) -> Series:
        family = self._families[kind]
        found = family.get(labels)
        if found is None:
            if len(family) >= self.most:
                labels = labels._replace(method=OTHER)
            found = family.setdefault(labels, Series())
        return found

    def see(self, sightings: Iterable[Sighting]) -> None:
        """Keep the latest exemplar of each bucket; those of series that count nothing are left out."""
        for sighting in sightings:
            family = self._families[sighting.kind]
            labels = sighting.labels
            series = family.get(labels) or family.get(labels._replace(method=OTHER))
            if series is not None:
                series.exemplars[bucket(sighting.exemplar.value_s)] = sighting.exemplar

    def follow(self, most: int, rollouts: Collection[str]) -> None:
        """Of new series there are at most `most` from now on. Forget all other rollouts; what belongs to none
        stays."""
        self.most = most
        for family in self._families.values():
            for labels in [one for one in family if one.rollout and one.rollout not in rollouts]:
                del family[labels]

    def exemplars(self, rollout: str) -> list[str]:
        """As `ports.Exemplars`: trace ids of attempts on v2, those that failed before the others."""
        seen = [
            (labels.status in _FAILED, one.at, one.trace_id)
            for labels, series in self._families[CLIENT].items()
            if labels.rollout == rollout and labels.path == _V2
            for one in series.exemplars.values()
        ]
        ids = dict.fromkeys(trace_id for _, _, trace_id in sorted(seen, reverse=True))
        return list(ids)[:MOST_TOLD]

    def family(self, kind: str) -> Iterator[tuple[Labels, Series]]:
        """All series of requests (`SERVER`) or of attempts (`CLIENT`), in order."""
        family = self._families[kind]
        return ((labels, family[labels]) for labels in sorted(family))
