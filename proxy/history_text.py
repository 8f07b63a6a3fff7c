"""What `dualpath history` prints: a table on a terminal, whole lines elsewhere.

Pure: documents of the admin API in, rich renderables out. Must never know which of the two is wanted. Text of
others never reaches a terminal with control characters in it.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from proxy.printable import clean
from proxy.rendering import moment, percent

if TYPE_CHECKING:
    from rich.console import RenderableType

    from proxy.admin_client import JsonDocument

_NOTHING = "nothing has happened yet"
_WHAT, _BY = 28, 12
"""Columns at most: what is left tells why. On a narrow terminal all get less, and none nothing."""
_TAKEN_BACK = {"rolled_back", "aborted"}


def history_table(document: JsonDocument) -> RenderableType:
    """A row for each event, oldest first, each day under its date; if there are several rollouts, which it
    was, and moves in two lines, so that there is room for the reason."""
    events = document["events"]
    if not events:
        return Text(_NOTHING)
    several = len({event["rollout"] for event in events}) > 1
    rows = [(event, _cells(event, "\n-> " if several else " -> ")) for event in events]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("UTC", no_wrap=True)
    if several:
        table.add_column("rollout", overflow="fold", max_width=14)
    table.add_column("what", overflow="fold", max_width=_WHAT)
    table.add_column("by", overflow="fold", max_width=_BY)
    table.add_column("why", overflow="fold")
    for day, its_rows in groupby(rows, lambda row: moment(row[0]["at"])[:10]):
        table.add_row("", Text(day, style="bold"))
        for event, cells in its_rows:
            which = [Text(clean(event["rollout"]))] if several else []
            number = Text(f"#{event['seq']}", style="dim")
            table.add_row(number, moment(event["at"])[11:19], *which, *cells)
    return table


def _cells(event: JsonDocument, to: str) -> tuple[Text, Text, Text]:
    cause, reason = clean(event["cause"]), clean(event["reason"])
    by = Text(clean(event["actor"]))
    before, after = event["before"], event["after"]
    if not event["changes_state"] or _place(before) == _place(after):
        return Text(cause, style="dim"), by, Text(reason or "-")
    lower = after["percentage"] < before["percentage"]
    style = "bold red" if after["state"] in _TAKEN_BACK else "yellow" if lower else "green"
    moved = Text(f"{_place(before)}{to}{_place(after)}", style=style)
    return moved, by, Text(f"{cause}: {reason}" if reason else cause)


def _place(state: JsonDocument) -> str:
    """ "30% half" or "0% rolled_back"."""
    at = clean(state["phase"]) if state["phase"] and state["state"] == "running" else state["state"]
    return f"{percent(state['percentage'])} {at}"


def history_lines(document: JsonDocument) -> RenderableType:
    """A line for each event, oldest first, with all that there is to search for."""
    if not document["events"]:
        return Text(_NOTHING)
    return Group(*map(_line, document["events"]))


def _line(event: JsonDocument) -> Text:
    stand = _stand(event["after"])
    if event["changes_state"]:
        stand = f"{_stand(event['before'])} -> {stand}"
    why = f": {clean(event['reason'])}" if event["reason"] else ""
    by = f"{clean(event['cause'])} by {clean(event['actor'])}"
    return Text(f"#{event['seq']}  {moment(event['at'])}  {clean(event['rollout'])}  {stand}  {by}{why}")


def _stand(state: JsonDocument) -> str:
    phase = f" {clean(state['phase'])}" if state["phase"] else ""
    return f"{state['state']}{phase} {percent(state['percentage'])}"
