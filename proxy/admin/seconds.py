"""The last minutes of every rollout, second by second: a page that is opened now begins with them.

Owns the ring: a bounded number of seconds, some 20 kB for each rollout that has had a request, and nothing
for the others. Pulses in, a document out; nothing is stored. Must never know who asks.
"""

from __future__ import annotations

from array import array
from collections import deque
from math import isnan, nan
from typing import TYPE_CHECKING, Final

from proxy.admin import views

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.model import PathSummary, Pulse, Snapshot

KEPT: Final = 300
COUNTS: Final = (
    "v1_requests",
    "v1_errors",
    "v2_requests",
    "v2_errors",
    "v2_assigned",
    "fallbacks",
    "client_requests",
    "client_errors",
)
FIGURES: Final = (
    "percentage",
    *(f"{path}_{name}_ms" for path in ("v1", "v2") for name in ("p50", "p95", "p99")),
)
_WIDTH: Final = len(COUNTS) + len(FIGURES)


class Seconds:
    """All rollouts. Counts are those of each second, latencies those of the minute that it ends."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._at: deque[float] = deque(maxlen=kept)
        self._taken = 0
        self._rings: dict[str, _Ring] = {}

    def __repr__(self) -> str:
        return f"<Seconds {len(self._at)} of {len(self._rings)} rollouts>"

    def take(self, at: float, pulses: Iterable[Pulse]) -> None:
        """What every rollout has counted until `at`, in seconds since the Unix epoch."""
        present = set()
        for pulse in pulses:
            name = pulse.state.name
            present.add(name)
            ring = self._rings.get(name)
            if ring is None and any(_counts(pulse.total)):
                ring = self._rings[name] = _Ring(self._kept)
            if ring is not None:
                ring.take(self._taken % self._kept, pulse)
        for name in self._rings.keys() - present:
            del self._rings[name]
        self._at.append(at)
        self._taken += 1

    def document(self, name: str) -> views.JsonObject:
        """What is known of one rollout, oldest first: a list for each figure, None where it is not known."""
        ring = self._rings.get(name) or _Ring(self._kept)
        places = [place % self._kept for place in range(self._taken - len(self._at), self._taken)]
        at = [views.instant(one) for one in self._at]
        return {"rollout": name, "at": at, **ring.lists(places)}


class _Ring:
    """The figures of one rollout, each second's beside one another; NaN is what is not known."""

    __slots__ = ("_before", "_values")

    def __init__(self, kept: int) -> None:
        self._values = array("f", [nan]) * (kept * _WIDTH)
        self._before: tuple[int, ...] | None = None

    def take(self, place: int, pulse: Pulse) -> None:
        """The second that has just ended goes to `place`."""
        now, before = _counts(pulse.total), self._before
        self._before = now
        grown = [nan] * len(now)
        if before is not None:
            grown = [float(a - b) for a, b in zip(now, before, strict=True)]
            if min(grown) < 0.0:  # it has begun anew: what was counted in between is lost
                grown = [nan] * len(now)
        recent = pulse.recent
        row = (*grown, pulse.state.percentage, *_latencies(recent.v1), *_latencies(recent.v2))
        self._values[place * _WIDTH : (place + 1) * _WIDTH] = array("f", row)

    def lists(self, places: list[int]) -> dict[str, list[float | None]]:
        """By figure, in the order of `places`."""
        return {
            name: [_told(self._values[place * _WIDTH + offset], whole=name in COUNTS) for place in places]
            for offset, name in enumerate((*COUNTS, *FIGURES))
        }


def _counts(total: Snapshot) -> tuple[int, ...]:
    """In the order of `COUNTS`."""
    return (
        total.v1.requests,
        total.v1.errors,
        total.v2.requests,
        total.v2.errors,
        total.assigned_v2,
        total.fallbacks,
        total.client_requests,
        total.client_errors,
    )


def _told(value: float, *, whole: bool) -> float | None:
    if isnan(value):
        return None
    return round(value) if whole else round(value, 3)


def _latencies(path: PathSummary) -> tuple[float, float, float]:
    if not path.requests:
        return nan, nan, nan
    latency = path.latency
    return latency.p50 * 1000.0, latency.p95 * 1000.0, latency.p99 * 1000.0
