"""What a load is to be: when each request is due, by which method, and from which user.

Owns the schedule and the choice, both pure. Must never know how a request is sent or how long it took: a
request is due when the schedule says so, whatever became of those before it (an open loop).
"""

from __future__ import annotations

import ipaddress
import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.ports import Random

_METHOD = re.compile(r"[A-Z]{1,20}")
_ROUNDING = 1e-9  # 0.07 * 100 is a little more than 7, and no eighth request


@dataclass(frozen=True, slots=True)
class Schedule:
    """`rate` requests a second for `duration_s`; over the first `ramp_s` the rate rises evenly from 0."""

    rate: float
    duration_s: float
    ramp_s: float = 0.0

    def __post_init__(self) -> None:
        if not (self.rate > 0 and self.duration_s > 0 and 0 <= self.ramp_s <= self.duration_s):
            raise ValueError("a ramp is no longer than the duration; rate and duration are above 0")

    @property
    def count(self) -> int:
        """How many requests are due in all."""
        return self.due_by(self.duration_s)

    def due_by(self, elapsed_s: float) -> int:
        """How many requests are due up to that many seconds since the beginning."""
        now = min(max(elapsed_s, 0.0), self.duration_s)
        if now < self.ramp_s:
            return ceil(self.rate * now * now / (2 * self.ramp_s))
        return ceil(self.rate * (now - self.ramp_s / 2) - _ROUNDING)

    def due_s(self, number: int) -> float:
        """When request `number`, from 0, is due: seconds since the beginning."""
        in_ramp = self.rate * self.ramp_s / 2
        if number < in_ramp:
            return sqrt(2 * self.ramp_s * number / self.rate)
        return self.ramp_s + (number - in_ramp) / self.rate


@dataclass(frozen=True, slots=True)
class Mix:
    """Methods and their weights, which need not add up to anything."""

    methods: tuple[str, ...]
    weights: tuple[int, ...]

    def choose(self, rng: Random) -> str:
        """One of them by chance."""
        ends = tuple(accumulate(self.weights))
        return self.methods[bisect_right(ends, rng.random() * ends[-1])]


def parse_mix(text: str) -> Mix:
    """ "GET:80,POST:20" or just "GET". Raises ValueError that says what is wrong."""
    methods, weights = [], []
    for part in text.split(","):
        method, _, weight = part.strip().partition(":")
        if not _METHOD.fullmatch(method):
            raise ValueError(f"{part.strip()!r} is not METHOD:WEIGHT, as in GET:80,POST:20")
        if not re.fullmatch(r"[0-9]{0,6}", weight):
            raise ValueError(f"the weight of {method} is a whole number, not {weight!r}")
        methods.append(method)
        weights.append(int(weight or 1))
    if not sum(weights):
        raise ValueError("one method at least needs a weight above 0")
    return Mix(tuple(methods), tuple(weights))


def parse_header(text: str) -> tuple[str, str]:
    """ "Name: value". Raises ValueError for anything else."""
    name, colon, value = text.partition(":")
    if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or re.search(r"[\r\n\0]", value):
        raise ValueError(f'{text!r} is not "Name: value"')
    return name, value.strip()


def user_name(rng: Random, users: int) -> str:
    """One of that many users by chance; the same names in every run, so that each keeps its path."""
    return f"user-{int(rng.random() * users) + 1}"


def is_loopback(host: str | None) -> bool:
    """Whether a URL's host is this machine for certain; a name other than localhost is not."""
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
