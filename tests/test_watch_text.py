from __future__ import annotations

import io
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from proxy.watch_text import Trend, sparkline, watch_text
from tests.fake_admin import FakeAdmin, rollout, through_json
from tests.played_admin import PHASES

if TYPE_CHECKING:
    from collections.abc import Sequence

Document = dict[str, Any]


async def drawn(
    one: Document,
    trend: Trend | None = None,
    events: Sequence[Document] = (),
    *,
    ascii_only: bool = False,
    others: Sequence[Document] = (),
) -> str:
    admin = FakeAdmin()
    admin.rollouts = [one, *others]
    plans = {
        "default": {
            "name": "default",
            "phases": [*PHASES, {"name": "full", "percentage": 100.0}],
            "judge": {},
        }
    }
    out = io.StringIO()
    console = Console(file=out, width=80, highlight=False, markup=False, emoji=False)
    console.print(
        watch_text(await admin.status(), plans, {"default": trend or Trend()}, events, ascii_only=ascii_only)
    )
    return out.getvalue()


async def test_one_look_says_where_it_stands_and_why() -> None:
    text = await drawn(rollout("default"))
    assert "default: running at 30%, phase half" in text
    assert "✓ canary 1% > ● half 30% > ○ full 100%" in text
    assert "errors below 0.02" in text
    assert "30.00%" in text  # v2's errors
    assert max(map(len, text.splitlines())) <= 80


async def test_a_long_reason_stays_in_its_column() -> None:
    one = {**rollout("default"), "state": "rolled_back", "phase": None, "reason": "too many of them " * 8}
    lines = (await drawn(one)).splitlines()
    first = next(at for at, line in enumerate(lines) if "because" in line)
    assert lines[first + 1].startswith(f"{'':12}too many of them")


async def test_of_several_all_stand_at_the_top_and_what_needs_somebody_comes_first() -> None:
    well = {
        **rollout("well"),
        "guards": [],
        "judgment": {**rollout("x")["judgment"], "verdict": "pass", "missing": []},
    }
    back = {**rollout("back"), "state": "rolled_back", "phase": None, "percentage": 0.0}
    idle = {**rollout("idle"), "state": "disabled", "guards": [], "judgment": well["judgment"]}
    paused = {**well, "name": "paused", "state": "paused"}
    text = await drawn(idle, others=[well, paused, back])
    names = [line.split()[0] for line in text.splitlines() if line and line[0] != " "]
    assert names == [
        "dualpath",
        "rollout",
        "back",
        "paused",
        "well",
        "idle",
        *(f"{one}:" for one in ("back", "paused", "well", "idle")),
    ]
    assert max(map(len, text.splitlines())) <= 80
    assert "rollout  state" not in await drawn(well)


async def test_of_very_many_the_most_urgent_are_listed() -> None:
    others = [rollout(f"r{at:02}") for at in range(20)]
    assert "and 9 more" in await drawn(rollout("default"), others=others)


async def test_what_was_rolled_back_says_why() -> None:
    one = {
        **rollout("default"),
        "state": "rolled_back",
        "phase": None,
        "percentage": 0.0,
        "reason": "too many",
    }
    text = await drawn(one)
    assert "because   too many" in text
    assert "○ canary" in text


async def test_a_terminal_without_more_than_ascii_gets_ascii() -> None:
    trend = Trend()
    trend.v2_errors.extend([0.0, 0.5])
    text = await drawn(rollout("default"), trend, ascii_only=True)
    assert "x canary 1% > * half 30% > o full 100%" in text
    assert "_@" not in text
    assert "_#" in text


async def test_nothing_of_what_others_wrote_steers_the_terminal() -> None:
    text = await drawn({**rollout("default"), "state": "aborted", "reason": "\x1b[31m[red]"})
    assert "\x1b" not in text
    assert "[red]" in text


async def test_the_last_events_stand_below() -> None:
    admin = FakeAdmin()
    events = (await admin.events(limit=1))["events"]
    text = await drawn(rollout("default"), events=through_json({"events": events})["events"])
    assert "00:01:01  rolled_back 0% by controller: too many" in text


def seen(v1: int, v2: int, failed: int) -> Document:
    one = rollout("default")
    one["paths"]["v1"]["requests"], one["paths"]["v2"]["requests"], one["paths"]["v2"]["errors"] = (
        v1,
        v2,
        failed,
    )
    return one


def test_a_trend_is_what_happened_between_two_looks() -> None:
    trend = Trend()
    trend.look(seen(100, 10, 0), 1.0)
    assert trend.v2_errors == trend.client_errors == deque()
    trend.look(seen(300, 30, 5), 3.0)
    assert trend.rates == (100.0, 10.0)
    assert list(trend.v2_errors) == [0.25]
    trend.look(seen(300, 30, 5), 4.0)
    assert list(trend.v2_errors) == [0.25, None]


def test_a_proxy_that_has_started_anew_is_no_trend() -> None:
    trend = Trend()
    trend.look(seen(100, 10, 0), 1.0)
    trend.look(seen(5, 1, 0), 2.0)
    assert not trend.v2_errors
    trend.look(seen(15, 2, 1), 3.0)
    assert list(trend.v2_errors) == [1.0]


@pytest.mark.parametrize(
    ("values", "line"),
    [([], ""), ([0.0, None], "▁ "), ([0.0, 0.5, 1.0], "▁▅█"), ([None, 0.2], " █")],
)
def test_a_sparkline_is_highest_where_the_value_is(values: list[float | None], line: str) -> None:
    assert sparkline(values) == line
