"""Values and a clock that several tests of the demo build on."""

from __future__ import annotations

from dataclasses import replace

from proxy.demo.clients import ClientsSeen
from proxy.judgment import Action, GuardReading, Judgment, Metric, Verdict
from proxy.model import (
    Event,
    LatencySummary,
    PathSummary,
    RolloutReport,
    RolloutState,
    Snapshot,
    State,
    Transition,
)

START_WALL = 1_000.0
RUNNING = RolloutState("restaurants", State.RUNNING, 50_000, revision=2, since=1_005.0)
ROLLED_BACK = RolloutState("restaurants", State.ROLLED_BACK, 0, revision=3, since=1_012.0)
READING = GuardReading(
    guard="fallback_rate above 0.25",
    metric=Metric.FALLBACK_RATE,
    value=0.27,
    limit=0.25,
    sample=260,
    min_requests=20,
    crossed=True,
    firing=True,
    action=Action.ROLLBACK,
)
REASON = "guard fallback_rate above 0.25: 0.27 over 10 s (70 of 260 requests to v2), rollback"
FAIL = Judgment(Verdict.FAIL, (REASON,), "guard:fallback_rate", Action.ROLLBACK, readings=(READING,))


class FakeClock:
    """Stands still until `advance`; the wall clock shows `START_WALL` at monotonic 0."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return START_WALL + self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def raised(at: float = 1_005.0) -> Event:
    """v2 is given half of the traffic."""
    before = replace(RUNNING, weight=20_000, revision=1)
    return Event(2, Transition(before, RUNNING, "command:set", "v2 has done well so far", "demo", at))


def rolled_back(at: float = 1_012.0) -> Event:
    """A guard takes it all back."""
    return Event(
        3, Transition(RUNNING, ROLLED_BACK, "guard:fallback_rate", REASON, "controller", at, judgment=FAIL)
    )


def report(
    state: RolloutState = RUNNING,
    judgment: Judgment | None = None,
    *,
    v2_requests: int = 400,
    fallbacks: int = 0,
) -> RolloutReport:
    """v1 takes 15 ms, v2 a third of that."""
    total = Snapshot(
        v1=PathSummary(800, latency=LatencySummary(0.0153, 0.015, 0.019, 0.0192, 0.02, 0.021)),
        v2=PathSummary(
            v2_requests, fallbacks, latency=LatencySummary(0.0051, 0.005, 0.006, 0.0064, 0.007, 0.008)
        ),
        assigned_v1=800,
        assigned_v2=v2_requests,
        fallbacks=fallbacks,
        client_requests=800 + v2_requests,
    )
    return RolloutReport(state, judgment or Judgment(), total, total)


def seen(failed: int = 0, strays: int = 0, answers: int = 1_200, fallbacks: int = 70) -> ClientsSeen:
    """What clients saw when v1 covered for v2."""
    return ClientsSeen(
        answers=answers,
        failed=failed,
        from_v1=800,
        from_v2=330,
        from_fallback=fallbacks,
        strays=strays,
        failures=("GET /restaurants: status 502",) * failed,
        latency=LatencySummary(0.012, 0.011, 0.02, 0.021, 0.03, 0.04),
    )
