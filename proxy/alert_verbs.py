"""`dualpath alerts show|test|silence|unsilence`: what is alerted, whether it arrives, and when it is quiet.

Owns what each asks and how an answer is shown. Annotations are read at run time: typer makes the options from
them.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from proxy.options import AsJson, Reason, parse_lasting
from proxy.printable import clean
from proxy.rendering import moment
from proxy.session import FAILED, OK, Session, show, show_json
from proxy.verbs import Command

Lasting = Annotated[
    str, typer.Option("--for", parser=parse_lasting, metavar="DURATION", help='How long, such as "2h".')
]
Which = Annotated[
    list[str] | None,
    typer.Option("--alert", metavar="PATTERN", help="Kinds, rules, guards, workers; all unless given."),
]
Whose = Annotated[
    list[str] | None,
    typer.Option("--rollout", metavar="PATTERN", help="Of which rollouts; all unless given."),
]
SinkName = Annotated[str | None, typer.Option("--sink", metavar="NAME", help="Only this one.")]
SeverityName = Annotated[
    str, typer.Option("--severity", metavar="SEVERITY", help="info, warning or critical.")
]
SilenceId = Annotated[str, typer.Argument(metavar="ID", help="As `alerts show` has it.")]


def show_alerts(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show what is active, what is silenced, and how the sinks fare."""
    session: Session = ctx.obj
    document = session.ask(lambda admin: admin.alerts())
    if as_json:
        show_json(document)
    else:
        show(alerts_text(document))


def send_test(
    ctx: typer.Context, sink: SinkName = None, severity: SeverityName = "info", reason: Reason = ""
) -> int:
    """Send a test to every sink, and say whether it was taken."""
    session: Session = ctx.obj
    body: dict[str, object] = {"severity": severity}
    body |= {"sink": sink} if sink else {}
    body |= {"reason": reason} if reason else {}
    trials = session.ask(lambda admin: admin.test_alerts(body))["sinks"]
    show(trials_text(trials))
    return OK if all(one["taken"] for one in trials) else FAILED


def silence(
    ctx: typer.Context, lasting: Lasting, alerts: Which = None, rollouts: Whose = None, reason: Reason = ""
) -> None:
    """Keep alerts from being sent for a while."""
    session: Session = ctx.obj
    body: dict[str, object] = {"expires_in": lasting}
    body |= {"alerts": alerts} if alerts else {}
    body |= {"rollouts": rollouts} if rollouts else {}
    body |= {"reason": reason} if reason else {}
    made = session.ask(lambda admin: admin.silence(body))
    show(Text(f"{clean(made['id'])}: {_covered(made)} silenced until {moment(made['until'])}"))


def unsilence(
    ctx: typer.Context,
    id: SilenceId,  # noqa: A002 - what a silence calls it
    reason: Reason = "",
) -> None:
    """End a silence."""
    session: Session = ctx.obj
    was = session.ask(lambda admin: admin.unsilence(id, reason))
    show(Text(f"{clean(was['id'])}: {_covered(was)} silenced no longer"))


ALERTING: dict[str, Command] = {
    "show": show_alerts,
    "test": send_test,
    "silence": silence,
    "unsilence": unsilence,
}


def alerts_text(document: dict[str, Any]) -> RenderableType:
    """A line for each alert, silence and sink."""
    active = [
        (
            one["severity"],
            one["rollout"] or "-",
            one["subject"],
            moment(one["since"]),
            _how(one),
            one["reason"],
        )
        for one in document["active"]
    ]
    silences = [
        (one["id"], _covered(one), moment(one["until"]), one["actor"], one["reason"] or "-")
        for one in document["silences"]
    ]
    sinks = [
        (
            one["name"],
            one["kind"],
            f"{one['sent']:,}",
            f"{one['failed']:,}",
            f"{one['dropped']:,}",
            _state(one),
        )
        for one in document["sinks"]
    ]
    parts: list[RenderableType] = [
        _table(("severity", "rollout", "alert", "since", "sent", "why"), active)
        if active
        else Text("no alert is active")
    ]
    if silences:
        parts += [Text(), _table(("silence", "of", "until", "by", "reason"), silences)]
    parts += [Text(), _table(("sink", "kind", "sent", "failed", "dropped", "state"), sinks)]
    return Group(*parts)


def trials_text(trials: list[dict[str, Any]]) -> RenderableType:
    """A line for each sink."""
    lines = []
    for one in trials:
        line = Text(f"{clean(one['name'])} ({clean(one['kind'])}): ")
        if one["taken"]:
            lines.append(line.append(f"taken in {one['seconds']:.2f} s"))
        else:
            lines.append(line.append(clean(one["trouble"]), style="bold red"))
    return Group(*lines)


def _table(headers: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        table.add_column(Text(header), overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    return table


def _how(alert: dict[str, Any]) -> str:
    if alert["silence"]:
        return f"silenced by {alert['silence']}"
    return moment(alert["sent_at"]) if alert["sent_at"] else "-"


def _state(sink: dict[str, Any]) -> str:
    waiting = f", {sink['waiting']} waiting" if sink["waiting"] else ""
    return f"{sink['trouble'] or 'well'}{waiting}"


def _covered(silence: dict[str, Any]) -> str:
    return clean(f"{' '.join(silence['alerts'])} of {' '.join(silence['rollouts'])}")
