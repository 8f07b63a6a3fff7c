"""What the command line prints: the admin API's documents as text that a person reads in 80 columns.

Pure: documents in, rich renderables out; no terminal, no request. Text of others (reasons, names, URLs) never
reaches the terminal with control characters in it, and is never read as markup.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from proxy.printable import clean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

JsonDocument = dict[str, Any]
_Row = tuple[str, Callable[[JsonDocument], str], Callable[[JsonDocument], str]]

_STATE_STYLES = {
    "running": "bold green",
    "completed": "bold green",
    "paused": "bold yellow",
    "rolled_back": "bold red",
    "aborted": "bold red",
}
_INDENT = "  "
_CLOCK_OFF_S = 5.0
_ALONE = "on this instance alone: the shared store cannot be reached; reconciled when it can"
_ALONE_HERE = "served by the copy here, which may go down on its own, and raises nothing"


def status_text(document: JsonDocument) -> RenderableType:
    """`dualpath status`: the instance, then each rollout with v1 beside v2."""
    workers = document["workers"]
    instance, version = clean(document["instance"]), clean(document["version"])
    uptime = duration(document["uptime_s"])
    head = f"dualpath {version} on {instance}, up {uptime}, {workers} worker{'' if workers == 1 else 's'}"
    parts: list[RenderableType] = [Text(summary_text(document["summary"])), Text(head)]
    if document.get("fleet") is not None:
        parts.append(fleet_text(document["fleet"]))
    parts += store_lines(document["store"])
    refused = [
        f"{count} {clean(reason).replace('_', ' ')}"
        for reason, count in document.get("refused", {}).items()
        if count
    ]
    if refused:
        parts.append(Text(f"turned away: {', '.join(refused)}"))
    tunnels = document.get("tunnels", {})
    if any(tunnels.values()):
        parts.append(Text(f"open tunnels: {tunnels['v1']} on v1, {tunnels['v2']} on v2"))
    for rollout in document["rollouts"]:
        parts += [
            Text(),
            *_rollout_lines(rollout),
            Text(),
            _comparison_table(rollout),
            *_client_lines(rollout),
        ]
        if rollout["guards"]:
            parts += [Text(), _guard_table(rollout["guards"])]
    return Group(*parts)


def summary_text(summary: JsonDocument) -> str:
    """One line over all rollouts: how many are enabled, their stages, what v2 gets and whom it serves."""
    total, users = summary["total"], summary["users"]
    stages = ", ".join(f"{count} {stage}" for stage, count in summary["stages"].items() if count)
    rollouts = f"{summary['enabled']} of {total} rollout{'' if total == 1 else 's'} enabled ({stages})"
    share = f"{percent(summary['v2_share'])} of the traffic on v2"
    return f"{rollouts}, {share}, {users['seen']:,} users seen, {users['v2']:,} on v2"


def store_lines(store: JsonDocument) -> list[Text]:
    """What is the matter with the store; nothing if it works."""
    lines = []
    if trouble := store.get("trouble"):
        text = "the store has not taken what was last written, and until it does nothing is raised"
        lines.append(Text(f"{text}: {clean(trouble)}", style="bold red"))
    if waiting := store["waiting"]:
        text = f"{waiting} change{'' if waiting == 1 else 's'} not stored yet"
        lines.append(Text(text, style="bold yellow"))
    return lines


def command_text(rollout: JsonDocument) -> Text:
    """The one line after a verb: where the rollout stands now."""
    line = Text(f"{clean(rollout['name'])}: ")
    line.append(rollout["state"], style=_STATE_STYLES.get(rollout["state"], "bold"))
    line.append(f" at {percent(rollout['percentage'])}")
    if rollout["phase"]:
        line.append(f", phase {clean(rollout['phase'])}")
    line.append(f", revision {rollout['revision']}")
    if rollout.get("local_only"):
        return line.append(f", {_ALONE}", style="bold yellow")
    return line if rollout.get("stored", True) else line.append(", not stored yet", style="bold yellow")


def fleet_text(fleet: JsonDocument, *, figures: bool = True) -> Text:
    """Who judges, how many are there, and what is odd about them; without `figures`, nothing that changes
    every second."""
    members = fleet["members"]
    judge = f"{clean(fleet['judge'])} judges" if fleet["judge"] else "nobody judges"
    split = _split(fleet) if figures else ""
    line = Text(f"one of {len(members)} instance{'' if len(members) == 1 else 's'}{split}, {judge}")
    if fleet.get("figures") == "instance":
        line.append("; figures are of what came here")
    if not fleet["store"]["reached"]:
        gone_s = fleet["store"]["last_s"] if figures else 0.0
        lasting = f" for {duration(gone_s)}" if gone_s >= 1.0 else ""
        return line.append(f"; the shared store does not answer{lasting}: {_ALONE_HERE}", style="bold red")
    odd = [f"{clean(one['instance'])} is behind" for one in members if one["behind"]]
    odd += [
        f"{clean(one['instance'])}'s clock is {one['clock_skew_s']:+.0f} s off"
        for one in members
        if abs(one["clock_skew_s"]) >= _CLOCK_OFF_S
    ]
    odd += [
        f"{clean(one['instance'])} cannot be understood ({clean(one.get('unread') or 'it does not say why')})"
        for one in members
        if not one["readable"]
    ]
    if len({one["config"] for one in members if one["readable"]}) > 1:
        odd.append("their configurations differ")
    return line.append(f"; {', '.join(odd)}", style="bold yellow") if odd else line


def _split(fleet: JsonDocument) -> str:
    """How much of all traffic comes here."""
    told = {one["instance"]: one.get("per_minute") or 0 for one in fleet["members"]}
    every = sum(told.values())
    return f" with {told.get(fleet['instance'], 0) / every:.0%} of the traffic" if every else ""


def health_text(endpoints: Iterable[JsonDocument]) -> RenderableType:
    """`dualpath health`: one line for each endpoint."""
    table = _table("path", "endpoint", "state", "outstanding", "idle")
    for endpoint in endpoints:
        state = endpoint_state(endpoint)
        table.add_row(
            endpoint["path"],
            Text(clean(endpoint["url"]), overflow="fold"),
            Text(state, style="green" if state == "healthy" else "bold red"),
            str(endpoint["outstanding"]),
            str(endpoint["idle_connections"]),
        )
    return table


def explanation_text(explanation: JsonDocument) -> Text:
    """`dualpath explain`: one sentence."""
    key = explanation["key"]
    subject = "a request without a key" if key is None else f'key "{clean(key)}"'
    facts = [f"bucket {explanation['bucket']}"] if explanation["bucket"] is not None else []
    if explanation["rollout"] is not None:
        facts = [
            f"rollout {clean(explanation['rollout'])}",
            *facts,
            f"weight {explanation['weight']} of 100000",
        ]
    because = f" ({', '.join(facts)})" if facts else ""
    line = Text(f"{subject} goes to {explanation['path']}: {clean(explanation['rule'])}{because}")
    if (override := explanation.get("override")) is not None:
        expires = override["expires_at"]
        until = "it is removed" if expires is None else moment(expires)
        line.append(f"\nset by {clean(override['actor'])} at {moment(override['at'])}, until {until}")
        line.append(f": {clean(override['reason'])}" if override["reason"] else "")
    return line


def endpoint_state(endpoint: JsonDocument) -> str:
    """ "healthy", "ejected" or "unhealthy"."""
    if not endpoint["healthy"]:
        return "unhealthy"
    return "ejected" if endpoint["ejected"] else "healthy"


def percent(value: float) -> str:
    """A percentage 0..100 with up to three decimals, such as "0.5%"."""
    return f"{round(value, 3):g}%"


def duration(seconds: float) -> str:
    """The two largest units of a duration, such as "2h 3m" or "1m"."""
    left = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        parts.append(f"{count}{unit}" if count else "")
    first = next((index for index, part in enumerate(parts) if part), len(parts))
    return " ".join(part for part in parts[first : first + 2] if part) or "0s"


def milliseconds(value: float) -> str:
    """A latency with its unit, such as "12.3 ms" or "1.20 s"."""
    return f"{value / 1000:.2f} s" if abs(value) >= 1000 else f"{value:.1f} ms"


def _rollout_lines(rollout: JsonDocument) -> list[Text]:
    head = command_text(rollout)
    since = f"since {moment(rollout['since'])}" if rollout["revision"] else "not known here yet"
    head.append(f", observed {percent(rollout['observed_percentage'])}, {since}")
    judgment = rollout["judgment"]
    reasons = "; ".join(clean(reason) for reason in judgment["reasons"])
    verdict = f"{judgment['verdict']}: {reasons}" if reasons else judgment["verdict"]
    facts = [
        ("reason", clean(rollout["reason"]) or "-"),
        ("verdict", verdict),
        ("breaker", rollout["breaker"]),
    ]
    return [head, *(Text(f"{_INDENT}{name:<8} {value}") for name, value in facts)]


def _comparison_table(rollout: JsonDocument) -> Table:
    recent, total = rollout["recent"], rollout["paths"]
    window = duration(recent["window_s"])
    table = _table(f"{_INDENT}last {window}", "v1", "v2", "v2 - v1", "v1 in all", "v2 in all")
    for column in table.columns[1:]:
        column.justify = "right"
    sides = (recent["paths"]["v1"], recent["paths"]["v2"], total["v1"], total["v2"])
    for label, cell, delta in _ROWS:
        v1, v2, all_v1, all_v2 = (cell(side) for side in sides)
        table.add_row(f"{_INDENT}{label}", v1, v2, delta(recent["comparison"]), all_v1, all_v2)
    return table


def _latency_row(quantile: str) -> _Row:
    def cell(path: JsonDocument) -> str:
        return milliseconds(path["latency_ms"][quantile]) if path["requests"] else "-"

    def delta(comparison: JsonDocument) -> str:
        difference = comparison[f"{quantile}_ms"]["difference"]
        return (
            "" if difference is None else f"{'+' if difference >= 0 else '-'}{milliseconds(abs(difference))}"
        )

    return quantile, cell, delta


_ROWS: tuple[_Row, ...] = (
    ("requests", lambda path: f"{path['requests']:,}", lambda _: ""),
    ("errors", lambda path: f"{path['errors']:,}", lambda _: ""),
    ("fallbacks", lambda path: f"{path['fallbacks']:,}" if "fallbacks" in path else "", lambda _: ""),
    ("error rate", lambda path: _rate(path["error_rate"]), lambda compared: _points(compared["error_rate"])),
    *(_latency_row(quantile) for quantile in ("mean", "p50", "p95", "p99")),
)


def _client_lines(rollout: JsonDocument) -> list[Text]:
    recent, total = rollout["recent"]["client"], rollout["client"]
    window = duration(rollout["recent"]["window_s"])
    return [
        Text(f"{_INDENT}{f'clients, last {window}:':<18} {_seen(recent)}"),
        Text(f"{_INDENT}{'clients, in all:':<18} {_seen(total)}"),
    ]


def _seen(client: JsonDocument) -> str:
    errors = f"{client['errors']:,} errors ({_rate(client['error_rate'])})"
    return f"{client['requests']:,} requests, {errors}, {client['aborts']:,} left early"


def _guard_table(guards: Iterable[JsonDocument]) -> Table:
    table = _table(f"{_INDENT}guard", "now", "requests", "state", "action")
    for guard in guards:
        state, style = _guard_state(guard)
        table.add_row(
            Text(f"{_INDENT}{clean(guard['name'])}"),
            _reading(guard),
            _sample(guard),
            Text(state, style=style),
            guard["action"],
        )
    return table


def _guard_state(guard: JsonDocument) -> tuple[str, str]:
    if guard["firing"]:
        return "firing", "bold red"
    if guard["crossed"]:
        return "crossed", "yellow"
    return ("waiting", "") if guard["value"] is None else ("ok", "green")


def _reading(guard: JsonDocument) -> str:
    """A guard's value in the unit of its metric: latencies are seconds except for the ratio."""
    value = guard["value"]
    if value is None:
        return "-"
    in_seconds = guard["metric"].startswith("latency_") and guard["metric"] != "latency_ratio_p95"
    return milliseconds(value * 1000) if in_seconds else f"{value:.3g}"


def _sample(guard: JsonDocument) -> str:
    """How many requests a guard has seen, and of how many while it has too few."""
    needed = f" of {guard['min_requests']:,}" if guard["sample"] < guard["min_requests"] else ""
    return f"{guard['sample']:,}{needed}"


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        table.add_column(Text(header), no_wrap=header != "endpoint")
    return table


def _rate(share: float) -> str:
    return f"{share * 100:.2f}%"


def _points(compared: JsonDocument) -> str:
    difference = compared["difference"]
    return "" if difference is None else f"{difference * 100:+.2f} pt"


def moment(instant: str) -> str:
    """ "2026-01-01T00:00:00.000Z" as "2026-01-01 00:00:00Z"."""
    return clean(instant).replace("T", " ").partition(".")[0].removesuffix("Z") + "Z"
