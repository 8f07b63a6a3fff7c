"""What all metrics say at one moment: values of the model, turned into points of the catalogue's families.

Owns which value goes where. Pure: whoever scrapes or pushes hands everything in, and shows or sends what
comes out. What cannot be known now (a guard short of its sample, an estimate that nobody can give) has no
point.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING

from proxy.core.breaker import BreakerState
from proxy.core.delta import DISABLED, Load
from proxy.core.fleet import Role
from proxy.core.series import CLIENT, SERVER, Labels, Series
from proxy.judgment import Verdict
from proxy.model import ErrorClass, FallbackReason, Path, State
from proxy.telemetry import catalogue as c

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from proxy.core.members import FleetReport
    from proxy.core.series import SeriesTable
    from proxy.model import EndpointStatus, RolloutReport, Snapshot
    from proxy.telemetry.catalogue import Family

_BREAKERS = (*(str(state) for state in BreakerState), DISABLED)

Point = tuple[tuple[str, ...], float]
"""The values of a family's labels, and its own."""
Points = dict["Family", list[Point]]
Histograms = dict["Family", list[tuple[Labels, Series]]]


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """One process as the system and it itself describe it; what neither tells is None. `load` is None for one
    that serves no request."""

    load: Load | None = None
    cpu_s: float | None = None
    rss_bytes: int | None = None
    open_files: int | None = None
    started_at: float | None = None


@dataclass(frozen=True, slots=True)
class Readings:
    """All that is to be shown, as it was at one moment."""

    reports: Sequence[RolloutReport] = ()
    phases: Mapping[str, Sequence[str]] = field(default_factory=dict)  # of each rollout's plan
    endpoints: Sequence[EndpointStatus] = ()
    available: Mapping[Path, float] = field(default_factory=dict)
    processes: Mapping[str, ProcessReading] = field(default_factory=dict)
    workers: int = 1
    refused: Mapping[str, int] = field(default_factory=dict)
    tunnels: tuple[int, int] = (0, 0)
    store_waiting: int = 0
    fleet: FleetReport | None = None
    loaded_at: float = 0.0
    loaded_well: bool = True
    version: str = ""
    python: str = ""
    telemetry: Mapping[str, int] = field(default_factory=dict)
    histograms: Histograms = field(default_factory=dict)


def copied(measured: SeriesTable) -> Histograms:
    """Both families as they are now: the table goes on counting."""
    return {
        family: [
            (labels, Series(list(one.counts), one.total_us, dict(one.exemplars)))
            for labels, one in measured.family(kind)
        ]
        for family, kind in ((c.REQUESTS, SERVER), (c.ATTEMPTS, CLIENT))
    }


def points(readings: Readings) -> Points:
    """Every family but the histograms, in the catalogue's order; one without a point is there too. Of two
    guards or endpoints with one name, the last is shown."""
    found: Points = {family: [] for family in c.FAMILIES if family.type != c.HISTOGRAM}
    for report in readings.reports:
        _count_rollout(found, report)
        _place_rollout(found, report, readings.phases.get(report.state.name, ()))
        _judge_rollout(found, report)
    for endpoint in readings.endpoints:
        _endpoint(found, endpoint)
    for path, share in readings.available.items():
        found[c.BACKEND].append(((path.value,), share))
    for name, process in readings.processes.items():
        _process(found, name, process)
    _instance(found, readings)
    return {family: list(dict(known).items()) for family, known in found.items()}  # each series once


def _count_rollout(found: Points, report: RolloutReport) -> None:
    name, total = report.state.name, report.total
    found[c.ASSIGNED] += [((name, "v1"), total.assigned_v1), ((name, "v2"), total.assigned_v2)]
    found[c.OVERRIDDEN].append(((name,), total.overridden))
    found[c.OUTCOMES] += [((name, *labels), n) for labels, n in _outcomes(total)]
    reasons = dict(total.fallbacks_by_reason)
    found[c.FALLBACKS] += [((name, reason.value), reasons.get(reason, 0)) for reason in FallbackReason]
    found[c.FALLBACK_ERRORS].append(((name,), total.fallback_errors))
    found[c.FALLBACKS_REFUSED].append(((name,), total.fallbacks_over_budget))
    found[c.CLIENT_ANSWERS] += [
        ((name, "ok"), total.client_requests - total.client_errors),
        ((name, "error"), total.client_errors),
        ((name, "aborted"), total.client_aborts),
    ]
    users = report.users
    found[c.USERS] += [((name, "v1"), users.seen - users.v2), ((name, "v2"), users.v2)]


def _outcomes(total: Snapshot) -> Iterator[tuple[tuple[str, str], int]]:
    for path, side in ((Path.V1, total.v1), (Path.V2, total.v2)):
        yield (path.value, "ok"), side.requests - side.errors
        errors = dict(side.errors_by_class)
        for kind in ErrorClass:
            yield (path.value, kind.value), errors.get(kind, 0)


def _place_rollout(found: Points, report: RolloutReport, phases: Sequence[str]) -> None:
    state = report.state
    name = state.name
    found[c.WEIGHT].append(((name,), state.percentage / 100))
    found[c.OBSERVED].append(((name,), report.recent.observed_percentage / 100))
    found[c.STATE] += _one_of(name, state.state, list(State))
    known = [*phases, *([state.phase] if state.phase is not None and state.phase not in phases else [])]
    found[c.PHASE] += _one_of(name, state.phase, known)
    found[c.SINCE].append(((name,), state.since))
    found[c.REVISION].append(((name,), state.revision))
    found[c.BREAKER] += _one_of(name, report.breaker, _BREAKERS)


def _judge_rollout(found: Points, report: RolloutReport) -> None:
    name, judgment = report.state.name, report.judgment
    found[c.VERDICT] += _one_of(name, judgment.verdict, list(Verdict))
    if judgment.eta_s is not None and isfinite(judgment.eta_s):
        found[c.ETA].append(((name,), judgment.eta_s))
    for test in judgment.evidence:
        labels = (name, test.name, "against" if test.against else "for")
        found[c.DETECTOR].append((labels, test.value))
        found[c.DETECTOR_NEEDED].append((labels, test.needed))
    for guard in judgment.readings:
        one = (name, guard.guard)
        if guard.value is not None:
            found[c.GUARD].append((one, guard.value))
        found[c.GUARD_LIMIT].append((one, guard.limit))
        found[c.GUARD_SAMPLE].append((one, guard.sample))
        found[c.GUARD_FIRING].append((one, guard.firing))


def _one_of(rollout: str, present: str | None, words: Sequence[str]) -> list[Point]:
    return [((rollout, str(word)), word == present) for word in words]


def _endpoint(found: Points, endpoint: EndpointStatus) -> None:
    labels = (endpoint.path.value, endpoint.url)
    found[c.ENDPOINT_HEALTHY].append((labels, endpoint.healthy))
    found[c.ENDPOINT_EJECTED].append((labels, endpoint.ejected))
    found[c.ENDPOINT_ACTIVE].append((labels, endpoint.outstanding))
    found[c.ENDPOINT_IDLE].append((labels, endpoint.idle_connections))


def _process(found: Points, name: str, process: ProcessReading) -> None:
    load = process.load
    if load is not None:
        found[c.CONNECTIONS].append(((name,), load.connections))
        found[c.ACTIVE].append(((name,), load.requests))
        found[c.LAG].append(((name,), load.lag_s))
    for family, value in (
        (c.CPU, process.cpu_s),
        (c.MEMORY, process.rss_bytes),
        (c.FILES, process.open_files),
        (c.STARTED, process.started_at),
    ):
        if value is not None:
            found[family].append(((name,), value))


def _instance(found: Points, readings: Readings) -> None:
    found[c.TUNNELS] += [(("v1",), readings.tunnels[0]), (("v2",), readings.tunnels[1])]
    found[c.REFUSED] += [((reason,), n) for reason, n in readings.refused.items()]
    found[c.WORKERS].append(((), readings.workers))
    found[c.STORE_WAITING].append(((), readings.store_waiting))
    if readings.fleet is not None:
        _fleet(found, readings.fleet)
    found[c.CONFIG_LOADED].append(((), readings.loaded_at))
    found[c.CONFIG_GOOD].append(((), readings.loaded_well))
    found[c.BUILD].append(((readings.version, readings.python), 1))
    for name, n in sorted(readings.telemetry.items()):
        signal, _, outcome = name.partition(".")
        found[c.TELEMETRY].append(((signal, outcome), n))


def _fleet(found: Points, fleet: FleetReport) -> None:
    found[c.FLEET_MEMBERS].append(((), len(fleet.members)))
    found[c.FLEET_JUDGE].append(((), float(fleet.role is Role.JUDGE)))
    found[c.FLEET_REACHED].append(((), float(fleet.reached)))
    found[c.FLEET_LATENCY].append(((), fleet.store_s))
    found[c.FLEET_BEHIND].append(((), sum(bool(one.behind) for one in fleet.members)))
    found[c.FLEET_SKEW].append(((), fleet.skew_s))
    received = fleet.received
    counts = {
        "sent": fleet.sent,
        "taken": received.taken,
        "repeated": received.repeated,
        "missing": received.missing,
        "late": received.late,
        "unread": received.unread,
    }
    for outcome, count in counts.items():
        found[c.FLEET_REPORTS].append(((outcome,), count))
