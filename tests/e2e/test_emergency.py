"""The red button on a real process with two workers: everything goes back to v1 within a second, whatever the
store does. And what people have sent to one path, while there are several workers."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import AsyncExitStack, closing, contextmanager
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from proxy.admin_client import TlsFiles, open_admin
from proxy.model import Verb
from tests.e2e.proxy_process import ProxyProcess, Table, config, running_proxy
from tests.e2e.raw_client import Response, connected, fetch
from tests.e2e.waiting import HANG_S, eventually, stopwatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.e2e.raw_backend import RawBackend
    from tests.e2e.raw_client import RawClient

ROLLOUTS = 50
CONNECTIONS = 16  # that the kernel gives all of them to one of two workers happens once in 30,000 runs
WITHIN_S = 1.0
STORED_S = 4 * HANG_S  # 50 changes, one after the other, each of which waits for the disk
USER = ((b"X-User-Id", b"ada"),)


def many(v1: RawBackend, v2: RawBackend) -> Table:
    """50 rollouts that give v2 everything, in a file, by two workers; the tick is a second, so that nothing
    but the command can be what takes effect."""
    document = config(v1.url, v2.url, listen={"workers": 2}, store={"url": "sqlite:///state.db"})
    plain = document["rollouts"][0]
    document["rollouts"] = [
        {
            **plain,
            "name": f"r{n}",
            "routes": [{"prefix": f"/r{n}"}],
            "percentage": 100,
            "judge": {"tick": "1s"},
        }
        for n in range(ROLLOUTS)
    ]
    return document


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(
    backends: tuple[RawBackend, RawBackend], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ProxyProcess]:
    """One for the module: it takes a while to start."""
    async with running_proxy(many(*backends), tmp_path_factory.mktemp("proxy")) as proxy:
        yield proxy


@pytest_asyncio.fixture(loop_scope="session")
async def crew(shared: ProxyProcess) -> ProxyProcess:
    """It with both of its workers, and everything on v2."""

    async def ready() -> bool:
        status = await shared.get("/api/v1/status")
        return bool(status["workers"] == 2 and status["store"]["waiting"] == 0)

    await eventually(ready, STORED_S)
    answer = await post(shared, "/api/v1/bulk/set", {"percentage": 100})
    assert [one["error"] for one in json.loads(answer.body)["rollouts"]] == [None] * ROLLOUTS
    return shared


@contextmanager
def locked(proxy: ProxyProcess) -> Iterator[None]:
    """Somebody holds the store's file, and nothing can be written."""
    with closing(sqlite3.connect(proxy.log.parent / "state.db")) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        yield
        lock.rollback()


async def post(proxy: ProxyProcess, target: str, body: object) -> Response:
    host = f"{proxy.admin[0]}:{proxy.admin[1]}".encode()
    fields = ((b"Host", host), (b"Content-Type", b"application/json"))
    return await fetch(proxy.admin, "POST", target, fields, json.dumps(body).encode())


async def backends_of(clients: list[RawClient], targets: list[str]) -> set[bytes | None]:
    """Who answers these users, over all connections."""
    seen: set[bytes | None] = set()
    for number, target in enumerate(targets):
        answer = await clients[number % len(clients)].ask("GET", target, USER)
        seen.add(answer.backend)
    return seen


async def connections(proxy: ProxyProcess, stack: AsyncExitStack) -> list[RawClient]:
    return [await stack.enter_async_context(connected(proxy.listen)) for _ in range(CONNECTIONS)]


@pytest.mark.parametrize("store", ["works", "is locked"])
async def test_everything_is_back_on_v1_within_a_second(crew: ProxyProcess, store: str) -> None:
    targets = [f"/r{n}/x" for n in range(ROLLOUTS)]
    async with AsyncExitStack() as stack:
        clients = await connections(crew, stack)
        assert await backends_of(clients, targets) == {b"v2"}
        if store == "is locked":
            stack.enter_context(locked(crew))

        async def all_on_v1() -> bool:
            return await backends_of(clients, targets * 2) == {b"v1"}

        async with stopwatch(crew.tree()) as watch:
            answer = await post(crew, "/api/v1/emergency_stop", {"reason": "fire"})
            await eventually(all_on_v1)
        assert watch.own_s < WITHIN_S, watch
        assert answer.status == 200, answer.body
        stopped = json.loads(answer.body)
        assert len(stopped["stopped"]) == ROLLOUTS
        assert {one["percentage"] for one in stopped["stopped"]} == {0}
        assert not stopped["stored"] or store == "works"

    async def stored() -> bool:
        return bool((await crew.get("/api/v1/status"))["store"]["waiting"] == 0)

    await eventually(stored, STORED_S)
    events = (await crew.get("/api/v1/events?after=-1&limit=50"))["events"]
    assert {(event["cause"], event["reason"]) for event in events} == {("command:emergency_stop", "fire")}


async def test_many_are_rolled_back_while_the_store_is_locked(crew: ProxyProcess) -> None:
    async with AsyncExitStack() as stack:
        clients = await connections(crew, stack)
        stack.enter_context(locked(crew))
        rolling_back = asyncio.create_task(post(crew, "/api/v1/bulk/rollback", {"name": "r1*"}))
        taken_back = [f"/r{n}/x" for n in range(ROLLOUTS) if str(n).startswith("1")]

        async def on_v1() -> bool:
            return await backends_of(clients, taken_back * 2) == {b"v1"}

        async with stopwatch(crew.tree()) as watch:
            await eventually(on_v1)
        assert watch.own_s < WITHIN_S, watch
        assert await backends_of(clients, ["/r0/x", "/r2/x"]) == {b"v2"}
        answer = json.loads((await rolling_back).body)
        assert {one["stored"] for one in answer["rollouts"]} == {False}


async def test_what_the_command_line_asks_is_what_is_answered(crew: ProxyProcess) -> None:
    async with open_admin(crew.admin_url, None, TlsFiles()) as admin:
        stepped = await admin.bulk(Verb.STEP_DOWN, {"name": "r[12]"})
        assert [(one["name"], one["state"]) for one in stepped["rollouts"]] == [
            ("r1", "rolled_back"),
            ("r2", "rolled_back"),
        ]
        key = "a/b c%2F.."
        assert (await admin.override("r0", {"key": key, "path": "v2"}))["key"] == key
        assert [one["key"] for one in (await admin.overrides("r0"))["overrides"]] == [key]
        assert (await admin.take_override_back("r0", key))["path"] == "v2"
        assert len((await admin.emergency_stop("fire"))["stopped"]) == ROLLOUTS - 2

        async def stored() -> bool:
            return bool((await admin.emergency_stop(""))["stored"])

        await eventually(stored)
        assert (await admin.emergency_stop("")) == {
            "stopped": [],
            "stored": True,
            "local_only": False,
            "reason_dropped": None,
        }


async def test_a_key_goes_where_it_was_sent_in_every_worker(crew: ProxyProcess) -> None:
    target = "/api/v1/rollouts/r7/overrides"
    async with AsyncExitStack() as stack:
        clients = await connections(crew, stack)
        everywhere = ["/r7/x"] * CONNECTIONS

        async def on(backend: bytes) -> None:
            async def goes() -> bool:
                return await backends_of(clients, everywhere) == {backend}

            await eventually(goes)

        assert (await post(crew, target, {"key": "ada", "path": "v1"})).status == 200
        await on(b"v1")
        assert (await post(crew, target, {"key": "ada", "path": "v2", "expires_in": "2s"})).status == 200
        await on(b"v2")
        await crew.set(0, "r7")
        await on(b"v2")
        explained = await crew.get("/api/v1/explain?key=ada&path=/r7/x")
        assert explained["path"] == "v2"
        assert "override" in explained["rule"]
        await on(b"v1")  # once it has expired
        assert (await post(crew, target, {"key": "ada", "path": "v2"})).status == 200
        await on(b"v2")
        assert (await post(crew, "/api/v1/emergency_stop", {})).status == 200
        await on(b"v1")
