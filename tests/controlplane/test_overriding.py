"""Overrides of keys at run time: towards v1 at once, towards v2 once written, and each in the audit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from proxy.errors import InvalidCommand, StoreUnavailable, UnknownOverride, UnknownRollout
from proxy.model import KeyOverride, Path, Verb
from tests.controlplane.rig import Rig

DOWN = StoreUnavailable("disk is full")


def send(rig: Rig, key: str, path: Path, *, rollout: str = "default", for_s: float | None = None) -> Any:
    """tess sends a key to one path."""
    now = rig.clock.wall()
    expires_at = None if for_s is None else now + for_s
    return rig.controller.override(KeyOverride(rollout, key, path, "tess", now, expires_at, "to look"))


def take_back(rig: Rig, key: str) -> Any:
    return rig.controller.take_override_back("default", key, "tess")


async def stored(rig: Rig) -> dict[str, Path]:
    return {one.key: one.path for one in await rig.store.kept.overrides()}


async def test_an_override_is_in_force_stored_and_in_the_audit() -> None:
    rig = await Rig.opened({"percentage": 30})
    set_ = await send(rig, "ada", Path.V2, for_s=60)
    assert rig.overrides.keys == {"default": {"ada": Path.V2}}
    assert (await rig.store.kept.overrides(), rig.controller.overrides("default")) == ([set_], [set_])
    last = (await rig.store.transitions())[-1]
    assert (last.cause, last.actor, last.reason) == (
        "override:set",
        "tess",
        "key ada to v2: to look for 60 s",
    )
    assert last.before == last.after == rig.state()
    assert last.config
    await take_back(rig, "ada")
    assert rig.overrides.keys == {"default": {}}
    assert await stored(rig) == {}
    assert await rig.causes() == ["config", "override:set", "override:removed"]


async def test_the_same_again_is_no_error_and_no_event() -> None:
    rig = await Rig.opened()
    first = await send(rig, "ada", Path.V1)
    rig.clock.advance(5)
    assert await send(rig, "ada", Path.V1) == first
    await send(rig, "ada", Path.V2)
    assert await rig.causes() == ["config", "override:set", "override:set"]


async def test_what_cannot_be_overridden_changes_nothing() -> None:
    rig = await Rig.opened()
    for refused, error in (
        (send(rig, "", Path.V1), InvalidCommand),
        (send(rig, "ada", Path.V1, for_s=0), InvalidCommand),
        (send(rig, "ada", Path.V1, rollout="nobody"), UnknownRollout),
        (take_back(rig, "ada"), UnknownOverride),
    ):
        with pytest.raises(error):
            await refused
    assert rig.overrides.keys == {"default": {}}
    with pytest.raises(UnknownRollout):
        rig.controller.overrides("nobody")


async def test_it_ends_when_its_time_is_over() -> None:
    rig = await Rig.opened()
    await send(rig, "ada", Path.V2, for_s=10)
    for _ in range(9):
        await rig.second()
    assert rig.overrides.keys["default"] == {"ada": Path.V2}
    await rig.second()
    assert rig.overrides.keys["default"] == {}
    assert await stored(rig) == {}
    last = (await rig.store.transitions())[-1]
    assert (last.cause, last.actor) == ("override:expired", "controller")
    assert last.reason == "key ada to no path: v2 by tess has expired"


# ... the store


@pytest.mark.parametrize("stalled", [False, True])
async def test_to_v1_needs_no_store_and_to_v2_does(stalled: bool) -> None:
    rig = await Rig.opened()
    rig.store.failure, rig.store.stalled = (None if stalled else DOWN), stalled
    with pytest.raises(StoreUnavailable):
        await send(rig, "bob", Path.V2)
    await send(rig, "ada", Path.V1)
    assert rig.overrides.keys["default"] == {"ada": Path.V1}
    assert not rig.controller.is_override_stored("default", "ada")
    assert rig.controller.waiting == 1
    with pytest.raises(StoreUnavailable):
        await send(rig, "bob", Path.V2)
    rig.store.failure = None
    rig.store.resume()
    await rig.second()
    assert await stored(rig) == {"ada": Path.V1}
    assert rig.controller.is_override_stored("default", "ada")
    assert await rig.causes() == ["config", "override:set"]


async def test_who_is_taken_off_v2_needs_no_store_and_who_may_get_there_does() -> None:
    rig = await Rig.opened()
    await send(rig, "ada", Path.V1)
    await send(rig, "bob", Path.V2)
    rig.store.failure = DOWN
    with pytest.raises(StoreUnavailable):
        await take_back(rig, "ada")
    await take_back(rig, "bob")
    assert rig.overrides.keys["default"] == {"ada": Path.V1}
    rig.store.failure = None
    await rig.second()
    assert await stored(rig) == {"ada": Path.V1}


async def test_it_waits_until_the_state_that_it_stands_beside_is_stored() -> None:
    rig = await Rig.opened({"percentage": 30})
    rig.store.failure = DOWN
    await rig.ask(Verb.ROLLBACK)
    await send(rig, "ada", Path.V1)
    rig.store.failure = None
    await rig.second()
    assert await rig.causes() == ["config", "command:rollback", "override:set"]
    assert rig.controller.waiting == 0


@pytest.mark.parametrize("removing", [False, True])
async def test_what_was_refused_and_written_all_the_same_is_taken_back(removing: bool) -> None:
    rig = await Rig.opened()
    await send(rig, "ada", Path.V1)
    rig.store.stalled = rig.store.lands_late = True
    with pytest.raises(StoreUnavailable):
        await (take_back(rig, "ada") if removing else send(rig, "ada", Path.V2))
    assert await stored(rig) != {"ada": Path.V1}
    rig.store.resume()
    await rig.second()
    assert rig.overrides.keys["default"] == await stored(rig) == {"ada": Path.V1}
    last = (await rig.store.transitions())[-1]
    assert (last.cause, last.actor) == ("override:set", "controller")
    assert last.reason == "key ada to v1: the store confirmed a change too late; it is taken back"
    await send(rig, "ada", Path.V2)
    assert await stored(rig) == {"ada": Path.V2}


async def test_a_key_that_had_no_path_has_none_after_a_change_came_too_late() -> None:
    rig = await Rig.opened()
    rig.store.stalled = rig.store.lands_late = True
    with pytest.raises(StoreUnavailable):
        await send(rig, "ada", Path.V2)
    with pytest.raises(StoreUnavailable):  # nobody can tell yet
        await send(rig, "bob", Path.V2)
    rig.store.resume()
    await rig.second()
    assert await stored(rig) == {}
    assert await rig.causes() == ["config", "override:set", "override:removed"]


async def test_what_was_written_without_an_answer_is_not_written_twice() -> None:
    rig = await Rig.opened()
    rig.store.stalled = rig.store.lands_late = True
    await send(rig, "ada", Path.V1)
    rig.store.resume()
    await rig.second()
    assert await stored(rig) == {"ada": Path.V1}
    assert await rig.causes() == ["config", "override:set"]
    assert rig.controller.waiting == 0


async def test_who_is_kept_on_v1_while_a_change_to_v2_is_being_written_stays_there() -> None:
    rig = await Rig.opened()
    rig.controller._ledger._timeout_s = 5.0
    rig.store.stalled = True
    loosening = asyncio.create_task(send(rig, "ada", Path.V2))
    await asyncio.sleep(0)
    tightening = asyncio.create_task(send(rig, "ada", Path.V1))
    await asyncio.sleep(0)
    rig.store.resume()
    await asyncio.gather(loosening, tightening)
    assert rig.overrides.keys["default"] == await stored(rig) == {"ada": Path.V1}


# ... processes and reloads


async def test_what_has_expired_meanwhile_is_not_in_force_before_the_first_tick() -> None:
    rig = await Rig.opened()
    await send(rig, "bob", Path.V2, for_s=10)
    again = rig.restarted()
    again.clock.advance(20)
    await again.controller.open()
    assert again.overrides.keys["default"] == {}


async def test_a_restart_finds_them_and_what_has_expired_meanwhile_ends() -> None:
    rig = await Rig.opened()
    await send(rig, "ada", Path.V2)
    await send(rig, "bob", Path.V2, for_s=10)
    again = rig.restarted()
    again.clock.advance(20)
    await again.controller.open()
    await again.second()
    assert again.overrides.keys["default"] == {"ada": Path.V2}
    assert await stored(rig) == {"ada": Path.V2}


async def test_a_successor_has_them_before_it_decides() -> None:
    rig = await Rig.opened()
    await send(rig, "ada", Path.V2)
    successor = rig.restarted()
    await successor.controller.open_beside(rig.controller.states())
    assert successor.overrides.keys["default"] == {"ada": Path.V2}
    await take_back(rig, "ada")
    await successor.controller.catch_up(await rig.controller.hand_over())
    assert successor.overrides.keys["default"] == {}
    await rig.controller.take_back()
    assert rig.overrides.keys["default"] == {}


async def test_what_waits_for_a_dead_store_is_in_force_in_the_successor_which_writes_it() -> None:
    rig = await Rig.opened()
    await send(rig, "bob", Path.V2)
    rig.store.failure = StoreUnavailable("disk is full")
    await send(rig, "ada", Path.V1)
    await take_back(rig, "bob")
    rig.store.failure = None
    heir = rig.restarted()
    await heir.controller.open_beside(rig.controller.states(), rig.controller.unwritten_overrides())
    assert heir.overrides.keys["default"] == {"ada": Path.V1}
    assert await stored(rig) == {"bob": Path.V2}, "the process before may still go on"
    rig.store.failure = StoreUnavailable("disk is full")
    states = await rig.controller.hand_over()
    rig.store.failure = None
    await heir.controller.catch_up(states, rig.controller.unwritten_overrides())
    assert heir.overrides.keys["default"] == {"ada": Path.V1}
    assert await stored(rig) == {"ada": Path.V1}
    assert (await rig.causes())[-2:] == ["override:set", "override:removed"]


async def test_what_the_process_before_has_written_after_all_is_not_written_again() -> None:
    rig = await Rig.opened()
    rig.store.failure = StoreUnavailable("disk is full")
    await send(rig, "ada", Path.V1)
    waiting = rig.controller.unwritten_overrides()
    rig.store.failure = None
    states = await rig.controller.hand_over()
    heir = rig.restarted()
    await heir.controller.open_beside(states, waiting)
    await heir.controller.catch_up(states, waiting)
    assert heir.overrides.keys["default"] == {"ada": Path.V1}
    assert (await rig.causes()).count("override:set") == 1


async def test_one_to_v2_that_was_refused_and_stored_all_the_same_is_taken_back_by_the_successor() -> None:
    rig = await Rig.opened()
    rig.store.stalled = rig.store.lands_late = True
    with pytest.raises(StoreUnavailable):
        await send(rig, "ada", Path.V2)
    rig.store.resume()
    assert await stored(rig) == {"ada": Path.V2}
    heir = rig.restarted()
    await heir.controller.open_beside(rig.controller.states(), rig.controller.unwritten_overrides())
    assert heir.overrides.keys["default"] == {}
    await heir.controller.catch_up(rig.controller.states(), rig.controller.unwritten_overrides())
    assert heir.overrides.keys["default"] == {}
    assert await stored(rig) == {}


async def test_a_process_that_ends_with_changes_that_wait_says_how_many(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = await Rig.opened()
    rig.store.failure = StoreUnavailable("disk is full")
    await send(rig, "ada", Path.V1)
    await rig.controller.close()
    assert "1 changes could not be stored and are lost" in caplog.text


async def test_a_store_that_cannot_keep_them_says_so() -> None:
    rig = Rig(await _config())
    rig.controller._overrides._store = None
    await rig.controller.open()
    with pytest.raises(StoreUnavailable, match="keeps no overrides"):
        await send(rig, "ada", Path.V2)


async def test_a_sink_that_fails_keeps_nobody_from_his_override(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def publish_overrides(self, rollout: str, keys: object) -> None:
            raise RuntimeError("broken pipe")

    rig = await Rig.opened()
    rig.controller._overrides._sinks = (Broken(), rig.overrides)
    await send(rig, "ada", Path.V1)
    assert rig.overrides.keys["default"] == {"ada": Path.V1}
    assert "did not take the overrides" in caplog.text
    assert repr(rig.controller._overrides) == "Overrides(1, 0 waiting)"


async def _config() -> Any:
    return (await Rig.opened()).config
