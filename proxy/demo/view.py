"""The live view: one frame of the demo as something rich can print, and as one plain line.

Owns the arrangement. Must never know where the figures come from or when they are drawn: a frame is a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from proxy.demo.faults import Fault
from proxy.demo.figures import event_line, milliseconds, percent, ratio, reading
from proxy.model import BUCKETS, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from proxy.demo.clients import ClientsSeen
    from proxy.judgment import GuardReading
    from proxy.model import Event, PathSummary, RolloutReport, Snapshot

EVENTS_SHOWN = 3
_STATE_STYLES = {
    State.RUNNING: "bold green",
    State.PAUSED: "bold yellow",
    State.ROLLED_BACK: "bold red",
    State.ABORTED: "bold red",
}


@dataclass(frozen=True, slots=True)
class Frame:
    """All that one frame shows. `elapsed_s` since `start_wall`; `events` oldest first."""

    elapsed_s: float
    seconds: float
    fault: Fault
    report: RolloutReport
    clients: ClientsSeen
    events: Sequence[Event]
    start_wall: float


def render(frame: Frame) -> RenderableType:
    """The frame, made for 80 columns and 24 lines."""
    title = f"[bold]dualpath demo[/]  {min(frame.elapsed_s, frame.seconds):.0f} of {frame.seconds:.0f} s"
    parts = (
        _weight(frame),
        _paths(frame.report.total),
        _clients(frame.clients),
        _guards(_readings(frame)),
        _events(frame),
    )
    return Panel(Group(*parts), title=title, title_align="left", border_style="dim", width=80)


def plain_line(frame: Frame) -> str:
    """The frame in one line, for where there is no terminal."""
    total, state, clients = frame.report.total, frame.report.state, frame.clients
    return (
        f"{frame.elapsed_s:5.1f} s  {state.state:<11} v2 {state.percentage:4.1f} %  fault {frame.fault:<6}"
        f"  v1 {total.v1.requests} ({total.v1.errors} failed)"
        f"  v2 {total.v2.requests} ({total.v2.errors} failed)"
        f"  fallbacks {total.fallbacks}  clients {clients.answers} answered, {clients.failed} failed"
    )


# ... The parts, from top to bottom ...


def _weight(frame: Frame) -> RenderableType:
    state = frame.report.state
    row = Table.grid(padding=(0, 2))
    fault = Text(f"fault {frame.fault}", "dim" if frame.fault is Fault.NONE else "bold red")
    breaker = Text(f"breaker {frame.report.breaker}", "dim" if frame.report.breaker == "closed" else "yellow")
    row.add_row(
        Text("v2", "bold"),
        ProgressBar(total=BUCKETS, completed=state.weight, width=20),
        Text(f"{state.percentage:.1f} %", "bold"),
        Text(state.state.replace("_", " "), _STATE_STYLES.get(state.state, "dim")),
        breaker,
        fault,
    )
    return row


def _paths(total: Snapshot) -> RenderableType:
    table = Table(box=None, expand=True, padding=(0, 1), header_style="bold")
    table.add_column("")
    for heading in ("v1", "v2", "v2 to v1"):
        table.add_column(heading, justify="right")
    v1, v2 = total.v1, total.v2
    table.add_row("requests", str(v1.requests), str(v2.requests), f"{total.observed_percentage:.1f} % on v2")
    table.add_row("raw errors", _errors(v1), _errors(v2), "")
    fallbacks = f"{total.fallbacks} ({percent(total.fallback_rate)})"
    table.add_row("fallbacks to v1", "", Text(fallbacks, "yellow" if total.fallbacks else ""), "")
    for name in ("mean", "p50", "p95"):
        of_v1, of_v2 = getattr(v1.latency, name), getattr(v2.latency, name)
        table.add_row(f"latency {name}", milliseconds(of_v1), milliseconds(of_v2), ratio(of_v2, of_v1))
    return table


def _clients(clients: ClientsSeen) -> RenderableType:
    failed = Text(f"{clients.failed} failed", "bold red" if clients.failed else "bold green")
    text = Text.assemble(("\nclients saw  ", "bold"), f"{clients.answers} answers, ", failed)
    return text.append(
        f"; v1 gave {clients.from_v1}, v2 {clients.from_v2}, v1 for v2 {clients.from_fallback}"
        f"\n             p50 {milliseconds(clients.latency.p50)}, p95 {milliseconds(clients.latency.p95)}\n"
    )


def _guards(readings: Sequence[GuardReading]) -> RenderableType:
    table = Table(box=None, expand=True, padding=(0, 1), header_style="bold")
    table.add_column("guard")
    for heading in ("now", "limit", "sample"):
        table.add_column(heading, justify="right")
    table.add_column("action")
    for each in readings:
        value = "too few" if each.value is None else reading(each.metric, each.value)
        style = "bold red" if each.firing else "yellow" if each.crossed else ""
        table.add_row(
            each.metric,
            Text(value, style),
            reading(each.metric, each.limit),
            str(each.sample),
            Text("fired: " + each.action if each.firing else each.action, style),
        )
    if not readings:
        table.add_row(Text("none is read", "dim"))
    return table


def _events(frame: Frame) -> RenderableType:
    lines = [event_line(event.transition, frame.start_wall) for event in frame.events[-EVENTS_SHOWN:]]
    text = Text("\nevents\n", "bold", no_wrap=True, overflow="ellipsis")
    return text.append("\n".join(lines) or "none yet", "not bold")


def _readings(frame: Frame) -> Sequence[GuardReading]:
    """The guards' present readings; while none is read, those of the latest event that a guard caused."""
    if frame.report.judgment.readings:
        return frame.report.judgment.readings
    judgments = (event.transition.judgment for event in reversed(frame.events))
    return next((judgment.readings for judgment in judgments if judgment and judgment.readings), ())


def _errors(path: PathSummary) -> Text:
    return Text(f"{path.errors} ({percent(path.error_rate)})", "red" if path.errors else "")
