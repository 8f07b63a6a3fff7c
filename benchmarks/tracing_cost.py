"""What traces cost: CPU time per request with none, one in a hundred, and all of them traced, side by side.

`python -m benchmarks.tracing_cost [--rounds 5] [--seconds 3] [--python FILE]`

The same build stands several times and differs by its configuration alone. Rounds alternate, and a ratio
compares two of them within one round; the median of the rounds is reported. The CPU time is that of the whole
process, with the thread that sends. A collector that takes everything runs beside the load and is not
charged. It exits with 1 if one in a hundred costs more than 3 %, or if any request failed.
"""

from __future__ import annotations

import statistics
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import results, wrk
from benchmarks.own import default_python, origin, pinned, serve, version_of
from benchmarks.processes import Child, end_on_sigterm, free_port, started

if TYPE_CHECKING:
    from collections.abc import Iterator

OFF = "off"
KINDS = {OFF: None, "watched": 0.0, "1 %": 1.0, "100 %": 100.0}
"""Percent of the requests that are traced; "watched" are only those that fail or are slow: none here."""
MOST = 1.03
MEASURED = "1 %"
LOAD = wrk.Load("200 B", "/200B")

_PLAIN = """
[listen]
address = "127.0.0.1:{port}"
[admin]
address = "127.0.0.1:0"
[store]
url = "memory://"
[log]
level = "error"
[backends.v1]
endpoints = ["http://127.0.0.1:{origin}"]
[backends.v2]
endpoints = ["http://127.0.0.1:{origin}"]
[[rollouts]]
name = "default"
key = ["header:X-User-Id"]
percentage = 50
"""
_TRACED = """
[telemetry]
otlp_endpoint = "http://127.0.0.1:{collector}"
[telemetry.metrics]
push_every = "0s"
[telemetry.traces]
sample = {sample}
keep = ["error", "fallback", "slow"]
slow_above = "10s"
max_queue = 20000
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """One kind in one round."""

    cpu_us: float  # per request
    requests_per_s: float
    p99_ms: float
    failed: int


Figures = dict[str, list[Figure]]  # by kind, one per round


class _Taker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Takes whatever is sent."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""


def main(
    rounds: Annotated[int, typer.Option(min=1, max=50)] = 5,
    seconds: Annotated[int, typer.Option(min=1, max=60)] = 3,
    python: Annotated[Path | None, typer.Option(help="The interpreter of the build.")] = None,
) -> None:
    """Measures CPU time per request of each kind."""
    end_on_sigterm()
    console = Console()
    build = python or default_python()
    with tempfile.TemporaryDirectory(prefix="dualpath-bench-") as scratch:
        figures = _measure(console, Path(scratch), build, rounds, seconds)
    console.print(_table(figures))
    options = {"rounds": rounds, "seconds": seconds, "connections": wrk.CONNECTIONS}
    found = {
        kind: {
            "cpu_ratio_to_off": _ratio(figures, kind),
            "cpu_us": statistics.median(row.cpu_us for row in rows),
            "rounds": [asdict(row) for row in rows],
        }
        for kind, rows in figures.items()
    }
    versions = {"dualpath": version_of(build)}
    file = results.write("tracing_cost", versions=versions, options=options, found={"kinds": found})
    console.print(f"written to {file}")
    if _ratio(figures, MEASURED) > MOST or any(row.failed for rows in figures.values() for row in rows):
        raise typer.Exit(1)


def _measure(console: Console, scratch: Path, build: Path, rounds: int, seconds: int) -> Figures:
    figures: Figures = {kind: [] for kind in KINDS}
    lua = wrk.script(LOAD, scratch)
    with ExitStack() as running:
        proxy_cores, load_cores = running.enter_context(pinned())
        [backend] = running.enter_context(origin(scratch, load_cores))
        collector = running.enter_context(_collector())
        standing = {
            kind: running.enter_context(_proxy(scratch, build, kind, backend, collector, proxy_cores))
            for kind in KINDS
        }
        for number in range(rounds + 1):  # the first is for warming up
            kinds = list(KINDS)[number % len(KINDS) :] + list(KINDS)[: number % len(KINDS)]
            for kind in kinds:
                child, port = standing[kind]
                before = child.cpu_s()
                reading = wrk.run(port, lua, seconds if number else 1, load_cores)
                spent = child.cpu_s() - before
                if number:
                    console.print(f"round {number}/{rounds}  {kind}", style="dim")
                    answered = max(1, reading.requests)
                    per_s = reading.requests / reading.duration_s
                    figure = Figure(spent / answered * 1e6, per_s, reading.p99_ms, reading.failed)
                    figures[kind].append(figure)
    return figures


@contextmanager
def _collector() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Taker)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def _proxy(
    scratch: Path, build: Path, kind: str, backend: int, collector: int, cores: set[int]
) -> Iterator[tuple[Child, int]]:
    port, sample = free_port(), KINDS[kind]
    text = _PLAIN.format(port=port, origin=backend)
    if sample is not None:
        text += _TRACED.format(collector=collector, sample=sample)
    name = f"proxy-{list(KINDS).index(kind)}"
    file = scratch / f"{name}.toml"
    file.write_text(text)
    launch = serve(build, file)
    with started(name, launch.command, scratch, cores, launch.environment) as child:
        child.wait_ready(port, LOAD.target)
        yield child, port


def _ratio(figures: Figures, kind: str) -> float:
    pairs = zip(figures[kind], figures[OFF], strict=True)
    return statistics.median(row.cpu_us / other.cpu_us for row, other in pairs)


def _table(figures: Figures) -> Table:
    table = Table(title=f"{LOAD.name}, {wrk.CONNECTIONS} connections", title_justify="left")
    for column in ("traced", "CPU µs/req", f"x {OFF}", "req/s", "p99 ms", "failed"):
        table.add_column(column, justify="left" if column == "traced" else "right", no_wrap=True)
    for kind, rows in figures.items():
        table.add_row(
            kind,
            f"{statistics.median(row.cpu_us for row in rows):.1f}",
            f"{_ratio(figures, kind):.3f}",
            f"{statistics.median(row.requests_per_s for row in rows):,.0f}",
            f"{statistics.median(row.p99_ms for row in rows):.2f}",
            str(sum(row.failed for row in rows)),
        )
    return table


if __name__ == "__main__":
    typer.run(main)
