"""`dualpath deploy`: a rollout from its first look to its end, for a pipeline that waits.

Owns the order (preflight, backup, start, waiting), the options, and what becomes of a rollout that takes too
long. Annotations are read at run time: typer makes the options from them.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from proxy.admin_client import AdminApi
from proxy.config.loading import load
from proxy.config.schema import Config, Rollout
from proxy.config.texts import socket_path
from proxy.config.units import format_duration
from proxy.deploy_backup import DEFAULT_FOLDER, back_up, store_file
from proxy.deploy_preflight import (
    Check,
    Mark,
    check_endpoints,
    check_health,
    check_plan,
    check_running_config,
    check_smoke,
    check_state,
    check_store,
)
from proxy.deploy_screen import Screen, screen_for
from proxy.deploy_smoke import asking
from proxy.deploy_waiting import Patience, ended_by_signals, waited
from proxy.errors import DualpathError
from proxy.model import Verb
from proxy.options import Reason, parse_within
from proxy.rendering import command_text
from proxy.session import INTERRUPTED, OK, TIMED_OUT, Session, UsageError

_EVENTS = 1000
"""How many of the newest events a backup holds; the store's copy has them all."""


class OnTimeout(StrEnum):
    """What becomes of a rollout that is not over in time."""

    HOLD = "hold"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for."""

    file: Path
    config: Config
    rollout: Rollout
    reason: str
    folder: Path
    patience: Patience
    on_timeout: OnTimeout
    waits: bool
    directly: bool  # whether the backends are asked past the proxy
    strict: bool  # whether a warning forbids the start
    store: Path | None  # the store's file, if it lies on this machine


def deploy(  # its options are the parts of an order
    ctx: typer.Context,
    config: Annotated[
        str,
        typer.Option("-c", "--config", metavar="FILE", envvar="DUALPATH_CONFIG", help="The configuration."),
    ] = "proxy.toml",
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Which rollout, if there are several.")
    ] = None,
    backup: Annotated[
        str | None,
        typer.Option(
            "--backup", metavar="DIR", help=f"Where the backup goes. [default: {DEFAULT_FOLDER}/<UTC time>]"
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for its end, or only check, back up and start.")
    ] = True,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", parser=parse_within, metavar="DURATION", help="Wait no longer (exit 4)."),
    ] = None,
    on_timeout: Annotated[
        OnTimeout, typer.Option("--on-timeout", help="Then leave it as it is, or roll it back.")
    ] = OnTimeout.HOLD,
    no_direct: Annotated[
        bool, typer.Option("--no-direct", help="Ask no backend: this machine does not reach them.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Start only without a warning.")] = False,
    reason: Reason = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> int:
    """Check, back up, start a rollout, and wait until it is completed (0) or rolled back (3)."""
    session: Session = ctx.obj
    loaded = load(config, session.outside.environ)
    file = Path(config)
    order = Order(
        file=file,
        config=loaded,
        rollout=_chosen(loaded, name),
        reason=reason,
        folder=Path(backup) if backup else Path(DEFAULT_FOLDER, f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}"),
        patience=Patience(timeout, session.outside.poll_s),
        on_timeout=on_timeout,
        waits=wait,
        directly=not no_direct,
        strict=strict,
        store=store_file(loaded.store.url, file) if _is_here(session.url) else None,
    )
    screen = screen_for(as_json=as_json)
    return session.ask(lambda admin: _deployed(admin, order, screen))


async def _deployed(admin: AdminApi, order: Order, screen: Screen) -> int:
    try:
        with ended_by_signals():
            revision = await _prepared(admin, order, screen)
    except asyncio.CancelledError:
        screen.say("interrupted", "interrupted: nothing was started")
        return INTERRUPTED
    except DualpathError as error:
        screen.say("failed", f"nothing was started: {error}")
        raise
    body = {"revision": revision} | ({"reason": order.reason} if order.reason else {})
    try:
        begun = await admin.command(order.rollout.name, Verb.START, body)
    except asyncio.CancelledError:
        screen.say("interrupted", "interrupted: it may have been started, see `dualpath status`")
        return INTERRUPTED
    screen.say("started", str(command_text(begun)), rollout=begun["name"], revision=begun["revision"])
    if not order.waits:
        return OK
    code = await waited(admin, [order.rollout.name], screen, order.patience)
    if code == TIMED_OUT:
        await _overdue(admin, order, screen)
    return code


async def _prepared(admin: AdminApi, order: Order, screen: Screen) -> int:
    """Preflight and backup. Returns the rollout's revision. Raises `DualpathError` if anything forbids the
    start."""
    status, running = await admin.status(), await admin.config()
    checks = [
        *check_plan(order.rollout),
        *check_running_config(order.config, status, running),
        check_state(status, order.rollout),
        *check_health(status),
    ]
    for check in checks:
        _say(screen, check)
    for check in (later := [*await _asked(order), await check_store(admin)]):
        _say(screen, check)
    forbidding = {Mark.FAILED, Mark.WARNING} if order.strict else {Mark.FAILED}
    failed = [check for check in (*checks, *later) if check.mark in forbidding]
    if failed:
        what = "; ".join(f"{check.name}: {check.text}" for check in failed)
        raise DualpathError(f"preflight: {what}")
    documents = {
        "rollouts": {"rollouts": status["rollouts"]},
        "events": await admin.events(limit=_EVENTS),
        "config": running,
    }
    written = await asyncio.to_thread(back_up, order.folder, order.file, order.config, documents, order.store)
    screen.say(
        "backup", f"backup in {order.folder}: {', '.join(written)}", folder=str(order.folder), files=written
    )
    found = next(one for one in status["rollouts"] if one["name"] == order.rollout.name)
    return int(found["revision"])


async def _asked(order: Order) -> list[Check]:
    if not order.directly:
        return [Check("smoke", Mark.OK, "not asked: --no-direct")]
    async with asking(order.config.backends) as asker:
        return [
            *await check_endpoints(asker, order.config),
            *await check_smoke(asker, order.config, order.rollout),
        ]


async def _overdue(admin: AdminApi, order: Order, screen: Screen) -> None:
    name, after = order.rollout.name, format_duration(order.patience.timeout_s or 0.0)
    if order.on_timeout is OnTimeout.HOLD:
        text = f"{name} is not over after {after}; it is left as it is, and goes on by itself"
        screen.say("timed_out", text, rollout=name)
        return
    screen.say("timed_out", f"{name} is not over after {after} and is rolled back", rollout=name)
    back = await admin.command(name, Verb.ROLLBACK, {"reason": f"deploy has timed out after {after}"})
    screen.say("ended", str(command_text(back)), rollout=name, ending=back["state"])


def _say(screen: Screen, check: Check) -> None:
    screen.say("check", f"{check.mark:<8} {check.name:<8} {check.text}", check=check.name, mark=check.mark)


def _chosen(config: Config, name: str | None) -> Rollout:
    names = [rollout.name for rollout in config.rollouts]
    if name is None and len(names) > 1:
        raise UsageError(f"there are several rollouts, choose with --name: {', '.join(names)}")
    found = next((rollout for rollout in config.rollouts if name in (None, rollout.name)), None)
    if found is None:
        raise UsageError(f"there is no rollout {name!r} in the configuration")
    if not found.phases:
        raise UsageError(f"rollout {found.name!r} has no phases: nothing would ever complete it")
    return found


def _is_here(url: str) -> bool:
    """Whether the admin API, and so the proxy with its store, is on this machine."""
    if socket_path(url) is not None:
        return True
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
