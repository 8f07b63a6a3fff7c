"""The wire format of reports: what one process that serves requests tells the one that decides.

Workers tell their supervisor with it. It is plain JSON, so that peers on other machines can be told the same
way. A report holds what has happened since the last one, never sums since the start: whoever adds up all
reports of all processes, each once, has everything. Therefore each report is numbered, and a number that does
not go up is not taken in again. Histograms are sparse: pairs of bucket and count. What is under way now is no
count: the latest report of each process says it.

Owns the format, its version and its limits. A report is taken in whole or refused with a `WireError`. Must
never know how it travels, nor what the figures mean to a judge.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from proxy.core import series_wire
from proxy.core.breaker import BreakerState
from proxy.core.histogram import BUCKET_COUNT, MAX_US, Histogram
from proxy.core.tally import ERROR_CLASSES, FALLBACK_REASONS, PathTally, Tally
from proxy.core.users import LONGEST, PLACES
from proxy.core.wire_values import (
    Document,
    count_of,
    counts_of,
    each_of,
    list_of,
    numbers_of,
    row_of,
    seconds_of,
    sound_of,
    table_of,
    text_of,
)
from proxy.errors import WireError
from proxy.model import EndpointStatus, Path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from proxy.core.series import Increment, Sighting

VERSION: Final = 1
"""Grows when an older reader would misread a report. Readers ignore keys that they do not know."""

DISABLED: Final = "disabled"
_BREAKERS: Final = frozenset({DISABLED, *BreakerState})
_PATHS: Final = ("v1", "v2")
_MOST_REASONS: Final = 64
_COUNTERS: Final = (
    *("assigned_v1", "assigned_v2", "overridden", "fallback_errors"),
    *("client_requests", "client_errors", "client_aborts"),
)
_GAUGES: Final = ("in_flight_v1", "in_flight_v2")


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a process is: open client connections, requests under way, how late its loop came round."""

    connections: int = 0
    requests: int = 0
    lag_s: float = 0.0
    rss_bytes: int = 0


@dataclass(frozen=True, slots=True)
class RolloutDelta:
    """One rollout in one process: what was counted while `revision` was in force, and its breaker."""

    name: str
    revision: int
    breaker: str  # a `BreakerState`, or "disabled"
    tally: Tally
    users: tuple[int, ...] = ()  # what has changed in its `UserSketch`


@dataclass(frozen=True, slots=True)
class Delta:
    """One report. `source` names the process for as long as it lives; `number` grows by one per report."""

    source: str
    number: int
    rollouts: tuple[RolloutDelta, ...] = ()
    endpoints: tuple[EndpointStatus, ...] = ()
    load: Load = field(default_factory=Load)
    refused: Mapping[str, int] = field(default_factory=dict)  # by reason, see `core.refusals`
    tunnels: tuple[int, int] = (0, 0)  # open now, on v1 and v2
    series: tuple[Increment, ...] = ()  # of the histograms that metrics show
    sightings: tuple[Sighting, ...] = ()  # exemplars of these
    telemetry: Mapping[str, int] = field(default_factory=dict)  # by signal and outcome: "traces.dropped"
    cache: tuple[int, int] = (0, 0)  # hits, and answers of v2 that told whether they were


class Sequences:
    """Which reports have been taken in: of each source the highest number."""

    __slots__ = ("_highest", "lost")

    def __init__(self) -> None:
        self._highest: dict[str, int] = {}
        self.lost = 0  # numbers that were left out and can no longer be taken in

    def is_next(self, source: str, number: int) -> bool:
        """Whether the report is to be counted; False for one that came before, or came too late."""
        highest = self._highest.get(source, 0)
        if number <= highest:
            return False
        self.lost += number - highest - 1
        self._highest[source] = number
        return True

    def forget(self, source: str) -> None:
        """The process has ended: its name is not used again."""
        self._highest.pop(source, None)

    def __repr__(self) -> str:
        return f"Sequences({len(self._highest)} sources, {self.lost} lost)"


# ... writing


def written(delta: Delta) -> Document:
    """The report as plain JSON values."""
    load = delta.load
    return {
        "version": VERSION,
        "source": delta.source,
        "number": delta.number,
        "rollouts": [_rollout(rollout) for rollout in delta.rollouts],
        "endpoints": [
            [e.path.value, e.url, e.healthy, e.ejected, e.outstanding, e.idle_connections]
            for e in delta.endpoints
        ],
        "load": [load.connections, load.requests, load.lag_s, load.rss_bytes],
        "refused": dict(delta.refused),
        "tunnels": list(delta.tunnels),
        "cache": list(delta.cache),
        "series": [series_wire.row(one) for one in delta.series],
        "sightings": [series_wire.sighting(one) for one in delta.sightings],
        "telemetry": dict(delta.telemetry),
    }


def _rollout(rollout: RolloutDelta) -> Document:
    document: Document = {"name": rollout.name, "revision": rollout.revision, "breaker": rollout.breaker}
    tally = rollout.tally
    for name in _COUNTERS:
        if count := getattr(tally, name):
            document[name] = count
    for name, counts in (("fallbacks", tally.fallbacks), ("over_budget", tally.over_budget)):
        if any(counts):
            document[name] = list(counts)
    for path in Path:
        if (side := tally.of(path)).requests:
            document[path.value] = _path(side)
    for name in _GAUGES:
        if (ages := getattr(tally, name)).count:
            document[name] = _histogram(ages)
    if rollout.users:
        document["users"] = list(rollout.users)
    return document


def _path(side: PathTally) -> Document:
    return {"requests": side.requests, "errors": list(side.errors), **_histogram(side.latency)}


def _histogram(latency: Histogram) -> Document:
    sparse = [number for bucket in latency.buckets() for number in bucket]
    return {"total_us": latency.total_us, "latency": sparse}


def readable(names: Iterable[str], endpoints: Iterable[tuple[Path, str]]) -> None:
    """Whether reports on these rollouts and endpoints (path, URL) can be read: raises `WireError` if not."""
    rollouts = tuple(RolloutDelta(name, 0, DISABLED, Tally()) for name in names)
    statuses = tuple(EndpointStatus(path, url, True, False, 0, 0) for path, url in endpoints)
    read(written(Delta("any", 1, rollouts, statuses)))


# ... reading


def read(document: object) -> Delta:
    """The report of a JSON document. Raises `WireError` with the place and what was expected there."""
    table = table_of(document, "report")
    version = table.get("version")
    if version != VERSION or isinstance(version, bool):
        raise WireError(f"report: version {version!r}"[:80] + f", not {VERSION}")
    connections, requests, lag_s, rss_bytes = row_of(table.get("load"), 4, "load")
    return Delta(
        source=text_of(table.get("source"), "source"),
        number=count_of(table.get("number"), "number", least=1),
        rollouts=tuple(each_of(table.get("rollouts"), "rollouts", _read_rollout)),
        endpoints=tuple(each_of(table.get("endpoints"), "endpoints", _read_endpoint)),
        load=Load(
            count_of(connections, "load"),
            count_of(requests, "load"),
            seconds_of(lag_s, "load"),
            count_of(rss_bytes, "load"),
        ),
        refused=_read_names(table.get("refused", {}), "refused"),
        tunnels=_read_pair(table.get("tunnels", [0, 0]), "tunnels"),
        cache=_read_pair(table.get("cache", [0, 0]), "cache"),
        # What is only shown is not worth a whole report, and with it its process.
        series=tuple(sound_of(table.get("series", []), "series", series_wire.read_row)),
        sightings=tuple(sound_of(table.get("sightings", []), "sightings", series_wire.read_sighting)),
        telemetry=_read_names(table.get("telemetry", {}), "telemetry"),
    )


def _read_names(document: object, at: str) -> dict[str, int]:
    """By reason, or whatever; one that this version does not know is nobody's affair here."""
    table = table_of(document, at)
    if len(table) > _MOST_REASONS:
        raise WireError(f"{at}: must have at most {_MOST_REASONS} reasons")
    return {text_of(reason, at): count_of(count, at) for reason, count in table.items()}


def _read_pair(value: object, at: str) -> tuple[int, int]:
    first, second = row_of(value, 2, at)
    return count_of(first, at), count_of(second, at)


def _read_rollout(document: object, at: str) -> RolloutDelta:
    table = table_of(document, at)
    breaker = text_of(table.get("breaker"), f"{at}.breaker")
    if breaker not in _BREAKERS:
        raise WireError(f"{at}.breaker: no such state")
    counters: Document = {name: count_of(table.get(name, 0), f"{at}.{name}") for name in _COUNTERS}
    ages: Document = {name: _read_ages(table[name], f"{at}.{name}") for name in _GAUGES if name in table}
    return RolloutDelta(
        name=text_of(table.get("name"), f"{at}.name"),
        revision=count_of(table.get("revision"), f"{at}.revision"),
        breaker=breaker,
        tally=Tally(
            _read_path(table.get("v1"), f"{at}.v1"),
            _read_path(table.get("v2"), f"{at}.v2"),
            fallbacks=counts_of(table.get("fallbacks"), len(FALLBACK_REASONS), f"{at}.fallbacks"),
            over_budget=counts_of(table.get("over_budget"), len(FALLBACK_REASONS), f"{at}.over_budget"),
            **counters,
            **ages,
        ),
        users=_read_users(table.get("users", []), f"{at}.users"),
    )


def _read_users(value: object, at: str) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) % 3 or len(value) > 3 * PLACES:
        raise WireError(f"{at}: must be at most {PLACES} times a place and two runs")
    most = (PLACES - 1, LONGEST, LONGEST)
    return tuple([count_of(number, at, most=most[index % 3]) for index, number in enumerate(value)])


def _read_path(document: object, at: str) -> PathTally:
    if document is None:
        return PathTally()
    table = table_of(document, at)
    requests = count_of(table.get("requests"), f"{at}.requests")
    errors = counts_of(table.get("errors"), len(ERROR_CLASSES), f"{at}.errors")
    total_us = count_of(table.get("total_us"), f"{at}.total_us", most=requests * MAX_US)
    latency = _read_histogram(table.get("latency"), f"{at}.latency", total_us)
    # Each attempt is one request and one latency; a sum that is off would make every quantile wrong for good.
    if latency.count != requests or sum(errors) > requests:
        raise WireError(f"{at}: its counts contradict each other")
    return PathTally(requests, errors, latency)


def _read_ages(document: object, at: str) -> Histogram:
    table = table_of(document, at)
    total_us = count_of(table.get("total_us"), f"{at}.total_us")
    ages = _read_histogram(table.get("latency"), at, total_us)
    if total_us > ages.count * MAX_US:
        raise WireError(f"{at}: its counts contradict each other")
    return ages


def _read_histogram(value: object, at: str, total_us: int) -> Histogram:
    entries = list_of(value, at)
    if len(entries) % 2 or len(entries) > 2 * BUCKET_COUNT:
        raise WireError(f"{at}: must be pairs of bucket and count")
    indices = numbers_of(entries[::2], at, most=BUCKET_COUNT - 1)
    return Histogram.of(zip(indices, numbers_of(entries[1::2], at), strict=True), total_us)


def _read_endpoint(document: object, at: str) -> EndpointStatus:
    path, url, healthy, ejected, outstanding, idle = row_of(document, 6, at)
    if path not in _PATHS:
        raise WireError(f"{at}: must be of v1 or v2")
    if not isinstance(healthy, bool) or not isinstance(ejected, bool):
        raise WireError(f"{at}: must say true or false to healthy and ejected")
    return EndpointStatus(
        Path(path), text_of(url, at), healthy, ejected, count_of(outstanding, at), count_of(idle, at)
    )
