"""What a new judge reads before it judges, and how long nobody does once the old one was killed.

Owns a Redis with the reports of a whole window, as so many instances would have left them. `replayed` lets
a new judge read them twice, in this process: once without a journal, as after a judge of the version before,
and once with that of the judge that has just been. `taken_over` kills one of three real `dualpath serve`
beside which the rest of so many instances report each second.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
import zlib
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil
import redis

from benchmarks.processes import free_port, started
from proxy.clock import SystemClock
from proxy.config.store import Store as StoreTable
from proxy.controlplane.controller import Controller
from proxy.controlplane.hearing import Hearing
from proxy.controlplane.mending import Place
from proxy.controlplane.shared_evidence import SharedEvidence
from proxy.controlplane.shared_store import SharedStore
from proxy.controlplane.store_clock import StoreClock
from proxy.core.peers import Identity, Presence
from proxy.model import Command, Verb
from proxy.stores.memory import MemoryStore
from proxy.stores.opening import storage_of
from proxy.stores.redis_keys import Keys
from proxy.traffic import LocalTraffic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from proxy.config.schema import Config

WINDOW_S = 330  # as long as a new judge looks back, at least
_SINCE_S = 3  # from the last that a killed judge has written down to its successor
_WITHIN_S = 90.0
_SETTLED_S = 5.0
_HERE = Presence(b"{}", stands=False)


async def replayed(instances: int, plan: Config, wires: Sequence[bytes]) -> dict[str, float]:
    """Seconds, seconds of CPU and KiB of both readings."""
    with ExitStack() as running, tempfile.TemporaryDirectory() as folder:
        port = _redis(running, Path(folder))
        stream = _Stream(port, instances, wires)
        await stream.fill(WINDOW_S)
        async with _Judge.opened("old", plan, port, Path(folder)) as old:
            raw = await old.reads(port)
            await old.keeps()
            await stream.fill(_SINCE_S)
            told = old.told() + _SINCE_S * instances * stream.requests
            await old.leaves()
        async with _Judge.opened("new", plan, port, Path(folder)) as new:
            by_journal = await new.reads(port)
            # Whatever came between the beginnings of the two windows is in the first alone.
            lost = told - new.told()
            assert 0 <= lost <= (WINDOW_S // 5) * instances * stream.requests, (told, new.told())
    names = ("s", "cpu_s", "kib")
    found = {f"replay_reports_{name}": value for name, value in zip(names, raw, strict=True)}
    return found | {f"replay_{name}": value for name, value in zip(names, by_journal, strict=True)}


class _Stream:
    """The stream of reports, written as if time had gone by."""

    def __init__(self, port: int, instances: int, wires: Sequence[bytes]) -> None:
        self.requests = 1_000
        self._client = redis.Redis(port=port)
        self._instances = instances
        self._packed = [zlib.compress(wire, 1) for wire in wires]
        self._told = 0
        self._last_ms = 0

    async def fill(self, seconds: int) -> None:
        """So many seconds up to now."""
        await asyncio.sleep(max(seconds + self._last_ms / 1000 - time.time(), 0.0))
        now_ms = self._last_ms = int(time.time() * 1000)
        for second in range(seconds):
            self._told += 1
            lines = self._client.pipeline(transaction=False)
            for one in range(self._instances):
                at_ms = now_ms - (seconds - second) * 1000 + one * 1000 // self._instances
                fields: dict[Any, Any] = {"epoch": "1", "instance": f"i{one}", "number": self._told}
                fields["report"] = self._packed[(one + second) % len(self._packed)]
                lines.xadd(Keys("dualpath").reports, fields, id=f"{at_ms}-{one}")
            lines.execute()


class _Judge:
    """What of an instance takes over."""

    def __init__(self, name: str, plan: Config, port: int, folder: Path) -> None:
        self._identity = Identity(name, "1")
        table = {"url": f"redis://127.0.0.1:{port}", "copy_file": str(folder / name), "timeout": "10s"}
        self._storage = storage_of(StoreTable.read(table), self._identity)
        self._plan = plan

    @classmethod
    @asynccontextmanager
    async def opened(cls, *about: Any) -> AsyncIterator[_Judge]:
        """It, with its store open."""
        judge = cls(*about)
        await judge._storage.store.open()
        await judge._open()
        yield judge
        await judge._controller.close()
        await judge._storage.store.close()

    async def _open(self) -> None:
        parts, clock, kept = self._storage.shared, SystemClock(), MemoryStore()
        assert parts is not None
        self._peers, self._clock = parts.peers, clock
        traffic = LocalTraffic(self._plan, clock=clock, rng=random.Random(7))
        evidence = SharedEvidence(
            traffic.evidence,
            self._plan.rollouts,
            self._identity,
            lambda name: self._controller.revision(name),
        )
        self._controller = Controller(
            self._plan,
            store=kept,
            evidence=evidence,
            sinks=traffic.sinks,
            endpoints=traffic.endpoints,
            router=traffic.router,
            clock=clock,
            overrides=kept,
        )
        await self._controller.open()
        await self._controller.command(Command("default", Verb.START, "bench"))
        shared = SharedStore(kept, kept, parts.copy)
        place = Place(
            self._identity,
            shared,
            parts.fenced,
            parts.peers,
            parts.copy,
            parts.journal,
            StoreClock(clock),
            2.0,
            WINDOW_S,
        )
        self._hearing = Hearing(place, lambda: self._controller, evidence)

    async def reads(self, port: int) -> tuple[float, float, float]:
        """Take over: seconds, seconds of CPU, KiB."""
        exchange = await self._peers.exchange(replace(_HERE, stands=True, lease_s=60.0))
        assert exchange.lease is not None
        assert exchange.lease.holder == self._identity
        before, cpu, began = await _sent(port), time.process_time(), time.perf_counter()
        self._hearing.catch_up(exchange, self._clock.monotonic(), lambda: exchange.lease)
        await self._hearing.caught_up()
        took, used = time.perf_counter() - began, time.process_time() - cpu
        assert self._hearing.token == exchange.lease.token
        self._lease = exchange.lease
        return took, used, (await _sent(port) - before) / 1024

    async def keeps(self) -> None:
        """Hear the rest, and write the journal: a part of it at a time."""
        await self._hearing.hear(self._lease)
        while self._hearing._journaling._unwritten:
            await self._hearing.hear(self._lease)

    async def leaves(self) -> None:
        """Its lease is over."""
        await self._peers.leave()

    def told(self) -> int:
        """How many requests it knows of."""
        return self._controller.report("default").total.client_requests


async def taken_over(
    instances: int, wires: Sequence[bytes], serve: Callable[[ExitStack, Path, str, int], str]
) -> list[float]:
    """Seconds from the kill -9 of the judge until another one judges, and of that one until the last does.
    `serve` starts one, and says where its admin listens."""
    names = ("a", "b", "c")
    with ExitStack() as running, tempfile.TemporaryDirectory() as folder:
        port = _redis(running, Path(folder))
        others = max(instances - len(names), 0)
        if others:
            await _Stream(port, others, wires).fill(WINDOW_S)
        processes = {name: running.enter_context(ExitStack()) for name in names}
        admins = {name: serve(processes[name], Path(folder), name, port) for name in names}
        async with aiohttp.ClientSession() as session, _tellers(port, others, wires, Path(folder)):
            took = []
            while len(admins) > 1:
                judge = await _judge(session, admins)
                await asyncio.sleep(_SETTLED_S)
                del admins[judge]
                began = time.perf_counter()
                _kill(f"{folder}/{judge}/")
                await _judge(session, admins)
                took.append(time.perf_counter() - began)
            return took


def _kill(folder: str) -> None:
    """The one that has its file there; its workers too, which would go on serving."""
    mine = [one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE]
    one = next(one for one in mine if any(word.startswith(folder) for word in one.cmdline()))
    workers = one.children(recursive=True)
    one.kill()
    for worker in workers:
        worker.kill()


@asynccontextmanager
async def _tellers(port: int, count: int, wires: Sequence[bytes], folder: Path) -> AsyncIterator[None]:
    """So many instances that report each second, and do nothing else."""
    table = {"url": f"redis://127.0.0.1:{port}", "copy_file": str(folder / "t"), "timeout": "10s"}
    storages = [storage_of(StoreTable.read(table), Identity(f"i{one}", "1")) for one in range(count)]

    async def tell(place: int) -> None:
        shared = storages[place].shared
        assert shared is not None
        await asyncio.sleep(place / count)
        number = WINDOW_S
        while True:
            number += 1
            report = wires[(place + number) % len(wires)]
            await shared.peers.exchange(replace(_HERE, reports=((number, report),)))
            await asyncio.sleep(1.0)

    telling = [asyncio.create_task(tell(place)) for place in range(count)]
    try:
        yield
    finally:
        for task in telling:
            task.cancel()
        await asyncio.gather(*telling, return_exceptions=True)
        for one in storages:
            await one.store.close()


async def _judge(session: aiohttp.ClientSession, admins: dict[str, str]) -> str:
    """Who judges, as soon as somebody does."""
    async with asyncio.timeout(_WITHIN_S):
        while True:
            for name, admin in admins.items():
                try:
                    async with session.get(f"{admin}/api/v1/status") as answer:
                        if answer.status == 200 and (await answer.json())["fleet"]["role"] == "judge":
                            return name
                except aiohttp.ClientError:
                    pass
            await asyncio.sleep(0.02)


def _redis(running: ExitStack, folder: Path) -> int:
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    running.enter_context(started("redis", command, folder, os.sched_getaffinity(0)))
    client = redis.Redis(port=port)
    until = time.monotonic() + _WITHIN_S
    while time.monotonic() < until:
        try:
            if client.ping():
                return port
        except redis.ConnectionError:
            time.sleep(0.02)
    raise RuntimeError("redis-server does not answer")


async def _sent(port: int) -> int:
    """What that Redis has sent so far, in bytes."""
    client = redis.Redis(port=port)
    found: dict[str, Any] = client.info("stats")
    return int(found["total_net_output_bytes"])
