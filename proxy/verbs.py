"""The verbs that speak to the admin API: `status`, `health`, `explain`, and `rollout …`; those that look back
stand in `audit_verbs`.

Owns what each asks and what its exit code says. It must never decide what the proxy would refuse, except for
a percentage that is none. Annotations are read at run time: typer makes the options from them.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated

import typer

from proxy import rendering
from proxy.admin_client import AdminApi, JsonDocument
from proxy.later import later
from proxy.model import Path, Verb
from proxy.options import AsJson, Every, Full, Lower, Name, NoColor, Percent, Reason, Wait, Watching, Within
from proxy.session import FAILED, OK, Session, UsageError, complain, show, show_json
from proxy.stopping import tell

Command = Callable[..., int | None]


# ... verbs that look ...


def status(
    ctx: typer.Context, as_json: AsJson = False, watching: Watching = False, no_color: NoColor = False
) -> int:
    """Show where each rollout stands, v1 beside v2."""
    session: Session = ctx.obj
    if watching and as_json:
        raise UsageError("--watch is for people; for scripts there is GET /api/v1/events/stream")
    if watching:
        watch: Callable[..., Awaitable[int]] = later("proxy.watching:watch")
        return session.ask(lambda admin: watch(admin, no_color=no_color))
    document = session.ask(lambda admin: admin.status())
    if as_json:
        show_json(document)
    else:
        show(rendering.status_text(document))
    return OK


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


def _moving(verb: Verb, text: str) -> Command:
    """A verb that takes nothing but what all of them take; `text` is its help."""

    def move(
        ctx: typer.Context,
        name: Name = None,
        every: Every = False,
        reason: Reason = "",
        wait: Wait = False,
        within: Within = None,
    ) -> int:
        return _carry_out(ctx.obj, verb, (name, every), {"reason": reason}, waiting=(wait, within))

    move.__doc__ = text
    return move


def promote(
    ctx: typer.Context,
    full: Full = False,
    name: Name = None,
    every: Every = False,
    reason: Reason = "",
    wait: Wait = False,
    within: Within = None,
) -> int:
    """Go to the next phase now."""
    return _carry_out(
        ctx.obj, Verb.PROMOTE, (name, every), {"reason": reason, "full": full}, waiting=(wait, within)
    )


def rollback(
    ctx: typer.Context,
    to: Lower = None,
    name: Name = None,
    every: Every = False,
    reason: Reason = "",
    wait: Wait = False,
    within: Within = None,
) -> int:
    """Take v2's traffic back to v1 at once."""
    return _carry_out(
        ctx.obj, Verb.ROLLBACK, (name, every), {"reason": reason, "percentage": to}, waiting=(wait, within)
    )


def set_percentage(
    ctx: typer.Context,
    percentage: Percent,
    name: Name = None,
    every: Every = False,
    reason: Reason = "",
    wait: Wait = False,
    within: Within = None,
) -> int:
    """Give v2 this share of the keys."""
    return _carry_out(
        ctx.obj, Verb.SET, (name, every), {"reason": reason, "percentage": percentage}, waiting=(wait, within)
    )


def emergency_stop(ctx: typer.Context, reason: Reason = "") -> None:
    """Take everything back from v2 now, in every rollout."""
    session: Session = ctx.obj
    tell(session.ask(lambda admin: admin.emergency_stop(reason)))


ACTING: dict[str, Command] = {
    "start": _moving(Verb.START, "Begin the plan, or the configured percentage."),
    "pause": _moving(Verb.PAUSE, "Stay at this percentage until `resume`; guards go on watching."),
    "resume": _moving(Verb.RESUME, "Go on after `pause`."),
    "promote": promote,
    "rollback": rollback,
    "set": set_percentage,
    "step-down": _moving(Verb.STEP_DOWN, "One phase back; from the first one to nothing."),
    "abort": _moving(Verb.ABORT, "End the rollout: v2 gets nothing more."),
}


def _carry_out(
    session: Session,
    verb: Verb,
    choice: tuple[str | None, bool],
    body: Mapping[str, object],
    *,
    waiting: tuple[bool, float | None],
) -> int:
    given = {
        name: value for name, value in body.items() if not (value is None or value is False or value == "")
    }
    wait, timeout_s = waiting
    if timeout_s is not None and not wait:
        raise UsageError("--timeout goes with --wait")

    async def ask(admin: AdminApi) -> int:
        moved: list[JsonDocument] = []
        code = await _command_each(admin, verb, choice, given, moved)
        if not wait:
            return code
        patience = later("proxy.deploy_waiting:Patience")(timeout_s, session.outside.poll_s)
        until_done: Callable[..., Awaitable[int]] = later("proxy.deploy_waiting:until_done")
        return max(code, await until_done(admin, verb, moved, patience))

    return session.ask(ask)


async def _command_each(
    admin: AdminApi,
    verb: Verb,
    choice: tuple[str | None, bool],
    body: Mapping[str, object],
    moved: list[JsonDocument],
) -> int:
    """Command one rollout, or all that a pattern names at once; one that refuses does not spare the next.
    Those that did not are appended to `moved`."""
    name, every = choice
    pattern = "*" if every else name
    if (name is None or not every) and (pattern is None or not _is_pattern(pattern)):
        rollout = await chosen(admin, name, "--name or --all")
        moved.append(await admin.command(rollout, verb, body))
        show(rendering.command_text(moved[-1]))
        return OK
    if name is not None and every:
        raise UsageError("--name and --all exclude each other")
    code = OK
    for rollout in (await admin.bulk(verb, {**body, "name": pattern}))["rollouts"]:
        if rollout["error"] is None:
            moved.append(rollout)
            show(rendering.command_text(rollout))
        else:
            complain(f"error: {rollout['name']}: {rollout['error']['detail']}")
            code = FAILED
    return code


async def chosen(admin: AdminApi, name: str | None, by: str = "--name") -> str:
    """The rollout of that name, or the only one. `by` are the options that choose. Raises `UsageError`."""
    if name == "":
        raise UsageError("--name must not be empty")
    if name is not None:
        return name
    names = [str(rollout["name"]) for rollout in (await admin.status())["rollouts"]]
    if len(names) != 1:
        raise UsageError(f"there are several rollouts, choose with {by}: {', '.join(names)}")
    return names[0]


def _is_pattern(name: str) -> bool:
    return any(sign in name for sign in "*?[")


def _endpoints(document: JsonDocument) -> list[JsonDocument]:
    """Every endpoint once: rollouts share the backends."""
    found = {
        (endpoint["path"], endpoint["url"]): endpoint
        for rollout in document["rollouts"]
        for endpoint in rollout["endpoints"]
    }
    return [found[place] for place in sorted(found)]
