"""The report as one HTML file: nothing is loaded, it can be mailed and archived; and the same for paper.

Pure. All text of others is escaped.
"""

from __future__ import annotations

from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.config.texts import parse_duration
from proxy.printable import clean
from proxy.rendering import duration, moment, percent
from proxy.report.markdown import ms, newest, share
from proxy.report.plots import Line, Plot, svg

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

JsonDocument = dict[str, Any]

_TONES = {"completed": "good", "running": "wait", "paused": "wait", "rolled_back": "bad", "aborted": "bad"}
_TICKS = {True: '<b class="good">✓</b>', False: '<b class="bad">✗</b>', None: "?"}
_NOT_YET = '<b class="wait">◷ not yet</b>'

_LOOKS, _DARK, _PAPER = (
    (Path(__file__).parent / f"{name}.css").read_text("utf-8") for name in ("page", "dark", "paper")
)


def page_of(report: JsonDocument) -> str:
    """The whole file, for a screen."""
    return _page(report, _LOOKS + _DARK)


def printed_page_of(report: JsonDocument) -> str:
    """The whole file, for a printer or for what makes a PDF of it."""
    return _page(report, _LOOKS + _PAPER)


def _page(report: JsonDocument, style: str) -> str:
    name = _text(report["rollout"])
    return (
        '<!doctype html>\n<html lang="en-GB"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Rollout {name}</title><style>{style}</style></head>"
        f"<body>{''.join(_body(report))}</body></html>\n"
    )


def _body(report: JsonDocument) -> Iterator[str]:
    tone = _TONES.get(report["state"], "")
    yield f"<h1>Rollout {_text(report['rollout'])}</h1>"
    where = f"dualpath {_text(report['version'])} on {_text(report['instance'])}"
    yield f'<p class="dim">{moment(report["from"])} to {moment(report["to"])}, {where}</p>'
    yield f'<p class="outcome {tone}">{_text(report["outcome"])}</p>'
    advice = "".join(f"<li>{_text(one)}</li>" for one in report["advice"])
    yield f"<section><h2>What to do</h2><ul>{advice}</ul></section>"
    yield _harm(report["harm"])
    yield _stays(report)
    yield _figures(report["figures"])
    yield f"<section><h2>Over time</h2>{''.join(map(svg, _plots(report)))}</section>"
    yield _incidents(report["incidents"])
    yield _events(report["events"])


def _harm(harm: JsonDocument) -> str:
    told = (
        ("v2_failures", "attempts that v2 failed"),
        ("answered_by_v1_instead", "answered by v1 in its place"),
        ("client_errors", f"errors that clients saw, of {harm['client_requests']:,} requests"),
        ("client_errors_beyond_v1", "more of them than with v1 alone, about"),
    )
    parts = "".join(f"<div><b>{harm[key]:,}</b>{text}</div>" for key, text in told)
    return f'<section><h2>Harm, in requests</h2><div class="harm">{parts}</div></section>'


def _stays(report: JsonDocument) -> str:
    planned = {one["name"]: one for one in report["plan"]["phases"]}
    rows = [_stay(stay, planned.get(stay["phase"])) for stay in report["stays"]]
    reached = {stay["phase"] for stay in report["stays"]}
    rows += [
        [_text(name), percent(one["percentage"]), "not reached", "–", "–"]
        for name, one in planned.items()
        if name not in reached
    ]
    table = _table(("Phase", "Planned", "Was", "Criteria", "Ended by"), rows)
    return f"<section><h2>Planned and happened</h2>{table}</section>"


def _stay(stay: JsonDocument, phase: JsonDocument | None) -> list[str]:
    wanted = "–"
    if phase is not None:
        wanted = f"{percent(phase['percentage'])}, {_text(phase.get('min_duration', '0s'))}"
    checks = "<br>".join(
        f"{_NOT_YET if one['awaited'] else _TICKS[one['met']]} "
        f"{_text(one['name'])}: {_text(one['measured'])} "
        f"<small>({_text(one['asked'])})</small>"
        for one in stay["checks"]
    )
    ended = "goes on"
    if stay["ended_by"]:
        reason = f"<small>{_text(stay['reason'] or '')}</small>"
        ended = f"<b>{_text(stay['ended_by'])}</b> by {_text(stay['actor'])}<br>{reason}"
    lasted = f"<small>{duration(stay['seconds'])} from {moment(stay['from'])}</small>"
    was = f"{_text(stay['state'].replace('_', ' '))} {percent(stay['percentage'])}<br>{lasted}"
    return [_text(stay["phase"] or "–"), wanted, was, checks or "–", ended]


def _figures(figures: JsonDocument) -> str:
    v1, v2, client = figures["v1"], figures["v2"], figures["client"]
    rows = [
        ["Requests", f"{v1['requests']:,}", f"{v2['requests']:,}"],
        ["Errors, before any fallback", f"{v1['errors']:,}", f"{v2['errors']:,}"],
        ["Error rate", share(v1["error_rate"]), share(v2["error_rate"])],
        ["Errors by class", _classes(v1), _classes(v2)],
        ["Fallbacks to v1", "", f"{v2['fallbacks']:,} ({share(v2['fallback_rate'])})"],
        *([name, ms(v1[f"{name}_ms"]), ms(v2[f"{name}_ms"])] for name in ("mean", "p50", "p95", "p99")),
    ]
    rate = share(client["error_rate"])
    seen = f"Clients: {client['requests']:,} requests, {client['errors']:,} errors ({rate})."
    note = '<p class="dim">Quantiles are those of the minute in the middle.</p>'
    return f"<section><h2>v1 beside v2</h2>{_table(('', 'v1', 'v2'), rows)}<p>{seen}</p>{note}</section>"


def _classes(path: JsonDocument) -> str:
    return _text(", ".join(f"{count:,} {name}" for name, count in path["errors_by_class"].items()) or "–")


def _plots(report: JsonDocument) -> Iterator[Plot]:
    minutes = [(_at(one["at"]) + one["seconds"] / 2, one) for one in report["minutes"]]
    span = (_at(report["from"]), _at(report["to"]))
    marks = [
        (_at(one["at"]), f"{one['after']['state']} {percent(one['after']['percentage'])}")
        for one in report["events"]
        if one["changes_state"]
    ]

    def pair(key: str) -> list[Line]:
        return [
            Line(name, name, [(at, one[key][place]) for at, one in minutes])
            for place, name in enumerate(("v1", "v2"))
        ]

    clients = Line("clients", "client", [(at, one["client_error_rate"]) for at, one in minutes])
    rates = [
        Line(name, name, [(at, one["requests"][place] / max(one["seconds"], 1.0)) for at, one in minutes])
        for place, name in enumerate(("v1", "v2"))
    ]
    steps = Line("target", "v2", _steps(report, span[1]), steady=True)
    yield Plot("Share of v2", lambda value: f"{value:g} %", [steps], span, marks)
    limits = _limits(report, "error_rate")
    yield Plot(
        "Errors of attempts, and what clients saw", share, [*pair("error_rate"), clients], span, marks, limits
    )
    yield Plot("p95", ms, pair("p95_ms"), span, marks, _limits(report, "latency_p95"))
    yield Plot("Requests a second", lambda value: f"{value:g}/s", rates, span, marks)


def _steps(report: JsonDocument, end: float) -> list[tuple[float, float | None]]:
    """The target as stairs."""
    return [
        (at, stay["percentage"])
        for stay in report["stays"]
        for at in (_at(stay["from"]), min(_at(stay["to"]), end))
    ]


def _limits(report: JsonDocument, metric: str) -> list[tuple[float, str]]:
    found = []
    for guard in report["plan"]["guards"]:
        above = guard.get("above")
        if guard["metric"] == metric and above is not None:
            limit = parse_duration(above) * 1000.0 if isinstance(above, str) else float(above)
            told = above if isinstance(above, str) else share(limit)
            found.append((limit, f"{guard.get('action', 'rollback')} above {told}"))
    return found


def _incidents(incidents: Sequence[JsonDocument]) -> str:
    rows = [
        [
            moment(one["at"]),
            _text(one["cause"]),
            f"{percent(one['before'])} → {percent(one['after'])}" if one["changes_state"] else "–",
            f"{_text(one['actor'])}: {_text(one['reason'])}",
        ]
        for one in incidents
    ]
    shown = _table(("At", "Cause", "Share of v2", "By whom and why"), rows) if rows else "<p>None.</p>"
    return f"<section><h2>Incidents</h2>{shown}</section>"


def _events(events: Sequence[JsonDocument]) -> str:
    rows = [
        [str(one["seq"]), moment(one["at"]), _text(one["cause"]), _text(one["actor"]), _text(one["reason"])]
        for one in events
    ]
    return f"<section><h2>The audit</h2>{_table(('#', 'At', 'Cause', 'Actor', 'Reason'), rows)}</section>"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are markup already."""
    shown, before = newest(rows)
    head = "".join(f'<th scope="col">{one}</th>' for one in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in shown)
    note = f'<p class="dim">{before}</p>' if before else ""
    return f"{note}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _at(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


def _text(value: str) -> str:
    return escape(clean(value))
