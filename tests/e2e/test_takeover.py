"""SIGUSR2: the process starts its successor and hands over; nobody who asks notices anything."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.e2e import answers
from tests.e2e.proxy_process import config, run, start_proxy, toml
from tests.e2e.raw_client import connected, fetch
from tests.e2e.succession import dynasty
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.proxy_process import ProxyProcess
    from tests.e2e.raw_backend import RawBackend
    from tests.e2e.raw_client import Response

USER = (b"X-User-Id", b"u1")
_PAUSE_S = 0.1
"""Between two requests of one client."""


@pytest.mark.parametrize("workers", [1, 2])
async def test_no_request_fails_while_processes_succeed_one_another(
    v1: RawBackend, v2: RawBackend, tmp_path: Path, workers: int
) -> None:
    v1.answer = v2.answer = answers.slow(0.002)
    document = config(v1.url, v2.url, rollout={"percentage": 50}, listen={"workers": workers})
    async with dynasty(await start_proxy(document, tmp_path)) as line, Load(line.proxy) as load:
        for _ in range(2):
            await load.goes_on()
            await line.succeed()
        await load.goes_on()
    assert load.failures == []
    assert min(load.kept, load.fresh, load.admin) > 20


@pytest.mark.parametrize("store", ["memory://", "sqlite:///{}/state.db"])
async def test_what_is_in_force_stays_in_force(
    v1: RawBackend, v2: RawBackend, tmp_path: Path, store: str
) -> None:
    document = config(v1.url, v2.url, rollout={"percentage": 10}, store={"url": store.format(tmp_path)})
    async with dynasty(await start_proxy(document, tmp_path)) as line:
        proxy = line.proxy
        await proxy.set(100)
        assert (await fetch(proxy.listen, "GET", "/", (USER,))).backend == b"v2"
        await line.succeed()
        assert (await fetch(proxy.listen, "GET", "/", (USER,))).backend == b"v2"
        assert (await proxy.status())["percentage"] == 100
        assert (await proxy.command("rollback", reason="enough")).status == 200
        await line.succeed()
        status = await proxy.status()
        assert (status["state"], status["percentage"]) == ("rolled_back", 0)
        assert "enough" in status["reason"]
        await proxy.set(30)
        if store != "memory://":
            events = (await proxy.get("/api/v1/events?limit=100"))["events"]
            assert [event["cause"] for event in events] == [
                "config",
                "command:set",
                "command:rollback",
                "command:set",
            ]


@pytest.mark.parametrize("store", ["memory://", "sqlite:///{}/state.db"])
async def test_no_command_is_refused_or_lost_while_it_is_handed_over(
    v1: RawBackend, v2: RawBackend, tmp_path: Path, store: str
) -> None:
    document = config(v1.url, v2.url, rollout={"percentage": 10}, store={"url": store.format(tmp_path)})
    async with dynasty(await start_proxy(document, tmp_path)) as line:
        ended = asyncio.Event()
        answered: list[tuple[int, float]] = []

        async def keep_setting() -> None:
            while not ended.is_set():
                percentage = 1 + len(answered) * 7 % 90  # up and down
                answer = await line.proxy.command("set", percentage=percentage)
                answered.append((answer.status, percentage))

        setting = asyncio.create_task(keep_setting())
        for _ in range(2):
            await line.succeed()
            seen = len(answered)
            await eventually(lambda seen=seen: len(answered) > seen + 3)
        ended.set()
        await setting
        assert {status for status, _ in answered} == {200}
        assert (await line.proxy.status())["percentage"] == answered[-1][1]
        if store != "memory://":
            events = (await line.proxy.get("/api/v1/events?limit=1000"))["events"]
            assert [e["after"]["percentage"] for e in events][-len(answered) :] == [p for _, p in answered]
            assert [e["seq"] for e in events] == [*range(events[0]["seq"], events[0]["seq"] + len(events))]


async def test_a_successor_reads_the_configuration_as_it_is_now(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    document = config(v1.url, v2.url)
    async with dynasty(await start_proxy(document, tmp_path)) as line:
        document["listen"] |= {"backlog": 77, "expose_path": True}  # the backlog needs a restart
        (tmp_path / "proxy.toml").write_text(toml(document))
        await line.succeed()
        assert (await fetch(line.proxy.listen)).get(b"x-dualpath-path") == b"v1"


async def test_another_address_is_served_by_the_successor_and_the_old_one_is_let_go(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    document = config(v1.url, v2.url)
    async with dynasty(await start_proxy(document, tmp_path)) as line:
        old = line.present
        document["listen"]["address"] = "localhost:0"
        (tmp_path / "proxy.toml").write_text(toml(document))
        line.signal(signal.SIGUSR2)
        heir = await line.heir()
        listen, admin = await line.ready_line()
        assert listen != line.proxy.listen
        assert admin == line.proxy.admin
        assert (await fetch(listen)).status == 200
        line.adopt(heir)
        await line.gone(old)
        with pytest.raises(ConnectionRefusedError):
            await fetch(line.proxy.listen)


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (3, 2)])
async def test_another_number_of_workers_needs_a_restart_and_no_downtime(
    v1: RawBackend, v2: RawBackend, tmp_path: Path, before: int, after: int
) -> None:
    document = config(v1.url, v2.url, listen={"workers": before})
    async with dynasty(await start_proxy(document, tmp_path)) as line:
        document["listen"]["workers"] = after
        (tmp_path / "proxy.toml").write_text(toml(document))
        await line.succeed()
        assert (await line.proxy.get("/api/v1/status"))["workers"] == after
        for _ in range(20):
            assert (await fetch(line.proxy.listen)).status == 200


async def test_what_the_probes_know_is_handed_on(v1: RawBackend, v2: RawBackend, tmp_path: Path) -> None:
    v2.answer = answers.status("500 Internal Server Error")
    probe = {"path": "/health", "interval": "50ms", "unhealthy_after": 1}
    document = config(v1.url, v2.url, v2={"health": probe})
    async with dynasty(await start_proxy(document, tmp_path)) as line:

        async def ill() -> bool:
            endpoints = (await line.proxy.status())["endpoints"]
            return [e["healthy"] for e in endpoints] == [True, False]

        await eventually(ill)
        document["backends"]["v2"]["health"] = {**probe, "interval": "1h"}
        (tmp_path / "proxy.toml").write_text(toml(document))
        await line.succeed()
        assert await ill()


async def test_a_successor_that_cannot_start_leaves_everything_as_it_was(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    document = config(v1.url, v2.url, rollout={"percentage": 10})
    async with dynasty(await start_proxy(document, tmp_path)) as line, Load(line.proxy) as load:
        (tmp_path / "proxy.toml").write_text("[listen\n")
        line.signal(signal.SIGUSR2)
        log = line.proxy.log
        await eventually(lambda: "this one goes on" in log.read_text())
        await load.goes_on()
        await line.proxy.set(20)
        (tmp_path / "proxy.toml").write_text(toml(document))
        await line.succeed()
        assert (await line.proxy.status())["percentage"] == 20
        await load.goes_on()
    assert load.failures == []


async def test_a_successor_that_is_killed_half_way_leaves_everything_as_it_was(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    document = config(v1.url, v2.url, rollout={"percentage": 10})
    async with dynasty(await start_proxy(document, tmp_path)) as line, Load(line.proxy) as load:
        for _ in range(3):
            line.signal(signal.SIGUSR2)
            heir = await line.heir()
            heir.kill()
            await load.goes_on()
            log = line.proxy.log
            await eventually(lambda log=log, pid=heir.pid: f"process {pid} has ended" in log.read_text())
        await line.proxy.set(20)
    assert load.failures == []


async def test_sigterm_during_the_handover_ends_both(v1: RawBackend, v2: RawBackend, tmp_path: Path) -> None:
    async with dynasty(await start_proxy(config(v1.url, v2.url), tmp_path)) as line:
        line.signal(signal.SIGUSR2)
        heir = await line.heir()
        line.signal(signal.SIGTERM)
        await line.gone(line.present)
        await line.gone(heir)


async def test_nothing_of_a_successor_that_was_half_way_stays_when_its_predecessor_ends_too(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    document = config(v1.url, v2.url, listen={"workers": 2})
    async with dynasty(await start_proxy(document, tmp_path)) as line:
        line.signal(signal.SIGUSR2)
        heir = await line.heir()
        await eventually(lambda: len(heir.children()) == 2)
        workers = heir.children()
        heir.kill()
        line.signal(signal.SIGTERM)
        try:
            await line.gone(line.present)
            await eventually(lambda: not any(worker.is_running() for worker in workers))
        finally:
            for worker in workers:
                with contextlib.suppress(psutil.Error):
                    worker.kill()


async def test_a_long_answer_ends_in_the_process_in_which_it_began(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    gate = asyncio.Event()
    v1.answer = answers.held(gate, answers.large(4 << 20))
    async with dynasty(await start_proxy(config(v1.url, v2.url), tmp_path)) as line:
        long = asyncio.create_task(fetch(line.proxy.listen, "GET", "/long"))
        await eventually(lambda: v1.count() == 1)
        before = line.present
        line.signal(signal.SIGUSR2)
        heir = await line.heir()
        await line.ready_line()
        v1.answer = answers.status("200 OK")
        assert (await fetch(line.proxy.listen)).status == 200
        assert not long.done()
        gate.set()
        answer = await long
        assert (answer.complete, answer.length) == (True, 4 << 20)
        await line.gone(before)
        line.adopt(heir)


async def test_the_address_is_still_ours_alone(v1: RawBackend, v2: RawBackend, tmp_path: Path) -> None:
    async with dynasty(await start_proxy(config(v1.url, v2.url), tmp_path)) as line:
        await line.succeed()
        address = "{}:{}".format(*line.proxy.listen)
        (tmp_path / "second.toml").write_text(toml(config(v1.url, v2.url, listen={"address": address})))
        done = await run("serve", "-c", "second.toml", directory=tmp_path)
        assert done.code == 1
        assert address in done.complaint[0]


@dataclass
class Load:
    """Clients who keep their connection, clients who do not, and people at the admin, at a pace that leaves
    the processes their share of a busy machine: 160 requests a second at most."""

    proxy: ProxyProcess
    failures: list[str] = field(default_factory=list)
    kept: int = 0
    fresh: int = 0
    admin: int = 0

    async def __aenter__(self) -> Load:
        self._ended = asyncio.Event()
        clients = [
            *(self._keeps_connected(number) for number in range(8)),
            *(self._connects_anew(number) for number in range(8)),
            *(self._asks_admin() for _ in range(2)),
        ]
        self._clients = [asyncio.create_task(client) for client in clients]
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._ended.set()
        await asyncio.gather(*self._clients)

    async def goes_on(self) -> None:
        """Until every kind of client has got further answers."""
        kept, fresh, admin = self.kept, self.fresh, self.admin
        await eventually(
            lambda: (
                bool(self.failures)
                or (self.kept > kept + 50 and self.fresh > fresh + 50 and self.admin > admin + 4)
            ),
            60,
        )

    async def _keeps_connected(self, number: int) -> None:
        user = (b"X-User-Id", b"%d" % number)
        while not self._ended.is_set():
            try:
                async with connected(self.proxy.listen) as client:
                    while not self._ended.is_set():
                        answer = await client.ask("GET", "/", (user,))
                        self.kept += self._is_good("kept", answer)
                        if not answer.complete or b"close" in answer.head.all(b"connection"):
                            break
                        await self._pace()
            except OSError as error:
                self.failures.append(f"kept: {error!r}")

    async def _connects_anew(self, number: int) -> None:
        user = (b"X-User-Id", b"%d" % number)
        while not self._ended.is_set():
            try:
                answer = await fetch(self.proxy.listen, "GET", "/", (user,))
            except OSError as error:
                self.failures.append(f"fresh: {error!r}")
            else:
                self.fresh += self._is_good("fresh", answer)
            await self._pace()

    async def _asks_admin(self) -> None:
        while not self._ended.is_set():
            try:
                answer = await self.proxy.ask_admin("/api/v1/status")
            except OSError as error:
                self.failures.append(f"admin: {error!r}")
            else:
                self.admin += self._is_good("admin", answer)
            await self._pace()

    async def _pace(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), _PAUSE_S)

    def _is_good(self, who: str, answer: Response) -> bool:
        good = answer.complete and answer.status == 200
        if not good:
            self.failures.append(f"{who}: {answer.status} {answer.outcome}")
        return good
