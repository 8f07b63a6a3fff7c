"""What the scenario says of a moment: the changes in force, laid on top of each other.

Owns which change wins, ramps, swings and noise. Must never know a request or a tick: it is asked for an
instant, and tells for how long its answer holds.
"""

from __future__ import annotations

from math import cos, pi
from typing import TYPE_CHECKING, NamedTuple

from proxy.simulation.chance import generator
from proxy.simulation.shape import Mode, mixed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from proxy.simulation import scenario as files
    from proxy.simulation.scenario import FailsWith
    from proxy.simulation.shape import Modes

_STEPS = 100  # that a ramp is climbed in, and half a swing
_MINUTE_S = 60.0
_REMEMBERED = 0.7  # of one minute's noise in the next: half of it is gone after two


class Service(NamedTuple):
    """What one version is like at one moment."""

    error_rate: float
    latency: Modes
    factor: float = 1.0
    hang: float = 0.0
    fails_with: FailsWith = "5xx"
    error_latency: Modes | None = None
    noise: float = 0.0
    health: float = 1.0
    cpu: float | None = None
    memory: float | None = None
    cache_hit_rate: float | None = None


class Conditions(NamedTuple):
    """Everything at one moment."""

    rps: float
    v1: Service
    v2: Service
    traffic_noise: float = 0.0
    store_down: bool = False
    webhook: int = 200


_FIRST = Service(0.001, (Mode(1.0, 0.020, 0.6679),))  # 60 ms at the 95th percentile
_RPS = 10.0


class Timeline:
    """The conditions of a scenario by seconds since its beginning. Ask with rising times."""

    def __init__(self, scenario: files.Scenario, seed: int) -> None:
        self._changes = scenario.change
        self._shared = Noise(generator(seed, "noise both"))
        self._noises = {name: Noise(generator(seed, f"noise {name}")) for name in ("rps", "v1", "v2")}
        self._scenario = scenario

    def at(self, t: float) -> tuple[Conditions, float]:
        """The conditions at `t`, and until when they hold."""
        base, until = self._base(t)
        found = base
        for change, began, ends in sorted(self._occurrences(t), key=lambda one: one[1]):
            found, until = _laid(found, change, t, began), min(until, _next_step(change, began, t), ends)
        return self._varied(found, t, until)

    def first_change_s(self) -> float | None:
        """When v2 becomes unlike v1 for the first time; else when anything changes; None if nothing does."""
        own = [change.at_s for change in self._changes if change.v2 is not None and change.v1 is None]
        return min(own or [change.at_s for change in self._changes], default=None)

    def _base(self, t: float) -> tuple[Conditions, float]:
        scenario = self._scenario
        v1 = overlaid(_FIRST, scenario.v1, t)
        v2 = overlaid(v1, scenario.v2, t)
        rps = scenario.traffic.rps
        levels = (rps, scenario.v1.error_rate, scenario.v2.error_rate)
        starts = [change.at_s for change in self._changes if change.at_s > t]
        starts += [_next_occurrence(change, t) for change in self._changes if change.every_s is not None]
        until = min([*starts, *(_next_swing(level, t) for level in levels)], default=float("inf"))
        found = Conditions(
            rps=_RPS if rps is None else level_at(rps, t),
            v1=v1,
            v2=v2,
            traffic_noise=scenario.traffic.noise or 0.0,
            store_down=bool(scenario.store_down),
            webhook=scenario.webhook or 200,
        )
        return found, until

    def _occurrences(self, t: float) -> Iterator[tuple[files.Change, float, float]]:
        """The changes in force at `t`, each with when it began and when it ends."""
        for change in self._changes:
            if t < change.at_s:
                continue
            began = change.at_s
            if change.every_s is not None:
                began += (t - change.at_s) // change.every_s * change.every_s
            ends = float("inf") if change.lasts_s is None else began + change.lasts_s
            if t < ends:
                yield change, began, ends

    def _varied(self, found: Conditions, t: float, until: float) -> tuple[Conditions, float]:
        """The same with this minute's noise."""
        shared = self._scenario.noise
        if not (shared or found.traffic_noise or found.v1.noise or found.v2.noise):
            return found, until
        minute = int(t // _MINUTE_S)
        both = 1.0 + shared * self._shared.at(minute)
        factors = {name: noise.at(minute) for name, noise in self._noises.items()}
        v1, v2 = (
            service._replace(error_rate=min(1.0, service.error_rate * max(0.0, both) * own))
            for service, own in (
                (found.v1, max(0.0, 1.0 + found.v1.noise * factors["v1"])),
                (found.v2, max(0.0, 1.0 + found.v2.noise * factors["v2"])),
            )
        )
        rps = found.rps * max(0.0, 1.0 + found.traffic_noise * factors["rps"])
        return found._replace(rps=rps, v1=v1, v2=v2), min(until, (minute + 1) * _MINUTE_S)


class Noise:
    """A number around 0 with a standard deviation of 1 that wanders from minute to minute."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._minute = 0
        self._value = rng.gauss(0.0, 1.0)

    def at(self, minute: int) -> float:
        """The number of that minute; minutes only rise."""
        while self._minute < minute:
            self._minute += 1
            fresh = self._rng.gauss(0.0, (1.0 - _REMEMBERED**2) ** 0.5)
            self._value = _REMEMBERED * self._value + fresh
        return self._value


# ... one change on top of what is


def overlaid(below: Service, above: files.Service | None, t: float, progress: float = 1.0) -> Service:
    """What `above` makes of `below` at `t`, when it is `progress` (0..1) of the way there."""
    if above is None:
        return below
    done = progress >= 1.0

    def moved(before: float, after: float | None) -> float:
        return before if after is None else before + (after - before) * progress

    latency = below.latency if above.latency is None else modes_of(above.latency, below.latency)
    error_latency = below.error_latency
    if above.error_latency is not None:
        error_latency = modes_of(above.error_latency, below.error_latency or below.latency)
    rate = None if above.error_rate is None else level_at(above.error_rate, t)
    return Service(
        error_rate=moved(below.error_rate, rate),
        latency=mixed(below.latency, latency, progress),
        factor=moved(below.factor, above.latency_factor),
        hang=moved(below.hang, above.hang),
        fails_with=above.fails_with or below.fails_with,
        error_latency=error_latency,
        noise=moved(below.noise, above.noise),
        health=below.health if above.health is None or not done else above.health,
        cpu=_reported(below.cpu, above.cpu, progress),
        memory=_reported(below.memory, above.memory, progress),
        cache_hit_rate=_reported(below.cache_hit_rate, above.cache_hit_rate, progress),
    )


def modes_of(latency: files.Latency, before: Modes) -> Modes:
    """The modes as they are meant after `before`: a lone quantile takes the rest from there."""
    found = []
    for mode in latency:
        median_s = mode.p50_s
        if median_s is None:
            median_s = min(before[0].median_s, *(value_s for value_s, _ in mode.upper))
        sigma = mode.sigma(median_s)
        found.append(Mode(mode.weight, median_s, before[0].sigma if sigma is None else sigma))
    return tuple(found)


def level_at(level: files.Level, t: float) -> float:
    """The value of a level at `t`."""
    if not level.swings:
        return level.low
    return level.low + (level.high - level.low) * (1.0 - cos(2 * pi * t / level.period_s)) / 2


def _reported(before: float | None, after: float | None, progress: float) -> float | None:
    if after is None:
        return before
    return after if before is None else before + (after - before) * progress


def _laid(below: Conditions, change: files.Change, t: float, began: float) -> Conditions:
    progress = min(1.0, (t - began) / change.ramp_s) if change.ramp_s else 1.0
    traffic = change.traffic
    rps = change.rps or (traffic.rps if traffic else None)
    target = below.rps if rps is None else level_at(rps, t)
    noise = traffic.noise if traffic else None
    return Conditions(
        rps=below.rps + (target - below.rps) * progress,
        v1=overlaid(overlaid(below.v1, change.both, t, progress), change.v1, t, progress),
        v2=overlaid(overlaid(below.v2, change.both, t, progress), change.v2, t, progress),
        traffic_noise=below.traffic_noise if noise is None else noise,
        store_down=below.store_down if change.store_down is None else change.store_down,
        webhook=below.webhook if change.webhook is None else change.webhook,
    )


# ... until when an answer holds


def _next_step(change: files.Change, began: float, t: float) -> float:
    services = (change.v1, change.v2, change.both)
    levels = [change.rps, *(service.error_rate for service in services if service is not None)]
    found = min(_next_swing(level, t) for level in levels)
    if t < began + change.ramp_s:
        step_s = max(change.ramp_s / _STEPS, 1.0)
        found = min(found, began + (int((t - began) / step_s) + 1) * step_s)
    return found


def _next_swing(level: files.Level | None, t: float) -> float:
    if level is None or not level.swings:
        return float("inf")
    step_s = max(level.period_s / (2 * _STEPS), 1.0)
    return (int(t / step_s) + 1) * step_s


def _next_occurrence(change: files.Change, t: float) -> float:
    every_s = change.every_s or 0.0
    if t < change.at_s:
        return change.at_s
    return change.at_s + ((t - change.at_s) // every_s + 1) * every_s
