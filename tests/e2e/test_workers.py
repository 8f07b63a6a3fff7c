"""Several worker processes behind one address: they act as one, and no end of any of them is the end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import psutil
import pytest
import pytest_asyncio

from tests.e2e import answers
from tests.e2e.proxy_process import ProxyProcess, Table, config, refused, running_proxy, start_proxy, toml
from tests.e2e.raw_client import RawClient, connected, fetch
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.e2e.raw_backend import RawBackend
    from tests.e2e.raw_client import Response

WORKERS = 2
BY_KERNEL = 24  # connections: that all of them go to one of two workers happens once in 8 million runs
USERS = [(b"X-User-Id", b"user-%d" % number) for number in range(BY_KERNEL)]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def proxy(
    backends: tuple[RawBackend, RawBackend], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ProxyProcess]:
    """Two workers at 0 %, and rollouts whose books are those of one test."""
    made = document(*backends)
    [usual] = made["rollouts"]
    made["rollouts"] = [
        {**usual, "name": "counted", "routes": [{"prefix": "/counted"}], "percentage": 50},
        {**usual, "name": "strangers", "routes": [{"prefix": "/strangers"}]},
        usual,
    ]
    async with running_proxy(made, tmp_path_factory.mktemp("proxy")) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="session")
async def crew(proxy: ProxyProcess, v1: RawBackend, v2: RawBackend) -> ProxyProcess:
    """The module's proxy with all its workers, at 0 %; what falls in a test is up again."""
    await eventually(lambda: is_ready(proxy))
    await proxy.set(0)
    await eventually(lambda: v2_serves(proxy, share=0.0))
    return proxy


@pytest.fixture
def orphans() -> Iterator[list[psutil.Process]]:
    """Processes that a test leaves without a parent; none of them outlives it."""
    left: list[psutil.Process] = []
    yield left
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


# ... as one


async def test_all_workers_accept_and_are_told_of_each_change(
    crew: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    assert len(workers(crew)) == WORKERS
    assert (await crew.get("/api/v1/status"))["workers"] == WORKERS
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(crew.listen)) for _ in USERS]
        assert {answer.backend for answer in await ask_all(clients)} == {b"v1"}
        assert len(set(owners(crew, clients))) == WORKERS
        for percentage, backend in ((100, b"v2"), (0, b"v1"), (100, b"v2")):
            await crew.set(percentage)
            await eventually(lambda expected=backend: all_from(clients, expected))


async def test_a_user_has_one_path_whichever_worker_serves(crew: ProxyProcess) -> None:
    await crew.set(50)
    await eventually(lambda: v2_serves(crew))
    for user in USERS[:6]:
        seen = {(await fetch(crew.listen, fields=(user,))).backend for _ in range(10)}
        assert len(seen) == 1
        explained = await crew.get(f"/api/v1/explain?key={user[1].decode()}")
        assert {explained["path"].encode()} == seen


async def test_what_is_counted_is_the_sum_of_all(crew: ProxyProcess) -> None:
    asked = (fetch(crew.listen, target="/counted", fields=(user,)) for user in USERS * 4)
    by_v2 = sum(answer.backend == b"v2" for answer in await asyncio.gather(*asked))

    async def counted() -> bool:
        status = await crew.status("counted")
        assert status["client"]["requests"] <= 96
        return bool(status["client"]["requests"] == 96)

    await eventually(counted)
    status = await crew.status("counted")
    assert status["client"]["errors"] == 0
    assert {path: told["requests"] for path, told in status["paths"].items()} == {
        "v1": 96 - by_v2,
        "v2": by_v2,
    }


async def test_faults_that_several_workers_see_are_one_rollback(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    guard = {"metric": "error_rate", "above": 0.2, "window": "10s", "min_requests": 30}
    async with running_proxy(document(v1, v2, percentage=100, guards=[guard]), tmp_path) as crew:
        v2.answer = answers.status("500 Internal Server Error")
        answered: list[Response] = []

        async def rolled_back() -> bool:
            answered.extend(await asyncio.gather(*(fetch(crew.listen, fields=(user,)) for user in USERS)))
            return bool((await crew.status())["state"] == "rolled_back")

        await eventually(rolled_back)
        await eventually(lambda: v2_serves(crew, share=0.0))
        assert {answer.status for answer in answered} == {200}
        events = (await crew.get("/api/v1/events?limit=100"))["events"]
        assert [event["cause"] for event in events] == ["config", "guard:error_rate"]


async def test_a_v2_that_answers_nobody_is_noticed_while_all_still_wait(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    guard = {"metric": "latency_p95", "above": "500ms"}
    gate = asyncio.Event()
    async with running_proxy(document(v1, v2, percentage=100, guards=[guard]), tmp_path) as crew:
        v2.answer = answers.held(gate)
        asking = [asyncio.create_task(fetch(crew.listen, fields=(user,))) for user in USERS]

        async def rolled_back() -> bool:
            return bool((await crew.status())["state"] == "rolled_back")

        await eventually(rolled_back)
        status = await crew.status()
        assert status["paths"]["v2"]["requests"] == 0
        assert not any(task.done() for task in asking)
        gate.set()
        assert {answer.status for answer in await asyncio.gather(*asking)} == {200}


async def test_users_are_those_of_all_workers(crew: ProxyProcess) -> None:
    for _ in range(2):
        await asyncio.gather(*(fetch(crew.listen, target="/strangers", fields=(user,)) for user in USERS))

    async def counted() -> bool:
        return bool((await crew.status("strangers"))["client"]["requests"] == 2 * BY_KERNEL)

    await eventually(counted)
    users = (await crew.status("strangers"))["users"]
    assert abs(users["seen"] - BY_KERNEL) <= 1  # it is an estimate
    assert users["v2"] == 0


async def test_it_ends_when_told_and_lets_requests_finish(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    gate = asyncio.Event()
    v1.answer = answers.held(gate)
    async with running_proxy(document(v1, v2), tmp_path) as crew:
        asking = [asyncio.create_task(fetch(crew.listen, fields=(user,))) for user in USERS]
        await eventually(lambda: v1.count() == len(USERS))
        left = workers(crew)
        crew.terminate()
        await eventually(lambda: refused(crew))
        assert not any(task.done() for task in asking)
        gate.set()
        assert {answer.status for answer in await asyncio.gather(*asking)} == {200}
        await eventually(lambda: not any(map(serves, left)))


async def test_a_reload_reaches_all_workers_and_breaks_nothing(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    before = document(v1, v2)
    async with running_proxy(before, tmp_path) as crew, AsyncExitStack() as stack:
        await crew.set(100)
        clients = [await stack.enter_async_context(connected(crew.listen)) for _ in USERS]
        await eventually(lambda: all_from(clients, b"v2"))
        pids = {worker.pid for worker in workers(crew)}
        async with Load(crew) as load:
            fixed = {"name": "fixed", "routes": [{"prefix": "/fixed"}], "percentage": 0}
            after = {**before, "rollouts": [fixed, {**before["rollouts"][0], "timeout": "9s"}]}
            (tmp_path / "proxy.toml").write_text(toml(after))
            crew.process.send_signal(signal.SIGHUP)

            async def reloaded() -> bool:
                names = [one["name"] for one in (await crew.get("/api/v1/status"))["rollouts"]]
                return names == ["fixed", "default"]

            await eventually(reloaded)
            await load.more(50)
        assert (load.broken, load.statuses) == (0, {200})
        assert await all_from(clients, b"v2")
        answers_there = await asyncio.gather(*(client.ask(target="/fixed") for client in clients))
        assert {answer.backend for answer in answers_there} == {b"v1"}
        assert {worker.pid for worker in workers(crew)} == pids

        async def counted() -> bool:
            return bool((await crew.status("fixed"))["client"]["requests"] == len(clients))

        await eventually(counted)


# ... one falls


async def test_a_killed_worker_is_replaced_and_its_sibling_stands_in(
    crew: ProxyProcess, v1: RawBackend
) -> None:
    before = workers(crew)
    async with Load(crew) as load:
        await load.more(100)
        before[0].kill()
        await load.more(200)
        await eventually(lambda: len(workers(crew)) == WORKERS and before[0] not in workers(crew))
        await eventually(lambda: is_ready(crew))
        await load.more(200)
    # Only what the killed one had in hand is lost: one request on each of its connections at most.
    assert load.broken <= Load.CONNECTIONS
    assert load.statuses == {200}
    assert (await crew.get("/api/v1/status"))["workers"] == WORKERS
    assert crew.process.returncode is None
    await crew.set(100)  # the new one knows what comes into force
    await eventually(lambda: v2_serves(crew, share=1.0))


async def test_a_replaced_worker_begins_with_the_weight_that_is_in_force(crew: ProxyProcess) -> None:
    await crew.set(100)
    for worker in workers(crew):
        worker.kill()
    await eventually(lambda: len(workers(crew)) == WORKERS)
    seen = await asyncio.gather(*(fetch(crew.listen, fields=(user,)) for user in USERS))
    assert {answer.backend for answer in seen} == {b"v2"}


async def test_a_worker_that_is_told_to_end_finishes_and_is_replaced(crew: ProxyProcess) -> None:
    told = workers(crew)[0]
    async with Load(crew) as load:
        await load.more(50)
        told.send_signal(signal.SIGTERM)
        await eventually(lambda: not serves(told))
        await eventually(lambda: is_ready(crew))
        await load.more(50)
    assert (load.broken, load.statuses) == (0, {200})


async def test_a_stopped_worker_keeps_nobody_else_waiting(crew: ProxyProcess) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(crew.listen)) for _ in USERS]
        await ask_all(clients)
        stopped = workers(crew)[0]
        by = list(zip(owners(crew, clients), clients, strict=True))
        of_it = [client for pid, client in by if pid == stopped.pid]
        others = [client for pid, client in by if pid != stopped.pid]
        assert of_it
        assert others
        stopped.send_signal(signal.SIGSTOP)
        try:
            for percentage, backend in ((100, b"v2"), (0, b"v1")) * 3 + ((100, b"v2"),):
                await crew.set(percentage)
                await eventually(lambda expected=backend: all_from(others, expected))
        finally:
            stopped.send_signal(signal.SIGCONT)
        await eventually(lambda: all_from(of_it, b"v2"))


async def test_siblings_accept_for_a_worker_that_stands_still(crew: ProxyProcess) -> None:
    stopped = workers(crew)[0]
    stopped.send_signal(signal.SIGSTOP)
    try:
        seen = await asyncio.gather(*(fetch(crew.listen, fields=(user,)) for user in USERS))
        assert {answer.status for answer in seen} == {200}
        assert not await is_ready(crew)
        assert (await crew.get("/api/v1/status"))["workers"] == WORKERS - 1
    finally:
        stopped.send_signal(signal.SIGCONT)
    await eventually(lambda: is_ready(crew))
    assert stopped in workers(crew)


async def test_an_overridden_key_goes_its_way_in_every_worker_and_in_those_to_come(
    crew: ProxyProcess,
) -> None:
    name, value = USERS[3]
    told = await crew.command("overrides", key=value.decode(), path="v2")
    assert told.status == 200, told.body

    async def only_they_go_to_v2() -> bool:
        seen = await asyncio.gather(*(fetch(crew.listen, fields=(user,)) for user in USERS for _ in range(4)))
        return [answer.backend for answer in seen] == [
            b"v2" if user == (name, value) else b"v1" for user in USERS for _ in range(4)
        ]

    await eventually(only_they_go_to_v2)
    before = workers(crew)
    for worker in before:
        worker.kill()
    await eventually(lambda: not set(before) & set(workers(crew)) and len(workers(crew)) == WORKERS)
    await eventually(lambda: is_ready(crew))
    assert await only_they_go_to_v2()
    fields = ((b"Host", crew.admin_url.removeprefix("http://").encode()),)
    target = f"/api/v1/rollouts/default/overrides/{value.decode()}"
    assert (await fetch(crew.admin, "DELETE", target, fields)).status == 200
    await eventually(lambda: v2_serves(crew, share=0.0))


async def test_workers_that_cannot_run_end_it_with_a_reason(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    crew = await start_proxy(document(v1, v2), tmp_path)

    def has_ended() -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):  # gone since they were looked for
            for worker in psutil.Process(crew.process.pid).children():
                worker.kill()
        return crew.process.returncode is not None

    await eventually(has_ended)
    assert crew.process.returncode == 1
    log = crew.log.read_text()
    assert "does not stay up; the last time it ended with SIGKILL" in log.splitlines()[-1]
    assert "Traceback" not in log


# ... the supervisor falls


async def test_workers_serve_on_without_a_supervisor_and_make_way_for_the_next(
    v1: RawBackend, v2: RawBackend, tmp_path: Path, orphans: list[psutil.Process]
) -> None:
    crew = await start_proxy(document(v1, v2, percentage=100), tmp_path)
    orphans += workers(crew)
    async with Load(crew) as load:
        await load.more(50)
        crew.process.kill()
        await crew.process.wait()
        await load.more(100)
        seen = await asyncio.gather(*(fetch(crew.listen, fields=(user,)) for user in USERS))
        assert {(answer.status, answer.backend) for answer in seen} == {(200, b"v2")}
        assert all(process.is_running() for process in orphans)
        again = document(v1, v2, percentage=0)
        again["listen"]["address"] = "{}:{}".format(*crew.listen)
        async with running_proxy(again, tmp_path) as successor:
            await eventually(lambda: not any(map(serves, orphans)))
            await load.more(50)
            seen = await asyncio.gather(*(fetch(successor.listen, fields=(user,)) for user in USERS))
            assert {(answer.status, answer.backend) for answer in seen} == {(200, b"v1")}
            await load.ended()  # who was not heard by an orphan asks again after a second
    assert load.broken == 0
    assert load.statuses == {200}


async def test_an_orphan_ends_by_its_own_signal(
    v1: RawBackend, v2: RawBackend, tmp_path: Path, orphans: list[psutil.Process]
) -> None:
    crew = await start_proxy(document(v1, v2), tmp_path)
    orphans += workers(crew)
    crew.process.kill()
    await crew.process.wait()
    orphans[0].terminate()
    await eventually(lambda: not serves(orphans[0]))
    seen = await asyncio.gather(*(fetch(crew.listen, fields=(user,)) for user in USERS))
    assert {answer.status for answer in seen} == {200}
    orphans[1].terminate()
    await eventually(lambda: not serves(orphans[1]))
    with pytest.raises(ConnectionRefusedError):
        await fetch(crew.listen)


# ... what the tests look at


class Load:
    """Clients that ask one request after the other, and connect anew where they are told to."""

    CONNECTIONS = 8

    def __init__(self, crew: ProxyProcess) -> None:
        self.answered = 0
        self.broken = 0
        self.statuses: set[int] = set()
        self._address = crew.listen
        self._running: list[asyncio.Task[None]] = []
        self._ending = False

    async def __aenter__(self) -> Load:
        self._running = [asyncio.create_task(self._client(n)) for n in range(self.CONNECTIONS)]
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.ended()

    def end(self) -> None:
        """No further request."""
        self._ending = True

    async def ended(self) -> None:
        """No further request, and the last is answered."""
        self.end()
        await asyncio.gather(*self._running)

    async def more(self, requests: int) -> None:
        """Wait until so many more have been answered."""
        target = self.answered + requests
        await eventually(lambda: self.answered >= target)

    async def _client(self, number: int) -> None:
        user = (b"X-User-Id", b"load-%d" % number)
        while not self._ending:
            async with connected(self._address) as client:
                for _ in range(20):  # then a new connection, for whoever has begun to accept meanwhile
                    try:
                        answer = await client.ask(fields=(user,))
                    except OSError:
                        self.broken += 1
                        break
                    if not answer.complete:
                        self.broken += 1
                        break
                    self.answered += 1
                    self.statuses.add(answer.status)
                    if answer.get(b"connection") == b"close":
                        break


def document(v1: RawBackend, v2: RawBackend, *, drain: str = "30s", **rollout: object) -> Table:
    """A configuration with workers, at 0 % unless `rollout` says otherwise."""
    listen = {"workers": WORKERS, "drain_timeout": drain}
    return config(v1.url, v2.url, listen=listen, rollout={"percentage": 0, **rollout})


def workers(crew: ProxyProcess) -> list[psutil.Process]:
    """The worker processes."""
    return [child for child in psutil.Process(crew.process.pid).children() if serves(child)]


def serves(process: psutil.Process) -> bool:
    """Whether the process still runs."""
    try:
        status: str = process.status()
    except psutil.NoSuchProcess:
        return False
    return status != psutil.STATUS_ZOMBIE


def owners(crew: ProxyProcess, clients: list[RawClient]) -> list[int]:
    """For each client, which worker has accepted its connection."""
    by_port = {
        connection.raddr.port: worker.pid
        for worker in workers(crew)
        for connection in worker.net_connections("tcp")
        if connection.status == psutil.CONN_ESTABLISHED
    }
    return [by_port[client.writer.get_extra_info("sockname")[1]] for client in clients]


async def ask_all(clients: list[RawClient]) -> list[Response]:
    """One request on each connection, each of another user."""
    asked = (client.ask(fields=(user,)) for client, user in zip(clients, USERS, strict=False))
    return await asyncio.gather(*asked)


async def all_from(clients: list[RawClient], backend: bytes) -> bool:
    """Whether one backend answers on all these connections."""
    return {answer.backend for answer in await ask_all(clients)} == {backend}


async def v2_serves(crew: ProxyProcess, share: float | None = None) -> bool:
    """Whether v2 serves that share of the users, or, without one, some and not all."""
    seen = await asyncio.gather(*(fetch(crew.listen, fields=(user,)) for user in USERS))
    to_v2 = sum(answer.backend == b"v2" for answer in seen) / len(seen)
    return 0 < to_v2 < 1 if share is None else to_v2 == share


async def is_ready(crew: ProxyProcess) -> bool:
    """Whether readiness waits for nothing."""
    return (await crew.ask_admin("/readyz")).status == 200
