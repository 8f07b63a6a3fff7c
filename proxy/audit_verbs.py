"""The verbs that look back: `history`, with `--verify`, and `why`.

Owns what each asks and what its exit code says. Annotations are read at run time: typer makes the options
from them.
"""

import re
import sys
from typing import Annotated

import typer
from rich.text import Text

from proxy import history_text, why_text
from proxy.admin_client import AdminApi, AdminApiError, JsonDocument
from proxy.options import AsJson
from proxy.session import FAILED, OK, Session, UsageError, show, show_json
from proxy.verification import LOCAL_ONLY, verify

Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many events at most.")]
Everything = Annotated[
    bool, typer.Option("--all", help="Every reading, and the figures behind each decision.")
]
Rollout = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Only this rollout.")]
Verify = Annotated[
    bool, typer.Option("--verify", help="Check that no event was changed, moved or removed; exit 1 if so.")
]
Head = Annotated[
    str | None,
    typer.Option("--head", metavar="SEQ:HASH", help="With --verify: an end of the chain that was noted."),
]

_HEAD = re.compile("[0-9]{1,18}:[0-9a-f]{8,64}")
_NEWEST = 200
"""How far back decisions are looked for among events that decide nothing."""


def history(
    ctx: typer.Context,
    limit: Limit = 20,
    name: Rollout = None,
    check: Verify = False,
    head: Head = None,
    as_json: AsJson = False,
) -> int:
    """Show what has happened, oldest first, and who did it."""
    session: Session = ctx.obj
    if check:
        return _verify(session, head, as_json=as_json)
    if head is not None:
        raise UsageError("--head goes with --verify")
    document = session.ask(lambda admin: admin.events(limit=limit, rollout=name))
    if as_json:
        show_json(document)
    else:
        told = history_text.history_table if sys.stdout.isatty() else history_text.history_lines
        show(told(document))
        if document.get("local_only"):
            show(Text(LOCAL_ONLY, style="bold red"))
    return OK


def why(
    ctx: typer.Context,
    name: Rollout = None,
    limit: Limit = 3,
    everything: Everything = False,
    as_json: AsJson = False,
) -> int:
    """Say in words why each rollout stands where it stands, and what it waits for."""
    session: Session = ctx.obj
    document = session.ask(lambda admin: _decisions(admin, name, limit))
    if as_json:
        show_json(document)
    else:
        show(why_text.why_text(document, everything=everything))
    return OK


def _verify(session: Session, head: str | None, *, as_json: bool) -> int:
    noted = _noted(head) if head is not None else None
    found = session.ask(lambda admin: verify(admin, noted))
    if as_json:
        show_json(found.document())
    else:
        show(found.text())
    return OK if found.fault is None else FAILED


def _noted(value: str) -> tuple[int, str]:
    if not _HEAD.fullmatch(value):
        raise UsageError("--head must be a number and at least 8 hexadecimal digits, such as 12:0f3c9a41")
    seq, mark = value.split(":")
    return int(seq), mark


async def _decisions(admin: AdminApi, name: str | None, limit: int) -> JsonDocument:
    """Each rollout as it stands, with the newest events that its judge or a person caused."""
    rollouts = (await admin.status())["rollouts"]
    chosen = [rollout for rollout in rollouts if name in (None, rollout["name"])]
    if not chosen:
        raise AdminApiError(f"there is no rollout {name!r}")
    return {"why": [await _decided(admin, rollout, limit) for rollout in chosen]}


async def _decided(admin: AdminApi, rollout: JsonDocument, limit: int) -> JsonDocument:
    """Where it stands is told without the store, too."""
    try:
        events = (await admin.events(limit=_NEWEST, rollout=rollout["name"]))["events"]
    except AdminApiError as error:
        return {"rollout": rollout, "decisions": [], "trouble": str(error)}
    decisions = [event for event in events if event["changes_state"] or event["judgment"] is not None]
    return {"rollout": rollout, "decisions": decisions[-limit:], "trouble": None}
