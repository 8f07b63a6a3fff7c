"""A controller among others: it follows, it goes down alone, and of two states the more careful one stays."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from proxy.core.audit import Head, Record
from proxy.core.fleet import Role
from proxy.core.notice import NoticeKind
from proxy.core.peers import Followed, Kept, Standing
from proxy.errors import StoreUnavailable
from proxy.model import KeyOverride, Path, RolloutState, State, Verb
from tests.controlplane.rig import CANARY, HALF, ROLLBACK_GUARD, Rig, config
from tests.fakes import traffic

if TYPE_CHECKING:
    from collections.abc import Mapping


class FleetRig(Rig):
    """A rig among others."""

    async def follow(self, standing: Standing = Standing.SAME) -> Followed:
        """Follow what the store has."""

        async def read() -> Followed:
            states = await self.store.kept.load()
            shared = Kept(Head(9, "h"), states, tuple(await self.store.kept.overrides()))
            return Followed(standing, shared, Kept(Head(), {}))

        return await self.controller.follow_shared(read)


@pytest.fixture
async def rig() -> FleetRig:
    rig = FleetRig(config({"phases": [CANARY, HALF], "guards": [ROLLBACK_GUARD]}))
    await rig.controller.open()
    await rig.ask(Verb.START)
    return rig


async def test_a_follower_decides_nothing_and_says_who_does(rig: FleetRig) -> None:
    rig.role = Role.FOLLOWER
    rig.controller.judged_by = "b"
    for _ in range(30):
        await rig.second(traffic(100, 50, v2_errors=50))
    assert rig.state().weight == 1_000
    assert rig.controller.report("default").judgment.reasons == ("b judges",)


async def test_what_others_write_is_in_force_here(rig: FleetRig) -> None:
    await rig.another_process_sets(50_000)
    await rig.follow()
    assert rig.state().weight == 50_000
    assert rig.announced[-1].kind is not NoticeKind.RAISED, "whoever has decided it tells of it"


async def test_of_a_store_that_has_lost_something_nothing_is_followed(rig: FleetRig) -> None:
    await rig.another_process_sets(50_000)
    await rig.follow(Standing.SHORTER)
    assert rig.state().weight == 1_000


async def test_alone_a_bad_v2_is_taken_back_here(rig: FleetRig) -> None:
    rig.role = Role.ALONE
    rig.store.failure = StoreUnavailable("gone")
    await rig.second(traffic(100, 50, v2_errors=40))
    assert (rig.state().state, rig.state().weight) == (State.ROLLED_BACK, 0)
    assert not rig.controller.is_shared()


async def test_alone_a_good_v2_stays_where_it_is(rig: FleetRig) -> None:
    rig.role = Role.ALONE
    for _ in range(30):
        await rig.second(traffic(100, 50))
    assert rig.state().weight == 1_000
    assert "nothing is raised" in rig.controller.report("default").judgment.missing[0]
    rig.role = Role.JUDGE
    await rig.second(traffic(100, 50))
    assert rig.state().weight == 50_000


async def test_what_was_lowered_alone_is_written_later_on_top_of_what_others_did(rig: FleetRig) -> None:
    rig.role, rig.store.failure = Role.ALONE, StoreUnavailable("gone")
    await rig.ask(Verb.ROLLBACK)
    await rig.second()
    rig.role, rig.store.failure = Role.FOLLOWER, None
    await rig.another_process_sets(50_000)
    await rig.follow()
    assert rig.state().weight == 0, "the more careful stays"
    await rig.second()
    assert (await rig.stored()).weight == 0
    assert "fleet:conflict" in await rig.causes()
    assert NoticeKind.CONFLICT in [one.kind for one in rig.announced]


async def test_what_others_hold_more_firmly_stays(rig: FleetRig) -> None:
    rig.role, rig.store.failure = Role.ALONE, StoreUnavailable("gone")
    await rig.ask(Verb.PAUSE)
    await rig.second()
    rig.role, rig.store.failure = Role.FOLLOWER, None
    await rig.another_process_sets(0, State.ABORTED)
    await rig.follow()
    await rig.second()
    assert (rig.state().state, rig.state().weight) == (State.ABORTED, 0)


async def test_overrides_of_others_are_followed(rig: FleetRig) -> None:
    wanted = KeyOverride("default", "alice", Path.V2, actor="eve", at=1.0, reason="to look")
    await rig.controller.override(replace(wanted, key="bob", path=Path.V1))
    other = Rig(rig.config, rig.store, rig.clock)
    await other.controller.open()
    await other.controller.override(wanted)
    await rig.follow()
    assert rig.overrides.keys["default"] == {"alice": Path.V2, "bob": Path.V1}


def kept(**states: RolloutState) -> Kept:
    return Kept(Head(len(states), "h"), states)


async def test_without_the_others_what_was_last_known_is_in_force() -> None:
    rig = FleetRig(
        config({"percentage": 100}, {"name": "new", "percentage": 100, "routes": [{"prefix": "/"}]})
    )
    rig.role = Role.ALONE
    rig.controller.enter_alone(kept(default=RolloutState("default", State.RUNNING, 5_000, revision=3)))
    assert rig.sink.weight() == 5_000
    assert rig.sink.weight("new") == 0, "of which nothing is known, v2 gets nothing"
    rig.role = Role.FOLLOWER
    await rig.follow()
    assert rig.sink.weight("new") == 100_000
    assert rig.sink.weight() == 100_000, "the store knows nothing of it: as configured"


LOST = (Record(3, "{}", "abcdef" * 10, "default"),)


def diverged(shared: RolloutState) -> Followed:
    """The store has lost one event, and another was written in its place."""
    return Followed(
        Standing.DIVERGED, Kept(Head(3, "x"), {shared.name: shared}), Kept(Head(3, "y"), {}), LOST, 1
    )


class Adopting:
    """A copy that may be made one of the shared audit."""

    def __init__(self, followed: Followed) -> None:
        self._followed = followed
        self.times = 0

    async def __call__(self) -> Kept:
        self.times += 1
        return self._followed.shared


async def test_where_both_have_moved_on_the_loss_is_told_and_the_more_careful_stays(rig: FleetRig) -> None:
    await rig.ask(Verb.ROLLBACK)
    mine = rig.state()
    states: Mapping[str, Any] = await rig.store.kept.load()
    elsewhere = replace(states["default"], state=State.RUNNING, weight=50_000)
    followed = diverged(elsewhere)
    await rig.controller.reconcile(followed, Adopting(followed))
    assert rig.state().weight == mine.weight == 0
    (told,) = [one for one in rig.announced if one.kind is NoticeKind.CONFLICT]
    assert "has lost 1 events" in told.reason
    assert "3 (abcdefabcdef)" in told.reason


async def test_what_only_a_judge_may_decide_is_given_up_by_whoever_knows_of_it_alone(rig: FleetRig) -> None:
    running = replace(rig.state(), weight=100_000, revision=rig.state().revision + 1)
    await rig.another_process_sets(100_000, State.COMPLETED)
    await rig.follow()
    rig.role = Role.FOLLOWER
    followed = diverged(running)
    adopt = Adopting(followed)
    await rig.controller.reconcile(followed, adopt, tell=False)
    assert (rig.state().state, rig.state().weight) == (State.RUNNING, 100_000)
    assert (rig.controller.waiting, adopt.times) == (0, 1)


async def test_a_loss_is_told_once_however_often_the_store_fails_meanwhile(rig: FleetRig) -> None:
    followed = diverged(rig.state())
    adopt = Adopting(followed)
    rig.store.failure = StoreUnavailable("gone")
    for _ in range(3):
        await rig.controller.reconcile(followed, adopt)
    rig.store.failure = None
    await rig.controller.reconcile(followed, adopt)
    assert [one.kind for one in rig.announced].count(NoticeKind.CONFLICT) == 1
    assert (await rig.causes()).count("fleet:conflict") == 1
    assert adopt.times == 1
