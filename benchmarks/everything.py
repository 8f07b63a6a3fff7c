"""All measurements one after the other with short settings, then the page of docs/benchmarks.md.

`python -m benchmarks.everything`, which is what `make bench` runs. A script that fails, for want of a program
or because it missed a target, does not stop the others: at the end stands what each came to.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.peers import REPOSITORY

LONGEST_S = 900


@dataclass(frozen=True, slots=True)
class Step:
    """A script of this package, and its options."""

    name: str
    options: tuple[str, ...] = ()


STEPS = (
    Step("decisions"),
    Step("proxy_cost", ("--seconds", "2")),
    Step("latency", ("--seconds", "3")),
    Step("workers", ("--seconds", "2")),
    Step("scale", ("--seconds", "1")),
    Step("memory"),
    Step("rollback_reaction"),
    Step("restart"),
    Step("fleet"),
    Step("report"),
)


def main() -> None:
    """Runs every step; the exit code is that of the last, the report."""
    console = Console()
    table = Table(title="all measurements", title_justify="left")
    for column in ("script", "seconds", "exit code"):
        table.add_column(column, justify="left" if column == "script" else "right")
    code: int | None = 0
    for step in STEPS:
        console.rule(f"{step.name} {' '.join(step.options)}", align="left")
        began = time.monotonic()
        code = _run(step)
        said = "ended after its time" if code is None else str(code)
        table.add_row(step.name, f"{time.monotonic() - began:.0f}", said, style="" if code == 0 else "red")
    console.print(table)
    raise typer.Exit(1 if code is None else code)


def _run(step: Step) -> int | None:
    """One script to its end; its exit code, None if it had to be ended."""
    command = [sys.executable, "-m", f"benchmarks.{step.name}", *step.options]
    process = subprocess.Popen(command, cwd=REPOSITORY)
    try:
        return process.wait(LONGEST_S)
    except subprocess.TimeoutExpired:
        process.terminate()  # the scripts end their own children then
        process.wait()
        return None
    except BaseException:
        process.terminate()
        process.wait()
        raise


if __name__ == "__main__":
    typer.run(main)
