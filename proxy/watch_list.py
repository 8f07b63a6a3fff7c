"""All rollouts in a line each, what needs somebody first: what stands at the top of `status --watch` when
there are several.

Pure: documents of the admin API in, a table out. Must never know a terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from proxy.printable import clean
from proxy.rendering import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

JsonDocument = dict[str, Any]

_MOST: Final = 12
_STYLES: Final = ("bold red", "yellow", "green", "dim")


def by_urgency(rollouts: Sequence[JsonDocument]) -> list[JsonDocument]:
    """The same in the order in which somebody should look at them."""
    return sorted(rollouts, key=urgency)


def urgency(rollout: JsonDocument) -> int:
    """0: taken back or failing, 1: it waits for something, 2: all is well, 3: nothing is on v2."""
    state, judgment = rollout["state"], rollout["judgment"]
    crossed = any(one["crossed"] and one["action"] != "alert" for one in rollout["guards"])
    if state in {"rolled_back", "aborted"} or judgment["verdict"] == "fail" or crossed:
        return 0
    if state == "disabled":
        return 3
    return 1 if state == "paused" or judgment["missing"] else 2


def rollout_list(rollouts: Sequence[JsonDocument]) -> Table:
    """A line each, as many as leave room for the first in full."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("rollout", "state", "v2", "phase", "verdict", "errors v1", "errors v2"):
        right = name in {"v2", "errors v1", "errors v2"}
        table.add_column(
            Text(name), justify="right" if right else "left", no_wrap=True, overflow="ellipsis", max_width=24
        )
    for one in rollouts[:_MOST]:
        paths = one["recent"]["paths"]
        rates = [
            f"{path['error_rate']:.2%}" if path["requests"] else "-" for path in (paths["v1"], paths["v2"])
        ]
        style = _STYLES[urgency(one)]
        table.add_row(
            clean(one["name"]),
            Text(one["state"], style=style),
            percent(one["percentage"]),
            clean(one["phase"] or "-"),
            one["judgment"]["verdict"],
            *rates,
        )
    if len(rollouts) > _MOST:
        table.add_row(Text(f"and {len(rollouts) - _MOST} more", style="dim"))
    return table
