"""The table of moves, and the diagram in the docs that is drawn from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.core.moves import MOVES, diagram, outcomes
from proxy.errors import IllegalMove
from proxy.model import State, Verb

PAGE = Path(__file__).parents[2] / "docs" / "state-machine.md"


@pytest.mark.parametrize("state", State)
def test_what_lowers_is_possible_from_everywhere(state: State) -> None:
    assert (state, Verb.ROLLBACK) in MOVES
    assert (state, Verb.STEP_DOWN) in MOVES
    assert outcomes(state, Verb.ABORT) == (State.ABORTED,)


@pytest.mark.parametrize("state", State)
def test_every_state_can_be_left_for_running(state: State) -> None:
    verbs = [verb for verb in Verb if State.RUNNING in MOVES.get((state, verb), ())]
    assert verbs


@pytest.mark.parametrize("state", [State.ROLLED_BACK, State.ABORTED])
@pytest.mark.parametrize("verb", [Verb.RESUME, Verb.PROMOTE, Verb.PAUSE])
def test_what_has_failed_is_not_continued(state: State, verb: Verb) -> None:
    with pytest.raises(IllegalMove, match=f"{verb} is not possible while the rollout is {state}"):
        outcomes(state, verb)


def test_the_refusal_says_what_is_possible() -> None:
    with pytest.raises(IllegalMove, match=r"\(possible: start, rollback, set, abort, step_down\)"):
        outcomes(State.DISABLED, Verb.PAUSE)


def test_only_the_moves_that_end_something_have_a_second_outcome() -> None:
    seconds = {(verb, after) for (_, verb), afters in MOVES.items() for after in afters[1:]}
    assert seconds == {
        (Verb.SET, State.DISABLED),
        (Verb.RESUME, State.DISABLED),
        (Verb.PROMOTE, State.COMPLETED),
        (Verb.ROLLBACK, State.ROLLED_BACK),
        (Verb.STEP_DOWN, State.ROLLED_BACK),
    }


def test_the_diagram_has_every_move_and_no_other() -> None:
    drawn = set()
    for line in diagram().splitlines()[1:]:
        arrow, _, verbs = line.strip().partition(": ")
        before, after = arrow.split(" --> ")
        drawn |= {(before, verb, after) for verb in verbs.split(", ") if before != "[*]"}
    assert drawn == {(before, verb, after) for (before, verb), afters in MOVES.items() for after in afters}


def test_the_docs_show_the_diagram_of_the_table() -> None:
    assert f"```mermaid\n{diagram()}```" in PAGE.read_text(encoding="utf-8")
