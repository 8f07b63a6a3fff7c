"""`dualpath override set|list|remove`: one key of a rollout goes to one path, whatever its bucket says.

Owns what each asks and how an answer is shown. Annotations are read at run time: typer makes the options from
them.
"""

from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from proxy.model import Path
from proxy.options import AsJson, Lasting, Reason
from proxy.printable import clean
from proxy.rendering import moment
from proxy.session import Session, show, show_json
from proxy.verbs import Command, chosen

Key = Annotated[
    str, typer.Argument(metavar="KEY", help="The user's key, as the key header or cookie holds it.")
]
Target = Annotated[Path, typer.Argument(metavar="v1|v2", help="Where its requests go.")]
One = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Which rollout, if there are several.")
]

_SUSPENDED = "suspended: the rollout was taken back, and overrides to v2 count again once it is started"


def set_override(
    ctx: typer.Context,
    key: Key,
    path: Target,
    lasting: Lasting = None,
    name: One = None,
    reason: Reason = "",
) -> None:
    """Send a key to one path from now on."""
    session: Session = ctx.obj
    body: dict[str, object] = {"key": key, "path": path.value}
    body |= {"expires_in": lasting} if lasting else {}
    body |= {"reason": reason} if reason else {}

    async def ask(admin: Any) -> Any:
        return await admin.override(await chosen(admin, name), body)

    show(override_text(session.ask(ask)))


def list_overrides(ctx: typer.Context, name: One = None, as_json: AsJson = False) -> None:
    """Show the keys that are sent to one path, of one rollout or of all."""
    session: Session = ctx.obj

    async def ask(admin: Any) -> Any:
        if name is not None:
            return (await admin.overrides(await chosen(admin, name)))["overrides"]
        names = [rollout["name"] for rollout in (await admin.status())["rollouts"]]
        return [one for rollout in names for one in (await admin.overrides(rollout))["overrides"]]

    overrides = session.ask(ask)
    if as_json:
        show_json({"overrides": overrides})
    else:
        show(overrides_text(overrides, named=name is None))


def remove_override(ctx: typer.Context, key: Key, name: One = None) -> None:
    """Split a key like all others again."""
    session: Session = ctx.obj

    async def ask(admin: Any) -> Any:
        return await admin.take_override_back(await chosen(admin, name), key)

    was = session.ask(ask)
    show(Text(f"{_subject(was)} is split like all others, no longer {was['path']}"))


OVERRIDING: dict[str, Command] = {"set": set_override, "list": list_overrides, "remove": remove_override}


def override_text(override: dict[str, Any]) -> Text:
    """One line: where a key goes now, or will go, and until when."""
    until = f" until {moment(override['expires_at'])}" if override["expires_at"] else ""
    goes = "is to go" if override.get("suspended") else "goes"
    line = Text(f"{_subject(override)} {goes} to {override['path']}{until}")
    if override.get("suspended"):
        line.append(f", {_SUSPENDED}", style="bold yellow")
    return line if override["stored"] else line.append(", not stored yet", style="bold yellow")


def overrides_text(overrides: list[dict[str, Any]], *, named: bool) -> RenderableType:
    """A line for each, `named` by its rollout."""
    if not overrides:
        return Text("no key is overridden")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in (*(("rollout",) if named else ()), "key", "path", "until", "by", "reason"):
        table.add_column(Text(header), overflow="fold")
    for one in overrides:
        until = moment(one["expires_at"]) if one["expires_at"] else "-"
        path = f"{one['path']} (suspended)" if one.get("suspended") else one["path"]
        whose = (one["rollout"],) if named else ()
        cells = (*whose, one["key"], path, until, one["actor"], one["reason"] or "-")
        table.add_row(*(Text(clean(cell)) for cell in cells))
    return Group(table, Text(_SUSPENDED)) if any(one.get("suspended") for one in overrides) else Group(table)


def _subject(override: dict[str, Any]) -> str:
    return f"{clean(override['rollout'])}: key {clean(override['key'])}"
