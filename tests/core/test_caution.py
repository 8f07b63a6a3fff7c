"""Of two states one is the more careful, or they are the same in what they give v2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.caution import HELD, is_more_careful, tightens
from proxy.model import BUCKETS, RolloutState, State

STATES = st.builds(
    RolloutState, st.just("default"), st.sampled_from(State), st.sampled_from([0, 1_000, 50_000, BUCKETS])
)


def at(weight: int, state: State = State.RUNNING) -> RolloutState:
    return RolloutState("default", state, weight)


@given(STATES, STATES)
def test_of_two_that_differ_exactly_one_is_more_careful(one: RolloutState, other: RolloutState) -> None:
    same = (one.weight, one.state) == (other.weight, other.state)
    assert is_more_careful(one, other) + is_more_careful(other, one) == (not same)


@given(STATES, STATES, STATES)
def test_the_order_has_no_circle(a: RolloutState, b: RolloutState, c: RolloutState) -> None:
    if is_more_careful(a, b) and is_more_careful(b, c):
        assert is_more_careful(a, c)


@given(STATES, STATES)
def test_what_is_more_careful_never_gives_v2_more(one: RolloutState, other: RolloutState) -> None:
    if is_more_careful(one, other):
        assert one.weight <= other.weight


@pytest.mark.parametrize(
    ("careful", "other"),
    [
        (at(0), at(1)),
        (at(1_000), at(50_000, State.ABORTED)),
        (at(1_000, State.PAUSED), at(1_000)),
        (at(0, State.ROLLED_BACK), at(0, State.DISABLED)),
        (at(0, State.ABORTED), at(0, State.ROLLED_BACK)),
        (at(BUCKETS, State.COMPLETED), at(BUCKETS)),
    ],
)
def test_less_weight_comes_first_and_then_the_firmer_halt(careful: RolloutState, other: RolloutState) -> None:
    assert is_more_careful(careful, other)


def test_less_for_v2_or_a_halt_tightens() -> None:
    assert tightens(at(10), at(5))
    assert not tightens(at(5), at(10, State.PAUSED))
    assert all(tightens(at(5), at(5, state)) for state in HELD)
    assert not tightens(at(5, State.PAUSED), at(5))
