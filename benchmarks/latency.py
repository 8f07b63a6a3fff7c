"""Latency at an equal offered load: every proxy gets the same requests a second, whether it keeps up or not.

`python -m benchmarks.latency [--rate 10000] [--rounds 5] [--seconds 5] [--only nginx,dualpath]`

An open loop: a request is due when the clock says so, and its latency counts from then (no coordinated
omission). Rounds alternate, and a ratio compares two proxies within one round. Each round is another user's,
so that both of dualpath's paths are met. The proxies run on one core, oha and the backend on another, where
there are two.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import oha, results
from benchmarks.lineup import PROBE, chosen, standing
from benchmarks.oha import Reading
from benchmarks.peers import PEERS
from benchmarks.processes import cores, end_on_sigterm
from benchmarks.report_tables import KEPT_UP

BASE = "nginx"
DIRECT = "direct"  # the backend without a proxy: what of a latency is the load's own
COMPARED = ("nginx", "dualpath", "haproxy", "envoy")
CONNECTIONS = 64
TARGET = 1.5
WARM_UP_S = 1

Readings = dict[str, list[Reading]]  # by peer, one per round


def main(
    rate: Annotated[int, typer.Option(min=1, max=200_000, help="Requests a second.")] = 10_000,
    rounds: Annotated[int, typer.Option(min=1, max=50)] = 5,
    seconds: Annotated[int, typer.Option(min=1, max=60)] = 5,
    only: Annotated[str, typer.Option(help="Peers, by commas.")] = ",".join(COMPARED),
) -> None:
    """Measures p50, p99 and p99.9 of each proxy at one offered load."""
    end_on_sigterm()
    console = Console()
    names = chosen(only, list(PEERS), "--only")
    program = oha.program()
    if program is None:
        console.print(f"[red]{oha.INSTALL}[/]")
        raise typer.Exit(1)
    with tempfile.TemporaryDirectory(prefix="dualpath-bench-") as scratch:
        versions, readings = _measure(console, Path(scratch), names, program, rate, rounds, seconds)
    versions["oha"] = oha.version(program)
    console.print(_table(names, readings, rate, versions))
    file = results.write(
        "latency",
        versions=versions,
        options={"rate": rate, "rounds": rounds, "seconds": seconds, "connections": CONNECTIONS},
        found={"target_p99_ratio": TARGET, "peers": found(readings)},
    )
    console.print(f"written to {file}")


def _measure(
    console: Console, scratch: Path, names: list[str], program: str, rate: int, rounds: int, seconds: int
) -> tuple[dict[str, str], Readings]:
    """Starts everything, runs the rounds, ends everything; versions by name, and the readings."""
    _, load_cores = cores()
    readings: Readings = {}
    with standing(scratch, {name: PEERS[name] for name in names}) as lineup:
        for number in range(rounds):
            for name in (DIRECT, *lineup.turns(number)):
                console.print(f"round {number + 1}/{rounds}  {name}", style="dim")
                port = lineup.backend_port if name == DIRECT else lineup.ports[name]
                url = f"http://127.0.0.1:{port}{PROBE}"
                user = f"user-{number}"
                oha.run(program, url, rate, WARM_UP_S, CONNECTIONS, user, load_cores)
                reading = oha.run(program, url, rate, seconds, CONNECTIONS, user, load_cores)
                readings.setdefault(name, []).append(reading)
    return lineup.versions, readings


def found(readings: Readings) -> dict[str, dict[str, object]]:
    """By peer: medians over the rounds, the ratio of p99 to the base's, and the rounds themselves."""
    return {
        name: {
            "median": asdict(medians(rows)),
            f"p99_ratio_to_{BASE}": ratio(readings, name),
            "rounds": [asdict(row) for row in rows],
        }
        for name, rows in readings.items()
    }


def medians(rows: list[Reading]) -> Reading:
    """Medians over the rounds; failures are summed, because none is normal."""
    return Reading(
        p50_ms=statistics.median(row.p50_ms for row in rows),
        p99_ms=statistics.median(row.p99_ms for row in rows),
        p999_ms=statistics.median(row.p999_ms for row in rows),
        requests_per_s=statistics.median(row.requests_per_s for row in rows),
        failed=sum(row.failed for row in rows),
    )


def ratio(readings: Readings, name: str) -> float | None:
    """Median over the rounds of p99 against the base's in the same round; None where there is no base."""
    base = readings.get(BASE)
    if base is None:
        return None
    pairs = zip(readings[name], base, strict=True)
    return statistics.median(row.p99_ms / other.p99_ms for row, other in pairs)


def _table(names: list[str], readings: Readings, rate: int, versions: dict[str, str]) -> Table:
    table = Table(title=f"{rate:,} requests/s offered, {CONNECTIONS} connections", title_justify="left")
    for column in ("proxy", "p50 ms", "p99 ms", "p99.9 ms", f"p99 x {BASE}", "req/s", "failed"):
        table.add_column(column, justify="left" if column == "proxy" else "right", no_wrap=True)
    for name in (DIRECT, *names):
        if name not in readings:
            table.add_row(name, versions[name], *[""] * 5, style="dim")
            continue
        middle = medians(readings[name])
        beside = ratio(readings, name)
        behind = middle.requests_per_s < rate * KEPT_UP
        table.add_row(
            name,
            f"{middle.p50_ms:.2f}",
            f"{middle.p99_ms:.2f}",
            f"{middle.p999_ms:.2f}",
            "" if beside is None else f"{beside:.2f}",
            f"{middle.requests_per_s:,.0f}" + (" behind" if behind else ""),
            str(middle.failed),
            style="bold" if name == "dualpath" else "",
        )
    return table


if __name__ == "__main__":
    typer.run(main)
