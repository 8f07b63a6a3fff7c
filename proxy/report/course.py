"""The course of a rollout: the stays in each phase, their figures against what was asked, and what
went wrong.

Pure: the material in, values out. Must never know how a report looks.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from proxy.config.texts import parse_duration
from proxy.report.gathering import epoch
from proxy.report.sums import Sum, sum_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from proxy.report.gathering import Material

JsonDocument = dict[str, Any]

_INCIDENTS = (
    "guard:",
    "regression:",
    "max_duration:",
    "alert:",
    "command:rollback",
    "command:emergency_stop",
)

_UNDER_WAY = frozenset({"running", "paused"})


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was asked of a phase. `met` is None where it was not measured, or is `awaited`: the
    phase goes on, and it may come yet."""

    name: str
    asked: str
    measured: str
    met: bool | None
    awaited: bool = False


@dataclass(frozen=True, slots=True)
class Stay:
    """The time between two changes of state in which v2 had something, or nothing any more.

    `checks` are those of the phase; where a pause has divided it, they stand at its last stay. One that began
    before the report does has none: what was counted then is not there.
    """

    state: str
    phase: str | None
    percentage: float
    start: float
    end: float
    ended_by: str  # "" while it lasts
    actor: str
    reason: str
    sums: Sum
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that went wrong, or was taken back."""

    at: float
    cause: str
    actor: str
    reason: str
    before: float
    after: float
    changes_state: bool


@dataclass(frozen=True, slots=True)
class Course:
    """All of it."""

    start: float
    end: float
    stays: tuple[Stay, ...]
    incidents: tuple[Incident, ...]
    whole: Sum


def course_of(material: Material) -> Course:
    """What happened."""
    moves = [one for one in material.events if one["changes_state"]]
    stays = tuple(_stays(material, moves))
    start = stays[0].start if stays else material.at
    return Course(
        start=start,
        end=material.at,
        stays=stays,
        incidents=tuple(_incident(one) for one in material.events if one["cause"].startswith(_INCIDENTS)),
        whole=sum_of(material.minutes),
    )


def _stays(material: Material, moves: Sequence[JsonDocument]) -> Iterator[Stay]:
    phases = {one["name"]: one for one in material.plan.get("phases", ())}
    counted = _Counted(material.minutes)
    begun = [(epoch(one["at"]), one["after"]) for one in moves]
    enders: list[JsonDocument | None] = [*moves[1:], None]
    clipped = material.stood is not None and (not begun or begun[0][0] > material.start)
    if material.stood is not None and clipped:
        begun.insert(0, (material.start, material.stood))
        enders = [*moves, None]
    began = 0.0
    before: tuple[Any, Any] | None = None
    for (start, after), ender in zip(begun, enders, strict=False):  # nothing is begun: nothing can end
        end = material.at if ender is None else epoch(ender["at"])
        if before is None or _place(after) != before:
            clipped = clipped and before is None
            began, before = start, _place(after)
        sums = counted.between(start, end)
        phase = phases.get(after["phase"] or "")
        goes_on = ender is not None and _place(ender["after"]) == _place(after)
        checks: Iterable[Check] = ()
        if phase is not None and not goes_on and not clipped:
            checks = _checks(phase, counted.between(began, end), end - start)
        if ender is None and after["state"] in _UNDER_WAY:
            checks = map(_awaited, checks)
        yield Stay(
            state=after["state"],
            phase=after["phase"],
            percentage=after["percentage"],
            start=start,
            end=end,
            ended_by="" if ender is None else ender["cause"],
            actor="" if ender is None else ender["actor"],
            reason="" if ender is None else ender["reason"],
            sums=sums,
            checks=tuple(checks),
        )


def _place(stand: JsonDocument) -> tuple[Any, Any]:
    """What evidence belongs to: a pause begins the time anew, and what was counted before it still counts."""
    return stand["phase"], stand["percentage"]


class _Counted:
    """The minutes, to be added up by the time in which their middles lie: weeks of them, for many stays."""

    def __init__(self, minutes: Iterable[JsonDocument]) -> None:
        self._minutes = sorted(minutes, key=_middle)
        self._middles = [_middle(one) for one in self._minutes]

    def __repr__(self) -> str:
        return f"<_Counted {len(self._minutes)}>"

    def between(self, start: float, end: float) -> Sum:
        """From `start` on, and before `end`."""
        middles = self._middles
        return sum_of(self._minutes[bisect_left(middles, start) : bisect_left(middles, end)])


def _middle(minute: JsonDocument) -> float:
    return epoch(minute["at"]) + float(minute["seconds"]) / 2


def _incident(event: JsonDocument) -> Incident:
    return Incident(
        at=epoch(event["at"]),
        cause=event["cause"],
        actor=event["actor"],
        reason=event["reason"],
        before=event["before"]["percentage"],
        after=event["after"]["percentage"],
        changes_state=event["changes_state"],
    )


# ... what was asked of a phase


def _checks(phase: JsonDocument, sums: Sum, lasted_s: float) -> Iterator[Check]:
    least_s = parse_duration(phase.get("min_duration", "0s"))
    if least_s > 0.0:
        yield Check("time", f"at least {phase['min_duration']}", f"{lasted_s:.0f} s", lasted_s >= least_s)
    least = max(phase.get("min_requests", 0), 1)
    yield Check("requests on v2", f"at least {least:,}", f"{sums.v2.requests:,}", sums.v2.requests >= least)
    for key, limit in phase.get("require", {}).items():
        if key in _MEASURED and limit not in (False, None):
            yield _check(key, limit, sums)


def _awaited(check: Check) -> Check:
    return replace(check, met=None, awaited=True) if check.met is False else check


def _check(key: str, limit: float | str, sums: Sum) -> Check:
    value = _MEASURED[key](sums)
    number = parse_duration(limit) * 1000.0 if isinstance(limit, str) else float(limit)
    name, is_above = key.rpartition("_")[0].replace("_", " "), key.endswith("_above")
    asked = f"{'above' if is_above else 'below'} {_told(number, limit)}"
    if value is None:
        return Check(name, asked, "not measured", None)
    return Check(name, asked, _told(value, limit), value > number if is_above else value < number)


def _told(value: float, limit: float | str) -> str:
    return f"{value:.1f} ms" if isinstance(limit, str) else f"{value:.2%}"


def _success(sums: Sum) -> float | None:
    return None if sums.v2.error_rate is None else 1.0 - sums.v2.error_rate


_MEASURED: dict[str, Callable[[Sum], float | None]] = {
    "error_rate_below": lambda sums: sums.v2.error_rate,
    "success_rate_above": _success,
    "client_error_rate_below": lambda sums: sums.client_error_rate,
    "fallback_rate_below": lambda sums: sums.fallback_rate,
    "latency_p50_below": lambda sums: sums.v2.p50_ms,
    "latency_p95_below": lambda sums: sums.v2.p95_ms,
    "latency_p99_below": lambda sums: sums.v2.p99_ms,
}
"""What minutes can tell; of the other criteria the audit says whether they held."""
