"""How well the judge decides: false rollbacks and the delay of true ones, beside rules as others have them.

`python -m benchmarks.judge [--days 20] [--only equal,fault] [--seed 1]`

Nothing is sent: days of traffic are drawn second by second, and the judge's own tests (`core.comparison`) and
the other rules are asked about the same counts. Groups that are left out keep the figures they had. With 20
days a case the whole takes about twenty minutes on one core of the compiled build, and several times as long
interpreted. The same seed gives the same figures. Exits with 1 if something was not reached.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import proxy
from benchmarks import results
from benchmarks.judging import cost
from benchmarks.judging.cases import GROUPS, cases
from benchmarks.judging.latency import latency_cases, played_latency, played_promotion
from benchmarks.judging.playing import played
from benchmarks.judging.rules import RULES
from benchmarks.judging.standing import TITLES, targets
from benchmarks.peers import COMPILED_PYTHON, REPOSITORY
from proxy.core import comparison

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAYS = 20
PROMOTIONS = 100
_LEAST_FAULTS = 10
_LATENCY_DAYS = 5
_LATENCY_FAULTS = 40
_AGAIN = "DUALPATH_JUDGE_AGAIN"


def main(
    days: Annotated[int, typer.Option(min=1, help="A case of a healthy v2; all else in proportion.")] = DAYS,
    only: Annotated[str, typer.Option(help="Groups of cases, by commas.")] = ",".join(TITLES),
    seed: int = 1,
) -> None:
    """Plays all cases, and writes benchmarks/results/judge.json."""
    wanted = only.split(",")
    if unknown := set(wanted) - set(TITLES):
        raise typer.BadParameter(f"no such cases: {', '.join(unknown)}; there are {', '.join(TITLES)}")
    console = Console()
    if is_interpreted():
        site = compiled_site()
        if site is not None:
            raise typer.Exit(_again(site))
        console.print("[yellow]no compiled build of these sources (make compiled): this takes a while[/]")
    rows = []
    for row in _rows(wanted, days, seed):
        rows.append(row)
        console.print(_line(row), highlight=False)
    rows = together(rows, results.read("judge", results.DIRECTORY), wanted)
    cost_us = cost.tick_us()
    reached = targets(rows, cost_us)
    console.print(_table(reached))
    results.write(
        "judge",
        versions={"dualpath": f"{proxy.__version__}, {'interpreted' if is_interpreted() else 'compiled'}"},
        options={"days": days, "seed": seed},
        found={"rules": list(RULES), "cost_us": cost_us, "cases": rows, "targets": reached},
    )
    raise typer.Exit(not all(one["met"] for one in reached))


def together(
    rows: list[dict[str, Any]], before: results.Document | None, wanted: list[str]
) -> list[dict[str, Any]]:
    """The rows, and those of the groups that were not wanted from the document before, in order."""
    kept = [row for row in (before or {}).get("cases", []) if row["group"] not in wanted]
    return sorted([*kept, *rows], key=lambda row: list(TITLES).index(row["group"]))


# ... which build


def is_interpreted() -> bool:
    """Whether the judge that is asked runs interpreted."""
    return str(comparison.__file__).endswith(".py")


def compiled_site() -> Path | None:
    """Where the compiled build of these sources lies, for this version of Python; None if there is none."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = COMPILED_PYTHON.parents[1] / "lib" / version / "site-packages"
    own, there = REPOSITORY / "proxy" / "core", site / "proxy" / "core"
    for file in own.glob("*.py"):
        other = there / file.name
        if not other.exists() or other.read_bytes() != file.read_bytes():
            return None
    return site


def _again(site: Path) -> int:
    """The same command with the compiled build before this tree."""
    if os.environ.get(_AGAIN):
        raise RuntimeError("the compiled build is not taken")
    path = os.pathsep.join((str(site), str(REPOSITORY)))
    environment = {**os.environ, "PYTHONPATH": path, _AGAIN: "1"}
    command = [sys.executable, "-P", "-m", "benchmarks.judge", *sys.argv[1:]]
    return subprocess.run(command, env=environment, check=False).returncode


# ... the rows


def _rows(wanted: list[str], days: int, seed: int) -> Iterator[dict[str, Any]]:
    for case in cases():
        if case.group in wanted:
            group = GROUPS[case.group]
            least = _LEAST_FAULTS if group.is_fault else 1
            yield _timed(played, case, scaled(group.per_case, days, least), seed)
    for slow in latency_cases():
        if slow.group in wanted:
            often, least = (_LATENCY_DAYS, 1) if slow.onset_s is None else (_LATENCY_FAULTS, _LEAST_FAULTS)
            yield _timed(played_latency, slow, scaled(often, days, least), seed)
    if "promotion" in wanted:
        for share in (0.1, 0.5):
            for points in (0.0, 0.01):
                often = scaled(PROMOTIONS, days, _LEAST_FAULTS)
                yield _timed(played_promotion, share, points, often, seed)


def scaled(often: int, days: int, least: int) -> int:
    """How often to play what is played `often` with the default number of days."""
    return max(round(often * days / DAYS), least)


def _timed(play: Any, *told: Any) -> dict[str, Any]:
    began = time.process_time()
    row: dict[str, Any] = play(*told)
    row["cpu_s"] = time.process_time() - began
    return row


def _line(row: dict[str, Any]) -> str:
    if "rollbacks" in row:
        told = ", ".join(f"{name} {n}" for name, n in row["rollbacks"].items())
        told = f"rolled back of {row['runs']}: {told}"
    elif "rules" in row:
        told = ", ".join(f"{name} {_seen(one)}" for name, one in row["rules"].items())
    else:
        requests = row["requests"]
        told = f"promoted {row['promoted']} of {row['runs']}"
        told += f", {requests['median']:g} requests, p95 {requests['p95']:g}" if requests else ""
    return f"{row['group']}: {row['case']}: {told} ({row['cpu_s']:.0f} s)"


def _seen(one: dict[str, Any]) -> str:
    if one["requests"] is None:
        return f"never ({one['false']} before)"
    requests, seconds = one["requests"], one["seconds"]
    told = f"{requests['median']:g}/{requests['p95']:g} requests, {seconds['median']:g}/{seconds['p95']:g} s"
    return told + (
        f" ({one['missed']} missed, {one['false']} before)" if one["missed"] + one["false"] else ""
    )


def _table(reached: list[dict[str, Any]]) -> Table:
    table = Table(title="What is to be reached", title_justify="left")
    for column in ("", "limit", "measured", ""):
        table.add_column(column)
    for one in reached:
        met = "met" if one["met"] else "[red]missed[/]"
        table.add_row(one["what"], one["limit"], one["measured"], met)
    return table


if __name__ == "__main__":
    typer.run(main)
