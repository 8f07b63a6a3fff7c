"""A store that fails, hangs or answers late: nothing is raised meanwhile, and no rollback is lost."""

from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import ControlError, StaleFence, StoreCorrupt, StoreUnavailable
from proxy.judgment import Verdict
from proxy.model import Event, State, Transition, Verb
from tests.controlplane.rig import ALERT_GUARD, CANARY, HALF, ROLLBACK_GUARD, Rig, require_gapless
from tests.fakes import traffic

DOWN = StoreUnavailable("disk is full")


# ... a store that fails


async def test_a_dead_store_delays_no_rollback_and_permits_no_advance() -> None:
    rig = await Rig.opened({"percentage": 30})
    rig.store.failure = DOWN
    assert (await rig.ask(Verb.SET, 20_000)).weight == 20_000
    assert (await rig.ask(Verb.ROLLBACK)).weight == rig.sink.weight() == 0
    with pytest.raises(StoreUnavailable, match="disk is full"):
        await rig.ask(Verb.SET, 10_000)
    assert rig.state().weight == 0
    assert rig.controller.waiting == 2
    assert (await rig.stored()).weight == 30_000


async def test_what_waits_is_written_in_order_when_the_store_works_again() -> None:
    rig = await Rig.opened({"percentage": 30})
    rig.store.failure = DOWN
    await rig.ask(Verb.SET, 20_000)
    await rig.ask(Verb.PAUSE)
    await rig.ask(Verb.ROLLBACK)
    await rig.second()
    rig.store.failure = None
    await rig.second()
    assert await rig.causes() == ["config", "command:set", "command:pause", "command:rollback"]
    assert await rig.stored() == rig.state()
    assert rig.controller.waiting == 0


async def test_a_raise_first_writes_what_waits() -> None:
    rig = await Rig.opened({"percentage": 30})
    rig.store.failure = DOWN
    await rig.ask(Verb.SET, 20_000)
    rig.store.failure = None
    assert (await rig.ask(Verb.SET, 60_000)).revision == 3
    assert await rig.causes() == ["config", "command:set", "command:set"]


async def test_a_raise_that_the_store_refuses_changes_nothing() -> None:
    rig = await Rig.opened({"percentage": 30})
    before = rig.state()
    rig.store.failure = DOWN
    with pytest.raises(StoreUnavailable):
        await rig.ask(Verb.SET, 60_000)
    assert rig.state() == before
    rig.store.failure = None
    await rig.second()
    assert rig.state() == before == await rig.stored()
    assert (await rig.ask(Verb.SET, 60_000)).weight == 60_000


async def test_a_guard_rolls_back_whatever_the_store_does() -> None:
    rig = await Rig.opened({"percentage": 30, "guards": [ROLLBACK_GUARD]})
    rig.store.failure = StoreCorrupt("nonsense")
    await rig.second(traffic(100, 30, v2_errors=30))
    assert (rig.state().state, rig.sink.weight()) == (State.ROLLED_BACK, 0)
    rig.store.failure = None
    await rig.second()
    assert await rig.causes() == ["config", "guard:error_rate"]


async def test_a_phase_does_not_pass_until_the_store_takes_it() -> None:
    rig = await Rig.opened({"phases": [CANARY, HALF], "autostart": True})
    rig.store.failure = DOWN
    for _ in range(12):
        await rig.second(traffic(100, 2))
    assert rig.state().phase == "canary"
    rig.store.failure = None
    await rig.second(traffic(100, 2))
    assert rig.state().phase == "half"
    assert await rig.causes() == ["config", "phase:canary"]


async def test_alerts_wait_too_but_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.controlplane.ledger._MOST_EVENTS", 2)
    rig = await Rig.opened({"percentage": 30, "guards": [ALERT_GUARD]})
    rig.store.failure = DOWN
    for _ in range(2):
        await rig.second(traffic(100, 30, v2_errors=30))
        for _ in range(11):
            await rig.second()
    assert rig.controller.waiting == 2
    await rig.ask(Verb.ROLLBACK)
    rig.store.failure = None
    await rig.second()
    assert await rig.causes() == [
        "config",
        "alert:error_rate",
        "alert-resolved:error_rate",
        "command:rollback",
    ]


async def test_a_store_with_a_bug_is_a_store_that_fails() -> None:
    rig = await Rig.opened({"percentage": 30})
    rig.store.failure = ZeroDivisionError("a bug")
    assert (await rig.ask(Verb.ROLLBACK)).weight == 0
    with pytest.raises(StoreUnavailable, match="a bug"):
        await rig.ask(Verb.SET, 1_000)


async def test_trouble_is_logged_when_it_begins_changes_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    rig = await Rig.opened({"percentage": 30})
    caplog.set_level(logging.ERROR, "dualpath.control")
    rig.store.failure = DOWN
    await rig.ask(Verb.ROLLBACK)
    for _ in range(5):
        await rig.second()
    rig.store.failure = StoreUnavailable("gone")
    await rig.second()
    caplog.set_level(logging.WARNING, "dualpath.control")
    rig.store.failure = None
    await rig.second()
    await rig.second()
    told = [r.getMessage() for r in caplog.records if r.getMessage().startswith("store")]
    assert told == [
        "store: disk is full; 1 changes wait, nothing can be raised",
        "store: gone; 1 changes wait, nothing can be raised",
        "store: works again, nothing waits",
    ]


async def test_a_store_that_can_only_be_read_does_not_work_again(caplog: pytest.LogCaptureFixture) -> None:
    rig = await Rig.opened({"percentage": 30})
    caplog.set_level(logging.WARNING, "dualpath.control")
    rig.store.failure = DOWN
    with pytest.raises(StoreUnavailable):
        await rig.ask(Verb.SET, 60_000)
    rig.store.failure = None
    await rig.second()
    await rig.second()
    assert "works again" not in caplog.text
    await rig.ask(Verb.SET, 60_000)
    assert caplog.text.count("store: works again, nothing waits") == 1


async def test_a_phase_that_has_passed_waits_for_the_store() -> None:
    rig = await Rig.opened({"phases": [CANARY, HALF]})
    await rig.ask(Verb.START)
    rig.store.failure = DOWN
    for _ in range(20):
        await rig.second(traffic(100, 30))
    waiting = "the store to take it, without which nothing is raised: disk is full"
    judgment = rig.controller.judgment("default")
    assert (judgment.verdict, judgment.missing) == (Verdict.HOLD, (waiting,))
    assert rig.controller.store_trouble == "disk is full"
    rig.store.failure = None
    await rig.second(traffic(100, 30))
    assert rig.state().phase == "half"
    assert rig.controller.store_trouble == ""


async def test_a_store_that_others_keep_writing_to_does_not_work_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = await Rig.opened({"percentage": 30})
    caplog.set_level(logging.WARNING, "dualpath.control")
    rig.store.failure = DOWN
    await rig.ask(Verb.ROLLBACK)
    rig.store.failure = None
    monkeypatch.setattr("proxy.controlplane.ledger._CONFLICTS", 0)
    await rig.second()
    assert rig.controller.waiting == 1
    assert "works again" not in caplog.text


async def test_each_rollout_knows_whether_its_state_is_stored() -> None:
    rig = await Rig.opened(
        {"name": "a", "percentage": 30}, {"name": "b", "percentage": 30, "routes": [{"prefix": "/b"}]}
    )
    rig.store.failure = DOWN
    await rig.ask(Verb.ROLLBACK, rollout="a")
    assert (rig.controller.is_stored("a"), rig.controller.is_stored("b")) == (False, True)
    rig.store.failure = None
    await rig.second()
    assert rig.controller.is_stored("a")


async def test_closing_tries_once_more_and_says_what_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    rig = await Rig.opened({"percentage": 30})
    rig.store.failure = DOWN
    await rig.ask(Verb.ROLLBACK)
    await rig.controller.close()
    assert "1 changes could not be stored and are lost" in caplog.text
    assert "store: not closed" in caplog.text
    rig.store.failure = None
    await rig.controller.close()
    assert await rig.causes() == ["config", "command:rollback"]


# ... a store that hangs


async def test_a_hanging_store_delays_no_rollback_and_no_tick() -> None:
    rig = await Rig.opened({"percentage": 30, "guards": [ROLLBACK_GUARD]})
    rig.store.stalled = True
    hanging = asyncio.create_task(rig.ask(Verb.SET, 60_000))
    await asyncio.sleep(0)
    rolling_back = asyncio.create_task(rig.ask(Verb.ROLLBACK))
    await asyncio.sleep(0)
    assert rig.sink.weight() == 0, "in force while the other command still waits for the store"
    with pytest.raises(StoreUnavailable, match="has not answered within"):
        await hanging
    assert (await rolling_back).weight == 0
    await rig.second(traffic(100))
    assert rig.controller.report("default").recent.client_requests == 100
    rig.store.resume()
    await rig.second()
    assert await rig.stored() == rig.state()
    assert await rig.causes() == ["config", "command:rollback"]


async def test_who_has_waited_for_a_failing_store_does_not_wait_again() -> None:
    rig = await Rig.opened({"percentage": 30})
    rig.store.stalled = True
    raising = asyncio.create_task(rig.ask(Verb.SET, 60_000))
    await asyncio.sleep(0)
    await asyncio.gather(raising, rig.ask(Verb.SET, 10_000), rig.ask(Verb.PAUSE), return_exceptions=True)
    assert rig.store.waits == 4  # three of the opening, and the commit that hung
    assert (rig.state().weight, rig.state().state, rig.controller.waiting) == (10_000, State.PAUSED, 2)


async def test_events_of_a_hanging_store_are_unavailable() -> None:
    rig = await Rig.opened()
    rig.store.stalled = True
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await rig.controller.events()


async def test_closing_a_hanging_store_ends(caplog: pytest.LogCaptureFixture) -> None:
    rig = await Rig.opened()
    rig.store.stalled = True
    await rig.controller.close()
    assert "store: not closed: TimeoutError()" in caplog.text


# ... a store that answers late


async def test_a_rollback_that_was_written_without_an_answer_is_not_written_twice() -> None:
    rig = await Rig.opened({"percentage": 30})
    rig.store.stalled = rig.store.lands_late = True
    await rig.ask(Verb.ROLLBACK)
    assert rig.controller.waiting == 1
    rig.store.resume()
    await rig.second()
    assert await rig.causes() == ["config", "command:rollback"]
    assert await rig.stored() == rig.state()
    assert rig.controller.waiting == 0


async def test_an_alert_that_was_written_without_an_answer_is_not_written_twice() -> None:
    rig = await Rig.opened({"percentage": 30, "guards": [ALERT_GUARD]})
    rig.store.stalled = rig.store.lands_late = True
    await rig.second(traffic(100, 30, v2_errors=3))
    rig.store.resume()
    await rig.second()
    assert await rig.causes() == ["config", "alert:error_rate"]


@pytest.mark.parametrize("lowered", [None, 10_000, 0])
async def test_a_raise_that_was_refused_for_time_and_written_all_the_same_is_taken_back(
    lowered: int | None,
) -> None:
    rig = await Rig.opened({"percentage": 30})
    rig.store.stalled = rig.store.lands_late = True
    with pytest.raises(StoreUnavailable):
        await rig.ask(Verb.SET, 60_000)
    rig.store.lands_late = False
    if lowered is not None:
        await rig.ask(Verb.SET, lowered)
    rig.store.resume()
    await rig.second()
    assert max(state.weight for state in rig.sink.published) == 30_000
    assert await rig.stored() == rig.state()
    assert rig.state().weight == (30_000 if lowered is None else lowered)
    assert (await rig.causes())[:3] == ["config", "command:set", "store"]
    back = (await rig.store.transitions())[2]
    assert (back.actor, back.reason) == (
        "controller",
        "the store confirmed this change too late; it is taken back",
    )
    assert (await rig.ask(Verb.SET, 60_000)).weight == 60_000


async def test_while_a_raise_is_in_doubt_no_other_is_written() -> None:
    rig = await Rig.opened({"percentage": 30})
    rig.store.stalled = rig.store.lands_late = True
    for weight in (60_000, 70_000):
        with pytest.raises(StoreUnavailable, match="has not answered within"):
            await rig.ask(Verb.SET, weight)
    rig.store.resume()
    await rig.second()
    assert await rig.causes() == ["config", "command:set", "store"]
    assert rig.state().weight == 30_000


async def test_what_turns_out_to_be_another_judges_to_decide_is_left_to_it() -> None:
    rig = await Rig.opened({"percentage": 100})
    commit = rig.store.commit

    async def refuse(transition: Transition) -> Event:
        raise StaleFence("another judges")

    rig.store.commit = refuse  # type: ignore[method-assign]
    await rig.ask(Verb.PAUSE)
    await rig.second()
    rig.store.commit = commit  # type: ignore[method-assign]
    assert rig.controller.waiting == 0
    assert rig.state() == await rig.stored()
    assert rig.state().state is State.RUNNING


async def test_a_promotion_that_was_written_without_an_answer_is_taken_back_and_made_again() -> None:
    rig = await Rig.opened({"phases": [CANARY, HALF], "autostart": True})
    for _ in range(9):
        await rig.second(traffic(100, 2))
    rig.store.stalled = rig.store.lands_late = True
    await rig.second(traffic(100, 2))
    assert rig.state().phase == "canary"
    rig.store.resume()
    await rig.second()
    await rig.second()
    assert rig.state().phase == "half"
    assert await rig.causes() == ["config", "phase:canary", "store", "phase:canary"]


async def test_a_command_that_is_cancelled_leaves_no_unknown_raise_behind() -> None:
    rig = await Rig.opened({"percentage": 30})
    rig.store.stalled = rig.store.lands_late = True
    asked = asyncio.create_task(rig.ask(Verb.SET, 60_000))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    rig.store.resume()
    await rig.second()
    assert await rig.causes() == ["config", "command:set", "store"]
    assert await rig.stored() == rig.state()
    assert rig.state().weight == 30_000


# ... whatever happens


ACTS = st.sampled_from(
    ["raise", "lower", "pause", "resume", "rollback", "tick", "fail", "stall", "late", "work", "elsewhere"]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ACTS, max_size=14))
async def test_no_sequence_of_trouble_gives_v2_more_than_was_confirmed(acts: list[str]) -> None:
    """At any time the weight in force is one that the store has confirmed, or less; in the end they agree."""
    rig = await Rig.opened({"percentage": 30})
    confirmed = 30_000
    for number, act in enumerate(acts):
        before = rig.state()
        commands = {
            "raise": (Verb.SET, min(before.weight + 7_000, 100_000)),
            "lower": (Verb.SET, before.weight // 2),
            "pause": (Verb.PAUSE, None),
            "resume": (Verb.RESUME, None),
            "rollback": (Verb.ROLLBACK, None),
        }
        rig.clock.advance(1.0)
        if act in commands:
            verb, weight = commands[act]
            try:
                state = await rig.ask(verb, weight, reason=str(number))
                assert state == rig.state()
            except ControlError:
                pass
            if verb is Verb.ROLLBACK:
                assert rig.state().weight == 0
        elif act == "tick":
            await rig.controller.tick()
        elif act == "elsewhere":
            await rig.another_process_sets(confirmed)
        else:
            rig.store.failure = DOWN if act == "fail" else None
            rig.store.stalled, rig.store.lands_late = act in {"stall", "late"}, act == "late"
        if rig.state().weight > before.weight:
            assert rig.state() == await rig.stored()
        confirmed = max(confirmed, rig.state().weight)
    rig.store.resume()
    rig.store.failure = None
    for _ in range(3):
        await rig.controller.tick()
    assert rig.controller.waiting == 0
    assert await rig.stored() == rig.state() or acts.count("elsewhere")
    require_gapless(await rig.store.transitions())
