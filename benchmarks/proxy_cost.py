"""What a proxied request costs: CPU time of the proxy's processes, side by side with other proxies.

`python -m benchmarks.proxy_cost [--rounds 5] [--seconds 3] [--only nginx,dualpath] [--bodies "200 B"]`

All proxies stand at once, idle but for the one that is asked. Rounds are short and alternate, so that a noisy
machine is noisy for everybody; a ratio compares two proxies within one round, and the median of the rounds is
reported. The proxies run on one core, wrk and the backend on another, where there are two.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import results, wrk
from benchmarks.lineup import chosen, standing
from benchmarks.peers import PEERS
from benchmarks.processes import Child, cores, end_on_sigterm

BASE = "nginx"
WARM_UP_S = 1

LOADS = [
    wrk.Load("200 B", "/200B"),
    wrk.Load("16 KiB", "/16KiB"),
    wrk.Load("1 MiB", "/1MiB"),
    wrk.Load("POST 16 KiB", "/post", upload_bytes=16 << 10),
]
LOAD_NAMES = [load.name for load in LOADS]


@dataclass(frozen=True, slots=True)
class Figure:
    """One proxy under one load in one round."""

    cpu_us: float  # per request
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int


Figures = dict[tuple[str, str], list[Figure]]  # by load and peer, one per round


def main(
    rounds: Annotated[int, typer.Option(min=1, max=50)] = 5,
    seconds: Annotated[int, typer.Option(min=1, max=60)] = 3,
    only: Annotated[str, typer.Option(help="Peers, by commas.")] = ",".join(PEERS),
    bodies: Annotated[str, typer.Option(help="Loads, by commas.")] = ",".join(LOAD_NAMES),
) -> None:
    """Measures CPU time per request, throughput and latency of each proxy under each load."""
    end_on_sigterm()
    console = Console()
    names = chosen(only, list(PEERS), "--only")
    loads = [load for load in LOADS if load.name in chosen(bodies, LOAD_NAMES, "--bodies")]
    if shutil.which("wrk") is None:
        console.print("[red]wrk is not installed[/] (Debian: apt-get install wrk nginx haproxy)")
        raise typer.Exit(1)
    with tempfile.TemporaryDirectory(prefix="dualpath-bench-") as scratch:
        versions, figures = _measure(console, Path(scratch), names, loads, rounds, seconds)
    for load in loads:
        console.print(_table(load.name, names, figures, versions))
    options = {"rounds": rounds, "seconds": seconds, "connections": wrk.CONNECTIONS}
    file = results.write("proxy_cost", versions=versions, options=options, found={"loads": _found(figures)})
    console.print(f"written to {file}")


def _measure(
    console: Console, scratch: Path, names: list[str], loads: list[wrk.Load], rounds: int, seconds: int
) -> tuple[dict[str, str], Figures]:
    """Starts everything, runs the rounds, ends everything; versions by name, and the figures."""
    _, load_cores = cores()
    figures: Figures = {}
    with standing(scratch, {name: PEERS[name] for name in names}) as lineup:
        scripts = {load.name: wrk.script(load, scratch) for load in loads}
        for number in range(rounds):
            for load in loads:
                for name in lineup.turns(number):
                    console.print(f"round {number + 1}/{rounds}  {load.name:12} {name}", style="dim")
                    port, lua = lineup.ports[name], scripts[load.name]
                    if number == 0:
                        wrk.run(port, lua, WARM_UP_S, load_cores)
                    figure = _one(lineup.running[name], port, lua, seconds, load_cores)
                    figures.setdefault((load.name, name), []).append(figure)
    return lineup.versions, figures


def _one(child: Child, port: int, lua: Path, seconds: int, load_cores: set[int]) -> Figure:
    before = child.cpu_s()
    reading = wrk.run(port, lua, seconds, load_cores)
    spent = child.cpu_s() - before
    answered = max(1, reading.requests)
    return Figure(
        cpu_us=spent / answered * 1e6,
        requests_per_s=reading.requests / reading.duration_s,
        p50_ms=reading.p50_ms,
        p99_ms=reading.p99_ms,
        failed=reading.failed,
    )


def _table(load: str, names: list[str], figures: Figures, versions: dict[str, str]) -> Table:
    table = Table(title=f"{load}, {wrk.CONNECTIONS} connections", title_justify="left")
    for column in ("proxy", "CPU µs/req", f"x {BASE}", "req/s", "p50 ms", "p99 ms", "failed"):
        table.add_column(column, justify="left" if column == "proxy" else "right", no_wrap=True)
    for name in names:
        rows = figures.get((load, name))
        if rows is None:
            table.add_row(name, versions[name], *[""] * 5, style="dim")
            continue
        middle = _medians(rows)
        ratio = _ratio(figures, load, name)
        table.add_row(
            name,
            f"{middle.cpu_us:.1f}",
            "" if ratio is None else f"{ratio:.2f}",
            f"{middle.requests_per_s:,.0f}",
            f"{middle.p50_ms:.2f}",
            f"{middle.p99_ms:.2f}",
            str(middle.failed),
            style="bold" if name == "dualpath" else "",
        )
    return table


def _medians(rows: list[Figure]) -> Figure:
    """Medians over the rounds; failures are summed, because none is normal."""
    return Figure(
        cpu_us=statistics.median(row.cpu_us for row in rows),
        requests_per_s=statistics.median(row.requests_per_s for row in rows),
        p50_ms=statistics.median(row.p50_ms for row in rows),
        p99_ms=statistics.median(row.p99_ms for row in rows),
        failed=sum(row.failed for row in rows),
    )


def _ratio(figures: Figures, load: str, name: str) -> float | None:
    """Median over the rounds of CPU time against the base in the same round; None where there is no base."""
    base = figures.get((load, BASE))
    if base is None:
        return None
    pairs = zip(figures[load, name], base, strict=True)
    return statistics.median(row.cpu_us / other.cpu_us for row, other in pairs)


def _found(figures: Figures) -> dict[str, dict[str, object]]:
    loads: dict[str, dict[str, object]] = {}
    for (load, name), rows in figures.items():
        loads.setdefault(load, {})[name] = {
            "median": asdict(_medians(rows)),
            f"cpu_ratio_to_{BASE}": _ratio(figures, load, name),
            "rounds": [asdict(row) for row in rows],
        }
    return loads


if __name__ == "__main__":
    typer.run(main)
