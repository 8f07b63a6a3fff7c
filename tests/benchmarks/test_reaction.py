"""What a run of `rollback_reaction` comes to, and what `decisions` says of its figures."""

from __future__ import annotations

import pytest

from benchmarks import decisions
from benchmarks.open_loop import OpenLoop
from benchmarks.rollback_reaction import Case, Reaction, holds, reaction, row

BREAKER = Case("breaker", "status", 5_000)
SWIFT = Reaction(12.5, 9, 8, 1_000, 0, 0, {"200": 1_000})
SLOW = Reaction(51.0, 5, 4, 1_000, 0, 3, {"200": 1_000})
HARMFUL = Reaction(1.0, 5, 4, 1_000, 1, 0, {"200": 999, "502": 1})


async def loop_that_had(**answers: int) -> OpenLoop:
    load = OpenLoop([], [b""], 100.0)
    for status, count in answers.items():
        load.statuses[int(status.removeprefix("s"))] += count
        load.sent += count
    return load


async def test_the_reaction_ends_with_the_last_request() -> None:
    load = await loop_that_had(s200=997, s502=2, s0=1)
    found = reaction([10.0, 10.01, 10.02, 10.06], 10.01, load, unanswered=4)
    assert found.reaction_ms == pytest.approx(50.0)
    assert (found.reached, found.reached_after) == (4, 2)
    assert (found.sent, found.bad) == (1_000, 7)
    assert found.answers == {"0": 1, "200": 997, "502": 2}


async def test_requests_that_all_came_before_the_first_failure_took_no_time() -> None:
    assert reaction([10.0, 10.1], 10.35, await loop_that_had(s200=2), unanswered=0).reaction_ms == 0.0


async def test_a_run_in_which_v2_was_not_asked_is_none() -> None:
    with pytest.raises(RuntimeError, match="nothing was measured"):
        reaction([], None, await loop_that_had(s200=2), unanswered=0)


def test_the_worst_run_decides() -> None:
    assert holds(BREAKER, [SWIFT, SWIFT])
    assert not holds(BREAKER, [SWIFT, SLOW])
    assert not holds(BREAKER, [SWIFT, HARMFUL])
    assert row(BREAKER, [SWIFT, SLOW, HARMFUL]) == (
        *("breaker", "status", "5,000", "51.0", "50"),
        *("9", "8", "1", "3"),
    )


def test_decisions_are_judged_by_their_medians() -> None:
    runs = [dict.fromkeys(decisions.ROWS, seconds) for seconds in (1e-7, 2e-7, 9.0)]
    assert set(decisions.medians(runs).values()) == {2e-7}
    assert decisions.misses(decisions.medians(runs)) == []
    slow = {**decisions.medians(runs), "tick_s": 0.006, "record_s": 4e-7}
    assert decisions.misses(slow) == ["record_s", "tick_s"]
    assert (decisions.shown("tick_s", 0.006), decisions.shown("record_s", 4e-7)) == ("6.0 ms", "0.40 µs")
