"""A real process before a gate: a webhook that hangs keeps a rollout from going up, and from nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.e2e import answers
from tests.e2e.proxy_process import config, running_proxy
from tests.e2e.raw_backend import RawBackend
from tests.e2e.raw_client import connected
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.proxy_process import ProxyProcess

CANARY = {"name": "canary", "percentage": 40, "min_requests": 1}
HALF = {"name": "half", "percentage": 60, "min_duration": "1h"}


async def used(proxy: ProxyProcess) -> None:
    """Some users of each path."""
    async with connected(proxy.listen) as client:
        for number in range(20):
            await client.ask("GET", "/", ((b"X-User-Id", b"user-%d" % number),))


async def test_a_rollback_does_not_wait_for_a_webhook(v1: RawBackend, v2: RawBackend, tmp_path: Path) -> None:
    gate, open_ = RawBackend("gate"), asyncio.Event()
    gate.answer = answers.held(open_)
    await gate.listen()
    rollout = {
        "percentage": 0,
        "phases": [CANARY, {**HALF, "webhook": f"{gate.url}/let?token=x", "webhook_timeout": "1h"}],
        "judge": {"tick": "100ms", "promotion": "criteria"},
    }
    async with running_proxy(config(v1.url, v2.url, rollout=rollout), tmp_path) as proxy:

        async def before_the_gate() -> bool:
            await used(proxy)
            judgment = (await proxy.status())["judgment"]
            return judgment["verdict"] == "hold" and "has not answered yet" in judgment["reasons"][0]

        assert (await proxy.command("start")).status == 200
        await eventually(before_the_gate)
        assert "token" not in str(await proxy.get("/api/v1/status"))
        assert (await proxy.command("rollback")).status == 200
        status = await proxy.status()
        assert (status["state"], status["percentage"]) == ("rolled_back", 0)

        assert (await proxy.command("start")).status == 200

        async def asked_again() -> bool:
            return await before_the_gate() and gate.count() == 2

        await eventually(asked_again)
        gate.answer = answers.status("204 No Content", b"")
        open_.set()

        async def let_through() -> bool:
            await used(proxy)
            return bool((await proxy.status())["phase"] == "half")

        await eventually(let_through)
    await gate.refuse()
