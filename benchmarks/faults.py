"""What faults of backends leave behind: each so and so often, then the proxy's files, tasks and memory.

`python -m benchmarks.faults [--times 10000] [--at-once 400] [--only NAME]`, ten minutes as it stands. Each
fault is played on v2 and on v1, by GET and by POST in turn; every answer is checked, and a client that leaves
has to be cancelled upstream within 500 ms. Exits with 1 if an answer was wrong, a descriptor or a task is
left, or memory grows.

Backends and clients are one process of this test, so that a request's turn comes later the more there are at
once: with time-outs as short as the faults that end by one need them, 400 at once on a busy machine were
answered late by the backend and rightly got a 504. So these faults have a proxy of their own, and the others
one that waits long enough for a late answer to be told from none at all.
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
from benchmarks.fault_play import LEAVING, NAMES, WAITING, Play
from benchmarks.own import version_of
from benchmarks.peers import REPOSITORY
from benchmarks.processes import READY_WITHIN_S, cores, started
from tests.e2e.proxy_process import config, toml
from tests.e2e.raw_client import fetch
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from benchmarks.processes import Child

GROWTH_MIB = 16.0
"""That a proxy may be larger at the end than after its first fault: connections at once, not requests."""
CANCEL_MS = 500
_SOON_MS = 2_500
_LATE_MS = 12_000
"""Time-outs: for what ends by one, and for what must not; less than clients wait (`raw_client.LIMIT_S`)."""
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
    def wrong(self) -> int:
        """How many answers were not as they should be."""
        return sum(count for answer, count in self.answers.items() if answer.startswith("WRONG"))

    @property
    def left(self) -> int:
        """How many files and tasks there are more than before."""
        files = self.after.descriptors - self.before.descriptors
        return max(0, files) + max(0, self.after.tasks - self.before.tasks)

    @property
    def is_right(self) -> bool:
        """Whether every answer was as it should be, and nothing is left."""
        return not self.wrong and not self.left


def main(
    times: Annotated[int, typer.Option(min=4)] = 10_000,
    at_once: Annotated[int, typer.Option(min=1, max=400)] = 400,
    only: Annotated[list[str] | None, typer.Option(help="A fault; may be given again.")] = None,
) -> None:
    """Plays faults through and looks for leaks."""
    names = tuple(only) if only else NAMES
    unknown = set(names) - set(NAMES)
    if unknown:
        raise typer.BadParameter(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    with tempfile.TemporaryDirectory(prefix="dualpath-bench-") as scratch:
        try:
            runs, longest_s = asyncio.run(_measure(Path(scratch), names, times, at_once))
        except asyncio.CancelledError:
            raise typer.Exit(128 + signal.SIGTERM) from None
    rows = [row for run in runs for row in run]
    growth = max(run[-1].after.resident_mib - run[0].after.resident_mib for run in runs)
    Console(width=None if sys.stdout.isatty() else 160).print(_table(rows, times))
    leaving = bool(set(names) & set(LEAVING))
    if leaving:
        print(f"a client that left was cancelled upstream within {1000 * longest_s:.0f} ms")
    print(f"resident memory grew by {growth:.1f} MiB after the first fault, of {GROWTH_MIB:g} at most")
    results.write(
        "faults",
        versions={"dualpath": version_of(Path(sys.executable))},
        options={"times": times, "at_once": at_once},
        found={
            "rows": [asdict(row) for row in rows],
            "growth_mib": growth,
            "targets": list(targets(rows, growth, 1000 * longest_s if leaving else None)),
        },
    )
    if growth > GROWTH_MIB or not all(row.is_right for row in rows):
        raise typer.Exit(1)


def targets(rows: list[Row], growth_mib: float, cancel_ms: float | None) -> Iterator[dict[str, object]]:
    """What the page says of all faults together."""
    asked = sum(sum(row.answers.values()) for row in rows)
    wrong = sum(row.wrong for row in rows)
    left = sum(row.left for row in rows)
    what = f"wrong answers to {asked:,} requests, {len(rows)} faults of backends and clients"
    yield {"what": what, "limit": "0", "measured": f"{wrong:,}", "met": not wrong}
    what = "files and tasks that such faults left behind"
    yield {"what": what, "limit": "0", "measured": f"{left:,}", "met": not left}
    yield {
        "what": "growth of resident memory over all these faults",
        "limit": f"at most {GROWTH_MIB:g} MiB",
        "measured": f"{growth_mib:.1f} MiB",
        "met": growth_mib <= GROWTH_MIB,
    }
    if cancel_ms is not None:
        yield {
            "what": "until a request is cancelled upstream whose client has left",
            "limit": f"at most {CANCEL_MS} ms",
            "measured": f"{cancel_ms:.0f} ms",
            "met": cancel_ms <= CANCEL_MS,
        }


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
) -> tuple[list[list[Row]], float]:
    """The rows of each proxy, and the longest that a backend waited for a client that had left."""
    task = asyncio.current_task()
    assert task is not None
    # No exception wherever SIGTERM happens to come: one in a destructor is ignored, and the run goes on.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    play = Play(at_once)
    for backend in (play.v1, play.v2):
        await backend.listen()
    runs = []
    for timeout_ms in (_LATE_MS, _SOON_MS):
        of_this = tuple(name for name in names if (name in WAITING) == (timeout_ms == _SOON_MS))
        if of_this:
            runs.append(await _run(scratch, play, of_this, times, timeout_ms))
    for backend in (play.v1, play.v2):
        await backend.refuse()
    return runs, play.longest_cancel_s


async def _run(scratch: Path, play: Play, names: tuple[str, ...], times: int, timeout_ms: int) -> list[Row]:
    settings = {
        "connect_timeout": f"{timeout_ms}ms",
        "response_timeout": f"{timeout_ms}ms",
        "idle_timeout": f"{timeout_ms}ms",
        "keepalive_timeout": "300ms",
    }
    document = config(play.v1.url, play.v2.url, v1=settings, v2=settings)
    file = scratch / f"proxy-{timeout_ms}.toml"
    file.write_text(toml(document))
    command = [sys.executable, "-m", "benchmarks.watched", str(file)]
    rows = []
    name = f"dualpath-{timeout_ms}"
    with started(name, command, scratch, cores()[0], {"PYTHONPATH": str(REPOSITORY)}) as child:
        play.listen = await _ready(child)
        for _ in range(20):
            await fetch(play.listen, "GET", "/warm")
        before = await _at_rest(play, child, file)
        for fault in names:
            began = time.monotonic()
            came: Counter[str] = await play.repeat(fault, times)
            took_s = time.monotonic() - began
            after = await _at_rest(play, child, file)
            rows.append(Row(fault, dict(came), took_s, before, after))
            print(f"{fault}: {took_s:.0f} s", file=sys.stderr)
            before = after
    return rows


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
