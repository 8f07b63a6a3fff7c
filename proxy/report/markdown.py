"""The report as Markdown: for a pull request, a ticket, a wiki.

Pure. Text of others cannot leave its cell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from proxy.printable import clean
from proxy.rendering import duration, moment, percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

JsonDocument = dict[str, Any]

_TICKS = {True: "✓", False: "✗", None: "?"}
_NOT_YET = "◷ not yet"
_MOST_ROWS = 500
_SIGN = re.compile(r"[\\|<>\[\]`*~]|(?<![^\W_])_|_(?![^\W_])")
_CALL = re.compile(r"(?<!\w)@(?=\w)")
_NO_SPACE = "\N{ZERO WIDTH SPACE}"
"""Behind an @ the only thing that keeps a forge from telling whoever is called so: it is no markup."""


def markdown_of(report: JsonDocument) -> str:
    """All of it."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: JsonDocument) -> Iterator[str]:
    yield f"# Rollout {_text(report['rollout'])}"
    yield ""
    yield f"**{_text(report['outcome'])}**"
    yield ""
    where = f"dualpath {report['version']} on {_text(report['instance'])}"
    yield f"{moment(report['from'])} to {moment(report['to'])}, {where}."
    yield from _section("What to do", (f"- {_text(one)}" for one in report["advice"]))
    yield from _section("Planned and happened", _stays(report))
    yield from _section("Criteria", _checks(report))
    yield from _section("v1 beside v2", _figures(report["figures"]))
    yield from _section("Harm, in requests", _harm(report["harm"]))
    yield from _section("Incidents", _incidents(report["incidents"]))


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield from ("", f"## {title}", "", *lines)


def _stays(report: JsonDocument) -> Iterator[str]:
    planned = {one["name"]: one for one in report["plan"]["phases"]}
    rows = []
    for stay in report["stays"]:
        phase = planned.get(stay["phase"])
        wanted = (
            "-" if phase is None else f"{percent(phase['percentage'])}, {phase.get('min_duration', '0s')}"
        )
        ended = f"{stay['ended_by']} by {stay['actor']}: {stay['reason']}" if stay["ended_by"] else "goes on"
        stood = f"{stay['state']} {percent(stay['percentage'])}"
        rows.append(
            [stay["phase"] or "-", wanted, stood, moment(stay["from"]), duration(stay["seconds"]), ended]
        )
    reached = {stay["phase"] for stay in report["stays"]}
    rows += [
        [name, f"{percent(one['percentage'])}, {one.get('min_duration', '0s')}", "not reached", "-", "-", "-"]
        for name, one in planned.items()
        if name not in reached
    ]
    yield from _table(("phase", "planned", "was", "from", "lasted", "ended by"), rows)


def _checks(report: JsonDocument) -> Iterator[str]:
    rows = [
        [
            _NOT_YET if check["awaited"] else _TICKS[check["met"]],
            stay["phase"],
            check["name"],
            check["asked"],
            check["measured"],
        ]
        for stay in report["stays"]
        for check in stay["checks"]
    ]
    yield from _table(("", "phase", "criterion", "asked", "measured"), rows) if rows else ["None was asked."]


def _figures(figures: JsonDocument) -> Iterator[str]:
    v1, v2, client = figures["v1"], figures["v2"], figures["client"]
    yield from _table(
        ("", "v1", "v2"),
        [
            ["requests", f"{v1['requests']:,}", f"{v2['requests']:,}"],
            ["errors, before any fallback", f"{v1['errors']:,}", f"{v2['errors']:,}"],
            ["error rate", share(v1["error_rate"]), share(v2["error_rate"])],
            ["fallbacks to v1", "", f"{v2['fallbacks']:,} ({share(v2['fallback_rate'])})"],
            *([name, ms(v1[f"{name}_ms"]), ms(v2[f"{name}_ms"])] for name in ("mean", "p50", "p95", "p99")),
        ],
    )
    yield ""
    rate = share(client["error_rate"])
    yield f"Clients: {client['requests']:,} requests, {client['errors']:,} errors ({rate})."
    yield "Quantiles are those of the minute in the middle."


def _harm(harm: JsonDocument) -> Iterator[str]:
    instead = harm["answered_by_v1_instead"]
    yield f"- v2 failed {harm['v2_failures']:,} attempts; v1 answered {instead:,} requests in its place."
    yield (
        f"- Clients saw {harm['client_errors']:,} errors in {harm['client_requests']:,} requests, "
        f"about {harm['client_errors_beyond_v1']:,} more than with v1 alone."
    )


def _incidents(incidents: Sequence[JsonDocument]) -> Iterator[str]:
    if not incidents:
        yield "None."
        return
    rows = [
        [
            moment(one["at"]),
            one["cause"],
            f"{percent(one['before'])} to {percent(one['after'])}" if one["changes_state"] else "-",
            f"{one['actor']}: {one['reason']}",
        ]
        for one in incidents
    ]
    yield from _table(("at", "cause", "share of v2", "by whom and why"), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    shown, before = newest(rows)
    if before:
        yield f"{before}\n"
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in shown:
        yield f"| {' | '.join(map(_text, row))} |"


def newest(rows: Sequence[Sequence[str]]) -> tuple[Sequence[Sequence[str]], str]:
    """As many as somebody may want to read, and what is said of those before them, if there are any."""
    more = len(rows) - _MOST_ROWS
    if more <= 0:
        return rows, ""
    return rows[more:], f"The newest {_MOST_ROWS}; {more:,} before them stand in the report's .json."


def share(value: float | None) -> str:
    """ "1.23 %"."""
    return "-" if value is None else f"{value * 100:.2f} %"


def ms(value: float | None) -> str:
    """ "12.3 ms"."""
    return "-" if value is None else f"{value:.1f} ms"


def _text(value: str) -> str:
    """What cannot begin a cell, a link, markup or emphasis, nor call somebody."""
    return _CALL.sub(f"@{_NO_SPACE}", _SIGN.sub(r"\\\g<0>", clean(value)))
