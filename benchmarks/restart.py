"""Restarts without downtime under load: how many requests fail, and what the others wait for it.

`python -m benchmarks.restart [--restarts 5] [--rate 1000] [--workers 1]`

A real `dualpath serve` is told by SIGUSR2 to start its successor, again and again, while requests leave when
they are due whatever became of those before: half of them on kept connections, half each on a connection of
its own, and fifty a second at the admin. Nothing is sent twice: a request whose connection is closed under it
has failed. Latency counts from when a request was due. Exits with 1 if a request failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import psutil
import typer
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import own, results
from benchmarks.asking import BROKEN, whole_answer
from benchmarks.processes import cores, end_on_sigterm, free_port, started

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

QUIET_S = 2.0
WITHIN_S = 30.0
TICK_S = 0.005
ADMIN_EVERY_S = 0.02
_READ_BYTES = 1 << 16

_CONFIGURATION = """
[listen]
address = "127.0.0.1:{listen}"
workers = {workers}
[admin]
address = "127.0.0.1:{admin}"
[store]
url = "sqlite:///{store}"
[backends.v1]
endpoints = ["http://127.0.0.1:{v1}"]
[backends.v2]
endpoints = ["http://127.0.0.1:{v2}"]
[[rollouts]]
name = "default"
key = ["header:X-User-Id"]
percentage = 50
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: when it was due (monotonic seconds), how long it took from then, and its status."""

    kind: str
    due: float
    latency_ms: float
    status: int


@dataclass(frozen=True, slots=True)
class Figure:
    """The requests of one kind in one part of the run; latencies None without any."""

    requests: int
    failed: int
    p50_ms: float | None
    p99_ms: float | None
    worst_ms: float | None


@dataclass(slots=True)
class Load:
    """Requests that are due at `rate` a second, kept and fresh connections in turn."""

    port: int
    admin: int
    rate: float
    answers: list[Asked] = field(default_factory=list)
    _idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, ended: asyncio.Event) -> None:
        """Until `ended`, and until everything that was sent is answered."""
        began = time.monotonic()
        sent = asked_admin = 0
        while not ended.is_set():
            passed = time.monotonic() - began
            while sent < passed * self.rate:
                kind = ("kept", "fresh")[sent % 2]
                self._send(kind, began + sent / self.rate, sent)
                sent += 1
            while asked_admin < passed / ADMIN_EVERY_S:
                self._send("admin", began + asked_admin * ADMIN_EVERY_S, asked_admin)
                asked_admin += 1
            await asyncio.sleep(TICK_S)
        await asyncio.wait_for(asyncio.gather(*self._under_way), WITHIN_S)
        for _, writer in self._idle:
            writer.close()

    def _send(self, kind: str, due: float, number: int) -> None:
        task = asyncio.create_task(self._ask(kind, due, number))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _ask(self, kind: str, due: float, number: int) -> None:
        status = BROKEN
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            status = await self._status(kind, number)
        self.answers.append(Asked(kind, due, (time.monotonic() - due) * 1e3, status))

    async def _status(self, kind: str, number: int) -> int:
        reader, writer = await self._connection(kind)
        target, host = (b"/api/v1/status", b"127.0.0.1") if kind == "admin" else (b"/", b"bench")
        closing = b"" if kind == "kept" else b"Connection: close\r\n"
        writer.write(
            b"GET %b HTTP/1.1\r\nHost: %b\r\nX-User-Id: user-%d\r\n%b\r\n"
            % (target, host, number % 512, closing)
        )
        read = b""
        while (answer := whole_answer(read)) is None:
            piece = await reader.read(_READ_BYTES)
            if not piece:
                writer.close()
                return BROKEN
            read += piece
        if kind == "kept" and b"connection: close" not in read[: read.find(b"\r\n\r\n")].lower():
            self._idle.append((reader, writer))
        else:
            writer.close()
        return answer[0]

    async def _connection(self, kind: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while kind == "kept" and self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():  # closed while nobody used it, as every client sees
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self.admin if kind == "admin" else self.port)


def main(
    restarts: Annotated[int, typer.Option(min=1, max=100)] = 5,
    rate: Annotated[int, typer.Option(min=10, max=20_000, help="Requests a second.")] = 1000,
    workers: Annotated[int, typer.Option(min=1, max=64)] = 1,
    python: Annotated[Path | None, typer.Option(help="Whose dualpath; the compiled one if absent.")] = None,
) -> None:
    """Measures failed requests and latency while processes succeed one another."""
    end_on_sigterm()
    python = (python or own.default_python()).absolute()
    with tempfile.TemporaryDirectory(prefix="dualpath-bench-") as scratch:
        answers, spans = uvloop.run(_run(Path(scratch), python, restarts, rate, workers))
    rows = [
        {"kind": kind, "part": part, **asdict(figure_of(answers, spans, kind, during=part == "restarting"))}
        for kind in ("kept", "fresh", "admin")
        for part in ("quiet", "restarting")
    ]
    failed = sum(answer.status != 200 for answer in answers)
    console = Console()
    console.print(_table(rows, restarts, spans))
    what = f"failed requests over {restarts} restarts at {rate}/s"
    results.write(
        "restart",
        versions={"dualpath": own.version_of(python)},
        options={"restarts": restarts, "rate": rate, "workers": workers},
        found={
            "restarts_ms": [(end - begin) * 1e3 for begin, end in spans],
            "requests": rows,
            "targets": [{"what": what, "limit": "0", "measured": str(failed), "met": failed == 0}],
        },
    )
    raise typer.Exit(failed > 0)


async def _run(
    scratch: Path, python: Path, restarts: int, rate: int, workers: int
) -> tuple[list[Asked], list[tuple[float, float]]]:
    """All answers, and from when to when each restart went: from the signal to the predecessor's end."""
    proxy_cores, load_cores = cores()
    os.sched_setaffinity(0, load_cores)
    port, admin = free_port(), free_port()
    file = scratch / "proxy.toml"
    with (
        own.origin(scratch, load_cores, name="v1") as [v1],
        own.origin(scratch, load_cores, name="v2") as [v2],
    ):
        file.write_text(
            _CONFIGURATION.format(
                listen=port, admin=admin, workers=workers, store=scratch / "state.db", v1=v1, v2=v2
            )
        )
        launch = own.serve(python, file)
        with started("dualpath", launch.command, scratch, proxy_cores, launch.environment) as child:
            child.wait_ready(admin, "/readyz")
            serving = [child.tree()[0]]
            load, ended = Load(port, admin, rate), asyncio.Event()
            loading = asyncio.create_task(load.run(ended))
            spans = []
            with _ended_at_last(serving):
                await asyncio.sleep(QUIET_S)
                for _ in range(restarts):
                    spans.append(await _restart(serving))
                    await asyncio.sleep(QUIET_S)
                ended.set()
                await loading
    return load.answers, spans


async def _restart(serving: list[psutil.Process]) -> tuple[float, float]:
    before = serving[-1]
    command = before.cmdline()
    began = time.monotonic()
    before.send_signal(signal.SIGUSR2)
    successor: psutil.Process | None = None
    while not _has_ended(before):
        with contextlib.suppress(psutil.Error):
            successor = next((c for c in before.children() if c.cmdline()[1:] == command[1:]), successor)
        if time.monotonic() > began + WITHIN_S:
            raise RuntimeError(f"no successor within {WITHIN_S:g} s")
        await asyncio.sleep(TICK_S)
    if successor is None or _has_ended(successor):
        raise RuntimeError("the process has ended and left no successor")
    serving.append(successor)
    return began, time.monotonic()


@contextlib.contextmanager
def _ended_at_last(serving: Sequence[psutil.Process]) -> Iterator[None]:
    """Ends whoever serves at the end; it is nobody's child by then."""
    try:
        yield
    finally:
        last = serving[-1]
        with contextlib.suppress(psutil.Error):
            tree = [*last.children(recursive=True), last]
            last.terminate()
            _, alive = psutil.wait_procs(tree, timeout=5)
            for process in alive:
                process.kill()


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def figure_of(
    answers: Sequence[Asked], spans: Sequence[tuple[float, float]], kind: str, *, during: bool
) -> Figure:
    """The requests of `kind` that were due within one of `spans`, or outside of all."""
    mine = [
        answer
        for answer in answers
        if answer.kind == kind and any(begin <= answer.due <= end for begin, end in spans) is during
    ]
    waits = sorted(answer.latency_ms for answer in mine)
    failed = sum(answer.status != 200 for answer in mine)
    if not waits:
        return Figure(0, failed, None, None, None)
    return Figure(len(waits), failed, quantile(waits, 0.5), quantile(waits, 0.99), waits[-1])


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed; there must be one."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _table(rows: Sequence[dict[str, object]], restarts: int, spans: Sequence[tuple[float, float]]) -> Table:
    longest = max(end - begin for begin, end in spans)
    table = Table(title=f"{restarts} restarts, the longest {longest:.1f} s", title_justify="left")
    for column in rows[0]:
        table.add_column(column, justify="left" if column in {"kind", "part"} else "right")
    for row in rows:
        table.add_row(*(f"{value:.1f}" if isinstance(value, float) else str(value) for value in row.values()))
    return table


if __name__ == "__main__":
    typer.run(main)
