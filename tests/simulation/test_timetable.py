from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from proxy.simulation.outcome import Ending, Happening, Outcome
from proxy.simulation.timetable import outcome_text

OUTCOME = Outcome(
    rollout="default",
    outcome=Ending.RUNNING,
    duration_s=93_600.0,
    seed=3,
    state="running",
    phase="canary",
    percentage=1.5,
    reasons=("phase canary: 5 s of 10 s",),
    rolled_back_at_s=None,
    completed_at_s=None,
    v1_requests=12_345,
    v2_requests=10,
    v2_requests_after_change=0,
    v2_not_sent=0,
    fallbacks=2,
    client_errors=1,
    unknown=0,
    refused=(),
    events=(Happening(90_061.0, 1.5, "command:start", "running", "can\x1bary", "why\nnot", "ann"),),
)


def shown(outcome: Outcome) -> list[str]:
    console = Console(width=200, highlight=False)
    with console.capture() as captured:
        console.print(outcome_text(outcome))
    return captured.get().splitlines()


def test_events_have_their_time_and_cannot_steer_a_terminal() -> None:
    first = shown(OUTCOME)[0].replace("\N{REPLACEMENT CHARACTER}", "?")
    assert first == " 1d 01:01:01     1.5%  running can?ary  command:start: why?not"


def test_what_was_left_over_is_said_only_where_there_is_some() -> None:
    assert shown(OUTCOME)[-1] == (
        "12,345 requests to v1; 10 to v2; 2 answered by v1 in its stead; 1 failed for clients (seed 3)"
    )
    much = replace(OUTCOME, v2_requests_after_change=7, v2_not_sent=8, unknown=9, refused=("set: no",))
    last = shown(much)[-1]
    assert "7 of these after the change; 8 not sent to v2" in last
    assert "9 of a path that nothing was recorded of" in last
    assert "refused: set: no" in shown(much)


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({}, "default: running in canary at 1.5% after 26h"),
        ({"outcome": Ending.HELD, "phase": None}, "default: held at 1.5% after 26h"),
        ({"outcome": Ending.ROLLED_BACK, "rolled_back_at_s": 61.0}, "default: rolled back after 1m 1s"),
        ({"outcome": Ending.COMPLETED, "completed_at_s": 3_600.0}, "default: completed after 1h"),
    ],
)
def test_one_line_sums_it_up(changed: dict[str, object], line: str) -> None:
    lines = shown(replace(OUTCOME, **changed))  # type: ignore[arg-type]
    assert line in lines
    assert ("  phase canary: 5 s of 10 s" in lines) == (changed.get("outcome") in {None, Ending.HELD})
