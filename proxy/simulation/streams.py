"""Streams of requests: one population on one path under one set of conditions, and how its attempts end.

Owns what is drawn for it in a span of time. Must never know the breaker, a fallback, or what becomes of an
attempt afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from proxy.core.histogram import bucket_index
from proxy.core.tally import ERROR_INDEX
from proxy.model import ErrorClass
from proxy.simulation.chance import binomial, poisson
from proxy.simulation.shape import MANY, Mode, shape_of

if TYPE_CHECKING:
    from random import Random

    from proxy.simulation.shape import Modes, Pair
    from proxy.simulation.timeline import Service

GOOD = -1
"""What stands in place of an error class for an attempt that goes well."""

_CLASSES = {
    "5xx": ErrorClass.STATUS,
    "connect": ErrorClass.CONNECT,
    "timeout": ErrorClass.TIMEOUT,
    "reset": ErrorClass.RESET,
}
_TIMEOUT = ERROR_INDEX[ErrorClass.TIMEOUT]
_REFUSED: Modes = (Mode(1.0, 0.001, 0.0),)  # how long it takes to be told that nobody listens


class Slow(NamedTuple):
    """Attempts that take longer than a tick, or until the deadline, all alike."""

    bucket: int
    n: int
    failed: int  # index of the error class, or GOOD


class Drawn(NamedTuple):
    """What began within one span. Latencies of those that end in the same tick: all of them, in any order."""

    good: int
    bad: int
    pairs: list[Pair]
    slow: list[Slow]


class Spans(NamedTuple):
    """The two latencies that matter: the tick's, beyond which an attempt ends in a later one, and the
    deadline, beyond which it fails."""

    tick_s: float
    deadline_s: float


class Stream:
    """Requests at `rps` to a service. `kind` is the error class of its quick failures."""

    __slots__ = (
        "_bad_shape",
        "_chance",
        "_hang",
        "_last_bucket",
        "_long_bucket",
        "_shape",
        "_slow_bucket",
        "kind",
        "rps",
    )

    def __init__(self, service: Service, rps: float, spans: Spans) -> None:
        self.rps = rps
        self.kind = ERROR_INDEX[_CLASSES[service.fails_with]]
        self._hang = service.hang
        self._chance = service.error_rate
        if service.fails_with == "timeout":
            self._hang, self._chance = 1 - (1 - service.hang) * (1 - service.error_rate), 0.0
        self._shape = shape_of(service.latency, service.factor)
        own = _REFUSED if service.fails_with == "connect" else service.error_latency
        self._bad_shape = None if own is None else shape_of(own)
        self._last_bucket = bucket_index(round(spans.deadline_s * 1e6))
        self._slow_bucket = bucket_index(round(spans.tick_s * 1e6)) + 1
        self._long_bucket = min(self._last_bucket, self._slow_bucket)

    @property
    def failing(self) -> float:
        """The share of requests that fail, leaving aside the deadline."""
        return 1 - (1 - self._hang) * (1 - self._chance)

    def draw(self, rng: Random, span_s: float) -> Drawn:
        """What begins within `span_s` seconds."""
        mean = self.rps * span_s * (1.0 - self._hang)
        apart = self._bad_shape
        if apart is None:
            pairs = self._shape.arrivals(rng, mean)
            if not self._hang and (not pairs or max(pairs)[0] < self._long_bucket):
                n = len(pairs) if mean < MANY else sum([count for _, count in pairs])
                bad = binomial(rng, n, self._chance)
                return Drawn(n - bad, bad, pairs, [])
            bad_pairs: list[Pair] = []
        else:
            pairs = self._shape.arrivals(rng, mean * (1.0 - self._chance))
            bad_pairs = apart.arrivals(rng, mean * self._chance)
        hung = poisson(self.rps * span_s * self._hang).draw(rng) if self._hang else 0
        return self._sorted(rng, pairs, bad_pairs, hung)

    def _sorted(self, rng: Random, pairs: list[Pair], bad_pairs: list[Pair], hung: int) -> Drawn:
        """The same, with those apart that end later or at the deadline."""
        chance = self._chance if self._bad_shape is None else 0.0
        good = bad = 0
        quick: list[Pair] = []
        slow: list[Slow] = []
        for bucket, n in [*pairs, *([(self._last_bucket, hung)] if hung else [])]:
            late = bucket >= self._last_bucket
            if late:
                slow.append(Slow(self._last_bucket, n, _TIMEOUT))
            elif bucket >= self._slow_bucket:
                failing = binomial(rng, n, chance)
                slow += [Slow(bucket, m, k) for m, k in ((failing, self.kind), (n - failing, GOOD)) if m]
            else:
                failing = binomial(rng, n, chance) if chance else 0
                bad += failing
                good += n - failing
                quick.append((bucket, n))
        for bucket, n in bad_pairs:
            bad += n
            quick.append((min(bucket, self._last_bucket), n))
        return Drawn(good, bad, quick, slow)
