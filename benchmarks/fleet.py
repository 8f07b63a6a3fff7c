"""What it costs to be one of several: a report, a tick over many instances, a change on its way, bytes, and a
judge that is killed.

`python -m benchmarks.fleet [--instances 100] [--changes 60] [--seconds 10]`

The first two are measured in this process, with synthetic instances that each report a second of 1,000
requests. The others by three real `dualpath serve` on a real `redis-server` here, each in turn told
to change the weight: a change is in force when the last of the three says so. A takeover is measured with
three instances and with so many, see `benchmarks.fleet_takeover`. Exits with 1 if a target is missed.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import aiohttp
import orjson
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import fleet_takeover, own, results
from benchmarks.processes import end_on_sigterm, free_port, started
from proxy.clock import SystemClock
from proxy.config.loading import parse
from proxy.controlplane.controller import Controller
from proxy.controlplane.shared_evidence import SharedEvidence
from proxy.core.delta import Delta, RolloutDelta, written
from proxy.core.journal import Book
from proxy.core.journal_wire import heard_written
from proxy.core.journal_wire import written as entry_written
from proxy.core.peers import Dispatch, Identity
from proxy.core.tally import Tally
from proxy.model import Command, Verb
from proxy.model import Path as Side
from proxy.stores.memory import MemoryStore
from proxy.traffic import LocalTraffic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

LIMITS = {
    "tick_ms": 20.0,
    "spread_median_ms": 250.0,
    "spread_worst_ms": 1000.0,
    "kib_per_s": 20.0,
    "few_takeover_s": 3.0,
    "takeover_s": 3.0,
}
_FEW = 3
_REQUESTS = 1_000
_TICKS = 30
_WITHIN_S = 60.0
_ANY_REVISION = 1_000  # later than any that is in force: so it is evidence

_ROLLOUT = """
[backends.v1]
endpoints = ["http://127.0.0.1:9"]
[backends.v2]
endpoints = ["http://127.0.0.1:9"]
[[rollouts]]
name = "default"
key = ["header:X-User-Id"]
"""
_FILE = (
    """
[listen]
address = "127.0.0.1:{listen}"
[admin]
address = "127.0.0.1:{admin}"
[store]
url = "redis://127.0.0.1:{store}/0"
copy_file = "{folder}/copy.db"
[fleet]
instance = "{name}"
"""
    + _ROLLOUT
)
_PLAN = (
    """
[store]
url = "memory://"
"""
    + _ROLLOUT
    + """
phases = [{ name = "canary", percentage = 50, min_duration = "10h" }]
guards = [{ metric = "error_rate", above = 0.5, window = "60s" }]
"""
)


def main(
    instances: Annotated[int, typer.Option(min=1)] = 100,
    changes: Annotated[int, typer.Option(min=3)] = 60,
    seconds: Annotated[float, typer.Option(min=1)] = 10.0,
) -> None:
    """Measures all of it, and says which targets were met."""
    end_on_sigterm()
    figures = asyncio.run(_in_process(instances)) | asyncio.run(_on_redis(changes, seconds))
    figures |= asyncio.run(_taking_over(instances))
    targets = [_target(key, limit, figures[key], instances) for key, limit in LIMITS.items()]
    table = Table(title="What a fleet costs", title_justify="left")
    for column in ("", "measured", "limit"):
        table.add_column(column, justify="left" if not column else "right")
    for key, value in figures.items():
        limit = f"{LIMITS[key]:g}" if key in LIMITS else ""
        table.add_row(_WORDS[key].format(instances), f"{value:.3g}", limit)
    Console().print(table)
    results.write(
        "fleet",
        versions={"dualpath": own.version_of(Path(sys.executable))},
        options={"instances": instances, "changes": changes, "seconds": seconds, "limits": LIMITS},
        found={
            "figures": [
                {"what": _WORDS[key].format(instances), "measured": value} for key, value in figures.items()
            ],
            "targets": targets,
        },
    )
    raise typer.Exit(any(not one["met"] for one in targets))


_WORDS = {
    "report_bytes": "a report, before it is packed, bytes",
    "write_us": "write a report, µs",
    "read_us": "read and merge one, µs",
    "tick_ms": "a judge's tick over {} instances, journal included, median, ms",
    "tick_worst_ms": "the same, worst, ms",
    "spread_median_ms": "a change in force on three instances, median, ms",
    "spread_worst_ms": "the same, worst, ms",
    "kib_per_s": "to and from Redis, per instance, KiB/s",
    **{
        f"{few}{key}": words.format(number)
        for few, number in (("few_", _FEW), ("", "{}"))
        for key, words in {
            "replay_reports_s": "a new judge of {} reads 5.5 minutes of reports, s",
            "replay_reports_cpu_s": "the same, s of CPU",
            "replay_reports_kib": "the same, KiB",
            "replay_s": "a new judge of {} reads the journal and what came since, s",
            "replay_cpu_s": "the same, s of CPU",
            "replay_kib": "the same, KiB",
            "takeover_s": "from kill -9 of the judge of {} until another judges, the longer of two, s",
        }.items()
    },
}


def _target(key: str, limit: float, value: float, instances: int) -> dict[str, object]:
    return {
        "what": f"fleet: {_WORDS[key].format(instances)}",
        "limit": f"at most {limit:g}",
        "measured": f"{value:.3g}",
        "met": value <= limit,
    }


# ... in this process


def second(rng: random.Random, requests: int = _REQUESTS) -> Tally:
    """A second of an instance: latencies as they are, half on each side, one in a hundred failed."""
    tally = Tally(client_requests=requests, assigned_v1=requests // 2, assigned_v2=requests // 2)
    for side in Side:
        path = tally.of(side)
        path.requests = requests // 2
        path.errors[-1] = requests // 200
        for _ in range(path.requests):
            path.latency.record(rng.lognormvariate(-4.0, 0.6))
    return tally


async def _in_process(instances: int) -> dict[str, float]:
    rng, clock, config = random.Random(7), SystemClock(), parse(_PLAN, {})
    traffic = LocalTraffic(config, clock=clock, rng=rng)
    made: list[Controller] = []
    evidence = SharedEvidence(
        traffic.evidence, config.rollouts, Identity("judge", "1"), lambda name: made[0].revision(name)
    )
    store = MemoryStore()
    controller = Controller(
        config,
        store=store,
        evidence=evidence,
        sinks=traffic.sinks,
        endpoints=traffic.endpoints,
        router=traffic.router,
        clock=clock,
        overrides=store,
    )
    made.append(controller)
    await controller.open()
    await controller.command(Command("default", Verb.START, "bench"))
    revision = controller.revision("default")
    evidence.book = Book(["default"], 0, silent_s=5.0, unknown_s=120.0)
    tallies = [second(rng) for _ in range(min(instances, 20))]
    began = time.perf_counter()
    wires = [_wire(tally, number, revision) for number, tally in enumerate(tallies)]
    write_s = (time.perf_counter() - began) / len(tallies)
    reading, ticks = [], []
    for nth in range(_TICKS):
        told = [
            Dispatch(f"{nth}-{one}", float(nth), Identity(f"i{one}", "1"), nth + 1, wires[one % len(wires)])
            for one in range(instances)
        ]
        began = time.perf_counter()
        leaves = evidence.hear(clock.monotonic(), told)
        heard = time.perf_counter()
        for leaf in leaves:  # as they go into the journal
            orjson.dumps(entry_written(leaf.entry))
            orjson.dumps(heard_written(leaf.heard, leaf.entry.until))
        await controller.tick()
        ticks.append(time.perf_counter() - began)
        reading.append((heard - began) / instances)
    await controller.close()
    return {
        "report_bytes": float(statistics.median(map(len, wires))),
        "write_us": write_s * 1e6,
        "read_us": statistics.median(reading) * 1e6,
        "tick_ms": statistics.median(ticks) * 1e3,
        "tick_worst_ms": max(ticks) * 1e3,
    }


def _wire(tally: Tally, number: int, revision: int) -> bytes:
    return orjson.dumps(
        written(Delta("i/1", number + 1, (RolloutDelta("default", revision, "closed", tally),)))
    )


# ... a judge that is killed


async def _taking_over(instances: int) -> dict[str, float]:
    """With a few instances, and with many."""
    rng, found = random.Random(7), dict[str, float]()
    wires = [_wire(second(rng), 0, _ANY_REVISION) for _ in range(20)]
    for few, number in (("few_", _FEW), ("", instances)):
        figures = await fleet_takeover.replayed(number, parse(_PLAN, {}), wires)
        figures["takeover_s"] = max(await fleet_takeover.taken_over(number, wires, _serve))
        found |= {f"{few}{key}": value for key, value in figures.items()}
    return found


# ... on a real Redis


async def _on_redis(changes: int, seconds: float) -> dict[str, float]:
    own_cores = os.sched_getaffinity(0)
    with ExitStack() as running, tempfile.TemporaryDirectory() as folder:
        store = free_port()
        redis = ["redis-server", "--port", str(store), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        running.enter_context(started("redis", redis, Path(folder), own_cores))
        admins = [_serve(running, Path(folder), name, store) for name in "abc"]
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(_ready(session, admin) for admin in admins))
            await asyncio.sleep(3.0)
            took = [one async for one in _spread(session, admins, changes)]
            before = await _net_bytes(store)
            await asyncio.sleep(seconds)
            moved = await _net_bytes(store) - before
    return {
        "spread_median_ms": statistics.median(took) * 1e3,
        "spread_worst_ms": max(took) * 1e3,
        "kib_per_s": moved / seconds / len(admins) / 1024,
    }


def _serve(running: ExitStack, folder: Path, name: str, store: int) -> str:
    admin = free_port()
    own_folder = folder / name
    own_folder.mkdir()
    file = own_folder / "proxy.toml"
    file.write_text(_FILE.format(listen=free_port(), admin=admin, store=store, folder=own_folder, name=name))
    launch = own.serve(Path(sys.executable), file)
    running.enter_context(
        started(name, launch.command, own_folder, os.sched_getaffinity(0), launch.environment)
    )
    return f"http://127.0.0.1:{admin}"


async def _ready(session: aiohttp.ClientSession, admin: str) -> None:
    async with asyncio.timeout(_WITHIN_S):
        while True:
            try:
                async with session.get(f"{admin}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


async def _spread(
    session: aiohttp.ClientSession, admins: Sequence[str], changes: int
) -> AsyncIterator[float]:
    """How long after it was sent to one of them a change was in force on all."""
    for nth in range(changes):
        wanted = float(nth % 99 + 1)
        began = time.perf_counter()
        async with session.post(
            f"{admins[nth % len(admins)]}/api/v1/rollouts/default/set", json={"percentage": wanted}
        ) as answer:
            assert answer.status == 200, await answer.text()
        await asyncio.gather(*(_in_force(session, admin, wanted) for admin in admins))
        yield time.perf_counter() - began
        await asyncio.sleep(0.1)


async def _in_force(session: aiohttp.ClientSession, admin: str, wanted: float) -> None:
    async with asyncio.timeout(_WITHIN_S):
        while True:
            async with session.get(f"{admin}/api/v1/rollouts/default") as answer:
                if (await answer.json())["percentage"] == wanted:
                    return
            await asyncio.sleep(0.005)


async def _net_bytes(port: int) -> int:
    """All that has gone in and out of that Redis."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"INFO stats\r\n")
    length = int((await reader.readline())[1:])
    text = (await reader.readexactly(length)).decode()
    writer.close()
    return sum(
        int(line.partition(":")[2])
        for line in text.splitlines()
        if line.startswith(("total_net_input_bytes", "total_net_output_bytes"))
    )


if __name__ == "__main__":
    typer.run(main)
