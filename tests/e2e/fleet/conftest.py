"""One fleet lasts for a whole module, although a test may start an instance of it anew; and one instance
alone, for tests in which the others are played."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.e2e.proxy_process import config, ended, start_proxy
from tests.e2e.waiting import eventually
from tests.redis_server import RedisServer, free_port, kind_here

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.e2e.proxy_process import ProxyProcess
    from tests.e2e.raw_backend import RawBackend

GUARD = {"metric": "error_rate", "above": 0.5, "window": "30s", "min_requests": 20}


@pytest.fixture(autouse=True)
def none_left_behind() -> None:
    """The module's fixture ends them all, by their marks."""


@pytest_asyncio.fixture
async def its_store() -> AsyncIterator[RedisServer]:
    """The store of `one_instance`."""
    server = RedisServer(kind_here(), port=free_port()).start()
    try:
        yield server
    finally:
        server.end()


@pytest_asyncio.fixture
async def one_instance(
    backends: tuple[RawBackend, RawBackend], its_store: RedisServer, tmp_path: Path
) -> AsyncIterator[ProxyProcess]:
    """An instance that judges."""
    rollout = {
        "percentage": 0,
        "judge": {"tick": "200ms"},
        "phases": [{"name": "half", "percentage": 50, "min_duration": "10m"}],
        "guards": [GUARD],
    }
    document = config(backends[0].url, backends[1].url, store={"url": its_store.url}, rollout=rollout)
    folder = tmp_path / "a"
    folder.mkdir()
    proxy = await start_proxy({**document, "fleet": {"instance": "a", "lease": "1s"}}, folder, files=0)

    async def judges() -> bool:
        return bool((await proxy.get("/api/v1/status"))["fleet"]["role"] == "judge")

    try:
        await eventually(judges, 15.0)
        yield proxy
        await proxy.stop()
    finally:
        await ended(proxy.mark)
