"""v2 breaks for everybody: nobody notices, and the rollout goes back by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.e2e import answers
from tests.e2e.proxy_process import ProxyProcess, config, running_proxy
from tests.e2e.raw_client import Response, connected
from tests.e2e.waiting import eventually, stopwatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.e2e.raw_backend import RawBackend

GUARDED_S = 5.0


@pytest_asyncio.fixture(loop_scope="session")
async def proxy(v1: RawBackend, v2: RawBackend, tmp_path: Path) -> AsyncIterator[ProxyProcess]:
    """A proxy of its own for each test, with the tick of a second and the breaker that a stranger gets."""
    guard = {"metric": "fallback_rate", "above": 0.25, "window": "60s", "min_requests": 20}
    rollout = {"percentage": 30, "guards": [guard], "judge": {"tick": "1s"}, "breaker": {"enabled": True}}
    async with running_proxy(config(v1.url, v2.url, rollout=rollout), tmp_path) as process:
        yield process


@pytest.mark.parametrize("fault", ["500 Internal Server Error", "reset"])
async def test_all_requests_are_answered_and_the_weight_is_zero_within_five_seconds(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, fault: str
) -> None:
    async with Traffic(proxy) as traffic:
        await eventually(lambda: v1.count() > 50 and v2.count() > 20)

        async def rolled_back() -> bool:
            return bool((await proxy.status())["state"] == "rolled_back")

        async with stopwatch(proxy.tree()) as watch:
            v2.answer = answers.RESET if fault == "reset" else answers.status(fault)
            await eventually(rolled_back)
        assert watch.own_s < GUARDED_S, watch
        await traffic.more(50)  # what was under way has reached v2 by then
        seen = v2.count()
        await traffic.more(200)
        assert v2.count() == seen
    assert {answer.status for answer in traffic.answers} == {200}
    assert all(answer.complete for answer in traffic.answers)
    status = await proxy.status()
    assert status["percentage"] == 0
    assert "fallback_rate" in status["reason"]
    events = str(await proxy.get("/api/v1/events?limit=100"))
    assert "guard:fallback_rate" in events


async def test_a_guard_leaves_a_healthy_v2_alone(proxy: ProxyProcess, v1: RawBackend, v2: RawBackend) -> None:
    async with Traffic(proxy) as traffic:
        await traffic.more(300)

        async def judged() -> bool:
            return bool((await proxy.status())["paths"]["v2"]["requests"] > 50)

        await eventually(judged)
    assert (await proxy.status())["state"] == "running"


class Traffic:
    """Steady requests of many users over 8 kept connections while it is open."""

    def __init__(self, proxy: ProxyProcess) -> None:
        self.answers: list[Response] = []
        self._proxy = proxy
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    async def __aenter__(self) -> Traffic:
        self._tasks = [asyncio.create_task(self._ask(number)) for number in range(8)]
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def more(self, count: int) -> None:
        """Waits for that many further answers."""
        wanted = len(self.answers) + count
        await eventually(lambda: len(self.answers) >= wanted)

    async def _ask(self, connection: int) -> None:
        async with connected(self._proxy.listen) as client:
            while not self._stopping:
                user = f"{connection}-{len(self.answers)}".encode()
                self.answers.append(await client.ask("GET", "/", ((b"X-User-Id", user),)))
                await asyncio.sleep(0.002)  # the pace of the load
