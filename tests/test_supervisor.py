"""What the supervisor does with workers that fall or stand still: a reload waits for none of them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest

from proxy.config.loading import parse
from proxy.core.restarts import PROVEN_S
from proxy.errors import StartError
from proxy.hand import Hand
from proxy.model import RolloutState, State
from proxy.supervisor import Crew
from tests.config.documents import ROLLOUT
from tests.e2e.waiting import HANG_S
from tests.fakes import FakeClock, FakeRandom

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

    from proxy.channel import Channel, Frame
    from proxy.core.notice import Notice

BEFORE = parse(ROLLOUT, {})
AFTER = parse(ROLLOUT + "timeout = '9s'\n", {})


class FakeWorker:
    """A worker that takes every frame, and says what the test has it say. Process and channel in one."""

    pid = 1

    def __init__(self) -> None:
        self.heard: list[Frame] = []
        self.ended = asyncio.Event()
        self.answers = True
        self.has_said = False
        self._says: asyncio.Queue[Frame | None] = asyncio.Queue()
        self.hand = Hand(cast("Any", self), cast("Channel", self))

    def send(self, frame: Frame) -> None:
        self.heard.append(frame)
        if frame["kind"] == "replace" and self.answers:
            self.say("replaced")

    def say(self, kind: str) -> None:
        self.has_said = True
        self._says.put_nowait({"kind": kind})

    async def writable(self) -> None:
        pass

    async def receive(self) -> Frame | None:
        return await self._says.get()

    async def close(self) -> None:
        pass

    def kill(self) -> None:
        self.ended.set()
        self._says.put_nowait(None)

    async def wait(self) -> int:
        await self.ended.wait()
        return -9

    def kinds(self) -> list[str]:
        return [frame["kind"] for frame in self.heard]


class FakeSocket:
    """A listening socket, as far as a supervisor looks at it."""

    def __init__(self, number: int) -> None:
        self.number = number

    def fileno(self) -> int:
        return self.number

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 1

    def close(self) -> None:
        pass


class Rig:
    """A crew whose workers are fakes, from the first to the last that was started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, places: int) -> None:
        self.clock = FakeClock()
        self.announced: list[Notice] = []
        self.crew = Crew(BEFORE, clock=self.clock, rng=FakeRandom(), workers=places, announcer=self)
        self.crew._sockets = [cast("socket", FakeSocket(number)) for number in range(places)]
        self.workers: list[FakeWorker] = []
        self.tasks: list[asyncio.Task[None]] = []
        monkeypatch.setattr("proxy.supervisor.hired", self._hired)

    async def _hired(self, *_: object) -> Hand:
        self.workers.append(FakeWorker())
        return self.workers[-1].hand

    def announce(self, notice: Notice) -> None:
        self.announced.append(notice)

    async def begin(self) -> None:
        """One worker after the other, each ready."""
        for place in range(len(self.crew._present)):
            self.crew._keeping.append(asyncio.create_task(self.crew._keep(place)))
            await until(partial(self._has_accepting, place))

    def _has_accepting(self, place: int) -> bool:
        if len(self.workers) == place + 1 and not self.workers[place].has_said:
            self.workers[place].say("ready")
        return len(self.workers) > place and self.workers[place].hand.is_ready

    def look(self) -> None:
        """As the crew does once a second."""
        for place, hand in enumerate(self.crew._present):
            assert hand is not None
            self.crew._look_at(place, hand)

    def stands_still(self, place: int) -> None:
        """Nothing has come from that worker for longer than from the others."""
        self.clock.advance(4.0)
        for worker in self.workers:
            worker.hand.heard_at = self.clock.monotonic()
        self.workers[place].hand.heard_at -= 4.0
        self.look()


async def until(true: Callable[[], bool]) -> None:
    """Let the loop turn until it is so."""
    for _ in range(200):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never comes")


# ... a reload


async def test_a_reload_waits_for_no_silent_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, 2)
    await rig.begin()
    rig.workers[1].answers = False
    rig.stands_still(1)
    await asyncio.wait_for(rig.crew.replace(AFTER), HANG_S)
    told = rig.workers[0].heard[-1]
    assert told["kind"] == "replace"
    assert rig.workers[1].ended.is_set()
    await until(lambda: len(rig.workers) == 3 and bool(rig.workers[2].heard))
    assert rig.workers[2].heard[0]["config"] == told["config"]
    await rig.crew.stop()


async def test_a_reload_waits_for_no_worker_that_only_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, 2)
    await rig.begin()
    rig.workers[1].hand.is_ready = False
    rig.workers[1].answers = False
    await asyncio.wait_for(rig.crew.replace(AFTER), HANG_S)
    await until(lambda: rig.workers[1].kinds()[-1] == "replace")
    assert not rig.workers[1].ended.is_set()
    await rig.crew.stop()


async def test_one_that_does_not_take_a_reload_in_time_is_started_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("proxy.supervisor._ANSWER_S", 0.0)
    rig = Rig(monkeypatch, 1)
    await rig.begin()
    rig.workers[0].answers = False
    await asyncio.wait_for(rig.crew.replace(AFTER), HANG_S)
    assert rig.workers[0].ended.is_set()
    await until(lambda: len(rig.workers) == 2)
    await rig.crew.stop()


async def test_what_workers_cannot_be_told_is_refused_and_nothing_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig(monkeypatch, 1)
    await rig.begin()
    monkeypatch.setattr("proxy.channel.MOST_BYTES", 1000)
    with pytest.raises(StartError, match=r"too large for workers: [0-9]+ bytes, of which 1000 are allowed"):
        await rig.crew.replace(AFTER)
    assert rig.workers[0].kinds() == ["serve"]
    assert rig.crew._config is BEFORE
    sockets = rig.crew._sockets
    with pytest.raises(StartError, match="too large for workers"):
        await Crew(AFTER, clock=rig.clock, rng=FakeRandom(), workers=1).start(sockets)
    await rig.crew.stop()


async def test_what_cannot_be_reported_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, 1)
    await rig.begin()
    monkeypatch.setattr("proxy.core.wire_values._LONGEST_TEXT", 10)
    with pytest.raises(StartError, match=r"endpoints.0: must be text of 1 to 10 characters"):
        await rig.crew.replace(AFTER)
    await rig.crew.stop()


async def test_a_state_of_meanwhile_reaches_workers_after_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig(monkeypatch, 1)
    await rig.begin()
    rig.workers[0].answers = False
    replacing = asyncio.create_task(rig.crew.replace(AFTER))
    await until(lambda: rig.workers[0].kinds() == ["serve", "replace"])
    rig.crew.sinks[0].publish(RolloutState("default", State.ROLLED_BACK, 0, None, 5))
    rig.workers[0].say("replaced")
    await replacing
    await until(lambda: rig.workers[0].kinds() == ["serve", "replace", "states"])
    await rig.crew.stop()


# ... a worker that falls


async def test_a_new_worker_stands_in_for_siblings_that_are_down(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, 2)
    await rig.begin()
    rig.stands_still(1)
    await until(lambda: rig.workers[0].kinds()[-1] == "adopt")
    rig.workers[0].kill()
    await until(lambda: len(rig.workers) == 3 and len(rig.workers[2].heard) == 2)
    assert rig.workers[2].kinds() == ["serve", "adopt"]
    assert rig.workers[2].heard[1]["sockets"] == [1]
    rig.workers[2].say("ready")
    await until(lambda: rig.crew.workers_alive == 1)
    rig.workers[1].hand.heard_at = rig.clock.monotonic()
    rig.look()
    await until(lambda: rig.workers[2].kinds() == ["serve", "adopt", "release"])
    await rig.crew.stop()


async def test_workers_that_begin_together_keep_to_their_own_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, 2)
    await rig.begin()
    assert "adopt" not in rig.workers[0].kinds() + rig.workers[1].kinds()
    await rig.crew.stop()


async def test_one_that_is_ready_and_never_reports_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, 1)
    await rig.begin()
    rig.workers[0].kill()
    await until(lambda: len(rig.workers) == 2 and bool(rig.workers[1].heard))
    rig.clock.advance(30.0)  # it has much to read
    rig.workers[1].say("ready")
    await until(lambda: rig.workers[1].hand.is_ready)
    rig.look()
    assert rig.crew.missing() == []
    rig.clock.advance(3.5)
    rig.look()
    assert rig.crew.missing() == ["worker 0"]
    await rig.crew.stop()


async def test_one_that_does_not_get_ready_is_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, 1)
    await rig.begin()
    rig.workers[0].kill()
    await until(lambda: len(rig.workers) == 2 and bool(rig.workers[1].heard))
    rig.clock.advance(59.0)
    rig.look()
    assert not rig.workers[1].ended.is_set()
    rig.clock.advance(2.0)
    rig.look()
    assert rig.workers[1].ended.is_set()
    await rig.crew.stop()


@pytest.mark.parametrize(("up_s", "goes_on"), [(PROVEN_S, True), (PROVEN_S - 1, False)])
async def test_a_crash_loop_ends_all_unless_a_sibling_runs_well(
    monkeypatch: pytest.MonkeyPatch, up_s: float, goes_on: bool
) -> None:
    rig = Rig(monkeypatch, 2)
    await rig.begin()
    rig.clock.advance(up_s)
    now = rig.clock.monotonic()
    told: list[bool] = []

    def crashed(_: object, now: float, up_s: float, *, others_run: bool) -> None:
        told.append(others_run)

    monkeypatch.setattr("proxy.supervisor.Restarts.crashed", crashed)
    rig.workers[1].kill()
    await until(lambda: bool(told))
    assert told == [goes_on]
    assert rig.clock.monotonic() == now
    await rig.crew.stop()


@pytest.mark.parametrize("wait_s", [0.001, None])
async def test_one_that_falls_again_and_again_is_announced_until_it_has_stood_for_a_while(
    monkeypatch: pytest.MonkeyPatch, wait_s: float | None
) -> None:
    rig = Rig(monkeypatch, 1)
    await rig.begin()
    rig.workers[0].kill()
    await until(lambda: len(rig.workers) == 2 and bool(rig.workers[1].heard))
    assert rig.announced == []  # once may be an accident
    monkeypatch.setattr("proxy.supervisor.Restarts.crashed", lambda *_, **__: wait_s)
    rig.workers[1].kill()
    await until(lambda: bool(rig.announced))
    (fell,) = rig.announced
    assert (fell.subject, fell.resolved) == ("worker 0", False)
    assert ("given up" if wait_s is None else "SIGKILL") in fell.reason
    if wait_s is not None:
        await asyncio.sleep(0.01)
        await until(lambda: len(rig.workers) == 3 and bool(rig.workers[2].heard))
        rig.workers[2].say("ready")
        await until(lambda: rig.workers[2].hand.is_ready)
        rig.look()
        rig.clock.advance(PROVEN_S)
        rig.workers[2].hand.heard_at = rig.clock.monotonic()
        rig.look()
        rig.look()
        assert [notice.resolved for notice in rig.announced] == [False, True]
    await rig.crew.stop()


# ... a supervisor that does not decide yet


async def test_workers_know_whether_they_are_to_outlive_us(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, 1)
    rig.crew.on_trial()
    await rig.begin()
    rig.crew.confirm()
    await until(lambda: rig.workers[0].kinds() == ["serve", "confirm"])
    rig.workers[0].kill()
    await until(lambda: len(rig.workers) == 2 and bool(rig.workers[1].heard))
    assert [worker.heard[0]["on_trial"] for worker in rig.workers] == [True, False]
    await rig.crew.stop()
