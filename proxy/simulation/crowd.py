"""Who asks: everybody in equal shares, and those users who are unlike the others.

Owns which streams there are under given conditions and a given weight. Must never know what they draw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from proxy.model import BUCKETS, Path
from proxy.simulation.chance import generator
from proxy.simulation.streams import Spans, Stream
from proxy.simulation.timeline import level_at, overlaid

if TYPE_CHECKING:
    from proxy.config.schema import Config
    from proxy.core.routing import Split
    from proxy.simulation.scenario import Client, Scenario
    from proxy.simulation.timeline import Conditions


class Streams(NamedTuple):
    """Everybody's requests, by path; with those for v2 comes the share of them that v1 would fail."""

    v1: list[Stream]
    v2: list[tuple[Stream, float]]


class Crowd:
    """The users of a scenario and how they split over the paths of one rollout."""

    def __init__(self, config: Config, scenario: Scenario, seed: int) -> None:
        rollout = config.rollouts[0]
        reserve = rollout.fallback.reserve if rollout.fallback.enabled else 0.0
        tick_s = rollout.judge.tick_s
        self._v1 = Spans(tick_s, min(config.backends.v1.response_timeout_s, rollout.timeout_s))
        v2_s = min(config.backends.v2.response_timeout_s, rollout.timeout_s * (1.0 - reserve))
        self._v2 = Spans(tick_s, v2_s)
        rng = generator(seed, "clients")
        self._clients = [(client, rng.randrange(BUCKETS)) for client in scenario.clients]

    def streams(self, conditions: Conditions, split: Split, t: float) -> tuple[Streams, float]:
        """The streams at `t`, and until when these users stay."""
        found, until, others = Streams([], []), float("inf"), 1.0
        for client, drawn in self._clients:
            until = min(
                [until, *(one for one in (client.at_s, client.until_s) if one is not None and one > t)]
            )
            if t < client.at_s or (client.until_s is not None and t >= client.until_s):
                continue
            others -= client.share or 0.0
            rps = conditions.rps * client.share if client.share is not None else _rps(client, t)
            self._add(found, _for_client(conditions, client, t), rps, _share_v2(client, drawn, split))
        self._add(found, conditions, conditions.rps * max(0.0, others), split.weight / BUCKETS)
        return found, until

    def _add(self, found: Streams, conditions: Conditions, rps: float, share_v2: float) -> None:
        v1, v2 = conditions.v1, conditions.v2
        if rps * (1.0 - share_v2) > 0:
            found.v1.append(Stream(v1, rps * (1.0 - share_v2), self._v1))
        if rps * share_v2 > 0:
            failing = Stream(v1, 0.0, self._v1).failing
            found.v2.append((Stream(v2, rps * share_v2, self._v2), failing))


def _rps(client: Client, t: float) -> float:
    return level_at(client.rps, t) if client.rps is not None else 0.0


def _for_client(conditions: Conditions, client: Client, t: float) -> Conditions:
    """What both versions are like for this client."""
    v1 = overlaid(overlaid(conditions.v1, client, t), client.v1, t)
    v2 = overlaid(overlaid(conditions.v2, client, t), client.v2, t)
    return conditions._replace(v1=v1, v2=v2)


def _share_v2(client: Client, drawn: int, split: Split) -> float:
    if client.key is not None:
        return float(split.decide(client.key.encode()) is Path.V2)
    bucket = drawn if client.bucket is None else client.bucket
    return float(bucket < split.weight)
