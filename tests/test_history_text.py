"""`dualpath history`: a table that fits 80 columns on a terminal, and a whole line an event elsewhere."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from proxy.admin.views import event_view
from proxy.cli import main
from proxy.history_text import history_lines, history_table
from proxy.model import Event, State, Transition
from tests.admin.builders import EVENT, RUNNING
from tests.fake_admin import FakeOutside
from tests.test_rendering import printed, through_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

DAY_S = 86_400.0
ALERT = Event(10, Transition(RUNNING, RUNNING, "alert:health", "", "controller", 1_767_225_662.0))
STARTED = Event(
    11,
    Transition(
        replace(RUNNING, state=State.DISABLED, phase=None, weight=0),
        RUNNING,
        "command:start",
        "the quick brown fox jumps over the lazy dog while the release manager looks on",
        "ada@example.org",
        1_767_225_661.0 + DAY_S,
    ),
)


def of(*events: Event) -> dict[str, Any]:
    return through_json({"events": [event_view(event) for event in events]})


def rows(*events: Event, width: int = 80) -> list[str]:
    return [line.rstrip() for line in printed(history_table(of(*events)), width=width).splitlines()]


def test_a_row_tells_what_moved_by_whom_and_why_under_its_day() -> None:
    assert rows(EVENT, width=120) == [
        "    UTC         what                        by          why",
        "    2026-01-01",
        "#9  00:01:01    30% half -> 0% rolled_back  controller  guard:error_rate: too many",
    ]


def test_what_moves_nothing_is_told_by_its_cause() -> None:
    assert rows(ALERT, width=120)[-1].split() == ["#10", "00:01:02", "alert:health", "controller", "-"]


def test_eighty_columns_are_enough_and_no_word_is_lost() -> None:
    found = rows(EVENT, ALERT, STARTED)
    assert max(map(len, found)) <= 80
    assert sum(line.strip() in {"2026-01-01", "2026-01-02"} for line in found) == 2
    why = " ".join(" ".join(line[-30:] for line in found[5:]).split())
    for word in STARTED.transition.reason.split():
        assert word in why


@pytest.mark.parametrize("width", [40, 60])
def test_a_narrow_terminal_gets_the_reason_too(width: int) -> None:
    phases = replace(RUNNING, phase="ten-percent-of-users"), replace(RUNNING, phase="thirty-percent-of-users")
    moved = Event(12, Transition(*phases, "phase:thirty", "passed", "github-actions", STARTED.transition.at))
    found = rows(moved, width=width)
    assert max(map(len, found)) <= width
    assert "why" in " ".join(found)
    assert "passed" in "".join(line[-9:].strip() for line in found)


def test_which_rollout_it_was_is_told_where_there_are_several() -> None:
    other = replace(RUNNING, name="other")
    table = rows(
        EVENT, Event(12, Transition(other, other, "alert:health", "", "controller", 1_767_225_662.0))
    )
    assert "rollout" in table[0]
    assert "other" in table[-1]
    assert table[3].split()[:3] == ["->", "0%", "rolled_back"]
    assert "default" not in " ".join(rows(EVENT))


def test_elsewhere_each_event_is_one_line() -> None:
    assert printed(history_lines(of(EVENT, ALERT))) == (
        "#9  2026-01-01 00:01:01Z  default  running half 30% -> rolled_back 0%  "
        "guard:error_rate by controller: too many\n"
        "#10  2026-01-01 00:01:02Z  default  running half 30%  alert:health by controller\n"
    )


@pytest.mark.parametrize("told", [history_table, history_lines])
def test_an_empty_history_says_so(told: Callable[[dict[str, Any]], RenderableType]) -> None:
    assert printed(told({"events": []})) == "nothing has happened yet\n"


@pytest.mark.parametrize(("is_terminal", "begins"), [(True, "UTC"), (False, "#9  2026-01-01")])
def test_a_terminal_gets_the_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_terminal: bool, begins: str
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    monkeypatch.setenv("TERM", "dumb")
    assert main(["history"], outside=FakeOutside().build()) == 0
    assert capsys.readouterr().out.strip().startswith(begins)
