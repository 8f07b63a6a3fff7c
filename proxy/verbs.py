"""The verbs that speak to the admin API: `status`, `history`, `health`, `explain`, and `rollout …`.

Owns what each asks and what its exit code says. It must never decide what the proxy would refuse, except for
a percentage that is none. Annotations are read at run time: typer makes the options from them.
"""

import re
from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from proxy import rendering
from proxy.admin_client import AdminApi, AdminApiError, JsonDocument
from proxy.config.units import parse_percentage
from proxy.model import Path, Verb
from proxy.session import FAILED, OK, Session, UsageError, complain, show, show_json

Command = Callable[..., int | None]

_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)%?")


def parse_percent(value: str) -> float:
    """A percentage as it is typed: "5", "0.5", "5%". Raises `typer.BadParameter`."""
    match = _PERCENT.fullmatch(value)
    if match is None:
        raise typer.BadParameter(f"must be a number from 0 to 100, not {value!r}")
    number = float(match[1])
    try:
        return parse_percentage(int(number) if number.is_integer() else number)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON instead.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many events at most.")]
Percent = Annotated[float, typer.Argument(parser=parse_percent, metavar="PERCENT", help="0 to 100.")]
Lower = Annotated[
    float | None,
    typer.Option("--to", parser=parse_percent, metavar="PERCENT", help="Keep this share on v2 instead of 0."),
]
Full = Annotated[bool, typer.Option("--full", help="To the end of the plan at once.")]
Name = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Which rollout, if there are several.")
]
Every = Annotated[bool, typer.Option("--all", help="Every rollout.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Goes into the audit.")]


# ... verbs that look ...


def status(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show where each rollout stands, v1 beside v2."""
    session: Session = ctx.obj
    document = session.ask(lambda admin: admin.status())
    if as_json:
        show_json(document)
    else:
        show(rendering.status_text(document))


def history(ctx: typer.Context, limit: Limit = 20, as_json: AsJson = False) -> None:
    """Show what has happened, oldest first, and who did it."""
    session: Session = ctx.obj
    document = session.ask(lambda admin: admin.events(limit=limit))
    if as_json:
        show_json(document)
    else:
        show(rendering.history_text(document))


def health(ctx: typer.Context, as_json: AsJson = False) -> int:
    """Show both backends' endpoints; exit 1 if a path has no healthy one."""
    session: Session = ctx.obj
    document = session.ask(lambda admin: admin.status())
    endpoints = _endpoints(document)
    if as_json:
        show_json({"endpoints": endpoints})
    else:
        show(rendering.health_text(endpoints))
    serving = {endpoint["path"] for endpoint in endpoints if rendering.endpoint_state(endpoint) == "healthy"}
    lost = [path for path in Path if path not in serving]
    for path in lost:
        complain(f"error: {path} has no healthy endpoint")
    return FAILED if lost else OK


def explain(  # its options are the parts of a request
    ctx: typer.Context,
    key: Annotated[str, typer.Option("--key", help="The user's key, as the key header or cookie holds it.")],
    path: Annotated[str, typer.Option("--path", help="Path of the request.")] = "/",
    host: Annotated[str, typer.Option("--host", help="Host of the request.")] = "",
    method: Annotated[str, typer.Option("--method", help="Method of the request.")] = "GET",
    as_json: AsJson = False,
) -> None:
    """Say where a key's requests go, and by which rule."""
    session: Session = ctx.obj
    query = {"key": key, "path": path, "host": host, "method": method}
    document = session.ask(lambda admin: admin.explain(query))
    if as_json:
        show_json(document)
    else:
        show(rendering.explanation_text(document))


# ... verbs that act ...


def start(ctx: typer.Context, name: Name = None, every: Every = False, reason: Reason = "") -> int:
    """Begin the plan, or the configured percentage."""
    return _carry_out(ctx.obj, Verb.START, (name, every), {"reason": reason})


def pause(ctx: typer.Context, name: Name = None, every: Every = False, reason: Reason = "") -> int:
    """Stay at this percentage until `resume`; guards go on watching."""
    return _carry_out(ctx.obj, Verb.PAUSE, (name, every), {"reason": reason})


def resume(ctx: typer.Context, name: Name = None, every: Every = False, reason: Reason = "") -> int:
    """Go on after `pause`."""
    return _carry_out(ctx.obj, Verb.RESUME, (name, every), {"reason": reason})


def promote(
    ctx: typer.Context, full: Full = False, name: Name = None, every: Every = False, reason: Reason = ""
) -> int:
    """Go to the next phase now."""
    return _carry_out(ctx.obj, Verb.PROMOTE, (name, every), {"reason": reason, "full": full})


def rollback(
    ctx: typer.Context, to: Lower = None, name: Name = None, every: Every = False, reason: Reason = ""
) -> int:
    """Take v2's traffic back to v1 at once."""
    return _carry_out(ctx.obj, Verb.ROLLBACK, (name, every), {"reason": reason, "percentage": to})


def set_percentage(
    ctx: typer.Context, percentage: Percent, name: Name = None, every: Every = False, reason: Reason = ""
) -> int:
    """Give v2 this share of the keys."""
    return _carry_out(ctx.obj, Verb.SET, (name, every), {"reason": reason, "percentage": percentage})


def abort(ctx: typer.Context, name: Name = None, every: Every = False, reason: Reason = "") -> int:
    """End the rollout: v2 gets nothing more."""
    return _carry_out(ctx.obj, Verb.ABORT, (name, every), {"reason": reason})


ACTING: dict[str, Command] = {
    "start": start,
    "pause": pause,
    "resume": resume,
    "promote": promote,
    "rollback": rollback,
    "set": set_percentage,
    "abort": abort,
}
LOOKING: dict[str, Command] = {"status": status, "history": history, "health": health, "explain": explain}


def _carry_out(
    session: Session, verb: Verb, choice: tuple[str | None, bool], body: Mapping[str, object]
) -> int:
    given = {
        name: value for name, value in body.items() if not (value is None or value is False or value == "")
    }
    return session.ask(lambda admin: _command_each(admin, verb, choice, given))


async def _command_each(
    admin: AdminApi, verb: Verb, choice: tuple[str | None, bool], body: Mapping[str, object]
) -> int:
    """Command one rollout after the other; one that refuses does not spare the next."""
    code = OK
    names = await _chosen(admin, *choice)
    for name in names:
        try:
            show(rendering.command_text(await admin.command(name, verb, body)))
        except AdminApiError as error:
            if len(names) == 1:
                raise
            complain(f"error: {name}: {error}")
            code = FAILED
    return code


async def _chosen(admin: AdminApi, name: str | None, every: bool) -> list[str]:
    if name is not None and every:
        raise UsageError("--name and --all exclude each other")
    if name == "":
        raise UsageError("--name must not be empty")
    if name is not None:
        return [name]
    names = [str(rollout["name"]) for rollout in (await admin.status())["rollouts"]]
    if len(names) != 1 and not every:
        raise UsageError(f"there are several rollouts, choose with --name or --all: {', '.join(names)}")
    return names


def _endpoints(document: JsonDocument) -> list[JsonDocument]:
    """Every endpoint once: rollouts share the backends."""
    found = {
        (endpoint["path"], endpoint["url"]): endpoint
        for rollout in document["rollouts"]
        for endpoint in rollout["endpoints"]
    }
    return [found[place] for place in sorted(found)]
