"""What worker processes bring and cost: throughput, CPU time per request, and memory with idle connections.

`python -m benchmarks.workers [--workers 1,2] [--rounds 5] [--seconds 3] [--idle 10000]`

Two workers can be at most twice as fast where each has a core and the load has others: four cores for two
workers. With fewer, wrk and the backend take from the workers what they need, and the ratio of throughputs
says little; the CPU time per request still says whether work is done twice.
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import results, wrk
from benchmarks.lineup import PROBE, Lineup, rotated, standing
from benchmarks.peers import Place, dualpath
from benchmarks.processes import Child, cores, end_on_sigterm

if TYPE_CHECKING:
    from benchmarks.peers import Launch, Recipe

MIB = 1 << 20
TARGET_RATIO = 1.8
LIMIT_WORKER_MIB = 60
LIMIT_ALL_MIB = 512
LOAD = wrk.Load("200 B", PROBE)
OPENED_AT_ONCE = 100
_ASK = b"GET /200B HTTP/1.1\r\nHost: bench\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of workers in one round. `busiest` is the largest share of the CPU time in one process."""

    requests_per_s: float
    cpu_us: float  # per request, all processes of the proxy together
    busiest: float
    failed: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of the proxy's processes, in MiB: the supervisor first, then the workers."""

    connections: int
    held: int  # connections that still answer at the end
    mib: list[float]


Figures = dict[int, list[Figure]]  # by number of workers, one per round


def main(
    workers: Annotated[str, typer.Option(help="Numbers of workers, by commas.")] = "1,2",
    rounds: Annotated[int, typer.Option(min=1, max=50)] = 5,
    seconds: Annotated[int, typer.Option(min=1, max=60)] = 3,
    idle: Annotated[int, typer.Option(min=0, max=50_000, help="Idle connections to hold.")] = 10_000,
) -> None:
    """Measures throughput, CPU time and memory with each number of workers."""
    end_on_sigterm()
    console = Console()
    numbers = _numbers(workers)
    _allow_files(idle + 1000)
    with tempfile.TemporaryDirectory(prefix="dualpath-bench-") as scratch, ExitStack() as stack:
        lineup = stack.enter_context(standing(Path(scratch), {f"w{one}": recipe(one) for one in numbers}))
        _spread(lineup, numbers)
        memory = {one: [_resident(lineup.running[f"w{one}"])] for one in numbers}
        figures = _throughput(console, lineup, Path(scratch), numbers, rounds, seconds)
        for one in numbers:
            console.print(f"{idle:,} idle connections, {one} workers", style="dim")
            memory[one].append(asyncio.run(_idle(lineup, f"w{one}", idle)))
        version = next(iter(lineup.versions.values()))
    ample = (os.cpu_count() or 1) >= 2 * max(numbers)
    console.print(_table(figures, memory, ample))
    file = results.write(
        "workers",
        versions={"dualpath": version},
        options={"rounds": rounds, "seconds": seconds, "connections": wrk.CONNECTIONS, "idle": idle},
        found=found(figures, memory, ample),
    )
    console.print(f"written to {file}")


def recipe(workers: int) -> Recipe:
    """dualpath with that many workers, else as everywhere."""

    def launch(place: Place) -> Launch:
        told = dualpath(place)
        file = place.directory / "proxy.toml"
        file.write_text(file.read_text().replace("[listen]\n", f"[listen]\nworkers = {workers}\n"))
        return told

    return launch


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and 0 < int(part) <= 64 for part in parts):
        raise typer.BadParameter("--workers takes whole numbers from 1 to 64, by commas")
    return sorted({int(part) for part in parts})


def _allow_files(count: int) -> None:
    """Raises the limit of open files, for us and for what we start, as far as it goes."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = count if most == resource.RLIM_INFINITY else min(count, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(allowed, 1024), most))


def _spread(lineup: Lineup, numbers: list[int]) -> None:
    """Gives each worker a core of its own where the load keeps as many; else all cores to all."""
    usable = sorted(os.sched_getaffinity(0))
    for one in numbers:
        mine = set(usable[:one]) if len(usable) >= 2 * one else set(usable)
        for process in lineup.running[f"w{one}"].tree():
            process.cpu_affinity(sorted(mine))


def _throughput(
    console: Console, lineup: Lineup, scratch: Path, numbers: list[int], rounds: int, seconds: int
) -> Figures:
    script = wrk.script(LOAD, scratch)
    _, load_cores = cores()
    usable = set(os.sched_getaffinity(0))
    figures: Figures = {one: [] for one in numbers}
    for number in range(rounds):
        for name in rotated([f"w{one}" for one in numbers], number):
            one = int(name[1:])
            console.print(f"round {number + 1}/{rounds}  {one} workers", style="dim")
            where = usable - set(sorted(usable)[:one]) if len(usable) >= 2 * one else load_cores
            if number == 0:
                wrk.run(lineup.ports[name], script, 1, where)
            figures[one].append(_one(lineup.running[name], lineup.ports[name], script, seconds, where))
    return figures


def _one(child: Child, port: int, script: Path, seconds: int, where: set[int]) -> Figure:
    before = _cpu_s(child)
    reading = wrk.run(port, script, seconds, where)
    spent = {pid: after - before.get(pid, 0.0) for pid, after in _cpu_s(child).items()}
    total = sum(spent.values())
    return Figure(
        requests_per_s=reading.requests / reading.duration_s,
        cpu_us=total / max(1, reading.requests) * 1e6,
        busiest=max(spent.values()) / total if total else 0.0,
        failed=reading.failed,
    )


def _cpu_s(child: Child) -> dict[int, float]:
    times = {process.pid: process.cpu_times() for process in child.tree()}
    return {pid: float(one.user + one.system) for pid, one in times.items()}


def _resident(child: Child, connections: int = 0, held: int = 0) -> Memory:
    return Memory(connections, held, [process.memory_info().rss / MIB for process in child.tree()])


async def _idle(lineup: Lineup, name: str, count: int) -> Memory:
    """Opens that many connections, asks once on each, and reads memory while all of them are idle."""
    port = lineup.ports[name]
    open_now: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    for start in range(0, count, OPENED_AT_ONCE):
        wanted = range(start, min(start + OPENED_AT_ONCE, count))
        batch = [asyncio.open_connection("127.0.0.1", port, limit=4096) for _ in wanted]
        connected = await asyncio.gather(*batch)
        await asyncio.gather(*(_ask(*one) for one in connected))
        open_now += connected
    memory = _resident(lineup.running[name], count)
    held = 0
    for start in range(0, count, OPENED_AT_ONCE):
        answered = await asyncio.gather(*(_ask(*one) for one in open_now[start : start + OPENED_AT_ONCE]))
        held += sum(answered)
    for _, writer in open_now:
        writer.close()
    return Memory(count, held, memory.mib)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """One request on a kept connection; whether it was answered in full."""
    try:
        writer.write(_ASK)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        await asyncio.wait_for(reader.readexactly(200), 30)
    except (OSError, EOFError, TimeoutError):
        return False
    return head.startswith(b"HTTP/1.1 200")


def medians(rows: list[Figure]) -> Figure:
    """Medians over the rounds; failures are summed."""
    return Figure(
        requests_per_s=statistics.median(row.requests_per_s for row in rows),
        cpu_us=statistics.median(row.cpu_us for row in rows),
        busiest=statistics.median(row.busiest for row in rows),
        failed=sum(row.failed for row in rows),
    )


def ratios(figures: Figures, one: int) -> tuple[float, float]:
    """Throughput and CPU time per request against the fewest workers: medians of the rounds' ratios."""
    pairs = list(zip(figures[one], figures[min(figures)], strict=True))
    return (
        statistics.median(row.requests_per_s / base.requests_per_s for row, base in pairs),
        statistics.median(row.cpu_us / base.cpu_us for row, base in pairs),
    )


def found(figures: Figures, memory: dict[int, list[Memory]], ample: bool) -> dict[str, object]:
    """What goes into the document. `cores_suffice` says whether the ratio of throughputs means anything."""
    return {
        "target_throughput_ratio": TARGET_RATIO,
        "limit_worker_mib": LIMIT_WORKER_MIB,
        "limit_all_mib": LIMIT_ALL_MIB,
        "cores_suffice": ample,
        "workers": {
            str(one): {
                "median": asdict(medians(rows)),
                "throughput_ratio": ratios(figures, one)[0],
                "cpu_ratio": ratios(figures, one)[1],
                "rounds": [asdict(row) for row in rows],
                "memory": [asdict(reading) for reading in memory[one]],
            }
            for one, rows in figures.items()
        },
    }


def _table(figures: Figures, memory: dict[int, list[Memory]], ample: bool) -> Table:
    caption = None if ample else "too few cores for a ratio of req/s: the load needs as many as the workers"
    table = Table(title=f"{LOAD.name}, {wrk.CONNECTIONS} connections", title_justify="left", caption=caption)
    for column in (
        "workers",
        "req/s",
        "ratio",
        "CPU µs/req",
        "ratio",
        "failed",
        "MiB",
        "MiB, idle",
    ):
        table.add_column(column, justify="right")
    for one, rows in figures.items():
        middle, (faster, dearer) = medians(rows), ratios(figures, one)
        table.add_row(
            str(one),
            f"{middle.requests_per_s:,.0f}",
            f"{faster:.2f}",
            f"{middle.cpu_us:.1f}",
            f"{dearer:.2f}",
            str(middle.failed),
            *(" + ".join(f"{mib:.0f}" for mib in reading.mib) for reading in memory[one]),
        )
    return table


if __name__ == "__main__":
    typer.run(main)
