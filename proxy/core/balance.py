"""Which endpoint of a backend gets the next attempt, and which is left alone for a while.

Owns the choice among several endpoints and passive ejection. Must never know an address, a connection or a
probe: endpoints are objects with a count of outstanding requests, or positions in their backend.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.config.schema import Ejection
    from proxy.model import EndpointStatus
    from proxy.ports import Random

_LONGEST = 10  # times the configured duration, for an endpoint that is ejected again and again


class Candidate(Protocol):
    """Something that requests can be sent to."""

    @property
    def outstanding(self) -> int: ...


C = TypeVar("C", bound=Candidate)


def choose(candidates: Sequence[C], rng: Random) -> C:
    """The less busy of two random candidates; `candidates` is not empty.

    Two choices keep the longest queue near the shortest (Mitzenmacher, "The power of two choices in
    randomized load balancing", 2001), and do not send everybody to the one endpoint that looks idle because
    it has just failed.
    """
    count = len(candidates)
    if count == 1:
        return candidates[0]
    first = int(rng.random() * count)
    second = int(rng.random() * (count - 1))
    if second >= first:
        second += 1
    one, other = candidates[first], candidates[second]
    return one if one.outstanding <= other.outstanding else other


def available_share(statuses: Sequence[EndpointStatus]) -> float:
    """Share of the endpoints that may take traffic, 0..1; there is at least one."""
    return sum(status.healthy and not status.ejected for status in statuses) / len(statuses)


class Ejector:
    """Passive ejection in one backend: an endpoint that keeps failing is left alone, longer each time.

    Never ejects more than `max_share` of the endpoints at once, and never the last one: a bad endpoint is
    better than none. Instants are monotonic seconds; endpoints are positions 0..total-1.
    """

    __slots__ = ("_duration_s", "_failures", "_limit", "_most", "_spell_s", "_until")

    def __init__(self, table: Ejection, total: int) -> None:
        most = int(total * table.max_share + 1e-9)  # 0.29 * 100 is 28.999999999999996
        self._most = min(most, total - 1) if table.enabled else 0
        self._limit = table.consecutive_failures
        self._duration_s = table.duration_s
        self._failures = [0] * total
        self._until = [-math.inf] * total
        self._spell_s = [0.0] * total  # length of the latest ejection

    def ejected(self, endpoint: int, now: float) -> bool:
        """Whether the endpoint is to be left alone at `now`."""
        return self._until[endpoint] > now

    def success(self, endpoint: int, now: float) -> None:
        """An attempt on the endpoint went well."""
        self._failures[endpoint] = 0

    def failure(self, endpoint: int, now: float) -> bool:
        """An attempt on the endpoint failed through the endpoint's fault. Whether that ejects it."""
        if self._until[endpoint] > now:
            return False  # a late result of what was sent before the ejection
        self._failures[endpoint] += 1
        if self._failures[endpoint] < self._limit or sum(until > now for until in self._until) >= self._most:
            return False
        self._eject(endpoint, now)
        return True

    def next_return(self, now: float) -> float:
        """When the first of those that are ejected at `now` comes back; infinity if none is."""
        return min((until for until in self._until if until > now), default=math.inf)

    def _eject(self, endpoint: int, now: float) -> None:
        spell_s = self._spell_s[endpoint]
        # Once it has been back for as long as it was away, the past is forgotten.
        if now - self._until[endpoint] >= spell_s:
            spell_s = 0.0
        spell_s = min(spell_s + self._duration_s, _LONGEST * self._duration_s)
        self._failures[endpoint] = 0
        self._spell_s[endpoint] = spell_s
        self._until[endpoint] = now + spell_s

    def __repr__(self) -> str:
        return f"<Ejector of {len(self._until)}, at most {self._most} ejected, failures {self._failures}>"
