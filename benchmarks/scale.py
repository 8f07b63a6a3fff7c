"""How the cost of a request grows: with routes, listed users, connections, endpoints and rollouts.

`python -m benchmarks.scale [--rounds 7] [--seconds 2] [--only routes,endpoints] [--python .venv/bin/python]`

All sizes of an axis stand at once and are asked in turn, in short rounds, so that a noisy machine is noisy
for all of them. The ratio of CPU time per request to that of the cheapest smaller size is taken within a
round; the median of the rounds may be 1.3 at most. Exits with 1 if one is more. (On a lone connection a
request is dearest: nothing else is there to be done when it wakes the process.)
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import growth, own, results
from benchmarks.asking import Connection, Ring, connected
from benchmarks.processes import Child, end_on_sigterm, free_port, started

if TYPE_CHECKING:
    from benchmarks.growth import Size

LIMIT = 1.3
WARM_UP_S = 1.0
AXES = list(growth.sizes(users=growth.ASKING))
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Round:
    """One size in one round: CPU time of the proxy per request, and what was answered."""

    cpu_us: float
    requests: int
    failed: int


@dataclass(frozen=True, slots=True)
class Growth:
    """One size over all rounds; `ratio` is the median against the cheapest smaller size in a round."""

    axis: str
    size: str
    cpu_us: float
    ratio: float
    failed: int
    start_s: float
    rss_mib: float
    rounds: list[Round]


@dataclass(frozen=True, slots=True)
class Ground:
    """Where the proxies of one axis are to stand; `stack` ends them."""

    stack: ExitStack
    scratch: Path
    python: Path
    backends: list[int]
    cores: set[int]


@dataclass(frozen=True, slots=True)
class Standing:
    """A proxy that runs, with its connections."""

    child: Child
    connections: list[Connection]
    ring: Ring
    start_s: float

    def asked_as(self, size: Size) -> Standing:
        """The same proxy, asked in another way."""
        ring = Ring(self.connections[: size.turns], size.requests, growth.BUSY)
        return Standing(self.child, self.connections, ring, self.start_s)

    async def round(self, seconds: float) -> Round:
        """Asks for so long."""
        answered, failed, cpu_s = self.ring.answered, self.ring.failed, self.child.cpu_s()
        await self.ring.run(seconds)
        count = self.ring.answered - answered
        cpu_us = (self.child.cpu_s() - cpu_s) / max(1, count) * 1e6
        return Round(cpu_us, count, self.ring.failed - failed)


def main(
    rounds: Annotated[int, typer.Option(min=1, max=50)] = 7,
    seconds: Annotated[float, typer.Option(min=0.2, max=60)] = 2.0,
    only: Annotated[str, typer.Option(help="Axes, by commas.")] = ",".join(AXES),
    users: Annotated[int, typer.Option(min=growth.ASKING)] = growth.MANY_USERS,
    connections: Annotated[int, typer.Option(min=100)] = growth.MANY_CONNECTIONS,
    python: Annotated[Path | None, typer.Option(help="Whose dualpath; the compiled one if absent.")] = None,
) -> None:
    """Measures CPU time per request at the smallest and the largest size of each axis."""
    end_on_sigterm()
    python = (python or own.default_python()).absolute()
    wanted = [part.strip() for part in only.split(",")]
    if unknown := set(wanted) - set(AXES):
        raise typer.BadParameter(f"no such axis: {', '.join(sorted(unknown))}; there are {', '.join(AXES)}")
    connections = _raise_limit(connections)
    axes = growth.sizes(users, connections)
    found: list[Growth] = []
    for axis in wanted:
        with tempfile.TemporaryDirectory(prefix="dualpath-bench-") as scratch:
            found += uvloop.run(_axis(axes[axis], Path(scratch), python, rounds, seconds))
    Console().print(_table(found))
    options = {"rounds": rounds, "seconds": seconds, "busy": growth.BUSY, "axes": wanted}
    growths = [asdict(one) for one in found]
    results.write(
        "scale", versions={"dualpath": own.version_of(python)}, options=options, found={"growth": growths}
    )
    raise typer.Exit(any(one.ratio > LIMIT for one in found))


def _raise_limit(connections: int) -> int:
    """As many open files as the system lets us have; so many connections as that allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # The proxies inherit the limit; each has its clients' connections and those to the backend.
    return min(connections, most - 1024)


async def _axis(sizes: list[Size], scratch: Path, python: Path, rounds: int, seconds: float) -> list[Growth]:
    """All sizes of one axis, each at rest while another is asked."""
    readings: dict[str, list[Round]] = {size.label: [] for size in sizes}
    with ExitStack() as stack:
        proxy_cores, load_cores = stack.enter_context(own.pinned())
        most = max(size.endpoints for size in sizes)
        backends = stack.enter_context(own.origin(scratch, load_cores, ports=most))
        ground = Ground(stack, scratch, python, backends, proxy_cores)
        standing: dict[str, Standing] = {}
        for size in sizes:
            # One proxy for all that differ only in what is asked: files that we may open are not without end.
            like = next((standing[one.label] for one in sizes[: len(standing)] if one.stands_as(size)), None)
            standing[size.label] = await _stand(ground, size) if like is None else like.asked_as(size)
            await standing[size.label].round(WARM_UP_S)
        for number in range(rounds):
            shift = number % len(sizes)
            for size in sizes[shift:] + sizes[:shift]:
                readings[size.label].append(await standing[size.label].round(seconds))
        found, smaller = [], [readings[sizes[0].label]]
        for size in sizes:
            found.append(_growth(size, standing[size.label], readings[size.label], smaller))
            smaller.append(readings[size.label])
        return found


async def _stand(ground: Ground, size: Size) -> Standing:
    directory = ground.scratch / size.name
    directory.mkdir()
    port = free_port()
    file = directory / "proxy.toml"
    store = f"sqlite:///{directory}/state.db"
    file.write_text(growth.configuration(size, port=port, backends=ground.backends, store=store))
    launch = own.serve(ground.python, file)
    began = time.monotonic()
    child = ground.stack.enter_context(
        started(size.name, launch.command, directory, ground.cores, launch.environment)
    )
    child.wait_ready(port, "/items")
    start_s = time.monotonic() - began
    connections = await connected(port, size.connections)
    for connection in connections:
        ground.stack.callback(connection.close)
    await _greet(connections, size.requests[0])
    return Standing(child, connections, Ring(connections[: size.turns], size.requests, growth.BUSY), start_s)


async def _greet(connections: list[Connection], request: bytes) -> None:
    """One answer for each: what stays idle is a kept connection, not one that never spoke."""
    waiting = set(connections)
    done = asyncio.Event()

    def answered(connection: Connection, status: int, body: bytes) -> None:
        waiting.discard(connection)
        if not waiting:
            done.set()

    for begin in range(0, len(connections), growth.BUSY):
        for connection in connections[begin : begin + growth.BUSY]:
            connection.ask(request, answered)
        await asyncio.sleep(0)
    await asyncio.wait_for(done.wait(), 60.0)


def _growth(size: Size, standing: Standing, rounds: list[Round], smaller: list[list[Round]]) -> Growth:
    resident = sum(process.memory_info().rss for process in standing.child.tree())
    return Growth(
        axis=size.axis,
        size=size.label,
        cpu_us=statistics.median(one.cpu_us for one in rounds),
        ratio=median_ratio(rounds, smaller),
        failed=sum(one.failed for one in rounds),
        start_s=standing.start_s,
        rss_mib=resident / MIB,
        rounds=rounds,
    )


def median_ratio(rounds: list[Round], smaller: list[list[Round]]) -> float:
    """The median over the rounds of the cost against that of the cheapest smaller size in the same round."""
    ratios: list[float] = []
    for one, *others in zip(rounds, *smaller, strict=True):
        ratios.append(one.cpu_us / min(other.cpu_us for other in others))
    return statistics.median(ratios)


def _table(found: list[Growth]) -> Table:
    table = Table(title=f"CPU time per request, limit {LIMIT} x", title_justify="left")
    for column in ("axis", "size", "CPU µs/req", "x smaller", "failed", "ready after s", "RSS MiB"):
        table.add_column(column, justify="left" if column in {"axis", "size"} else "right", no_wrap=True)
    for one in found:
        cells = (f"{one.cpu_us:.1f}", f"{one.ratio:.2f}", f"{one.failed}", f"{one.start_s:.1f}")
        style = "red" if one.ratio > LIMIT or one.failed else ""
        table.add_row(one.axis, one.size, *cells, f"{one.rss_mib:.0f}", style=style)
    return table


if __name__ == "__main__":
    typer.run(main)
