"""An outcome as people read it: a table of what happened when, and one line that sums it up.

Pure: a value in, rich text out. Text of others never reaches the terminal with control characters in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from proxy.config.units import format_duration
from proxy.printable import clean
from proxy.rendering import duration, percent
from proxy.simulation.outcome import Ending

if TYPE_CHECKING:
    from rich.console import RenderableType

    from proxy.simulation.outcome import Happening, Outcome

_STYLES = {
    Ending.COMPLETED: "bold green",
    Ending.ROLLED_BACK: "bold red",
    Ending.HELD: "bold yellow",
    Ending.RUNNING: "bold",
}


def outcome_text(outcome: Outcome) -> RenderableType:
    """`dualpath simulate`: every event, then where it ended and what it cost."""
    lines = [_line(happening) for happening in outcome.events]
    lines += [Text(f"refused: {clean(refused)}") for refused in outcome.refused]
    return Group(*lines, Text(), _summary(outcome), *_reasons(outcome), _traffic(outcome))


def _line(happening: Happening) -> Text:
    days, left = divmod(happening.t_s, 86_400)
    hours, left = divmod(left, 3_600)
    minutes, seconds = divmod(left, 60)
    at = f"{f'{days:.0f}d ' if days else ''}{hours:02.0f}:{minutes:02.0f}:{int(seconds):02}"
    phase = f" {clean(happening.phase)}" if happening.phase else ""
    line = Text(f"{at:>12}  {percent(happening.percentage):>7}  ")
    line.append(f"{happening.state}{phase}", style="bold")
    return line.append(f"  {clean(happening.cause)}: {clean(happening.reason)}")


def _summary(outcome: Outcome) -> Text:
    line = Text(f"{clean(outcome.rollout)}: ")
    line.append(outcome.outcome.replace("_", " "), style=_STYLES[outcome.outcome])
    at_s = {Ending.ROLLED_BACK: outcome.rolled_back_at_s, Ending.COMPLETED: outcome.completed_at_s}.get(
        outcome.outcome
    )
    if at_s is not None:
        return line.append(f" after {duration(at_s)}")
    phase = f" in {clean(outcome.phase)}" if outcome.phase else ""
    return line.append(
        f"{phase} at {percent(outcome.percentage)} after {format_duration(outcome.duration_s)}"
    )


def _reasons(outcome: Outcome) -> list[Text]:
    if outcome.outcome in {Ending.COMPLETED, Ending.ROLLED_BACK}:
        return []
    return [Text(f"  {clean(reason)}") for reason in outcome.reasons]


def _traffic(outcome: Outcome) -> Text:
    parts = [f"{outcome.v1_requests:,} requests to v1", f"{outcome.v2_requests:,} to v2"]
    if outcome.v2_requests_after_change:
        parts.append(f"{outcome.v2_requests_after_change:,} of these after the change")
    if outcome.v2_not_sent:
        parts.append(f"{outcome.v2_not_sent:,} not sent to v2")
    parts.append(f"{outcome.fallbacks:,} answered by v1 in its stead")
    parts.append(f"{outcome.client_errors:,} failed for clients")
    if outcome.unknown:
        parts.append(f"{outcome.unknown:,} of a path that nothing was recorded of")
    return Text(f"{'; '.join(parts)} (seed {outcome.seed})")
