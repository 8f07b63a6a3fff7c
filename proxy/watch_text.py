"""One look at the rollouts as `status --watch` draws it, in 80 columns: where each stands, its phases, v1
beside v2, and what has happened last.

Pure: documents of the admin API in, rich renderables out. What is compared with what was seen before stands
in `Trend`. Must never know a terminal, nor when it is drawn again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from proxy.deploy_progress import progress_of, remaining
from proxy.deploy_screen import criteria_table
from proxy.printable import clean
from proxy.rendering import command_text, duration, fleet_text, milliseconds, moment, percent, store_lines
from proxy.watch_list import by_urgency, rollout_list

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType

JsonDocument = dict[str, Any]

_KEPT: Final = 48
_EVENTS: Final = 4
_HEIGHTS: Final = "▁▂▃▄▅▆▇█"
_PLAIN_HEIGHTS: Final = "_.:-=+*#"
_VERDICTS = {"fail": "bold red", "pass": "bold green", "hold": "yellow"}


@dataclass(slots=True)
class Trend:
    """What one rollout did between looks: shares of failed attempts on v2, of failed answers, and requests a
    second on both paths. None where nothing was asked."""

    v2_errors: deque[float | None] = field(default_factory=lambda: deque(maxlen=_KEPT))
    client_errors: deque[float | None] = field(default_factory=lambda: deque(maxlen=_KEPT))
    rates: tuple[float | None, float | None] = (None, None)
    last: tuple[float, tuple[int, ...]] | None = None

    def look(self, rollout: JsonDocument, at: float) -> None:
        """Another look, at `at` in seconds of any clock that goes on."""
        v1, v2, client = rollout["paths"]["v1"], rollout["paths"]["v2"], rollout["client"]
        now = (v1["requests"], v2["requests"], v2["errors"], client["requests"], client["errors"])
        before, self.last = self.last, (at, now)
        if before is None or at <= before[0] or any(a < b for a, b in zip(now, before[1], strict=True)):
            return  # the first look, or the proxy has started anew
        grown = [a - b for a, b in zip(now, before[1], strict=True)]
        self.rates = grown[0] / (at - before[0]), grown[1] / (at - before[0])
        self.v2_errors.append(grown[2] / grown[1] if grown[1] else None)
        self.client_errors.append(grown[4] / grown[3] if grown[3] else None)


def watch_text(
    document: JsonDocument,
    plans: Mapping[str, JsonDocument],
    trends: Mapping[str, Trend],
    events: Sequence[JsonDocument],
    *,
    ascii_only: bool = False,
) -> RenderableType:
    """The whole picture; `events` are the newest, oldest first."""
    instance, version = clean(document["instance"]), clean(document["version"])
    parts: list[RenderableType] = [
        Text(f"dualpath {version} on {instance}, up {duration(document['uptime_s'])}", style="dim")
    ]
    if document.get("fleet") is not None:
        parts.append(fleet_text(document["fleet"]))
    parts += store_lines(document["store"])
    rollouts = by_urgency(document["rollouts"])
    if len(rollouts) > 1:
        parts += [Text(), rollout_list(rollouts)]
    for rollout in rollouts:
        name = rollout["name"]
        mine = [one for one in events if one["rollout"] == name][-_EVENTS:]
        parts += [Text(), *_one(rollout, plans.get(name), trends.get(name, Trend()), ascii_only)]
        parts += map(_event, mine)
    return Group(*parts)


def _one(
    rollout: JsonDocument, plan: JsonDocument | None, trend: Trend, ascii_only: bool
) -> Iterator[RenderableType]:
    head = command_text(rollout)
    head.append(f", observed {percent(rollout['observed_percentage'])}")
    yield head
    phases = (plan or {}).get("phases", ())
    if phases:
        yield _rail(rollout, phases, ascii_only)
    yield from _why(rollout)
    progress = progress_of(rollout, plan)
    if progress.criteria:
        yield criteria_table(progress)
    if left := remaining(progress):
        yield Text(f"  {left}")
    yield _figures(rollout, trend)
    for name, values in (("v2 errors", trend.v2_errors), ("clients", trend.client_errors)):
        if values:
            line = Text(f"  {name:<10}")
            line.append(
                sparkline(list(values), ascii_only=ascii_only), style="red" if any(values) else "green"
            )
            yield line.append(f" at most {max(value or 0.0 for value in values):.2%}", style="dim")


def _rail(rollout: JsonDocument, phases: Sequence[JsonDocument], ascii_only: bool) -> Text:
    """ "✓ canary 1% > ● half 50% > ○ full 100%"."""
    done, now, next_ = ("x", "*", "o") if ascii_only else ("✓", "●", "○")
    place = next((at for at, one in enumerate(phases) if one["name"] == rollout["phase"]), -1)
    line = Text("  ")
    for at, one in enumerate(phases):
        over = at < place or rollout["state"] == "completed"
        sign, style = (done, "green") if over else (now, "bold") if at == place else (next_, "dim")
        line.append(" > " if at else "", style="dim")
        line.append(f"{sign} {clean(one['name'])} {percent(one['percentage'])}", style=style)
    return line


def _why(rollout: JsonDocument) -> Iterator[Table]:
    judgment = rollout["judgment"]
    moving = rollout["state"] in {"running", "paused"}
    reasons = (judgment["missing"] or judgment["reasons"]) if moving else [rollout["reason"]]
    word = judgment["verdict"] if moving else "because"
    for at, reason in enumerate(reasons[:3]):
        line = Table.grid()
        line.add_column(width=12)
        line.add_column()
        line.add_row(Text(f"  {'' if at else word}", style=_VERDICTS.get(word, "bold")), Text(clean(reason)))
        yield line


def _figures(rollout: JsonDocument, trend: Trend) -> Table:
    recent, client = rollout["recent"], rollout["recent"]["client"]
    v1, v2 = recent["paths"]["v1"], recent["paths"]["v2"]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("", "requests", "errors", "fallbacks", "p50", "p95", "p99"):
        table.add_column(Text(name), justify="left" if not name else "right", no_wrap=True)
    for name, path, rate in (("v1", v1, trend.rates[0]), ("v2", v2, trend.rates[1])):
        latency = path["latency_ms"]
        shown = [milliseconds(latency[one]) if path["requests"] else "-" for one in ("p50", "p95", "p99")]
        table.add_row(
            f"  {name}",
            "-" if rate is None else f"{rate:.1f}/s",
            f"{path['error_rate']:.2%}" if path["requests"] else "-",
            f"{path['fallback_rate']:.2%}" if "fallback_rate" in path else "",
            *shown,
        )
    table.add_row("  clients", f"{client['requests']:,}", f"{client['error_rate']:.2%}", "", "", "", "")
    return table


def _event(event: JsonDocument) -> Text:
    after = event["after"]
    line = Text(f"  {moment(event['at'])[11:19]}  ", style="dim", no_wrap=True, overflow="ellipsis")
    moved = (
        f"{after['state']} {percent(after['percentage'])}"
        if event["changes_state"]
        else clean(event["cause"])
    )
    style = "bold red" if after["state"] == "rolled_back" and event["changes_state"] else "default"
    line.append(moved, style=style)
    return line.append(f" by {clean(event['actor'])}: {clean(event['reason']) or '-'}", style="default")


def sparkline(values: Sequence[float | None], *, ascii_only: bool = False) -> str:
    """One sign a value, the highest for the largest; nothing for what is not known."""
    signs = _PLAIN_HEIGHTS if ascii_only else _HEIGHTS
    most = max((value for value in values if value is not None), default=0.0)
    if most <= 0.0:
        return "".join(" " if value is None else signs[0] for value in values)
    return "".join(
        " " if value is None else signs[min(len(signs) - 1, round(value / most * (len(signs) - 1)))]
        for value in values
    )
