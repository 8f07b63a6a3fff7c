"""Rollout plans and states that the tests of the judge and of the state machine start from."""

from __future__ import annotations

from proxy.config.schema import Rollout
from proxy.core.tally import Tally
from proxy.model import BUCKETS, RolloutState, State

CANARY = {"name": "canary", "percentage": 1, "min_duration": "10m", "min_requests": 300}
HALF = {"name": "half", "percentage": 50, "min_requests": 100}
FULL = {"name": "full", "percentage": 100}
PHASES = (CANARY, HALF, FULL)


def percent(percentage: float) -> int:
    """The weight in buckets."""
    return round(percentage * BUCKETS / 100)


def plan(**keys: object) -> Rollout:
    """A rollout as the file would give it; without keys, a fixed split without guards."""
    return Rollout.model_validate({"name": "default", **keys})


def phased(*guards: dict[str, object], **keys: object) -> Rollout:
    """A rollout of three phases, 1, 50 and 100 %, with guards."""
    return plan(phases=PHASES, guards=guards, **keys)


def state(state: State = State.RUNNING, percentage: float = 0.0, phase: str | None = None) -> RolloutState:
    """A state at revision 7."""
    return RolloutState("default", state, percent(percentage), phase, revision=7, since=100.0)


def second(
    v2: int = 0, errors: int = 0, *, v1: int = 0, v1_s: float = 0.010, v2_s: float = 0.010, not_asked: int = 0
) -> Tally:
    """A second's tally: attempts on both paths with their latencies, `not_asked` diverted by the breaker."""
    tally = Tally(assigned_v1=v1, assigned_v2=v2 + not_asked, client_requests=v1 + v2 + not_asked)
    for side, count, latency_s in ((tally.v1, v1, v1_s), (tally.v2, v2, v2_s)):
        side.requests = count
        for _ in range(count):
            side.latency.record(latency_s)
    tally.v2.errors[5] = errors  # ErrorClass.STATUS
    tally.fallbacks[4] = errors  # FallbackReason.STATUS
    tally.fallbacks[5] = not_asked  # FallbackReason.BREAKER
    return tally
