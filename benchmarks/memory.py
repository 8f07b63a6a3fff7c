"""What large bodies cost in memory: the growth of the proxy's resident set, with fast and with slow peers.

`python -m benchmarks.memory [--mebibytes 1024] [--slow-rate 64]`. A body is never held: 1 GiB either way has
to pass within 32 MiB of growth, a hundred bodies at once within 64 MiB. Exits with 1 if one does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import results
from benchmarks.peers import Place, dualpath
from benchmarks.processes import Child, cores, end_on_sigterm, free_port, started

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MIB = 1 << 20
PIECE = bytes(range(256)) * 256  # 64 KiB
AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Reading:
    """One case: how much passed, how long it took, and what the proxy grew by."""

    case: str
    mebibytes: int
    seconds: float
    growth_mib: float
    limit_mib: int


class Pace:
    """Holds a stream to a rate in bytes a second; a rate of 0 is none."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._began = time.monotonic()
        self._passed = 0

    def __repr__(self) -> str:
        return f"<Pace {self._passed} at {self._rate}/s>"

    async def passed(self, count: int) -> None:
        """Waits until `count` more bytes fit the rate."""
        self._passed += count
        if self._rate:
            ahead_s = self._passed / self._rate - (time.monotonic() - self._began)
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)


def main(
    mebibytes: Annotated[int, typer.Option(min=1, max=4096)] = 1024,
    slow_rate: Annotated[int, typer.Option(min=1, help="MiB a second of a slow peer.")] = 64,
) -> None:
    """Measures the growth of resident memory while large bodies pass."""
    end_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="dualpath-bench-") as scratch:
        version, readings = asyncio.run(_measure(Path(scratch), mebibytes * MIB, slow_rate * MIB))
    table = Table(title=f"{mebibytes} MiB through the proxy", title_justify="left")
    for column in ("case", "seconds", "growth MiB", "limit MiB"):
        table.add_column(column, justify="left" if column == "case" else "right")
    for one in readings:
        failed = one.growth_mib > one.limit_mib
        table.add_row(
            one.case,
            f"{one.seconds:.1f}",
            f"{one.growth_mib:.1f}",
            str(one.limit_mib),
            style="red" if failed else "",
        )
    Console().print(table)
    results.write(
        "memory",
        versions={"dualpath": version},
        options={"mebibytes": mebibytes, "slow_rate": slow_rate},
        found={"readings": [asdict(one) for one in readings]},
    )
    raise typer.Exit(any(one.growth_mib > one.limit_mib for one in readings))


async def _measure(scratch: Path, length: int, slow: int) -> tuple[str, list[Reading]]:
    """Starts a backend in this process and the proxy beside it; the proxy's version, and every case."""
    proxy_cores, _ = cores()
    open_connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            open_connections.add(task)
            task.add_done_callback(open_connections.discard)
        await _answer(reader, writer)

    backend = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    place = Place(scratch, free_port(), backend.sockets[0].getsockname()[1])
    launch = dualpath(place)
    cases: list[tuple[str, int, Callable[[], Awaitable[object]]]] = [
        ("download", 32, lambda: _download(place.port, length, 0)),
        ("upload", 32, lambda: _upload(place.port, length, 0)),
        ("download, slow client", 32, lambda: _download(place.port, length, slow)),
        ("upload, slow backend", 32, lambda: _upload(place.port, length, slow)),
        (
            f"{AT_ONCE} downloads at once",
            64,
            lambda: asyncio.gather(*(_download(place.port, length // AT_ONCE, 0) for _ in range(AT_ONCE))),
        ),
    ]
    readings = []
    with started("dualpath", launch.command, scratch, proxy_cores, launch.environment) as child:
        await asyncio.to_thread(child.wait_ready, place.port, "/1")
        for case, limit_mib, run in cases:
            readings.append(await _one(child, case, length, limit_mib, run))
    backend.close()
    await asyncio.gather(*open_connections)  # the proxy has gone, and so have its connections
    return launch.version, readings


async def _one(
    child: Child, case: str, length: int, limit_mib: int, run: Callable[[], Awaitable[object]]
) -> Reading:
    resident = child.reset_peak()
    began = time.monotonic()
    await run()
    seconds = time.monotonic() - began
    return Reading(case, length // MIB, seconds, (child.peak_rss() - resident) / MIB, limit_mib)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """GET /N answers N bytes; POST /RATE takes a body at that rate and answers how many bytes came. What the
    proxy tells of it, as of a collector, is taken as fast as it comes."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target = head.split(b" ", 2)[:2]
            if method == b"POST":
                rate = int(target[1:]) if target[1:].isdigit() else 0
                taken = await _take(reader, _content_length(head), rate)
                text = b"%d" % taken
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
            else:
                length = int(target[1:])
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
                await _give(writer, length)
    writer.close()


async def _download(port: int, length: int, rate: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /%d HTTP/1.1\r\nHost: bench\r\n\r\n" % length)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"answered {head!r}")
    await _take(reader, length, rate)
    writer.close()


async def _upload(port: int, length: int, rate: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /%d HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n" % (rate, length))
    await _give(writer, length)
    head = await reader.readuntil(b"\r\n\r\n")
    answer = await reader.readexactly(_content_length(head))
    if int(answer) != length:
        raise RuntimeError(f"{answer!r} of {length} bytes arrived")
    writer.close()


async def _give(writer: asyncio.StreamWriter, length: int) -> None:
    left = length
    while left:
        piece = PIECE[:left]
        writer.write(piece)
        await writer.drain()
        left -= len(piece)


async def _take(reader: asyncio.StreamReader, length: int, rate: int) -> int:
    """Reads that many bytes, no faster than the rate; fails if they end early."""
    pace = Pace(rate)
    taken = 0
    while taken < length:
        piece = await reader.read(min(len(PIECE), length - taken))
        if not piece:
            raise RuntimeError(f"ended after {taken} of {length} bytes")
        taken += len(piece)
        await pace.passed(len(piece))
    return taken


def _content_length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return int(next(line.split(b":")[1] for line in lines if line.startswith(b"content-length:")))


if __name__ == "__main__":
    typer.run(main)
