"""Minutes: everything that is counted lands in exactly one, and a store that is dead is in nobody's way."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from proxy.controlplane.minute_book import MinuteBook
from proxy.controlplane.minutes import MINUTE_S, MinuteKeeper
from proxy.core.tally import Tally
from proxy.errors import StoreUnavailable
from proxy.model import State, Verb
from proxy.stores.memory import MemoryMinutes
from tests.controlplane.rig import CANARY, HALF, ROLLBACK_GUARD, Rig, config
from tests.fakes import traffic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.core.minute import Minute


@dataclass
class Keeping:
    """A keeper whose pauses end when told, over minutes that fail or stall when told."""

    rig: Rig
    retention_s: float = 3600.0
    kept: MemoryMinutes = field(default_factory=MemoryMinutes)

    def __post_init__(self) -> None:
        self.failure: Exception | None = None
        self.stalled = False
        self.appends = 0
        self.prunes: list[float] = []
        self.pauses: list[float] = []
        self._turns: asyncio.Queue[None] = asyncio.Queue()
        self._idle = asyncio.Event()
        self.keeper = self.build()

    def build(self) -> MinuteKeeper:
        return MinuteKeeper(
            self,
            self.rig.controller.minutes,
            self.rig.controller.watches,
            self.rig.clock,
            self.retention_s,
            pause=self._pause,
            timeout_s=0.01,
        )

    async def append(self, minutes: Sequence[Minute]) -> None:
        self.appends += 1
        await self._answer()
        await self.kept.append(minutes)

    async def between(self, rollout: str, start: float, end: float, limit: int) -> Sequence[Minute]:
        return await self.kept.between(rollout, start, end, limit)

    async def prune(self, before: float, limit: int) -> int:
        self.prunes.append(before)
        await self._answer()
        return await self.kept.prune(before, limit)

    async def _answer(self) -> None:
        if self.failure is not None:
            raise self.failure
        if self.stalled:
            await asyncio.Event().wait()

    async def _pause(self, ending: asyncio.Event, delay_s: float) -> None:
        self.pauses.append(delay_s)
        if delay_s < 5.0:  # between two attempts, not between two minutes
            return
        self._idle.set()
        turn, end = asyncio.create_task(self._turns.get()), asyncio.create_task(ending.wait())
        try:
            await asyncio.wait([turn, end], return_when=asyncio.FIRST_COMPLETED)
        finally:
            turn.cancel()
            end.cancel()

    async def minute(self) -> None:
        """The next minute begins; returns when all of the last one has been done."""
        await self._idle.wait()
        self.rig.clock.advance(MINUTE_S)
        self._idle.clear()
        self._turns.put_nowait(None)
        await self._idle.wait()

    async def all(self, rollout: str = "default") -> list[Minute]:
        return list(await self.kept.between(rollout, 0.0, 1e12, 10_000))


async def test_a_minute_holds_what_was_counted_in_it() -> None:
    rig = await Rig.opened({"percentage": 10})
    keeping = Keeping(rig)
    began = rig.clock.wall()
    async with keeping.keeper:
        await rig.second(traffic(100, 10, v2_errors=1))
        await rig.second(traffic(50, 5))
        await keeping.minute()
        await rig.second(traffic(7, 1))
        await keeping.minute()
    first, second = await keeping.all()
    assert (first.at, first.seconds, first.weight, first.state) == (began, 62.0, 10_000, State.RUNNING)
    assert (first.tally.v1.requests, first.tally.v2.requests) == (135, 15)
    assert sum(first.tally.v2.errors) == 1
    assert first.tally.v1.latency.count == 135
    assert (second.at, second.tally.client_requests) == (began + 62.0, 7)


async def test_nothing_is_kept_of_a_minute_without_requests() -> None:
    rig = await Rig.opened({"percentage": 10}, {"name": "idle"})
    keeping = Keeping(rig)
    async with keeping.keeper:
        await rig.second(traffic(3, 1))
        await keeping.minute()
        await keeping.minute()
    assert len(await keeping.all()) == 1
    assert await keeping.all("idle") == []


async def test_a_change_of_weight_or_phase_ends_the_interval() -> None:
    """What was on its way at the change counts for the weight that it was sent under."""
    rig = await Rig.opened({"phases": [CANARY, HALF]})
    keeping = Keeping(rig)
    async with keeping.keeper:
        rig.clock.advance(5.0)
        rig.evidence.happened(traffic(20))
        await rig.ask(Verb.START)
        rig.clock.advance(5.0)
        rig.evidence.happened(traffic(100, 1))
        await rig.ask(Verb.PAUSE)  # neither weight nor phase
        rig.clock.advance(5.0)
        rig.evidence.happened(traffic(100, 2))
        await rig.ask(Verb.ROLLBACK)
        await rig.second(traffic(10))
        await keeping.minute()
    told = [
        (one.seconds, one.weight, one.phase, one.state, one.tally.client_requests)
        for one in await keeping.all()
    ]
    assert told == [
        (5.0, 0, None, State.DISABLED, 20),
        (10.0, 1_000, "canary", State.PAUSED, 200),
        (61.0, 0, None, State.ROLLED_BACK, 10),
    ]


async def test_a_guard_s_rollback_ends_it_too_and_the_verdict_is_told() -> None:
    rig = await Rig.opened({"percentage": 10, "guards": [ROLLBACK_GUARD]})
    keeping = Keeping(rig)
    async with keeping.keeper:
        await rig.second(traffic(300, 30, v2_errors=30))
        await keeping.minute()
    [minute] = await keeping.all()
    assert (minute.weight, minute.verdict) == (10_000, "fail")
    assert minute.tally.v2.requests == 30


async def test_a_reload_loses_nothing() -> None:
    rig = await Rig.opened({"percentage": 10}, {"name": "gone", "percentage": 5})
    keeping = Keeping(rig)

    async def swap(_: object) -> None:
        rig.evidence.become(1)

    async with keeping.keeper:
        rig.evidence.happened(traffic(40, 4))
        rig.evidence.happened(traffic(6, 1), rollout=1)
        changed = config({"percentage": 10, "salt": "other"})
        await rig.controller.replace(changed, swap)
        await rig.second(traffic(30, 3))
        await keeping.minute()
    assert [one.tally.client_requests for one in await keeping.all()] == [40, 30]
    assert [one.tally.client_requests for one in await keeping.all("gone")] == [6]


async def test_leaving_writes_what_there_is() -> None:
    rig = await Rig.opened({"percentage": 10})
    keeping = Keeping(rig)
    async with keeping.keeper:
        await rig.second(traffic(9, 1))
    [minute] = await keeping.all()
    assert (minute.seconds, minute.tally.client_requests) == (1.0, 9)


async def test_the_whole_is_the_sum_of_its_minutes() -> None:
    rig = await Rig.opened({"percentage": 10})
    keeping = Keeping(rig)
    whole = Tally()
    async with keeping.keeper:
        for number in range(30):
            some = traffic(number, number // 2, v2_errors=number // 5)
            whole.add(some)
            await rig.second(some)
            if number % 7 == 0:
                await keeping.minute()
            if number % 11 == 0:
                await rig.ask(Verb.SET, 1_000 * (number + 1))
    found = Tally()
    for minute in await keeping.all():
        found.add(minute.tally)
    assert found == whole


async def test_minutes_begin_with_the_minutes_of_the_clock() -> None:
    rig = await Rig.opened({"percentage": 10})
    rig.clock.advance(12.5)
    keeping = Keeping(rig)
    async with keeping.keeper:
        await asyncio.sleep(0)
    assert keeping.pauses == [pytest.approx(MINUTE_S - rig.clock.wall() % MINUTE_S)]


@pytest.mark.parametrize("stalled", [False, True])
async def test_a_dead_store_loses_no_minute_at_once_and_delays_no_tick(*, stalled: bool) -> None:
    rig = await Rig.opened({"percentage": 10})
    keeping = Keeping(rig)
    async with keeping.keeper:
        keeping.failure = None if stalled else StoreUnavailable("the disk is full")
        keeping.stalled = stalled
        await rig.second(traffic(5, 1))
        await keeping.minute()
        await rig.second(traffic(6, 1))
        await keeping.minute()
        assert keeping.appends == 6, "each minute is tried three times"
        assert await keeping.all() == []
        keeping.failure, keeping.stalled = None, False
        await keeping.minute()
    assert [one.tally.client_requests for one in await keeping.all()] == [5, 6]


async def test_too_many_that_wait_lose_the_oldest() -> None:
    rig = await Rig.opened({"percentage": 10})
    book = MinuteBook(rig.clock, most=2)
    [watch] = rig.controller.watches()
    book.entering(watch, rig.state())
    for number in (1, 2, 3):
        await rig.second(traffic(number))
        await book.turn([watch])
    assert repr(book) == "MinuteBook(1 open, 2 waiting)"
    taken = book.take(10)
    assert [one.tally.client_requests for one in taken] == [2, 3]
    await rig.second(traffic(4))
    await book.turn([watch])
    book.put_back(taken)
    assert [one.tally.client_requests for one in book.take(10)] == [3, 4]


async def test_a_store_that_hangs_at_the_end_holds_up_nobody() -> None:
    rig = await Rig.opened({"percentage": 10})
    keeping = Keeping(rig)
    async with asyncio.timeout(5):
        async with keeping.keeper:
            keeping.stalled = True
            await rig.second(traffic(5, 1))
    assert keeping.appends == 1


async def test_old_minutes_are_forgotten_now_and_then() -> None:
    rig = await Rig.opened({"percentage": 10})
    keeping = Keeping(rig, retention_s=600.0)
    async with keeping.keeper:
        for _ in range(30):
            await rig.second(traffic(5, 1))
            await keeping.minute()
    assert len(keeping.prunes) == 3
    assert keeping.prunes[-1] == pytest.approx(rig.clock.wall() - 600.0, abs=10 * 61.0)
    assert len(await keeping.all()) <= 20


async def test_a_retention_of_nothing_keeps_nothing() -> None:
    rig = await Rig.opened({"percentage": 10})
    keeping = Keeping(rig, retention_s=0.0)
    async with keeping.keeper:
        await rig.second(traffic(5, 1))
        await keeping.minute()
    assert await keeping.all() == []
    assert keeping.appends == 0


async def test_an_interval_that_cannot_be_read_keeps_no_state_from_coming_into_force(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = await Rig.opened({"percentage": 10})
    keeping = Keeping(rig)
    [watch] = rig.controller.watches()
    rig.evidence.happened(traffic(9, 1))
    broken = pytest.MonkeyPatch()
    broken.setattr(type(watch), "counted", lambda _: 1 / 0)
    try:
        await rig.ask(Verb.ROLLBACK)
    finally:
        broken.undo()
    assert rig.sink.weight() == 0
    assert "default: a minute is lost" in caplog.text
    assert repr(keeping.keeper).startswith("MinuteKeeper(")


async def test_a_minute_costs_less_than_two_microseconds_a_tick() -> None:
    """Amortised over the ticks of a minute, of rollouts with traffic; with room for a busy machine."""
    rig = await Rig.opened(*({"name": f"r{number}", "percentage": 10} for number in range(50)))
    watches = rig.controller.watches()
    for number in range(50):
        rig.evidence.happened(traffic(500, 50), rollout=number)
    await rig.controller.tick()
    book = rig.controller.minutes
    began = time.process_time()
    for _ in range(5):
        await book.turn(watches)
    cost_us = (time.process_time() - began) * 1e6 / (5 * len(watches) * MINUTE_S)
    assert cost_us < 10.0, f"{cost_us:.2f} µs a tick a rollout"
