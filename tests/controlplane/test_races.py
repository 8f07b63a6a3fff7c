"""Commands, ticks and other processes at the same time: the safe side wins, and the audit tells it all."""

from __future__ import annotations

import asyncio

import pytest

from proxy.errors import RevisionConflict, StoreUnavailable
from proxy.model import State, Transition, Verb
from tests.controlplane.rig import ALERT_GUARD, CANARY, HALF, ROLLBACK_GUARD, Rig
from tests.fakes import traffic

DOWN = StoreUnavailable("disk is full")


# ... commands and ticks at the same time


async def test_a_rollback_while_a_raise_is_being_written_wins() -> None:
    rig = await Rig.opened({"percentage": 30, "guards": [ROLLBACK_GUARD]})
    rig.controller._ledger._timeout_s = 5.0
    rig.store.stalled = True
    raising = asyncio.create_task(rig.ask(Verb.SET, 60_000))
    await asyncio.sleep(0)
    ticking = asyncio.create_task(rig.second(traffic(100, 30, v2_errors=30)))
    await asyncio.sleep(0)
    assert rig.sink.weight() == 0
    rig.store.resume()
    assert (await raising).weight == 0
    await ticking
    assert max(state.weight for state in rig.sink.published) == 30_000
    assert (await rig.stored(), rig.state().revision) == (rig.state(), 3)
    assert await rig.causes() == ["config", "command:set", "guard:error_rate"]


async def test_an_alert_while_a_raise_is_being_written_follows_it() -> None:
    rig = await Rig.opened({"percentage": 30, "guards": [ALERT_GUARD]})
    rig.controller._ledger._timeout_s = 5.0
    rig.store.stalled = True
    raising = asyncio.create_task(rig.ask(Verb.SET, 60_000))
    await asyncio.sleep(0)
    ticking = asyncio.create_task(rig.second(traffic(100, 30, v2_errors=3)))
    await asyncio.sleep(0)
    rig.store.resume()
    await asyncio.gather(raising, ticking)
    assert (await rig.causes())[:3] == ["config", "command:set", "alert:error_rate"]
    assert rig.state().weight == 60_000


async def test_a_promotion_is_dropped_if_the_state_has_moved_while_it_waited() -> None:
    rig = await Rig.opened({"phases": [CANARY, HALF], "autostart": True})
    for _ in range(9):
        await rig.second(traffic(100, 2))
    async with rig.controller._writing:
        ticking = asyncio.create_task(rig.second(traffic(100, 2)))
        await asyncio.sleep(0)
        pausing = asyncio.create_task(rig.ask(Verb.PAUSE))
        await asyncio.sleep(0)
    await asyncio.gather(ticking, pausing)
    assert (rig.state().state, rig.state().phase) == (State.PAUSED, "canary")
    assert [t.cause for t in rig.store.commits] == ["config", "command:pause"]


@pytest.mark.parametrize(
    ("meanwhile", "end"), [(50_000, (50_000, "command:set")), (80_000, (50_000, "command:set"))]
)
async def test_a_raise_is_decided_anew_once_its_turn_has_come(meanwhile: int, end: tuple[int, str]) -> None:
    """While it waited, another command made it superfluous, or turned it into a lowering."""
    rig = await Rig.opened({"percentage": 30})
    async with rig.controller._writing:
        first = asyncio.create_task(rig.ask(Verb.SET, meanwhile))
        await asyncio.sleep(0)
        second = asyncio.create_task(rig.ask(Verb.SET, 50_000))
        await asyncio.sleep(0)
    assert (await first).weight == meanwhile
    assert (await second).weight == 50_000
    assert (rig.state().weight, (await rig.causes())[-1]) == end
    assert await rig.stored() == rig.state()


# ... another process on the same store


async def test_a_raise_on_a_state_that_another_process_changed_takes_over_its_state() -> None:
    rig = await Rig.opened({"percentage": 30})
    await rig.another_process_sets(40_000)
    with pytest.raises(RevisionConflict):
        await rig.ask(Verb.SET, 60_000)
    assert rig.state() == await rig.stored()
    assert rig.state().weight == 40_000
    assert (await rig.ask(Verb.SET, 60_000)).revision == 3


async def test_a_conflict_on_one_rollout_leaves_what_waits_for_another() -> None:
    rig = await Rig.opened({"percentage": 30}, {"name": "b", "routes": [{"prefix": "/b"}], "percentage": 30})
    await rig.another_process_sets(40_000)
    rig.store.failure = DOWN
    await rig.ask(Verb.ROLLBACK)
    await rig.ask(Verb.ROLLBACK, rollout="b")
    rig.store.failure = None
    await rig.second()
    assert (await rig.stored(), await rig.stored("b")) == (rig.state(), rig.state("b"))
    assert await rig.causes("b") == ["config", "command:rollback"]


@pytest.mark.parametrize("elsewhere", [40_000, 20_000])
async def test_a_rollback_goes_on_top_of_what_another_process_wrote(elsewhere: int) -> None:
    rig = await Rig.opened({"percentage": 30})
    await rig.another_process_sets(elsewhere)
    state = await rig.ask(Verb.ROLLBACK)
    assert (state.weight, state.state, state.revision) == (0, State.ROLLED_BACK, 3)
    assert state == rig.state() == await rig.stored()
    assert await rig.causes() == ["config", "command:set", "command:rollback"]


async def test_what_another_process_lowered_further_stays_lowered(caplog: pytest.LogCaptureFixture) -> None:
    rig = await Rig.opened({"percentage": 30})
    await rig.another_process_sets(0, State.ROLLED_BACK)
    assert (await rig.ask(Verb.SET, 10_000)).state is State.ROLLED_BACK
    assert rig.sink.weight() == 0
    assert await rig.stored() == rig.state()
    assert "went further" in caplog.text


async def test_a_rollout_that_is_gone_from_the_store_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    rig = await Rig.opened({"percentage": 30})
    rig.store.kept._states.clear()
    assert (await rig.ask(Verb.ROLLBACK)).weight == 0
    assert rig.controller.waiting == 1
    assert "is gone from the store" in caplog.text
    with pytest.raises(StoreUnavailable, match="is gone from the store"):
        await rig.ask(Verb.SET, 10_000)


async def test_a_process_that_is_always_first_does_not_hold_a_tick_up() -> None:
    rig = await Rig.opened({"percentage": 30})
    weight = 30_000

    async def overtake(transition: Transition) -> None:
        nonlocal weight
        weight += 1
        await rig.another_process_sets(weight)
        raise RevisionConflict("somebody was first")

    commit, rig.store.commit = rig.store.commit, overtake  # type: ignore[assignment, method-assign]
    assert (await rig.ask(Verb.ROLLBACK)).weight == 0
    assert rig.controller.waiting == 1
    with pytest.raises(StoreUnavailable, match="others write to it"):
        await rig.ask(Verb.SET, 10_000)
    rig.store.commit = commit  # type: ignore[method-assign]
    await rig.second()
    assert await rig.stored() == rig.state()
    assert rig.state().weight == 0
