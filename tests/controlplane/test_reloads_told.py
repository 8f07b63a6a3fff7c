"""What a reload leaves in the audit, besides what it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxy.config.export import digest
from proxy.errors import StoreUnavailable
from proxy.model import Verb
from tests.controlplane.rig import Rig, config

if TYPE_CHECKING:
    from proxy.config.schema import Config

A, B = {"name": "a", "percentage": 10}, {"name": "b", "percentage": 20}


async def reload(rig: Rig, *rollouts: dict[str, Any]) -> Config:
    changed = config(*rollouts)

    async def swap(_: Config) -> None:
        rig.evidence.become(len(rollouts))

    await rig.controller.replace(changed, swap)
    return changed


async def test_every_record_names_the_configuration_by_which_it_was_decided() -> None:
    rig = await Rig.opened(A)
    first = digest(rig.config)
    await rig.ask(Verb.PAUSE, rollout="a")
    second = digest(await reload(rig, A, B))
    await rig.ask(Verb.RESUME, rollout="a")
    assert first != second
    told = [(one.after.name, one.cause, one.config) for one in await rig.store.transitions()]
    assert told == [
        ("a", "config", first),
        ("a", "command:pause", first),
        ("b", "config", second),
        ("a", "command:resume", second),
    ]


async def test_what_waits_for_the_store_keeps_the_configuration_that_it_was_decided_by() -> None:
    rig = await Rig.opened(A)
    first = digest(rig.config)
    rig.store.failure = StoreUnavailable("gone")
    await rig.ask(Verb.ROLLBACK, rollout="a")
    await reload(rig, {**A, "salt": "pepper"})
    rig.store.failure = None
    await rig.second()
    told = [(one.cause, one.config == first) for one in await rig.store.transitions()]
    assert told == [("config", True), ("command:rollback", True), ("config", False)]


async def test_a_note_is_an_event_of_each_rollout_and_changes_nothing() -> None:
    rig = await Rig.opened(A, B)
    await rig.controller.note("config", "configuration reloaded: backends.v2")
    await rig.controller.note("config:refused", "x" * 5_000)
    told = [(one.after.name, one.cause, one.changes_state) for one in await rig.store.transitions()]
    assert told[2:] == [(name, cause, False) for cause in ("config", "config:refused") for name in ("a", "b")]
    last = (await rig.store.transitions())[-1]
    assert (len(last.reason), last.actor, last.before) == (1_000, "config", rig.state("b"))


async def test_a_note_that_the_store_does_not_take_waits() -> None:
    rig = await Rig.opened(A)
    rig.store.failure = StoreUnavailable("gone")
    await rig.controller.note("config", "configuration reloaded: listen")
    assert rig.controller.waiting == 1
    rig.store.failure = None
    await rig.second()
    assert (await rig.store.transitions())[-1].reason == "configuration reloaded: listen"
