"""Another configuration under a running controller, and deciding handed from one process to another."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from proxy.errors import StartError, StoreUnavailable, UnknownRollout
from proxy.model import State, Verb
from tests.controlplane.rig import CANARY, HALF, ROLLBACK_GUARD, Rig, config
from tests.fakes import FakeStore, traffic

if TYPE_CHECKING:
    from proxy.config.schema import Config

A: dict[str, Any] = {"name": "a", "percentage": 10, "routes": [{"prefix": "/a"}]}
B: dict[str, Any] = {"name": "b", "percentage": 20, "routes": [{"prefix": "/b"}]}


async def reload(rig: Rig, *rollouts: dict[str, Any]) -> None:
    """The controller decides by these rollouts from now on."""

    async def swap(after: Config) -> None:
        rig.evidence.become(len(after.rollouts))

    await rig.controller.replace(config(*rollouts), swap)


async def test_a_new_rollout_begins_as_the_store_has_it_and_a_removed_one_is_left_alone() -> None:
    rig = await Rig.opened(A, B)
    await rig.ask(Verb.SET, 60_000, rollout="b")
    await reload(rig, A)
    assert [report.state.name for report in rig.controller.reports()] == ["a"]
    with pytest.raises(UnknownRollout):
        await rig.ask(Verb.SET, 1, rollout="b")
    assert (await rig.stored("b")).weight == 60_000
    await reload(rig, B, A)
    assert [report.state.name for report in rig.controller.reports()] == ["b", "a"]
    assert rig.sink.weight("b") == 60_000
    assert await rig.causes("b") == ["config", "command:set", "config"]


async def test_a_rollout_that_nobody_knows_begins_as_configured() -> None:
    rig = await Rig.opened(A)
    await reload(rig, A, B)
    assert (rig.state("b").weight, rig.sink.weight("b")) == (20_000, 20_000)
    assert await rig.causes("b") == ["config"]


async def test_evidence_of_a_rollout_that_is_the_same_goes_on() -> None:
    rig = await Rig.opened(A, B)
    await rig.second(traffic(10), rollout=0)
    rig.evidence.happened(traffic(5), 0)
    await reload(rig, B, A)
    await rig.second(traffic(1), rollout=1)
    assert rig.controller.report("a").total.client_requests == 16
    assert rig.controller.report("b").total.client_requests == 0


async def test_a_changed_rollout_keeps_its_state_and_begins_its_evidence_anew() -> None:
    rig = await Rig.opened({"percentage": 30, "guards": [ROLLBACK_GUARD]})
    await rig.ask(Verb.SET, 60_000)
    before = rig.state()
    await rig.second(traffic(18, v2=18, v2_errors=18))  # two short of the guard's minimum
    await reload(rig, {"percentage": 30, "guards": [{**ROLLBACK_GUARD, "above": 0.2}]})
    await rig.second(traffic(18, v2=18, v2_errors=18))
    assert rig.state() == before
    assert rig.controller.report("default").total.client_requests == 18
    await rig.second(traffic(18, v2=18, v2_errors=18))
    assert rig.state().state is State.ROLLED_BACK


async def test_a_change_is_in_the_audit_and_no_change_is_not() -> None:
    rig = await Rig.opened(A, B)
    await reload(rig, A, {**B, "salt": "pepper"})
    assert await rig.causes("a") == ["config"]
    assert await rig.causes("b") == ["config", "config"]
    assert (await rig.store.transitions())[-1].reason == "configuration reloaded: changed in the file"
    await reload(rig, A)
    assert (await rig.store.transitions())[-1].reason == "configuration reloaded: removed from the file"


async def test_a_phase_that_is_gone_leaves_the_weight_and_no_phase() -> None:
    rig = await Rig.opened({"phases": [CANARY, HALF], "autostart": True})
    await reload(rig, {"phases": [HALF]})
    assert (rig.state().weight, rig.state().phase, rig.state().state) == (1_000, None, State.RUNNING)
    assert await rig.stored() == rig.state()
    assert await rig.causes() == ["config", "config", "config"]


async def test_a_phase_that_passed_under_the_old_plan_is_not_promoted_under_the_new() -> None:
    rig = await Rig.opened({"phases": [CANARY, HALF], "autostart": True})
    for _ in range(9):
        await rig.second(traffic(20, v2=10))
    rig.store.stalled = True  # the promotion has been decided and waits for its turn
    holding = asyncio.create_task(reload(rig, A, {"phases": [CANARY, {**HALF, "percentage": 90}]}))
    await asyncio.sleep(0)
    ticking = asyncio.create_task(rig.second())
    await asyncio.sleep(0)
    rig.store.resume()
    await asyncio.gather(holding, ticking, return_exceptions=True)
    assert rig.state().weight == 1_000


async def test_a_reload_that_the_data_plane_or_the_store_refuses_changes_nothing() -> None:
    rig = await Rig.opened(A)
    published = list(rig.sink.published)

    async def refuse(after: Config) -> None:
        raise StartError("a worker does not take it")

    with pytest.raises(StartError):
        await rig.controller.replace(config({**A, "percentage": 1}), refuse)
    rig.store.failure = StoreUnavailable("down")
    with pytest.raises(StoreUnavailable):
        await reload(rig, A, B)
    rig.store.failure = None
    rig.store.stalled = True
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await reload(rig, A, B)
    assert rig.sink.published == published
    assert [report.state.name for report in rig.controller.reports()] == ["a"]


async def test_a_rollback_that_waits_for_the_store_survives_that_its_rollout_is_removed() -> None:
    rig = await Rig.opened(A, B)
    rig.store.failure = StoreUnavailable("down")
    await rig.ask(Verb.ROLLBACK, rollout="b")
    await reload(rig, A)
    rig.store.failure = None
    await rig.second()
    assert (await rig.stored("b")).state is State.ROLLED_BACK
    assert rig.controller.waiting == 0


@pytest.mark.parametrize("fails", ["reading too", "writing only"])
async def test_a_rollback_that_waits_is_in_force_again_when_its_rollout_comes_back(fails: str) -> None:
    rig = await Rig.opened(A, B)
    rig.store.failure = StoreUnavailable("down")
    await rig.ask(Verb.ROLLBACK, rollout="b")
    await reload(rig, A)
    rig.store.failure = None
    if fails == "writing only":
        rig.store.before_commit = refuse_to_write
    published = len(rig.sink.published)
    await reload(rig, A, B)
    assert {state.weight for state in rig.sink.published[published:] if state.name == "b"} == {0}
    assert (rig.state("b").state, rig.sink.weight("b")) == (State.ROLLED_BACK, 0)
    rig.store.before_commit = lambda: None
    await rig.second()
    assert (rig.controller.waiting, await rig.stored("b")) == (0, rig.state("b"))
    assert await rig.causes("b") == ["config", "command:rollback", "config"]


def refuse_to_write() -> None:
    raise StoreUnavailable("read only")


async def test_neither_a_guard_nor_a_rollback_waits_for_a_reload() -> None:
    guarded = {**A, "guards": [ROLLBACK_GUARD]}
    rig = await Rig.opened(guarded, B)
    goes_on = asyncio.Event()

    async def slow(after: Config) -> None:
        await goes_on.wait()
        rig.evidence.become(len(after.rollouts))

    changed = config({**guarded, "timeout": "9s"}, B)
    reloading = asyncio.create_task(rig.controller.replace(changed, slow))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):  # none of these waits
        await rig.second(traffic(20, v2=20, v2_errors=20))
        assert rig.state("a").state is State.ROLLED_BACK
        await rig.second()
        assert (await rig.ask(Verb.ROLLBACK, rollout="b")).state is State.ROLLED_BACK
    assert rig.controller.waiting == 2
    goes_on.set()
    await reloading
    for name in ("a", "b"):
        assert rig.state(name).state is State.ROLLED_BACK
        assert await rig.stored(name) == rig.state(name)


async def test_a_reload_that_fails_leaves_what_was_decided_meanwhile_to_the_next_tick() -> None:
    rig = await Rig.opened(A)

    async def fail(after: Config) -> None:
        async with asyncio.timeout(5):  # it does not wait
            await rig.ask(Verb.ROLLBACK, rollout="a")
        raise StartError("a worker does not take it")

    with pytest.raises(StartError):
        await rig.controller.replace(config(A), fail)
    assert (rig.state("a").weight, rig.controller.waiting) == (0, 1)
    await rig.second()
    assert await rig.stored("a") == rig.state("a")


# ... from one process to another


async def test_a_successor_goes_on_where_its_predecessor_was_even_if_nothing_was_stored() -> None:
    rig = await Rig.opened({"percentage": 30})
    await rig.ask(Verb.SET, 60_000)
    heir = Rig(rig.config, FakeStore(), rig.clock)
    await heir.controller.open_beside(rig.controller.states())
    await heir.controller.catch_up(await rig.controller.hand_over())
    assert (heir.state().weight, heir.state().state, heir.state().revision) == (60_000, State.RUNNING, 1)
    assert await heir.causes() == ["restart"]


async def test_a_successor_follows_what_its_predecessor_decides_until_it_lets_go() -> None:
    rig = await Rig.opened({"percentage": 30})
    heir = rig.restarted()
    await heir.controller.open_beside(rig.controller.states())
    await rig.ask(Verb.ROLLBACK)
    heir.controller.follow(rig.state())
    heir.controller.follow(replace(rig.state(), name="stranger"))
    assert heir.sink.weight() == 0
    await heir.controller.catch_up(await rig.controller.hand_over())
    assert heir.state() == await heir.stored() == rig.state()
    assert await heir.causes() == ["config", "command:rollback"]


async def test_a_rollback_that_could_not_be_stored_is_not_lost_in_the_handover() -> None:
    rig = await Rig.opened({"percentage": 30})
    rig.store.failure = StoreUnavailable("down")
    await rig.ask(Verb.ROLLBACK)
    states = await rig.controller.hand_over()
    rig.store.failure = None
    heir = rig.restarted()
    await heir.controller.open_beside(states)
    assert heir.sink.weight() == 0
    assert await heir.causes() == ["config"]
    await heir.controller.catch_up(states)
    assert (heir.state().state, heir.state().weight) == (State.ROLLED_BACK, 0)
    assert await heir.stored() == heir.state()
    await rig.controller.close()  # what it has handed over it does not write a second time
    assert await heir.causes() == ["config", "restart"]


async def test_what_the_store_has_seen_since_wins_over_what_was_handed() -> None:
    rig = await Rig.opened({"percentage": 30})
    await rig.ask(Verb.ROLLBACK)
    states = await rig.controller.hand_over()
    await rig.another_process_sets(40_000)
    heir = rig.restarted()
    await heir.controller.open_beside(states)
    await heir.controller.catch_up(states)
    assert heir.state().weight == 40_000


async def test_a_successor_writes_nothing_before_its_predecessor_has_let_go() -> None:
    rig = await Rig.opened({"phases": [CANARY, HALF], "autostart": True})
    heir = rig.restarted({"phases": [HALF]}, B)
    await heir.controller.open_beside(rig.controller.states())
    assert [(heir.state(name).weight, heir.sink.weight(name)) for name in ("default", "b")] == [
        (1_000, 1_000),
        (20_000, 20_000),
    ]
    assert [await rig.causes(name) for name in ("default", "b")] == [["config"], []]
    await heir.controller.catch_up(await rig.controller.hand_over())
    assert [await rig.causes(name) for name in ("default", "b")] == [["config", "config"], ["config"]]
    assert heir.state().phase is None


async def test_a_successor_whose_store_fails_leaves_it_closed() -> None:
    rig = await Rig.opened(A)
    heir = rig.restarted()
    rig.store.stalled, opening = True, asyncio.create_task(heir.controller.open_beside([]))
    await asyncio.sleep(0)
    opening.cancel()
    rig.store.stalled = False
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert not rig.store.is_open


async def test_who_takes_back_sees_what_the_other_has_decided_meanwhile() -> None:
    rig = await Rig.opened({"percentage": 30})
    await rig.controller.hand_over()
    await rig.another_process_sets(5_000)
    await rig.controller.take_back()
    assert rig.state().weight == 5_000
    await rig.ask(Verb.SET, 7_000)
    await rig.controller.close()
    assert (await rig.stored()).weight == 7_000


async def test_who_takes_back_decides_even_if_the_store_does_not_answer() -> None:
    rig = await Rig.opened({"percentage": 30})
    await rig.controller.hand_over()
    rig.store.failure = StoreUnavailable("down")
    await rig.controller.take_back()
    await rig.ask(Verb.ROLLBACK)
    assert rig.sink.weight() == 0
