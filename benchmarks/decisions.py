"""What deciding costs: one routing decision, one latency recorded, one tick of the controller.

`python -m benchmarks.decisions [--only interpreted,compiled]`. Both builds side by side, where `make
compiled` was run. A decision (which rollout, then which path) may take 1 µs, a record 0.3 µs, a tick 5 ms
with 50 rollouts of three guards and a phase with criteria each. Exits with 1 if the last build misses one.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import own, results
from benchmarks.peers import COMPILED_PYTHON
from benchmarks.processes import cores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TIMING = Path(__file__).parent / "decision_timing.py"
TIMEOUT_S = 120
LIMITS_S = {"decision_s": 1e-6, "record_s": 0.3e-6, "tick_s": 5e-3}
ROWS = {
    "decision_s": "decision: route and path",
    "match_s": "  route",
    "decide_s": "  path",
    "record_s": "record a latency",
    "call_s": "(an empty call, contained above)",
    "tick_s": "tick, 50 rollouts, median",
    "worst_tick_s": "tick, worst",
}
BUILDS = {"interpreted": Path(sys.executable), "compiled": COMPILED_PYTHON}

Figures = dict[str, float]


def main(
    rounds: Annotated[int, typer.Option(min=1, max=20)] = 3,
    only: Annotated[str, typer.Option(help="Builds, by commas.")] = ",".join(BUILDS),
) -> None:
    """Measures each build in processes of its own, in turn, and takes the median of the rounds."""
    if unknown := set(only.split(",")) - set(BUILDS):
        raise typer.BadParameter(f"no such build: {', '.join(unknown)}; there are {', '.join(BUILDS)}")
    wanted = {name: BUILDS[name] for name in only.split(",") if BUILDS[name].exists()}
    runs: dict[str, list[Figures]] = {name: [] for name in wanted}
    versions: dict[str, str] = {}
    for _ in range(rounds):
        for name, python in wanted.items():
            told = _measured(python)
            versions[name] = str(told["version"])
            runs[name].append({key: float(told[key]) for key in ROWS})
    found = {name: medians(of) for name, of in runs.items()}
    Console().print(_table(found))
    builds = {name: {"median": found[name], "rounds": runs[name]} for name in found}
    results.write(
        "decisions",
        versions=versions,
        options={"rounds": rounds, "limits_s": LIMITS_S},
        found={"builds": builds},
    )
    raise typer.Exit(bool(found and misses(list(found.values())[-1])))


def _measured(python: Path) -> dict[str, Any]:
    proxy_cores, _ = cores()
    done = subprocess.run(
        [str(python), "-P", str(TIMING)],
        env={**os.environ, **own.environment_of(python)},
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_S,
        preexec_fn=lambda: os.sched_setaffinity(0, proxy_cores),
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def medians(runs: Sequence[Figures]) -> Figures:
    """Each figure's median over the runs."""
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def misses(figures: Mapping[str, float]) -> list[str]:
    """What is over its limit."""
    return [key for key, limit_s in LIMITS_S.items() if figures[key] > limit_s]


def shown(key: str, seconds: float) -> str:
    """In the unit that people use for it."""
    return f"{seconds * 1e3:.1f} ms" if "tick" in key else f"{seconds * 1e6:.2f} µs"


def _table(found: Mapping[str, Figures]) -> Table:
    table = Table(title="What deciding costs", title_justify="left")
    table.add_column("")
    for name in (*found, "limit"):
        table.add_column(name, justify="right")
    for key, words in ROWS.items():
        limit = shown(key, LIMITS_S[key]) if key in LIMITS_S else ""
        cells = [
            f"[red]{shown(key, figures[key])}[/]" if key in misses(figures) else shown(key, figures[key])
            for figures in found.values()
        ]
        table.add_row(words, *cells, limit)
    return table


if __name__ == "__main__":
    typer.run(main)
