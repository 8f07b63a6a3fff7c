"""Durations of requests and attempts, counted as they end: what the histograms of `core.series` grow by.

Owns the counts since they were last taken out, and the exemplars. Nothing of a metrics library is in reach of
a request: a duration is one index into a list, once for a request that was one attempt and nothing else. Must
never know who takes them out, nor how they are shown.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy.core.histogram import MAX_US
from proxy.core.series import (
    BOTH,
    BOUNDS_US,
    BUCKETS,
    CLIENT,
    FIRST_BUCKETS,
    KINDS,
    METHODS,
    MOST_EXEMPLARS,
    SERVER,
    STATUSES,
    Exemplar,
    Increment,
    Labels,
    Sighting,
    bucket,
    method_of,
    status_of,
)
from proxy.model import Path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.core.observed import ObservedRequest

_V2: Final = Path.V2
_PATHS: Final = (Path.V1.value, Path.V2.value)

# A place is ((kind * 2 + path) * methods + method) * statuses + status.
_PER_METHOD: Final = len(STATUSES)
_PER_PATH: Final = _PER_METHOD * len(METHODS)
_PER_KIND: Final = _PER_PATH * len(_PATHS)
_PLACES: Final = _PER_KIND * len(KINDS)
_SERVER_AT: Final = KINDS.index(SERVER) * _PER_KIND
_CLIENT_AT: Final = KINDS.index(CLIENT) * _PER_KIND
_METHOD_AT: Final = {name.encode(): index * _PER_METHOD for index, name in enumerate(METHODS[:-1])}
_OTHER_AT: Final = (len(METHODS) - 1) * _PER_METHOD
_LEFT_TO_COUNT: Final = 16
"""How many rollouts that are configured no more are still listened to: requests of theirs may go on."""


class _Row:
    """The counts of one place."""

    __slots__ = ("counts", "total_us")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.total_us = 0


class _Rows:
    """The counts of one rollout: what has been counted at all, by place, and in the order of its coming."""

    __slots__ = ("at", "filled")

    def __init__(self) -> None:
        self.at: list[_Row | None] = [None] * _PLACES
        self.filled: list[int] = []

    def begin(self, place: int) -> _Row:
        row = _Row()
        self.at[place] = row
        self.filled.append(place)
        return row


class Meters:
    """`ports.Meter` of a process, over every configuration, and `ports.Observer` of its exemplars.

    `rollouts` are the names in the configuration's order. Requests that are under way while they change go on
    with the numbers of before: each configuration has its own `Numbered`, all count into the same rows.
    """

    def __init__(self, rollouts: Sequence[str]) -> None:
        self._by_name: dict[str, _Rows] = {}
        self._seen: dict[tuple[object, ...], ObservedRequest] = {}
        self._sightings: dict[tuple[str, Labels, int], Sighting] = {}
        self.numbered = Numbered(self._rows_of(rollouts))

    def __repr__(self) -> str:
        return f"<Meters of {len(self._by_name)} rollouts>"

    def successor(self, rollouts: Sequence[str]) -> Numbered:
        """The meter of a configuration with these rollouts, beside that of the present one."""
        return Numbered(self._rows_of(rollouts))

    def forget_all_but(self, rollouts: Sequence[str]) -> None:
        """Only these are configured now. Of a few others, requests may still be under way."""
        former = [name for name in self._by_name if name and name not in rollouts]
        for name in former[:-_LEFT_TO_COUNT]:
            del self._by_name[name]

    def _rows_of(self, rollouts: Sequence[str]) -> list[_Rows]:
        return [self._by_name.setdefault(name, _Rows()) for name in (*rollouts, "")]

    # ... ports.Observer ...

    def request_ended(self, request: ObservedRequest) -> None:
        """A request that has a trace may stand for others like it: the latest of each sort is kept, and only
        looked into when somebody asks."""
        if not request.traced:
            return
        sort = (
            request.rollout,
            request.assigned,
            request.method,
            request.status,
            bucket(request.duration_s),
            *[(one.path, one.status, bucket(one.duration_s)) for one in request.attempts],
        )
        if sort in self._seen or len(self._seen) < MOST_EXEMPLARS:
            self._seen[sort] = request

    def _look_into(self, request: ObservedRequest) -> None:
        method = method_of(request.method)
        labels = Labels(request.rollout, request.assigned.value, method, status_of(request.status))
        ended_at = request.started_at + request.duration_s
        self._see(SERVER, labels, Exemplar(request.trace_id, request.span_id, request.duration_s, ended_at))
        for one in request.attempts:
            labels = Labels(request.rollout, one.path.value, method, status_of(one.status))
            ended_at = one.started_at + one.duration_s
            self._see(CLIENT, labels, Exemplar(request.trace_id, one.span_id, one.duration_s, ended_at))

    def _see(self, kind: str, labels: Labels, exemplar: Exemplar) -> None:
        # In whole microseconds it is in its bucket by the bounds that are shown, too.
        exemplar = replace(exemplar, value_s=max(int(exemplar.value_s * 1e6), 0) / 1e6)
        key = (kind, labels, bucket(exemplar.value_s))
        if key in self._sightings or len(self._sightings) < MOST_EXEMPLARS:
            self._sightings[key] = Sighting(kind, labels, exemplar)

    # ... taken out ...

    def drain(self, most: int = 5_000) -> list[Increment]:
        """What was counted since the last call, of so many series; the rest is there the next time."""
        drained: list[Increment] = []
        for name, rows in self._by_name.items():
            for place in rows.filled:
                row = rows.at[place]
                if row is None or not any(row.counts):
                    continue
                if len(drained) >= most:
                    return drained
                counts = tuple([(index, n) for index, n in enumerate(row.counts) if n])
                drained.append(
                    Increment(KINDS[place // _PER_KIND], _labels(name, place), counts, row.total_us)
                )
                row.counts = [0] * BUCKETS
                row.total_us = 0
        return drained

    def sightings(self) -> list[Sighting]:
        """The exemplars since the last call."""
        for request in self._seen.values():
            self._look_into(request)
        self._seen.clear()
        seen = list(self._sightings.values())
        self._sightings.clear()
        return seen


class Numbered:
    """`ports.Meter` of one configuration: rollouts have their numbers there, and -1 is none of them."""

    __slots__ = ("_rows",)

    def __init__(self, rows: list[_Rows]) -> None:
        self._rows = rows

    def answered(self, rollout: int, path: Path, method: bytes, status: int, took_s: float) -> None:
        """A request ended that was one attempt and took as long."""
        place = _METHOD_AT.get(method, _OTHER_AT)
        if 99 < status < 600:
            place += status // 100
        if path is _V2:
            place += _PER_PATH
        rows = self._rows[rollout]
        row = rows.at[place]
        if row is None:
            row = rows.begin(place)
        us = min(int(took_s * 1e6), MAX_US)
        index = FIRST_BUCKETS[us.bit_length()]
        while us > BOUNDS_US[index]:
            index += 1
        row.counts[index] += 1
        row.total_us += us

    def attempt_ended(self, rollout: int, path: Path, method: bytes, status: int, took_s: float) -> None:
        """An attempt ended that was not all of its request. `status` is 0 if no head came."""
        self._record(_CLIENT_AT, rollout, path, method, status, took_s)

    def request_ended(self, rollout: int, path: Path, method: bytes, status: int, took_s: float) -> None:
        """A request ended of which this was not all, which routing had sent to `path`."""
        self._record(_SERVER_AT, rollout, path, method, status, took_s)

    def _record(
        self, kind_at: int, rollout: int, path: Path, method: bytes, status: int, took_s: float
    ) -> None:
        place = kind_at + _METHOD_AT.get(method, _OTHER_AT)
        if 99 < status < 600:
            place += status // 100
        if path is _V2:
            place += _PER_PATH
        rows = self._rows[rollout]
        row = rows.at[place] or rows.begin(place)
        row.counts[bucket(took_s)] += 1
        # A client's leaving is told by a clock that is up to a sweep behind.
        row.total_us += min(max(int(took_s * 1e6), 0), MAX_US)


def _labels(rollout: str, place: int) -> Labels:
    method, status = divmod(place % _PER_PATH, _PER_METHOD)
    return Labels(rollout, _PATHS[place % _PER_KIND // _PER_PATH], METHODS[method], STATUSES[status])


assert KINDS[0] == BOTH  # noqa: S101 - `answered` relies on it
