"""How fast a failing v2 loses its traffic, and whether a client notices.

`python -m benchmarks.rollback_reaction [--rates 100,5000] [--repeats 3] [--percentage 100]`

A real `dualpath serve` before two real backends; v2 begins to fail at a moment that the script chooses, by
answering 500, by resets, or by not answering. Counted by v2 itself: the time from its first failing answer (a
request that hangs fails when the proxy gives it up) to the arrival of the last request, and how many arrived.
Counted by the clients: bad answers. Once with the breaker alone, once with a guard alone. Exits with 1 if the
worst of the repetitions is over the limit or a client had a bad answer.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import own, results
from benchmarks.asking import asked, connected
from benchmarks.growth import requests
from benchmarks.open_loop import OpenLoop
from benchmarks.origin import FAILURES
from benchmarks.processes import end_on_sigterm, free_port, started

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMITS_MS = {"breaker": 50.0, "guard": 1500.0}
RESPONSE_TIMEOUT_S = 0.25
WELL_S = 2.0
SHIFT_S = 0.37  # later in each repetition: the failure must not always fall at the same point of a tick
FAILING_S = {"breaker": 1.5, "guard": 3.5}
SETTLE_S = 5.0
_BREAKER = """
[rollouts.breaker]
enabled = true
open_for = "60s"
"""  # no probes within the measurement: they are meant to reach v2
_GUARD = """
[rollouts.breaker]
enabled = false
[[rollouts.guards]]
metric = "error_rate"
above = 0.02
window = "10s"
min_requests = 20
action = "rollback"
"""
TABLES = {"breaker": _BREAKER, "guard": _GUARD}


@dataclass(frozen=True, slots=True)
class Case:
    """What acts, how v2 fails, and the load in requests a second."""

    mechanism: str
    failure: str
    rate: int


@dataclass(frozen=True, slots=True)
class Reaction:
    """One run. `reaction_ms` is from v2's first failing answer to its last request."""

    reaction_ms: float
    reached: int  # requests that v2 met while failing
    reached_after: int  # of these, after the first failing answer
    sent: int
    bad: int  # answers that clients had and that were not 200, and requests without any
    late: int  # requests that found no idle connection when they were due
    answers: dict[str, int]  # by status; 0 for a connection that broke


def main(
    rates: Annotated[str, typer.Option(help="Requests a second, by commas.")] = "100,5000",
    repeats: Annotated[int, typer.Option(min=1, max=20)] = 3,
    percentage: Annotated[int, typer.Option(min=1, max=100, help="Share of the load that v2 has.")] = 100,
    only: Annotated[str, typer.Option(help="Mechanisms, by commas.")] = ",".join(TABLES),
    failures: Annotated[str, typer.Option(help="Failures, by commas.")] = ",".join(FAILURES),
    python: Annotated[Path | None, typer.Option(help="Whose dualpath; the compiled one if absent.")] = None,
) -> None:
    """Measures the reaction of the breaker and of a guard to each way of failing."""
    end_on_sigterm()
    python = (python or own.default_python()).absolute()
    cases = [
        Case(mechanism, failure, int(rate))
        for mechanism in only.split(",")
        for failure in failures.split(",")
        for rate in rates.split(",")
    ]
    if unknown := {case.mechanism for case in cases} - set(TABLES):
        raise typer.BadParameter(f"no such mechanism: {', '.join(unknown)}; there are {', '.join(TABLES)}")
    if unknown := {case.failure for case in cases} - set(FAILURES):
        raise typer.BadParameter(f"no such failure: {', '.join(unknown)}; there are {', '.join(FAILURES)}")
    console = Console()
    found: dict[Case, list[Reaction]] = {case: [] for case in cases}
    for number in range(repeats):
        for case in cases:
            console.print(
                f"round {number + 1}/{repeats}  {case.mechanism} {case.failure} {case.rate}/s", style="dim"
            )
            with tempfile.TemporaryDirectory(prefix="dualpath-bench-") as scratch:
                well_s = WELL_S + number * SHIFT_S
                found[case].append(uvloop.run(_run(case, Path(scratch), python, percentage, well_s)))
    console.print(_table(found))
    results.write(
        "rollback_reaction",
        versions={"dualpath": own.version_of(python)},
        options={
            "repeats": repeats,
            "percentage": percentage,
            "response_timeout_s": RESPONSE_TIMEOUT_S,
            "tick_s": 1.0,
            "guard": "error_rate above 0.02 over 10 s",
            "limits_ms": LIMITS_MS,
        },
        found={"cases": [_entry(case, runs) for case, runs in found.items()]},
    )
    raise typer.Exit(not all(holds(case, runs) for case, runs in found.items()))


async def _run(case: Case, scratch: Path, python: Path, percentage: int, well_s: float) -> Reaction:
    port = free_port()
    file = scratch / "proxy.toml"
    with (
        own.pinned() as (proxy_cores, load_cores),
        own.origin(scratch, load_cores, name="v1") as [v1],
        own.origin(scratch, load_cores, name="v2") as [v2],
    ):
        file.write_text(_configuration(case, scratch, (port, v1, v2), percentage))
        launch = own.serve(python, file)
        with started("dualpath", launch.command, scratch, proxy_cores, launch.environment) as child:
            child.wait_ready(port, "/items")
            under_way = case.rate * (RESPONSE_TIMEOUT_S + 0.05) if case.failure == "hang" else 0
            connections = await connected(port, 64 + int(under_way * 1.2))
            load = OpenLoop(connections, requests(["/items/1"]), case.rate)
            await load.run(well_s)
            failing = asyncio.create_task(load.run(FAILING_S[case.mechanism]))
            await asked(v2, f"/-/fail/{case.failure}")
            await failing
            unanswered = await load.settle(SETTLE_S)
            _, text = await asked(v2, "/-/seen")
            for connection in connections:
                connection.close()
    seen = json.loads(text)
    return reaction(seen["arrivals"], seen["first_failure_at"], load, unanswered)


def reaction(
    arrivals: Sequence[float], first_failure_at: float | None, load: OpenLoop, unanswered: int
) -> Reaction:
    """What v2 saw and what clients saw, in figures. Raises RuntimeError if v2 was not asked while failing."""
    if not arrivals or first_failure_at is None:
        raise RuntimeError("v2 was not asked while it failed: nothing was measured")
    answers = {str(status): count for status, count in sorted(load.statuses.items())}
    return Reaction(
        reaction_ms=max(0.0, max(arrivals) - first_failure_at) * 1e3,
        reached=len(arrivals),
        reached_after=sum(at > first_failure_at for at in arrivals),
        sent=load.sent,
        bad=load.statuses.total() + unanswered - load.statuses[200],
        late=load.late,
        answers=answers,
    )


def holds(case: Case, runs: Sequence[Reaction]) -> bool:
    """Whether every run stayed within the mechanism's limit and harmed no client."""
    limit_ms = LIMITS_MS[case.mechanism]
    return all(one.reaction_ms <= limit_ms and not one.bad for one in runs)


def _configuration(case: Case, scratch: Path, ports: tuple[int, int, int], percentage: int) -> str:
    port, v1, v2 = ports
    return f"""
[listen]
address = "127.0.0.1:{port}"
[admin]
address = "127.0.0.1:0"
[store]
url = "sqlite:///{scratch}/state.db"
[log]
level = "warning"
[backends.v1]
endpoints = ["http://127.0.0.1:{v1}"]
[backends.v2]
endpoints = ["http://127.0.0.1:{v2}"]
response_timeout = "{RESPONSE_TIMEOUT_S * 1e3:.0f}ms"
[[rollouts]]
name = "default"
key = ["header:X-User-Id"]
percentage = {percentage}
{TABLES[case.mechanism]}"""


def _entry(case: Case, runs: Sequence[Reaction]) -> dict[str, object]:
    return {
        **asdict(case),
        "worst_ms": max(one.reaction_ms for one in runs),
        "runs": [asdict(one) for one in runs],
    }


def _table(found: dict[Case, list[Reaction]]) -> Table:
    table = Table(title="From v2's first failing answer to its last request", title_justify="left")
    for column in (
        "acts",
        "v2 fails by",
        "req/s",
        "worst ms",
        "limit ms",
        "reached v2",
        "after 1st",
        "bad",
        "late",
    ):
        table.add_column(column, justify="left" if column in {"acts", "v2 fails by"} else "right")
    for case, runs in found.items():
        table.add_row(*row(case, runs), style="" if holds(case, runs) else "red")
    return table


def row(case: Case, runs: Sequence[Reaction]) -> tuple[str, ...]:
    """One line of the table: the worst of the runs in each column."""
    return (
        case.mechanism,
        case.failure,
        f"{case.rate:,}",
        f"{max(one.reaction_ms for one in runs):.1f}",
        f"{LIMITS_MS[case.mechanism]:.0f}",
        str(max(one.reached for one in runs)),
        str(max(one.reached_after for one in runs)),
        str(sum(one.bad for one in runs)),
        str(max(one.late for one in runs)),
    )


if __name__ == "__main__":
    typer.run(main)
