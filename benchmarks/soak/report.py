"""What a soak has found, as a value and as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.soak.vitals import Growth


@dataclass(frozen=True, slots=True)
class Report:
    """The whole run; it has passed if there are no `problems`."""

    rounds: int
    answered: int
    wrong: int
    lost: int
    verdicts: dict[str, int]
    manners: dict[str, int]
    paths: dict[str, int]
    events: list[str]
    growths: list[Growth]
    problems: list[str]


def show(report: Report) -> None:
    """Prints it."""
    console = Console()
    for title, counts in (
        ("what came of it", report.verdicts),
        ("who answered", report.paths),
        ("manners", report.manners),
    ):
        console.print(_counts(title, counts))
    if report.growths:
        console.print(_growths(report.growths))
    else:
        console.print("no process has lived long enough for its memory and descriptors to be judged")
    console.print(
        f"{report.answered:,} requests in {report.rounds} rounds, {len(report.events)} events: "
        f"{report.wrong} wrong answers, {report.lost} lost requests, {len(report.problems)} problems"
    )
    for problem in report.problems:
        console.print(f"  {problem}", markup=False, highlight=False)


def _counts(title: str, counts: Mapping[str, int]) -> Table:
    table = Table(title, "requests", title_justify="left")
    for name, count in sorted(counts.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{count:,}")
    return table


def _growths(growths: list[Growth]) -> Table:
    table = Table(title="processes, warm", title_justify="left")
    for column in ("process", "seconds", "MiB", "MiB per hour", "descriptors", "flat"):
        table.add_column(column, justify="right")
    for one in growths:
        table.add_row(
            one.role,
            f"{one.seconds:.0f}",
            f"{one.from_mib:.1f} to {one.to_mib:.1f}",
            f"{one.mib_per_hour:.1f}",
            f"{one.from_fds} to {one.to_fds}",
            "no" if one.leaks else "yes",
        )
    return table
