"""A process that may open few files: more clients than it has files for, and none left at all."""

from __future__ import annotations

import asyncio
import resource
from contextlib import AsyncExitStack
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

import psutil

from tests.e2e.proxy_process import ProxyProcess, config, running_proxy
from tests.e2e.raw_client import Outcome, connected, fetch
from tests.e2e.waiting import eventually, stopwatch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.raw_backend import RawBackend

USER = (b"X-User-Id", b"a")
FILES = 256
ROOM = 96  # as docs/configuration.md has it


async def test_more_clients_than_there_are_files_for_harm_nobody_who_is_there(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    async with (
        running_proxy(config(v1.url, v2.url), tmp_path, files=FILES) as proxy,
        AsyncExitStack() as kept,
    ):
        known = [await kept.enter_async_context(connected(proxy.listen)) for _ in range(10)]
        assert [(await client.ask()).status for client in known] == [200] * 10
        async with AsyncExitStack() as stack:
            flood = [await stack.enter_async_context(connected(proxy.listen)) for _ in range(150)]
            told = await asyncio.gather(*(client.response() for client in flood[-50:]))
            assert {(answer.status, answer.outcome) for answer in told} == {(503, Outcome.COMPLETE)}
            answers = await asyncio.gather(*(client.ask("GET", "/", (USER,)) for client in known))
            assert {answer.backend for answer in answers} == {b"v2"}  # each on a connection of its own
            assert await busy_share(proxy) < 0.2
        async with stopwatch(proxy.tree()) as watch:
            await eventually(lambda: is_served(proxy))
        assert watch.own_s < 2, watch
        status = await proxy.get("/api/v1/status")
        assert status["refused"]["connection_limit"] >= 150 + 10 - ROOM
        paths = status["rollouts"][0]["paths"]
        assert (paths["v1"]["errors"], paths["v2"]["errors"]) == (0, 0)


async def test_a_process_without_a_file_left_goes_on_and_blames_nobody(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    async with (
        running_proxy(config(v1.url, v2.url), tmp_path) as proxy,
        connected(proxy.listen) as known,
    ):
        assert (await known.ask()).backend == b"v1"
        _, most = resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE)
        lowered = first_free(proxy)
        resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, (lowered, most))
        async with AsyncExitStack() as stack:
            flood = [await stack.enter_async_context(connected(proxy.listen)) for _ in range(30)]
            ends = await asyncio.gather(*(client.ended() for client in flood))
            assert set(ends) <= {Outcome.CLOSED, Outcome.RESET}
            assert (await known.ask("GET", "/", (USER,))).backend == b"v1"  # v2 would need a new connection
            v1.drop()
            await eventually(lambda: first_free(proxy) < lowered)
            resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, (first_free(proxy), most))
            answer = await known.ask()
            assert (answer.status, answer.get(b"retry-after")) == (503, b"1")
            assert await busy_share(proxy) < 0.2
        resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, (most, most))
        async with stopwatch(proxy.tree()) as watch:
            await eventually(lambda: is_served(proxy))
        assert watch.own_s < 2, watch
        assert (await known.ask("GET", "/", (USER,))).backend == b"v2"
        paths = (await proxy.settled())["paths"]
        assert (paths["v1"]["errors"], paths["v2"]["errors"]) == (0, 0)
        assert (await proxy.get("/api/v1/status"))["refused"]["overloaded"] == 1


async def is_served(proxy: ProxyProcess) -> bool:
    try:
        return (await fetch(proxy.listen)).status == 200
    except OSError:
        return False


async def busy_share(proxy: ProxyProcess) -> float:
    """CPU of the process over a while in which it has nothing to do."""
    process = psutil.Process(proxy.process.pid)
    loop = asyncio.get_running_loop()
    used, began = sum(process.cpu_times()[:2]), loop.time()
    await asyncio.sleep(0.4)
    return float(sum(process.cpu_times()[:2]) - used) / (loop.time() - began)


def first_free(proxy: ProxyProcess) -> int:
    """The number that the next file would have."""
    used = {int(entry.name) for entry in FilePath(f"/proc/{proxy.process.pid}/fd").iterdir()}
    return next(number for number in range(len(used) + 1) if number not in used)
