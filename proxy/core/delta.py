"""The wire format of reports: what one process that serves requests tells the one that decides.

Workers tell their supervisor with it. It is plain JSON, so that peers on other machines can be told the same
way. A report holds what has happened since the last one, never sums since the start: whoever adds up all
reports of all processes, each once, has everything. Therefore each report is numbered, and a number that does
not go up is not taken in again. What is under way now is no count: the latest report of each process says it.

Owns the format, its version and its limits. A report is taken in whole or refused with a `WireError`. Must
never know how it travels, nor what the figures mean to a judge.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.core import series_wire, tally_wire
from proxy.core.breaker import BreakerState
from proxy.core.tally import Tally
from proxy.core.users import LONGEST, PLACES
from proxy.core.wire_values import (
    MOST_ENTRIES,
    Document,
    count_of,
    each_of,
    list_of,
    row_of,
    seconds_of,
    sound_of,
    table_of,
    text_of,
    version_of,
)
from proxy.errors import WireError
from proxy.model import EndpointStatus, Path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from proxy.core.series import Increment, Sighting

VERSION: Final = 2
"""Grows when an older reader would misread a report. Readers ignore keys that they do not know."""
READS: Final = (VERSION - 1, VERSION)
"""Versions that are understood, and can be written: this one and the one before."""

DISABLED: Final = "disabled"
_BREAKERS: Final = frozenset({DISABLED, *BreakerState})
_PATHS: Final = ("v1", "v2")
_MOST_REASONS: Final = 64
_LEAST: Final = frozenset({"version", "source", "number", "rollouts"})
_NOTHING: Final[Document] = {
    "endpoints": [],
    "load": [0, 0, 0.0, 0],
    "refused": {},
    "tunnels": [0, 0],
    "cache": [0, 0],
    "series": [],
    "sightings": [],
    "telemetry": {},
}


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


def written(delta: Delta, version: int = VERSION) -> Document:
    """The report as plain JSON values, for readers of this version, one of `READS`. What is as a report
    begins is left out."""
    load = delta.load
    document: Document = {
        "version": version,
        "source": delta.source,
        "number": delta.number,
        "rollouts": [_rollout(rollout, version) for rollout in delta.rollouts],
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
    if version == 1:
        return document
    return {key: value for key, value in document.items() if key in _LEAST or value != _NOTHING[key]}


def _rollout(rollout: RolloutDelta, version: int) -> Document:
    document: Document = {
        "name": rollout.name,
        "revision": rollout.revision,
        "breaker": rollout.breaker,
        **tally_wire.counters(rollout.tally, version),
    }
    if rollout.users:
        document["users"] = list(rollout.users)
    return document


def readable(names: Iterable[str], endpoints: Iterable[tuple[Path, str]]) -> None:
    """Whether reports on these rollouts and endpoints (path, URL) can be read: raises `WireError` if not."""
    rollouts = tuple(RolloutDelta(name, 0, DISABLED, Tally()) for name in names)
    statuses = tuple(EndpointStatus(path, url, True, False, 0, 0) for path, url in endpoints)
    read(written(Delta("any", 1, rollouts, statuses)))


# ... reading


class ToldRollout(NamedTuple):
    """One rollout as another process tells of it."""

    name: str
    revision: int
    breaker: str
    counters: tally_wire.Told
    users: tuple[int, ...] = ()


class ToldReport(NamedTuple):
    """What instances tell one another of a report: what is to be added up."""

    source: str
    number: int
    rollouts: tuple[ToldRollout, ...]


def read_told(document: object, most: int = MOST_ENTRIES) -> ToldReport:
    """That much of a report, with `most` rollouts. Raises as `read` does for what it looks at."""
    table = table_of(document, "report")
    version = version_of(table.get("version"), READS, "report")
    rollouts = list_of(table.get("rollouts", []), "rollouts")
    if len(rollouts) > most:
        raise WireError(f"rollouts: must be at most {most}")
    return ToldReport(
        text_of(table.get("source"), "source"),
        count_of(table.get("number"), "number", least=1),
        tuple([_read_rollout(one, f"rollouts.{index}", version) for index, one in enumerate(rollouts)]),
    )


def read(document: object) -> Delta:
    """The report of a JSON document. Raises `WireError` with the place and what was expected there, and
    `UnknownVersion` where nothing else of it can be judged."""
    told = read_told(document)
    table = table_of(document, "report")
    connections, requests, lag_s, rss_bytes = row_of(table.get("load", _NOTHING["load"]), 4, "load")
    return Delta(
        told.source,
        told.number,
        tuple(
            RolloutDelta(one.name, one.revision, one.breaker, one.counters.tally(), one.users)
            for one in told.rollouts
        ),
        endpoints=tuple(each_of(table.get("endpoints", _NOTHING["endpoints"]), "endpoints", _read_endpoint)),
        load=Load(
            count_of(connections, "load"),
            count_of(requests, "load"),
            seconds_of(lag_s, "load"),
            count_of(rss_bytes, "load"),
        ),
        refused=_read_names(table.get("refused", _NOTHING["refused"]), "refused"),
        tunnels=_read_pair(table.get("tunnels", _NOTHING["tunnels"]), "tunnels"),
        cache=_read_pair(table.get("cache", _NOTHING["cache"]), "cache"),
        # What is only shown is not worth a whole report, and with it its process.
        series=tuple(sound_of(table.get("series", _NOTHING["series"]), "series", series_wire.read_row)),
        sightings=tuple(
            sound_of(table.get("sightings", _NOTHING["sightings"]), "sightings", series_wire.read_sighting)
        ),
        telemetry=_read_names(table.get("telemetry", _NOTHING["telemetry"]), "telemetry"),
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


def _read_rollout(document: object, at: str, version: int) -> ToldRollout:
    table = table_of(document, at)
    breaker = text_of(table.get("breaker"), f"{at}.breaker")
    if breaker not in _BREAKERS:
        raise WireError(f"{at}.breaker: no such state")
    return ToldRollout(
        name=text_of(table.get("name"), f"{at}.name"),
        revision=count_of(table.get("revision"), f"{at}.revision"),
        breaker=breaker,
        counters=tally_wire.read_counters(table, at, version),
        users=_read_users(table["users"], f"{at}.users") if "users" in table else (),
    )


def _read_users(value: object, at: str) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) % 3 or len(value) > 3 * PLACES:
        raise WireError(f"{at}: must be at most {PLACES} times a place and two runs")
    most = (PLACES - 1, LONGEST, LONGEST)
    return tuple([count_of(number, at, most=most[index % 3]) for index, number in enumerate(value)])


def _read_endpoint(document: object, at: str) -> EndpointStatus:
    path, url, healthy, ejected, outstanding, idle = row_of(document, 6, at)
    if path not in _PATHS:
        raise WireError(f"{at}: must be of v1 or v2")
    if not isinstance(healthy, bool) or not isinstance(ejected, bool):
        raise WireError(f"{at}: must say true or false to healthy and ejected")
    return EndpointStatus(
        Path(path), text_of(url, at), healthy, ejected, count_of(outstanding, at), count_of(idle, at)
    )
