"""Nothing outranks safety: a preset's triggers take v2 back without a store, in a pause, behind gates."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from proxy.config.loading import parse
from proxy.core.tally import ERROR_INDEX, FALLBACK_INDEX, Tally
from proxy.errors import ControlError, StoreUnavailable
from proxy.model import ErrorClass, FallbackReason, Path, State, Verb
from tests.controlplane.rig import Rig

DOWN = StoreUnavailable("gone")
FILE = """
[backends.v1]
endpoints = ["http://127.0.0.1:9001"]
[backends.v2]
endpoints = ["http://127.0.0.1:9002"]
health = {{ path = "/" }}
[[rollouts]]
name = "default"
plan = "{plan}"
freeze = [{{ from = "2020-01-01T00:00:00Z", until = "2120-01-01T00:00:00Z" }}]
"""
SITUATIONS = ("the store is gone", "it is paused", "all of it")


@dataclass(frozen=True, slots=True)
class Trigger:
    """What v2 does, in which phase, and what has to come of it within so many seconds."""

    plan: str
    phase: str
    becomes: tuple[State, int]
    errors: int = 0  # of a hundred
    latency_s: float = 0.01
    fallbacks: int = 0
    is_healthy: bool = True
    within_s: int = 70


BACK = (State.ROLLED_BACK, 0)
TRIGGERS = (
    Trigger("gradual", "CANARY", BACK, errors=30),
    Trigger("gradual", "VALIDATION", BACK, errors=30),
    Trigger("gradual", "TESTING", BACK, fallbacks=60),
    Trigger("gradual", "TESTING", BACK, latency_s=3.0),
    Trigger("gradual", "CANARY", BACK, is_healthy=False),
    Trigger("api-migration", "25%", BACK, errors=40),
    Trigger("api-migration", "50%", BACK, latency_s=6.0),
    Trigger("api-migration", "25%", (State.RUNNING, 10_000), errors=8),
    Trigger("api-migration", "25%", (State.RUNNING, 15_000), latency_s=1.5),
    Trigger("staged", "10%", (State.ABORTED, 0), errors=5),
    Trigger("staged", "100%", BACK, latency_s=5.0, within_s=700),
)


def named(trigger: Trigger) -> str:
    return f"{trigger.plan} {trigger.phase} {trigger.errors}-{trigger.fallbacks}-{trigger.latency_s:g}"


def second(trigger: Trigger) -> Tally:
    """A hundred requests to each path, as long as v2 has any."""
    tally = Tally(assigned_v1=100, assigned_v2=100, client_requests=200)
    for path, latency_s in ((Path.V1, 0.01), (Path.V2, trigger.latency_s)):
        tally.of(path).requests = 100
        for _ in range(100):
            tally.of(path).latency.record(latency_s)
    tally.v2.errors[ERROR_INDEX[ErrorClass.STATUS]] = max(trigger.errors, trigger.fallbacks)
    tally.fallbacks[FALLBACK_INDEX[FallbackReason.STATUS]] = trigger.fallbacks
    return tally


async def under_way(trigger: Trigger) -> Rig:
    """A rollout of that plan in that phase, and frozen: nothing but a person can raise it."""
    rig = Rig(parse(FILE.format(plan=trigger.plan), {}))
    await rig.controller.open()
    await rig.ask(Verb.START)
    while rig.state().phase != trigger.phase:
        await rig.ask(Verb.PROMOTE)
    return rig


@pytest.mark.parametrize(
    ("trigger", "situation"),
    [
        pytest.param(trigger, situation, id=f"{named(trigger)}, {situation}")
        for trigger in TRIGGERS
        for situation in (SITUATIONS if trigger.within_s < 100 else SITUATIONS[-1:])
    ],
)
async def test_a_trigger_takes_v2_back_whatever_else_is(trigger: Trigger, situation: str) -> None:
    rig = await under_way(trigger)
    is_gone, is_paused = situation != "it is paused", situation != "the store is gone"
    if is_paused:
        await rig.ask(Verb.PAUSE)
    if is_gone:
        rig.store.failure = DOWN
    before = rig.state()
    if not trigger.is_healthy:
        rig.endpoints.healthy = {(Path.V2, "http://127.0.0.1:9002"): False}
    for _ in range(trigger.within_s):
        await rig.second(second(trigger))
        if rig.state().weight < before.weight:
            break
    state = rig.state()
    assert state.weight == rig.sink.weight() == trigger.becomes[1]
    assert state.state in {trigger.becomes[0], State.PAUSED if is_paused else trigger.becomes[0]}
    assert rig.controller.is_stored("default") is not is_gone
    rig.store.failure = None
    await rig.second()
    assert await rig.stored() == rig.state()
    await rig.causes()


@pytest.mark.parametrize("plan", ["gradual", "api-migration", "staged"])
async def test_an_emergency_stop_needs_no_store_and_nothing_goes_up_without_one(plan: str) -> None:
    rig = Rig(parse(FILE.format(plan=plan), {}))
    await rig.controller.open()
    await rig.ask(Verb.START)
    rig.store.failure = DOWN
    with pytest.raises(ControlError):
        await rig.ask(Verb.PROMOTE)
    await rig.controller.emergency_stop("tess", "enough")
    assert (rig.state().state, rig.sink.weight()) == BACK
