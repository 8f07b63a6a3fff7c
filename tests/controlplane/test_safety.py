"""Nothing outranks safety: whatever stops an advance, a rollback is in force at once.

Every case is asked twice: by a person, and by a guard at a tick.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from proxy.errors import ControlError, RevisionConflict, StoreUnavailable
from proxy.model import Command, KeyOverride, Path, RolloutState, State, Verb
from tests.controlplane.rig import CANARY, HALF, ROLLBACK_GUARD, Rig, config
from tests.fakes import traffic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.config.schema import Config

DOWN = StoreUnavailable("disk is full")
FOREVER = {"from": "2020-01-01T00:00:00Z", "until": "2200-01-01T00:00:00Z"}
PLAN: dict[str, Any] = {"phases": [CANARY, HALF], "autostart": True, "guards": [ROLLBACK_GUARD]}

LOWER = [Verb.ROLLBACK, Verb.STEP_DOWN, Verb.ABORT]


async def never() -> None:
    await asyncio.Event().wait()


async def passing(rig: Rig) -> None:
    """The first phase passes, so that only something else can keep it from the next one."""
    for _ in range(11):
        await rig.second(traffic(100, 2))


async def store_refuses(rig: Rig) -> None:
    rig.store.failure = DOWN


async def store_hangs(rig: Rig) -> None:
    rig.store.stalled = True


async def is_paused(rig: Rig) -> None:
    await rig.ask(Verb.PAUSE)


async def nothing(rig: Rig) -> None:
    """What hinders is in the configuration."""


HINDRANCES: list[tuple[dict[str, Any], Callable[[Rig], Awaitable[None]]]] = [
    (PLAN, store_refuses),
    (PLAN, store_hangs),
    (PLAN, is_paused),
    ({**PLAN, "freeze": [FOREVER]}, nothing),
    ({**PLAN, "hours": ["Mon 00:00-00:01"], "timezone": "UTC"}, nothing),
    ({**PLAN, "phases": [CANARY, {**HALF, "approval": True}]}, nothing),
    ({**PLAN, "phases": [CANARY, {**HALF, "webhook": "http://127.0.0.1:1/gate"}]}, nothing),
    ({**PLAN, "auto_retry": 3, "cooldown": "1h"}, store_refuses),
]


@pytest.fixture(params=range(len(HINDRANCES)), ids=lambda n: f"{HINDRANCES[n][1].__name__}-{n}")
async def hindered(request: pytest.FixtureRequest) -> Rig:
    """A rollout at 1 % that could go to 50 %, but for one thing."""
    plan, hinder = HINDRANCES[request.param]
    rig = await Rig.opened(plan)
    rig.webhook = never
    await hinder(rig)
    await passing(rig)
    assert rig.sink.weight() == 1_000
    return rig


@pytest.mark.parametrize("verb", LOWER)
async def test_a_person_takes_v2_back_whatever_hinders(hindered: Rig, verb: Verb) -> None:
    asking = asyncio.create_task(hindered.ask(verb))
    await asyncio.sleep(0)
    assert hindered.sink.weight() == 0, "in force before anything is waited for"
    assert (await asking).weight == 0
    assert (await hindered.ask(verb)).weight == 0


async def test_a_guard_takes_v2_back_whatever_hinders(hindered: Rig) -> None:
    hindered.clock.advance(1.0)
    hindered.evidence.happened(traffic(1_000, 500, v2_errors=500))
    ticking = asyncio.create_task(hindered.controller.tick())
    await asyncio.sleep(0)
    assert hindered.sink.weight() == 0
    await ticking
    assert hindered.state().state is State.ROLLED_BACK


async def test_an_emergency_stop_takes_v2_back_whatever_hinders(hindered: Rig) -> None:
    stopping = asyncio.create_task(hindered.controller.emergency_stop("tess"))
    await asyncio.sleep(0)
    assert hindered.sink.weight() == 0
    assert [state.weight for state in await stopping] == [0]


@pytest.mark.parametrize("verb", LOWER)
async def test_v2_is_taken_back_during_a_reload(verb: Verb) -> None:
    rig = await Rig.opened(PLAN)
    begun, done = asyncio.Event(), asyncio.Event()

    async def swap(after: Config) -> None:
        begun.set()
        await done.wait()
        rig.evidence.become(1)

    reloading = asyncio.create_task(rig.controller.replace(config({**PLAN, "timeout": "5s"}), swap))
    await begun.wait()
    assert (await rig.ask(verb)).weight == 0
    assert rig.sink.weight() == 0
    done.set()
    await reloading
    assert rig.state().weight == 0
    assert await rig.stored() == rig.state()


async def test_a_raise_that_has_waited_for_the_store_does_not_undo_a_rollback() -> None:
    rig = await Rig.opened({"percentage": 30})
    async with rig.controller._writing:
        raising = asyncio.create_task(rig.ask(Verb.SET, 60_000))
        await asyncio.sleep(0)
        rolling_back = asyncio.create_task(rig.ask(Verb.ROLLBACK))
        await asyncio.sleep(0)
        assert rig.sink.weight() == 0
    with pytest.raises(RevisionConflict, match="overtaken: rolled_back at 0 %"):
        await raising
    await rolling_back
    assert rig.state().state is State.ROLLED_BACK
    assert max(state.weight for state in rig.sink.published) == 30_000


@pytest.mark.parametrize("count", [1, 3])
async def test_raises_of_many_that_are_under_way_do_not_undo_an_emergency_stop(count: int) -> None:
    rig = await Rig.opened(*many(count, percentage=30))
    rig.controller._ledger._timeout_s = 5.0
    rig.store.stalled = True
    raising = asyncio.create_task(all_of(rig, Verb.SET, count, weight=60_000))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(rig.controller.emergency_stop("tess"))
    await asyncio.sleep(0)
    assert [rig.sink.weight(f"r{n}") for n in range(count)] == [0] * count
    rig.store.resume()
    found = await raising
    await stopping
    assert isinstance(found[0], RolloutState)
    assert [rig.state(f"r{n}").state for n in range(count)] == [State.ROLLED_BACK] * count
    assert all(isinstance(one, RevisionConflict) for one in found[1:])
    assert max(state.weight for state in rig.sink.published) == 30_000


async def test_a_promotion_that_has_waited_does_not_undo_a_pause() -> None:
    rig = await Rig.opened({**PLAN, "guards": []})
    async with rig.controller._writing:
        promoting = asyncio.create_task(rig.ask(Verb.PROMOTE))
        await asyncio.sleep(0)
        pausing = asyncio.create_task(rig.ask(Verb.PAUSE))
        await asyncio.sleep(0)
    with pytest.raises(RevisionConflict):
        await promoting
    assert (await pausing).state is State.PAUSED


# ... the red button


def many(count: int, **keys: Any) -> list[dict[str, Any]]:
    return [{"name": f"r{n}", "routes": [{"prefix": f"/r{n}"}], **keys} for n in range(count)]


@pytest.mark.parametrize("store", ["works", "refuses", "hangs"])
async def test_an_emergency_stop_takes_everything_back_before_any_store_is_asked(store: str) -> None:
    rig = await Rig.opened(*many(50, percentage=30))
    rig.store.failure = DOWN if store == "refuses" else None
    rig.store.stalled = store == "hangs"
    rig.store.commits.clear()
    rig.store.before_commit = lambda: in_force.append(sum(rig.sink.weight(f"r{n}") for n in range(50)))
    in_force: list[int] = []
    drains = rig.evidence.drains
    stopped = await rig.controller.emergency_stop("tess", "the sky falls")
    assert [(state.name, state.state, state.weight) for state in stopped] == [
        (f"r{n}", State.ROLLED_BACK, 0) for n in range(50)
    ]
    assert set(in_force) == {0}
    assert rig.evidence.drains == drains + 1, "once for all, or it takes too long"
    assert rig.controller.is_stored("r49") is (store == "works")
    assert {state.reason for state in stopped} == {"the sky falls"}
    if store == "works":
        assert await rig.causes("r7") == ["config", "command:emergency_stop"]
    assert await rig.controller.emergency_stop("tess") == []


async def test_an_emergency_stop_names_only_what_gave_v2_anything() -> None:
    off, pinned, overridden, on = many(4)
    rig = await Rig.opened(off, {**pinned, "allow": {"v2": ["ada"]}}, overridden, {**on, "percentage": 1})
    await rig.controller.override(KeyOverride("r2", "ada", Path.V2, "tess", rig.clock.wall()))
    stopped = await rig.controller.emergency_stop("tess")
    assert [(state.name, state.state) for state in stopped] == [
        ("r1", State.ROLLED_BACK),  # which suspends what is pinned
        ("r2", State.ROLLED_BACK),
        ("r3", State.ROLLED_BACK),
    ]
    assert rig.state("r0").state is State.DISABLED


async def test_what_was_stopped_in_an_emergency_is_not_retried() -> None:
    rig = await Rig.opened({**PLAN, "auto_retry": 3, "cooldown": "1s"})
    await rig.second(traffic(1_000, 500, v2_errors=500))
    assert rig.state().rolled_back_from == "canary"
    await rig.controller.emergency_stop("tess")
    for _ in range(5):
        await rig.second()
    assert rig.state().state is State.ROLLED_BACK


# ... several at once


async def all_of(rig: Rig, verb: Verb, count: int, **more: Any) -> list[RolloutState | ControlError]:
    return await rig.controller.command_all([Command(f"r{n}", verb, "tess", **more) for n in range(count)])


async def test_many_are_rolled_back_before_the_store_is_asked_for_one() -> None:
    rig = await Rig.opened(*many(3, percentage=30))
    rig.store.stalled = True
    waits = rig.store.waits
    rolling_back = asyncio.create_task(all_of(rig, Verb.ROLLBACK, 3))
    await asyncio.sleep(0)
    assert [rig.sink.weight(f"r{n}") for n in range(3)] == [0, 0, 0]
    found = await rolling_back
    assert [one.weight for one in found if isinstance(one, RolloutState)] == [0, 0, 0]
    assert rig.store.waits == waits + 1, "what does not answer once is not waited for again"


async def test_one_that_refuses_spares_no_other() -> None:
    rig = await Rig.opened(*many(3, percentage=30))
    await rig.ask(Verb.ROLLBACK, rollout="r1")
    refused = (await all_of(rig, Verb.PAUSE, 3))[1]
    assert isinstance(refused, ControlError)
    assert [rig.state(f"r{n}").state for n in range(3)] == [State.PAUSED, State.ROLLED_BACK, State.PAUSED]
    found = await all_of(rig, Verb.RESUME, 3)
    assert [isinstance(one, RolloutState) for one in found] == [True, False, True]
    unknown = await all_of(rig, Verb.ROLLBACK, 4)
    assert [isinstance(one, RolloutState) for one in unknown] == [True, True, True, False]


async def test_many_raises_on_a_dead_store_wait_for_it_once() -> None:
    rig = await Rig.opened(*many(9, percentage=30))
    rig.store.stalled = True
    waits = rig.store.waits
    found = await all_of(rig, Verb.SET, 9, weight=60_000)
    assert all(isinstance(one, StoreUnavailable) for one in found)
    assert rig.store.waits == waits + 1
    assert [rig.sink.weight(f"r{n}") for n in range(9)] == [30_000] * 9
