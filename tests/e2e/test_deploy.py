"""`dualpath deploy` with real processes: a plan to its end, a v2 that fails, one that nobody uses, and one
that is not fit to begin with."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

from tests.e2e import answers
from tests.e2e.proxy_process import config, run, running_proxy
from tests.e2e.raw_client import connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.e2e.proxy_process import Finished, ProxyProcess, Table
    from tests.e2e.raw_backend import Exchange, RawBackend

ROLLOUT = {
    "percentage": 0,
    "phases": [
        {"name": "canary", "percentage": 40, "min_requests": 20, "require": {"error_rate_below": 0.1}},
        {"name": "all", "percentage": 100, "min_requests": 20},
    ],
    "guards": [{"metric": "error_rate", "above": 0.2, "window": "5s"}],
    "judge": {"tick": "100ms", "promotion": "criteria"},
    "smoke": [{"path": "/hello?name=ada", "expect_status": 200}],
}


@asynccontextmanager
async def used(proxy: ProxyProcess) -> AsyncIterator[None]:
    """Users come and go meanwhile."""

    over = asyncio.Event()

    async def come() -> None:
        number = 0
        async with connected(proxy.listen) as client:
            while not over.is_set():
                number += 1
                await client.ask("GET", "/", ((b"X-User-Id", b"user-%d" % number),))
                await asyncio.sleep(0.01)

    users = asyncio.create_task(come())
    try:
        yield
    finally:
        over.set()
        await users


@asynccontextmanager
async def serving(v1: RawBackend, v2: RawBackend, folder: Path) -> AsyncIterator[ProxyProcess]:
    document = config(v1.url, v2.url, rollout=ROLLOUT, store={"url": "sqlite:///state.db"})
    async with running_proxy(document, folder) as proxy:
        yield proxy


async def deploy(proxy: ProxyProcess, folder: Path, *options: str) -> Finished:
    arguments = ("deploy", "--admin", proxy.admin_url, "--backup", "kept", *options)
    return await run(*arguments, directory=folder, within_s=60.0)


def told(finished: Finished) -> list[Table]:
    return [json.loads(line) for line in finished.stdout.splitlines()]


async def test_a_plan_is_followed_to_its_end(v1: RawBackend, v2: RawBackend, tmp_path: Path) -> None:
    async with serving(v1, v2, tmp_path) as proxy, used(proxy):
        done = await deploy(proxy, tmp_path, "--json", "--timeout", "20s", "--reason", "release 7")
        assert done.code == 0, done
        lines = told(done)
        assert {line["mark"] for line in lines if line["event"] == "check"} == {"ok"}, lines
        assert (lines[-1]["event"], lines[-1]["ending"]) == ("ended", "completed")
        assert [one.target for one in v2.received[:2]] == ["/", "/hello?name=ada"]
        assert (await proxy.status())["state"] == "completed"
        events = (await proxy.get("/api/v1/events"))["events"]
        assert [event["cause"] for event in events] == [
            "config",
            "command:start",
            "phase:canary",
            "phase:all",
        ]
        assert events[1]["reason"] == "release 7"
    with closing(sqlite3.connect(tmp_path / "kept" / "state.db")) as copy:
        assert copy.execute("SELECT state FROM rollouts").fetchall() == [("disabled",)]
    assert (tmp_path / "kept" / "proxy.toml").read_text() == (tmp_path / "proxy.toml").read_text()


async def test_a_v2_that_fails_ends_with_3(v1: RawBackend, v2: RawBackend, tmp_path: Path) -> None:
    async def failing_for_users(exchange: Exchange) -> None:
        if exchange.request.target.startswith("/hello"):
            await exchange.reply(b"200 OK", b"")
        else:
            await exchange.reply(b"500 Internal Server Error", b"")

    v2.answer = failing_for_users
    async with serving(v1, v2, tmp_path) as proxy, used(proxy):
        done = await deploy(proxy, tmp_path, "--timeout", "20s")
        assert done.code == 3, done
        assert "default: rolled_back at 0%: guard error_rate above 0.2" in done.stdout
        assert (await proxy.status())["state"] == "rolled_back"


async def test_a_rollout_that_nobody_uses_ends_with_4(v1: RawBackend, v2: RawBackend, tmp_path: Path) -> None:
    async with serving(v1, v2, tmp_path) as proxy:
        done = await deploy(proxy, tmp_path, "--timeout", "700ms")
        assert done.code == 4, done
        assert "waits for requests 0 of 20" in done.stdout
        status = await proxy.status()
        assert (status["state"], status["percentage"]) == ("running", 40)
        arguments = ("resume", "--wait", "--timeout", "100ms", "--admin", proxy.admin_url)
        assert (await run("rollout", *arguments, directory=tmp_path)).code == 4


async def test_a_v2_that_answers_otherwise_is_not_started(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    v2.answer = answers.status("404 Not Found", b"")
    async with serving(v1, v2, tmp_path) as proxy:
        done = await deploy(proxy, tmp_path)
        assert done.code == 1, done
        words = f"smoke: GET /hello?name=ada: v2 {v2.url} answers 404, expected 200"
        assert done.complaint == [f"dualpath: error: preflight: {words}"]
        await v2.refuse()
        done = await deploy(proxy, tmp_path)
        assert f"answers: v2 {v2.url}: cannot be reached" in done.stderr
        await v2.listen()
        assert (await proxy.status())["state"] == "disabled"
        assert not (tmp_path / "kept").exists()
