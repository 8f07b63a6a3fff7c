"""The proxy's own counters against what was sent: they must agree to the last request.

Owns reading them once they stand still, and what may be missing. A worker reports four times a second: one
that is killed takes with it what it has answered since its last report. A restart begins to count anew, and
what the predecessor has answered since is in nobody's figures.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.soak.admin import status

if TYPE_CHECKING:
    from collections.abc import Sequence

UNREPORTED_S = 1.0
"""The longest that a worker which lives has not reported."""
UNKNOWN = 1 << 60
"""More than anybody sends: after a restart."""
_STILL_S = 0.8
_LOOK_S = 0.1
_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Sent:
    """What was asked: sound requests that were taken, what was turned away, and who has answered: v1, v2, or
    v1 in place of v2. Whose the `untold` were is not to be seen: their clients had an error, a broken answer,
    or have left."""

    requests: int
    refused: int
    fallbacks: int = 0
    untold: int = 0
    v1: int = 0
    v2: int = 0

    def since(self, before: Sent) -> Sent:
        """What has come since then."""
        return Sent(
            self.requests - before.requests,
            self.refused - before.refused,
            self.fallbacks - before.fallbacks,
            self.untold - before.untold,
            self.v1 - before.v1,
            self.v2 - before.v2,
        )


@dataclass(frozen=True, slots=True)
class Figures:
    """What `GET /api/v1/status` says of all requests so far; `refused` is -1 where it does not tell."""

    requests: int = 0  # with those whose clients left
    refused: int = 0
    fallbacks: int = 0
    idle_connections: int = 0
    v1: int = 0  # those that were assigned to it
    v2: int = 0

    def since(self, before: Figures) -> Figures:
        """What has come since then; idle connections are those of now."""
        return Figures(
            self.requests - before.requests,
            -1 if self.refused < 0 else self.refused - before.refused,
            self.fallbacks - before.fallbacks,
            self.idle_connections,
            self.v1 - before.v1,
            self.v2 - before.v2,
        )


async def figures(admin: int) -> Figures:
    """The figures once they have stood still, and pooled connections have gone."""
    last, since = Figures(-1), time.monotonic()
    give_up_at = since + _WITHIN_S
    while time.monotonic() < give_up_at:
        now = _of(await status(admin))
        if now != last or now.idle_connections:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > _STILL_S:
            break
        await asyncio.sleep(_LOOK_S)
    return last


def _of(document: dict[str, Any]) -> Figures:
    [rollout] = document["rollouts"]
    client, paths = rollout["client"], rollout["paths"]
    refused = document.get("refused")
    return Figures(
        requests=client["requests"] + client["aborts"],
        refused=-1 if refused is None else sum(refused.values()),
        fallbacks=paths["v2"]["fallbacks"],
        idle_connections=sum(endpoint["idle_connections"] for endpoint in rollout["endpoints"]),
        v1=paths["v1"]["assigned"],
        v2=paths["v2"]["assigned"],
    )


def missing_at_most(answered_at: Sequence[float], killed_at: Sequence[float], lost: int) -> int:
    """How much killed workers may have taken with them: what was answered in the second before, and what they
    held."""
    carried = sum(any(kill - UNREPORTED_S <= at <= kill + 0.1 for kill in killed_at) for at in answered_at)
    return carried + lost


def disagreements(counted: Figures, sent: Sent, missing: int, more: int) -> list[str]:
    """What is off. `missing` may be absent from the counters, `more` may be in them beside what was sent."""
    compared = [
        ("requests", sent.requests, counted.requests, 0),
        ("fallbacks", sent.fallbacks, counted.fallbacks, sent.untold),
        ("assigned to v1", sent.v1, counted.v1, sent.untold),
        ("assigned to v2", sent.v2 + sent.fallbacks, counted.v2, sent.untold),
    ]
    if counted.refused >= 0:
        compared.append(("refused", sent.refused, counted.refused, 0))
    bounds = f"may lack {'any' if missing == UNKNOWN else missing}, exceed by {more}"
    left = [f"{counted.idle_connections} connections to backends stay"] if counted.idle_connections else []
    return left + [
        f"{what}: {ours} sent, {theirs} counted ({bounds})"
        for what, ours, theirs, untold in compared
        if not ours - missing <= theirs <= ours + untold + more
    ]
