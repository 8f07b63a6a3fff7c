"""Backends with names: followed as they move, kept while nobody can say where they are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.e2e.name_server import NameServer
from tests.e2e.proxy_process import ProxyProcess, config, running_proxy
from tests.e2e.raw_backend import RawBackend
from tests.e2e.raw_client import connected, fetch
from tests.e2e.waiting import eventually, stopwatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

USER = (b"X-User-Id", b"a")
NOBODY = "127.0.0.9"  # loopback, and nobody listens there


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def names() -> AsyncIterator[NameServer]:
    """The name server that the proxy asks."""
    server = NameServer()
    await server.listen()
    yield server
    await server.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def moved(backends: tuple[RawBackend, RawBackend]) -> AsyncIterator[RawBackend]:
    """Where v1 moves to: another address, the same port."""
    backend = RawBackend("moved", "127.0.0.2")
    await backend.listen(backends[0].address[1])
    yield backend
    await backend.refuse()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def proxy(
    backends: tuple[RawBackend, RawBackend],
    moved: RawBackend,
    names: NameServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[ProxyProcess]:
    """v1 and v2 by name; v1 is probed, too."""
    names.has("v1.test", "127.0.0.1")
    names.has("v2.test", NOBODY, "127.0.0.1")
    probe = {"path": "/healthz", "interval": "100ms", "unhealthy_after": 2}
    both = {"nameservers": [names.address], "connect_timeout": "1s"}
    document = config(
        f"http://v1.test:{backends[0].address[1]}",
        f"http://v2.test:{backends[1].address[1]}",
        v1={**both, "health": probe},
        v2=both,
    )
    async with running_proxy(document, tmp_path_factory.mktemp("proxy")) as process:
        yield process


@pytest.fixture(autouse=True)
def as_at_first(names: NameServer, v1: RawBackend, v2: RawBackend) -> None:
    """Starts each test with a name server that is well."""
    names.silent = names.failing = False


async def answers_for_v1(proxy: ProxyProcess) -> bytes | None:
    answer = await fetch(proxy.listen, "GET", "/x")
    assert (answer.status, answer.complete) == (200, True)
    return answer.backend


async def test_a_name_that_moves_is_followed_within_its_time_to_live(
    proxy: ProxyProcess, names: NameServer, v1: RawBackend, moved: RawBackend
) -> None:
    assert await answers_for_v1(proxy) == b"v1"
    names.has("v1.test", "127.0.0.2")

    async def has_moved() -> bool:
        return await answers_for_v1(proxy) == b"moved"

    async with stopwatch(proxy.tree()) as watch:
        await eventually(has_moved)
    assert watch.own_s < 2.5, watch  # 1 s to live, and the looks that are half a second apart
    # ... the connections that were kept to the old address are gone
    await eventually(lambda: v1.open_connections == 0)
    await eventually(lambda: any(one.target == "/healthz" for one in moved.received))
    names.has("v1.test", "127.0.0.1")
    await eventually(lambda: moved.open_connections == 0)
    assert await answers_for_v1(proxy) == b"v1"


@pytest.mark.parametrize("trouble", ["silent", "failing"])
async def test_what_was_known_stays_while_lookups_fail(
    proxy: ProxyProcess, names: NameServer, v1: RawBackend, trouble: str
) -> None:
    assert await answers_for_v1(proxy) == b"v1"
    names.silent, names.failing = trouble == "silent", trouble == "failing"
    names.asked.clear()
    await eventually(lambda: names.asked.count("v1.test") > 2)
    v1.drop()
    await eventually(lambda: v1.open_connections == 0)
    assert await answers_for_v1(proxy) == b"v1"
    assert proxy.log.read_text().count("v1.test cannot be looked up") <= 2


async def test_of_several_addresses_the_next_is_tried_and_remembered(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    before = await proxy.settled()
    for _ in range(3):
        v2.drop()
        await eventually(lambda: v2.open_connections == 0)
        answer = await fetch(proxy.listen, "POST", "/", (USER,), b"content")
        assert (answer.status, answer.backend) == (200, b"v2")
    after = await proxy.settled()
    assert after["paths"]["v2"]["errors"] == before["paths"]["v2"]["errors"]


async def test_a_name_that_nobody_knows_is_a_connect_error_until_somebody_does(
    names: NameServer, v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    both = {"nameservers": [names.address], "connect_timeout": "300ms"}
    document = config(v1.url, f"http://new.test:{v2.address[1]}", v2=both)
    names.silent = True
    async with running_proxy(document, tmp_path) as proxy:
        waiting = asyncio.create_task(fetch(proxy.listen, "GET", "/", (USER,)))
        await eventually(lambda: "new.test" in names.asked)
        async with connected(proxy.listen) as client:  # nobody else waits for the name server
            for _ in range(10):
                async with stopwatch(proxy.tree()) as watch:
                    assert (await client.ask("GET", "/")).backend == b"v1"
                assert watch.own_s < 0.1, watch
        answer = await waiting
        assert (answer.status, answer.backend) == (200, b"v1")
        names.silent = False
        await eventually(lambda: "new.test cannot be looked up" in proxy.log.read_text())
        answer = await fetch(proxy.listen, "POST", "/", (USER,), b"content")
        assert (answer.status, answer.backend) == (200, b"v1")
        seen = await proxy.settled()
        assert seen["paths"]["v2"]["errors_by_class"]["connect"] == 2
        assert seen["fallbacks_by_reason"]["connect"] == 2
        names.has("new.test", "127.0.0.1")

        async def is_found() -> bool:
            return (await fetch(proxy.listen, "GET", "/", (USER,))).backend == b"v2"

        await eventually(is_found)
        assert proxy.log.read_text().count("new.test cannot be looked up") == 1
