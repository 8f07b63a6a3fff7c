"""The cases: what the traffic of each is, how often it is played, and what dualpath is to reach in it.

Owns the table. Must never know a rule, or how a count is drawn. A case without an onset is of a v2 that is
as good as v1, or just tolerable: a rollback is a false one. In the others v2 is faulty from `onset_s` on.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, exp, pi, sqrt
from typing import TYPE_CHECKING

from benchmarks.judging.counts import Span
from proxy.core.policy import JudgePolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    Course = Callable[[Random], list[Span]]

DAY_S = 86_400
HOUR_S = 3_600
_MINUTE_S = 60
_POLICY = JudgePolicy()


@dataclass(frozen=True, slots=True)
class Group:
    """Cases that are told of together. `per_case` is how many are played, in whole or half days or faults."""

    name: str
    title: str
    per_case: int
    is_fault: bool = False


GROUPS = {
    group.name: group
    for group in (
        Group("equal", "v2 as good as v1, 24 h", 20),
        Group("tolerance", "v2 exactly on the tolerance, 24 h", 20),
        Group("shared", "what strikes both, or passes within a second, 24 h", 40),
        Group("noise", "v1 and v2 noisy independently, 12 h", 14),
        Group("fault", "v2 becomes faulty after an hour", 100, is_fault=True),
        Group("deploy", "v2 is dead on arrival", 200, is_fault=True),
    )
}


@dataclass(frozen=True, slots=True)
class Case:
    """One row. Limits are what dualpath is to reach: medians of requests to v2 or of seconds."""

    group: str
    name: str
    rps: float
    share: float
    course: Course
    onset_s: int | None = None
    limit_requests: float | None = None
    limit_s: float | None = None


def cases() -> list[Case]:
    """All of them."""
    return [*_equal(), *_tolerance(), *_shared(), *_noise(), *_faults(), *_deploy()]


def percent(share: float) -> str:
    """As a person writes it."""
    return f"{100.0 * share:g} %"


def _grid() -> Iterator[tuple[str, float, float, float]]:
    for rps in (1.0, 10.0, 1000.0):
        for share in (0.01, 0.1, 0.5):
            for base in (0.001, 0.01, 0.04):
                yield f"{rps:g} rps, {percent(share)} to v2, base {percent(base)}", rps, share, base


def _steady(v1: float, v2: float, seconds: int = DAY_S) -> Course:
    return lambda _: [Span(seconds, v1, v2)]


def _equal() -> Iterator[Case]:
    for name, rps, share, base in _grid():
        yield Case("equal", name, rps, share, _steady(base, base))


def _tolerance() -> Iterator[Case]:
    for name, rps, share, base in _grid():
        just_so = _POLICY.tolerable_ratio * base + _POLICY.tolerable_points
        yield Case("tolerance", name, rps, share, _steady(base, just_so))


def _shared() -> Iterator[Case]:
    for share in (0.1, 0.5):
        to_v2 = f"10 rps, {percent(share)} to v2, base 0.1 %"
        yield Case("shared", f"60 s of 30 % on both every hour: {to_v2}", 10.0, share, _outages)
        yield Case("shared", f"daily swing from 0.1 to 4 % on both: {to_v2}", 10.0, share, _swing)
        yield Case("shared", f"1 s of 50 % on v2 every hour: {to_v2}", 10.0, share, _blips)


def _outages(rng: Random) -> list[Span]:
    """Both fail for a minute of each hour; which one of the hour is left to chance."""
    first = rng.randrange(0, HOUR_S - _MINUTE_S)
    rest = HOUR_S - first - _MINUTE_S
    return [
        Span(first, 0.001, 0.001),
        Span(_MINUTE_S, 0.3, 0.3),
        Span(rest, 0.001, 0.001),
    ] * 24


def _swing(rng: Random) -> list[Span]:
    """Both err from 0.1 % to 4 % and back in the course of a day, wherever it begins."""
    begins = rng.random()
    rates = [0.001 + 0.039 * (0.5 - 0.5 * cos(2.0 * pi * (begins + i / 1440.0))) for i in range(1440)]
    return [Span(_MINUTE_S, rate, rate) for rate in rates]


def _blips(rng: Random) -> list[Span]:
    first = rng.randrange(0, HOUR_S - 1)
    hour = [Span(first, 0.001, 0.001), Span(1, 0.001, 0.5), Span(HOUR_S - 1 - first, 0.001, 0.001)]
    return hour * 24


def _noise() -> Iterator[Case]:
    for share in (0.1, 0.5):
        for minutes in (1.0, 3.0, 10.0):
            name = f"1000 rps, {percent(share)} to v2, 1 % ± 30 %, for about {minutes:g} min"
            yield Case("noise", name, 1000.0, share, noisy(0.01, 0.3, minutes))


def noisy(base: float, spread: float, lasting_minutes: float, minutes: int = 720) -> Course:
    """Each path's rate wanders by itself from minute to minute: an autoregressive series around `base`."""
    kept = exp(-1.0 / lasting_minutes)

    def course(rng: Random) -> list[Span]:
        series = []
        for _ in range(2):
            z, rates = rng.gauss(0.0, 1.0), []
            for _ in range(minutes):
                rates.append(min(max(base * (1.0 + spread * z), 0.0), 1.0))
                z = kept * z + sqrt(1.0 - kept * kept) * rng.gauss(0.0, 1.0)
            series.append(rates)
        return [Span(_MINUTE_S, one, two) for one, two in zip(*series, strict=True)]

    return course


_FAULTS = (
    # rps, share to v2, points more, median of requests to v2, median of seconds
    (10.0, 0.1, 0.05, 280.0, None),
    (10.0, 0.1, 0.2, 60.0, None),
    (10.0, 0.1, 1.0, 12.0, None),
    (10.0, 0.5, 0.05, 750.0, None),
    (10.0, 0.5, 0.2, 190.0, None),
    (10.0, 0.5, 1.0, 24.0, None),
    (1000.0, 0.5, 0.05, None, 8.0),
    (1000.0, 0.5, 1.0, None, 4.0),
)


def _faults() -> Iterator[Case]:
    base = 0.001
    for rps, share, points, requests, seconds in _FAULTS:
        v2 = min(base + points, 1.0)
        name = f"{rps:g} rps, {percent(share)} to v2, base {percent(base)}, +{100 * points:g} points"
        course = _then(base, v2)
        yield Case("fault", name, rps, share, course, HOUR_S, requests, seconds)


def _then(base: float, v2: float) -> Course:
    return lambda _: [Span(HOUR_S, base, base), Span(HOUR_S, base, v2)]


def _deploy() -> Iterator[Case]:
    yield Case("deploy", "1 rps, 50 % to v2, v2 fails always", 1.0, 0.5, _steady(0.001, 1.0, 1800), 0, 6.0)
    yield Case("deploy", "10 rps, 10 % to v2, v2 fails always", 10.0, 0.1, _steady(0.001, 1.0, 1800), 0, 12.0)
