"""What faults of backends leave behind: each so and so often, then the proxy's files, tasks and memory.

`python -m benchmarks.faults [--times 10000] [--at-once 100] [--only NAME]`. Each fault is played on v2 and on
v1, by GET and by POST in turn; every answer is checked, and a client that leaves has to be cancelled upstream
within 500 ms. Exits with 1 if an answer was wrong, a descriptor or a task is left, or memory grows.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import results
from benchmarks.fault_play import LEAVING, NAMES, Play
from benchmarks.own import version_of
from benchmarks.peers import REPOSITORY
from benchmarks.processes import READY_WITHIN_S, cores, end_on_sigterm, started
from tests.e2e.proxy_process import config, toml
from tests.e2e.raw_client import fetch
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from collections import Counter

    from benchmarks.processes import Child

GROWTH_MIB = 16.0
"""That the proxy may be larger at the end than after the first fault: connections at once, not requests."""
_REST_S = 1.0
_STEADY = 10  # looks in a row


@dataclass(frozen=True, slots=True)
class Look:
    """The proxy at rest, as it sees itself."""

    tasks: int
    descriptors: int
    resident_mib: float


@dataclass(frozen=True, slots=True)
class Row:
    """One fault: what came of it, and the proxy at rest before and after."""

    fault: str
    answers: dict[str, int]
    seconds: float
    before: Look
    after: Look

    @property
    def is_right(self) -> bool:
        """Whether every answer was as it should be, and nothing is left."""
        wrong = any(answer.startswith("WRONG") for answer in self.answers)
        left = self.after.tasks > self.before.tasks or self.after.descriptors > self.before.descriptors
        return not wrong and not left


def main(
    times: Annotated[int, typer.Option(min=4)] = 10_000,
    at_once: Annotated[int, typer.Option(min=1, max=400)] = 100,
    only: Annotated[list[str] | None, typer.Option(help="A fault; may be given again.")] = None,
) -> None:
    """Plays faults through and looks for leaks."""
    end_on_sigterm()
    names = tuple(only) if only else NAMES
    unknown = set(names) - set(NAMES)
    if unknown:
        raise typer.BadParameter(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    with tempfile.TemporaryDirectory(prefix="dualpath-bench-") as scratch:
        rows, longest_s = asyncio.run(_measure(Path(scratch), names, times, at_once))
    growth = rows[-1].after.resident_mib - rows[0].after.resident_mib
    Console(width=None if sys.stdout.isatty() else 160).print(_table(rows, times))
    if set(names) & set(LEAVING):
        print(f"a client that left was cancelled upstream within {1000 * longest_s:.0f} ms")
    print(f"resident memory grew by {growth:.1f} MiB after the first fault, of {GROWTH_MIB:g} at most")
    results.write(
        "faults",
        versions={"dualpath": version_of(Path(sys.executable))},
        options={"times": times, "at_once": at_once},
        found={
            "rows": [asdict(row) for row in rows],
            "longest_cancel_ms": 1000 * longest_s,
            "growth_mib": growth,
        },
    )
    if growth > GROWTH_MIB or not all(row.is_right for row in rows):
        raise typer.Exit(1)


def _table(rows: list[Row], times: int) -> Table:
    table = Table(title=f"{times} times each fault", title_justify="left")
    for column in ("fault", "answers", "s", "files", "tasks", "MiB"):
        table.add_column(column, justify="left" if column in {"fault", "answers"} else "right")
    for row in rows:
        told = ", ".join(f"{count} x {answer}" for answer, count in sorted(row.answers.items()))
        table.add_row(
            row.fault,
            told,
            f"{row.seconds:.1f}",
            f"{row.before.descriptors} → {row.after.descriptors}",
            f"{row.before.tasks} → {row.after.tasks}",
            f"{row.before.resident_mib:.0f} → {row.after.resident_mib:.0f}",
            style="" if row.is_right else "red",
        )
    return table


async def _measure(
    scratch: Path, names: tuple[str, ...], times: int, at_once: int
) -> tuple[list[Row], float]:
    play = Play(at_once)
    for backend in (play.v1, play.v2):
        await backend.listen()
    settings = {
        "connect_timeout": "300ms",
        "response_timeout": "1s",
        "idle_timeout": "1s",
        "keepalive_timeout": "300ms",
    }
    document = config(play.v1.url, play.v2.url, v1=settings, v2=settings)
    file = scratch / "proxy.toml"
    file.write_text(toml(document))
    command = [sys.executable, "-m", "benchmarks.watched", str(file)]
    rows = []
    with started("dualpath", command, scratch, cores()[0], {"PYTHONPATH": str(REPOSITORY)}) as child:
        play.listen = await _ready(child)
        for _ in range(20):
            await fetch(play.listen, "GET", "/warm")
        before = await _at_rest(play, child, file)
        for name in names:
            began = time.monotonic()
            came: Counter[str] = await play.repeat(name, times)
            took_s = time.monotonic() - began
            after = await _at_rest(play, child, file)
            rows.append(Row(name, dict(came), took_s, before, after))
            before = after
    for backend in (play.v1, play.v2):
        await backend.refuse()
    return rows, play.longest_cancel_s


async def _ready(child: Child) -> tuple[str, int]:
    """Where it listens, once it does."""
    give_up_at = time.monotonic() + READY_WITHIN_S
    while not (told := re.search(r"listen=([\d.]+):(\d+)", child.log.read_text())):
        if time.monotonic() > give_up_at:
            raise RuntimeError(f"{child!r} has not started: {child.log.read_text()[-2000:]}")
        await asyncio.sleep(0.05)
    return told[1], int(told[2])


async def _at_rest(play: Play, child: Child, file: Path) -> Look:
    """The proxy once its connections are gone and its figures have stood still for a while."""
    await asyncio.sleep(_REST_S)
    await play.rest()
    looks: list[Look] = []
    while len(looks) < _STEADY or len({(one.tasks, one.descriptors) for one in looks[-_STEADY:]}) > 1:
        looks.append(await _look(child, file))
    return looks[-1]


async def _look(child: Child, file: Path) -> Look:
    told = Path(f"{file}.told")
    os.kill(child.tree()[0].pid, signal.SIGRTMIN)
    await eventually(told.exists, READY_WITHIN_S)
    return _taken(told)


def _taken(told: Path) -> Look:
    look = Look(**json.loads(told.read_text()))
    told.unlink()
    return look


if __name__ == "__main__":
    typer.run(main)
