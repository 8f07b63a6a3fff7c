"""The scenario file: what the traffic and both versions are like, and what changes when.

One frozen pydantic model per table, named as the file is without units, as in `config`. It must not know what
the values lead to, nor how changes lie on top of each other (`timeline`), nor where the file is (`reading`).
"""

from __future__ import annotations

import re
from math import log
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from proxy.config.table import Table
from proxy.config.times import Instant
from proxy.config.units import Count, Flag, Percentage, Ratio, parse_duration, shown
from proxy.model import BUCKETS, Verb

_SIGMAS_TO = {"p90_s": 1.2815515655446004, "p95_s": 1.6448536269514722, "p99_s": 2.3263478740408408}
"""How many standard deviations of its logarithm each quantile of a log-normal latency is above the median."""

_PARTS = re.compile(r"(?:[0-9.]+(?:ms|[smhd]) ?)+")


def parse_span(value: object) -> float:
    """Seconds from "250ms" or "2h", and from a sum such as "2h1m". Raises ValueError for anything else."""
    if isinstance(value, str) and _PARTS.fullmatch(value):
        return sum(parse_duration(part) for part in re.findall(r"[0-9.]+(?:ms|[smhd])", value))
    return parse_duration(value)


Duration = Annotated[float, BeforeValidator(parse_span)]
PositiveDuration = Annotated[Duration, Field(gt=0)]

_Number = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
_Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


class Level(Table):
    """A number that swings from `low` to `high` and back once per `period`; a plain number stands still."""

    low: _Number
    """Where it begins."""
    high: _Number
    """What it has reached after half a period."""
    period_s: PositiveDuration = 86_400.0
    """How long it takes to come back."""

    @property
    def swings(self) -> bool:
        """Whether it is not always the same."""
        return self.low != self.high


class Mode(Table):
    """A log-normal latency by its median and one upper quantile. Several of them are mixed."""

    weight: _Positive = 1.0
    """How much of the traffic, beside the weights of the others."""
    p50_s: PositiveDuration | None = None
    """The median."""
    p90_s: PositiveDuration | None = None
    """The 90th percentile, in place of `p95`."""
    p95_s: PositiveDuration | None = None
    """The 95th percentile. Without one, the spread stays what it was; at first there is none."""
    p99_s: PositiveDuration | None = None
    """The 99th percentile, in place of `p95`."""

    @property
    def upper(self) -> list[tuple[float, float]]:
        """The upper quantiles that are given, in seconds, each with how many standard deviations it means."""
        given = [(getattr(self, name), sigmas) for name, sigmas in _SIGMAS_TO.items()]
        return [(value_s, sigmas) for value_s, sigmas in given if value_s is not None]

    def sigma(self, median_s: float) -> float | None:
        """The standard deviation of the logarithm around this median; None if no quantile tells."""
        return next((log(value_s / median_s) / sigmas for value_s, sigmas in self.upper), None)


def _as_level(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"low": value, "high": value}
    if isinstance(value, dict | Level):
        return value
    raise ValueError(f"must be a number, or a table of low, high and period, not {shown(value)}")


def _as_share(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool) and not 0 <= value <= 1:
        raise ValueError(f"must be from 0 to 1, not {shown(value)}")
    return _as_level(value)


def _within_one(level: Level) -> Level:
    if max(level.low, level.high) > 1:
        raise ValueError(f"must be from 0 to 1, not {shown(max(level.low, level.high))}")
    return level


def _as_modes(value: object) -> object:
    """A single table is a list of one; so is "20ms", which every answer takes."""
    if isinstance(value, str):
        parse_span(value)
        return ({"p50": value, "p95": value},)
    if isinstance(value, dict):
        return (value,)
    return value


Rate = Annotated[Level, BeforeValidator(_as_level)]
Share = Annotated[Level, BeforeValidator(_as_share), AfterValidator(_within_one)]
Latency = Annotated[tuple[Mode, ...], Field(min_length=1), BeforeValidator(_as_modes)]
FailsWith = Literal["5xx", "connect", "timeout", "reset"]


class Service(Table):
    """`[v1]`, `[v2]`, and what a change makes of them. What is not given stays as it was."""

    error_rate: Share | None = None
    """Share of requests that fail, 0 to 1."""
    latency: Latency | None = None
    """How long answers take: `{ p50, p95 }`, a duration for all, or a list of such tables with weights."""
    latency_factor: _Positive | None = None
    """How many times as long; 2 is twice as slow."""
    hang: Ratio | None = None
    """Share of requests that are never answered: they end with the deadline, as a timeout."""
    fails_with: FailsWith | None = None
    """What a failure looks like: "5xx", "connect" (refused at once), "timeout" or "reset"."""
    error_latency: Latency | None = None
    """How long answers take that are failures; as long as the others unless given."""
    noise: _Number | None = None
    """How much the error rate varies by itself from minute to minute: 0.3 is a standard deviation of 30 %."""
    health: Ratio | None = None
    """Share of the endpoints that the probes find well. At 0 nothing is sent."""
    cpu: Ratio | None = None
    """What the backend reports of its processor, 0 to 1."""
    memory: Ratio | None = None
    """What the backend reports of its memory, 0 to 1."""
    cache_hit_rate: Ratio | None = None
    """What the backend reports of its cache, 0 to 1."""


class Traffic(Table):
    """`[traffic]`: how many requests come."""

    rps: Rate | None = None
    """Requests a second, on average; 0 is a gap."""
    noise: _Number | None = None
    """How much that varies by itself from minute to minute."""


class _Surroundings(Table):
    """What surrounds the proxy."""

    store_down: Flag | None = None
    """Whether the store cannot be reached."""
    webhook: Annotated[int, Field(strict=True, ge=100, le=599)] | None = None
    """The status that every gate's webhook answers with."""


class Change(_Surroundings):
    """One entry of `[[change]]`. Of several that are in force the one that began last wins, key by key."""

    at_s: Duration
    """When it begins."""
    until_s: PositiveDuration | None = None
    """When it ends; never unless given."""
    for_s: PositiveDuration | None = None
    """How long it lasts, in place of `until`."""
    every_s: PositiveDuration | None = None
    """Time from one beginning to the next, if it comes again and again."""
    ramp_s: Duration = 0.0
    """How long it takes to get there, evenly; at once unless given."""
    rps: Rate | None = None
    """Requests a second."""
    traffic: Traffic | None = None
    """The same with its table."""
    v1: Service | None = None
    """What changes about v1."""
    v2: Service | None = None
    """What changes about v2."""
    both: Service | None = None
    """What changes about both alike, as in a shared outage."""

    @property
    def lasts_s(self) -> float | None:
        """How long, or None for ever."""
        return self.until_s - self.at_s if self.until_s is not None else self.for_s


class Client(Service):
    """One entry of `[[clients]]`: a user who always gets the same version, unlike all others."""

    key: str | None = None
    """What the rollout hashes; decides the bucket."""
    bucket: Annotated[int, Field(strict=True, ge=0, lt=BUCKETS)] | None = None
    """The bucket itself: below the rollout's weight means v2. Drawn if neither is given."""
    rps: Rate | None = None
    """Requests a second, beside `traffic.rps`."""
    share: Ratio | None = None
    """In place of `rps`: the share of `traffic.rps` that is this client's."""
    at_s: Duration = 0.0
    """When it comes."""
    until_s: PositiveDuration | None = None
    """When it leaves."""
    v1: Service | None = None
    """What v1 is like for this client; as for everybody unless given here or beside it."""
    v2: Service | None = None
    """What v2 is like for this client."""


class Order(Table):
    """One entry of `[[command]]`: what an operator does."""

    at_s: Duration
    """When."""
    verb: Verb
    """What: "pause", "resume", "promote", "rollback", "set" …"""
    percentage: Percentage | None = None
    """For `set` and `rollback`."""
    full: Flag = False
    """For `promote`: to the end of the plan."""
    reason: str = ""
    """Why, for the audit."""


class Operator(Table):
    """`[operator]`: how people behave."""

    approve: Flag = False
    """Whether a phase that waits for approval gets it, as soon as that is all it waits for."""


class Scenario(_Surroundings):
    """The whole file."""

    duration_s: PositiveDuration = 86_400.0
    """How long it goes on."""
    start: Instant = 1_767_603_600.0
    """When it begins, by the calendar: 5 January 2026, 9:00 UTC, a Monday, unless given."""
    seed: Count = 0
    """Which chance; `--seed` wins."""
    noise: _Number = 0.0
    """How much both error rates vary together from minute to minute."""
    traffic: Traffic = Traffic()
    """How many requests come: 10 a second unless given."""
    v1: Service = Service()
    """The stable version: 0.1 % errors, 20 ms, 60 ms at the 95th percentile, unless given."""
    v2: Service = Service()
    """The replacement; what is not given is as with v1."""
    clients: tuple[Client, ...] = ()
    """Users who are unlike all others."""
    change: tuple[Change, ...] = ()
    """What changes."""
    command: tuple[Order, ...] = ()
    """What an operator does."""
    operator: Operator = Operator()
    """How people behave."""
