"""The rhythm, with pauses that take no time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from proxy.controlplane.ticker import Ticker, wait_or_end
from proxy.model import Verb
from tests.controlplane.rig import Rig, config

if TYPE_CHECKING:
    from proxy.controlplane.controller import Controller


class Pauses:
    """Counts pauses, and ends after so many: what was asked for is in `asked`."""

    def __init__(self, most: int) -> None:
        self.asked: list[float] = []
        self._most = most
        self.done = asyncio.Event()

    async def __call__(self, ending: asyncio.Event, delay_s: float) -> None:
        self.asked.append(delay_s)
        if len(self.asked) == self._most:
            self.done.set()
            await ending.wait()


async def tick_thrice(controller: Controller, *ticks: str) -> Pauses:
    pauses = Pauses(3)
    rollouts = [
        {"name": f"r{i}", "routes": [{"prefix": f"/{i}"}], "judge": {"tick": t}} for i, t in enumerate(ticks)
    ]
    async with Ticker(controller, config(*rollouts), pause=pauses) as ticker:
        await pauses.done.wait()
        assert "running" in repr(ticker)
    assert "stopped" in repr(ticker)
    return pauses


async def test_it_follows_another_configuration() -> None:
    rig = await Rig.opened()
    ticker = Ticker(rig.controller, config({"judge": {"tick": "5s"}}))
    ticker.follow(config({"judge": {"tick": "2s"}}))
    assert repr(ticker) == "Ticker(2 s, stopped)"


async def test_it_ticks_at_the_shortest_interval_until_it_is_left() -> None:
    rig = await Rig.opened()
    pauses = await tick_thrice(rig.controller, "5s", "2s")
    assert rig.evidence.drains == len(pauses.asked) == 3
    assert all(1.0 < delay_s <= 2.0 for delay_s in pauses.asked)


async def test_a_tick_that_fails_is_logged_and_the_next_one_comes(caplog: pytest.LogCaptureFixture) -> None:
    rig = await Rig.opened()
    rig.evidence.failure = RuntimeError("no recorder")
    await tick_thrice(rig.controller, "1s")
    assert caplog.text.count("a tick failed") == 3


async def test_a_tick_that_takes_long_still_leaves_time_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = await Rig.opened()
    now = iter(range(0, 1_000, 10))
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: float(next(now)))
    assert (await tick_thrice(rig.controller, "1s")).asked == [0.1, 0.1, 0.1]


async def test_leaving_waits_for_the_tick_that_runs() -> None:
    rig = await Rig.opened({"percentage": 30})
    rig.controller._ledger._timeout_s = 5.0
    rig.store.stalled = True
    rolling_back = asyncio.create_task(rig.ask(Verb.ROLLBACK))
    async with Ticker(rig.controller, rig.config):
        await asyncio.sleep(0)
        rig.store.resume()
    assert (await rolling_back).weight == 0
    assert await rig.stored() == rig.state()


async def test_a_ticker_that_was_never_entered_can_be_left() -> None:
    rig = await Rig.opened()
    await Ticker(rig.controller, rig.config).__aexit__(None, None, None)


async def test_the_pause_ends_by_time_or_by_the_end() -> None:
    ending = asyncio.Event()
    await wait_or_end(ending, 0.0)
    assert not ending.is_set()
    ending.set()
    await wait_or_end(ending, 1_000.0)


@pytest.mark.parametrize("steps", range(4))
async def test_a_pause_that_is_cancelled_as_it_ends_is_cancelled(steps: int) -> None:
    ending = asyncio.Event()
    pause = asyncio.create_task(wait_or_end(ending, 60.0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    ending.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    accepted = pause.cancel()
    await asyncio.wait([pause])
    assert pause.cancelled() == accepted
