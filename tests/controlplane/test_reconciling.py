"""Opening: what is stored wins over the configuration, and both are in line before anything is in force."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import (
    StoreCorrupt,
    StoreUnavailable,
    UnknownRollout,
)
from proxy.model import State, Verb
from tests.controlplane.rig import CANARY, HALF, Rig


async def test_a_new_rollout_begins_as_configured_and_that_is_recorded() -> None:
    rig = await Rig.opened({"percentage": 30})
    assert (rig.state().state, rig.state().weight, rig.state().revision) == (State.RUNNING, 30_000, 1)
    assert await rig.stored() == rig.state()
    [first] = await rig.store.transitions()
    assert (first.cause, first.actor, first.before.revision) == ("config", "config", 0)


async def test_autostart_begins_in_the_first_phase() -> None:
    rig = await Rig.opened({"phases": [CANARY, HALF], "autostart": True})
    assert (rig.state().state, rig.state().phase, rig.state().weight) == (State.RUNNING, "canary", 1_000)


async def test_what_is_stored_wins_over_the_configuration() -> None:
    rig = await Rig.opened({"percentage": 30})
    await rig.ask(Verb.SET, 60_000)
    again = rig.restarted({"percentage": 5})
    await again.controller.open()
    assert again.state() == rig.state()
    assert again.sink.weight() == 60_000
    assert await again.causes() == ["config", "command:set"]


async def test_a_phase_that_is_gone_from_the_configuration_keeps_its_weight() -> None:
    rig = await Rig.opened({"phases": [CANARY, HALF], "autostart": True})
    again = rig.restarted({"phases": [HALF]})
    again.clock.advance(100)
    await again.controller.open()
    assert (again.state().phase, again.state().weight, again.state().revision) == (None, 1_000, 2)
    assert again.state().reason == "phase canary is no longer in the configuration"
    assert await again.stored() == again.state()
    assert await again.causes() == ["config", "config"]


async def test_a_stored_rollout_that_is_no_longer_configured_stays_in_the_store() -> None:
    rig = await Rig.opened({"name": "old", "percentage": 7}, {"percentage": 3, "routes": [{"prefix": "/x"}]})
    again = rig.restarted({"percentage": 3})
    await again.controller.open()
    assert (await again.stored("old")).weight == 7_000
    assert [state.name for state in again.sink.published] == ["default"]
    with pytest.raises(UnknownRollout, match="'old'"):
        again.controller.report("old")


async def test_a_store_that_cannot_be_opened_leaves_nothing_in_force() -> None:
    rig = await Rig.opened({"percentage": 30})
    again = rig.restarted()
    again.store.failure = StoreUnavailable("no disk")
    with pytest.raises(StoreUnavailable, match="no disk"):
        await again.controller.open()
    assert again.sink.published == []


async def test_a_store_that_fails_after_opening_is_closed_again() -> None:
    rig = Rig((await Rig.opened()).config)

    async def unreadable() -> Any:
        raise StoreCorrupt("nonsense")

    rig.store.load = unreadable  # type: ignore[method-assign]
    with pytest.raises(StoreCorrupt, match="nonsense"):
        await rig.controller.open()
    assert not rig.store.is_open
    assert rig.sink.published == []


async def test_of_two_processes_that_begin_at_once_the_second_takes_what_the_first_wrote() -> None:
    first = await Rig.opened({"percentage": 30})
    second = first.restarted({"percentage": 80})
    seen = iter([{}, await first.store.kept.load()])

    async def load() -> Any:
        return next(seen)

    second.store.load = load  # type: ignore[method-assign]
    await second.controller.open()
    assert second.state().weight == 30_000
