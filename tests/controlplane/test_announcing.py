"""What the controller announces, and that nobody who listens can hold it up."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from proxy.controlplane.announcing import Announcers, Announcing
from proxy.core.notice import Notice, NoticeKind, Severity, of_store
from proxy.errors import StoreUnavailable
from proxy.model import RolloutState, State, Transition, Verb
from tests.controlplane.rig import ALERT_GUARD, CANARY, HALF, ROLLBACK_GUARD, Rig, config
from tests.fakes import FakeClock, traffic

if TYPE_CHECKING:
    from collections.abc import Sequence


class Listener:
    """Keeps what it is told; `failure` is raised all the same."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.heard: list[Notice] = []
        self.failure = failure

    def announce(self, notice: Notice) -> None:
        self.heard.append(notice)
        if self.failure is not None:
            raise self.failure


def kinds(rig: Rig) -> list[str]:
    return [str(notice.kind) for notice in rig.announced]


async def test_every_move_is_announced_once_it_is_in_force() -> None:
    rig = await Rig.opened({"phases": [CANARY, HALF]})
    in_force: list[float] = []
    rig.on_announce = lambda notice: in_force.append(rig.state().percentage)
    await rig.ask(Verb.START)
    await rig.ask(Verb.PROMOTE)
    await rig.ask(Verb.PAUSE)
    await rig.ask(Verb.RESUME)
    await rig.ask(Verb.ROLLBACK)
    assert kinds(rig) == ["started", "phase", "paused", "resumed", "rollback"]
    assert in_force == [1, 50, 50, 50, 0]
    assert [notice.actor for notice in rig.announced] == ["tess"] * 5


async def test_a_rollback_by_a_guard_is_announced_with_its_figures() -> None:
    rig = await Rig.opened({"percentage": 30, "guards": [ROLLBACK_GUARD]})
    await rig.second(traffic(100, 40, v2_errors=20))
    (notice,) = rig.announced
    assert (notice.kind, notice.severity) == (NoticeKind.ROLLBACK, Severity.CRITICAL)
    assert (notice.metric, notice.value, notice.limit, notice.sample) == ("error_rate", 0.5, 0.1, 40)
    assert (notice.percentage_before, notice.percentage) == (30.0, 0.0)
    assert notice.exemplars == ("trace of default",)


async def test_a_guard_that_alerts_is_announced_when_it_begins_and_when_it_ends() -> None:
    rig = await Rig.opened({"percentage": 30, "guards": [ALERT_GUARD]})
    await rig.second(traffic(100, 40, v2_errors=20))
    await rig.second(traffic(100, 40, v2_errors=20))
    assert [(str(n.kind), n.resolved, n.limit) for n in rig.announced] == [("guard", False, 0.05)]
    for _ in range(12):
        await rig.second(traffic(100, 40))
    assert [n.resolved for n in rig.announced] == [False, True]
    assert len({n.key for n in rig.announced}) == 1


@pytest.mark.parametrize("after", [{"name": "default", "percentage": 40}, {"name": "other"}])
async def test_a_reload_that_ends_a_guard_ends_what_it_alerts(after: dict[str, object]) -> None:
    rig = await Rig.opened({"percentage": 30, "guards": [ALERT_GUARD]})
    await rig.second(traffic(100, 40, v2_errors=20))

    async def swap(_: object) -> None:
        rig.evidence.become(1)

    await rig.controller.replace(config(after), swap)
    began, ended = rig.announced
    assert (began.resolved, ended.resolved, ended.key) == (False, True, began.key)
    assert "the configuration has changed" in ended.reason
    assert "alert-resolved:error_rate" in [one.transition.cause for one in await rig.controller.events()]


async def test_a_move_that_was_not_made_is_not_announced() -> None:
    rig = await Rig.opened({"percentage": 30})
    rig.store.failure = StoreUnavailable("the disk is full")
    with pytest.raises(StoreUnavailable):
        await rig.ask(Verb.SET, 60_000)
    assert kinds(rig) == ["store"]


async def test_a_store_that_is_lost_is_announced_once_and_so_is_its_return() -> None:
    rig = await Rig.opened({"percentage": 30})
    rig.store.failure = StoreUnavailable("the disk is full")
    await rig.ask(Verb.ROLLBACK)
    await rig.second()
    await rig.second()
    assert kinds(rig) == ["rollback", "store"]
    assert "the disk is full" in rig.announced[-1].reason
    rig.store.failure = None
    await rig.second()
    assert [(str(n.kind), n.resolved) for n in rig.announced][-1] == ("store", True)


async def test_the_emergency_stop_is_announced_for_every_rollout_after_all_are_back() -> None:
    rig = Rig(config({"percentage": 30}, {"name": "other", "percentage": 40}))
    await rig.controller.open()
    weights: list[int] = []
    rig.on_announce = lambda notice: weights.append(rig.sink.weight("default") + rig.sink.weight("other"))
    await rig.controller.emergency_stop("tess")
    assert [n.severity for n in rig.announced] == [Severity.CRITICAL, Severity.CRITICAL]
    assert weights == [0, 0]


async def test_a_phase_that_a_reload_takes_away_is_announced() -> None:
    rig = await Rig.opened({"phases": [CANARY, HALF], "autostart": True})

    async def swap(_: object) -> None:
        rig.evidence.become(1)

    await rig.controller.replace(config({"phases": [HALF]}), swap)
    assert kinds(rig) == ["changed"]


def test_what_the_process_before_has_announced_is_not_announced_again() -> None:
    listener = Listener()
    before = RolloutState("shop", State.RUNNING, 30_000, revision=1)
    after = RolloutState("shop", State.ROLLED_BACK, 0, revision=2)
    announcing = Announcing(FakeClock(), [listener])
    announcing.moved(Transition(before, after, "restart", "was rolled back", "config", 1.0))
    announcing.moved(Transition(after, after, "config", "reloaded", "config", 1.0))
    assert listener.heard == []
    announcing.moved(Transition(before, after, "command:rollback", "now", "tess", 1.0))
    assert len(listener.heard) == 1


async def test_a_listener_that_fails_stops_neither_the_decision_nor_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = await Rig.opened({"percentage": 30})

    def fail(_: Notice) -> None:
        raise ZeroDivisionError

    rig.on_announce = fail
    with caplog.at_level(logging.ERROR):
        assert (await rig.ask(Verb.ROLLBACK)).weight == 0
    assert "did not take" in caplog.text
    last = Listener()
    Announcers(Listener(ZeroDivisionError()), last).announce(of_store("", 1.0))
    assert len(last.heard) == 1


def test_exemplars_that_cannot_be_had_cost_the_notice_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Forgetful:
        def exemplars(self, rollout: str) -> Sequence[str]:
            raise KeyError(rollout)

    listener = Listener()
    before = RolloutState("shop", State.RUNNING, 30_000, revision=1)
    after = RolloutState("shop", State.ROLLED_BACK, 0, revision=2)
    moved = Transition(before, after, "command:rollback", "now", "tess", 1.0)
    Announcing(FakeClock(), [listener], Forgetful()).moved(moved)
    assert listener.heard == []
    assert "a notice is lost" in caplog.text
