from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.restarts import CRASHES, WITHIN_S, Restarts
from tests.fakes import FakeRandom


def waits(*crashes: tuple[float, float], chance: float = 1.0) -> list[float | None]:
    """What is waited after each crash, given as (when, how long it was up)."""
    restarts = Restarts(FakeRandom(chance))
    return [restarts.crashed(now, up_s) for now, up_s in crashes]


def test_the_first_time_it_is_at_once() -> None:
    assert waits((0, 0)) == [0.0]


def test_then_the_wait_doubles_up_to_a_limit() -> None:
    crashes = [(float(at * 100), 5.0) for at in range(10)]
    assert waits(*crashes) == pytest.approx([0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10])


def test_it_is_drawn_from_the_upper_half() -> None:
    crashes = [(0.0, 5.0), (100.0, 5.0), (200.0, 5.0)]
    assert waits(*crashes, chance=0.0) == pytest.approx([0, 0.1, 0.2])


def test_after_a_long_time_up_a_crash_is_a_first_one() -> None:
    assert waits((0, 5), (100, 5), (200, 61)) == pytest.approx([0, 0.2, 0])


def test_one_that_never_stays_up_is_given_up() -> None:
    found = waits(*[(float(at), 0.5) for at in range(CRASHES)])
    assert found[:-1] == pytest.approx([0, 0.2, 0.4, 0.8])
    assert found[-1] is None


def test_it_is_not_given_up_while_others_run() -> None:
    restarts = Restarts(FakeRandom(1.0))
    found = [restarts.crashed(float(at), 0.0, others_run=True) for at in range(9)]
    assert found == pytest.approx([0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10])
    assert restarts.crashed(9.0, 0.0) is None


def test_crashes_that_lie_far_apart_are_no_loop() -> None:
    apart_s = WITHIN_S / (CRASHES - 1) + 0.1
    assert None not in waits(*[(at * apart_s, 0.0) for at in range(3 * CRASHES)])


def test_one_that_was_up_in_between_is_not_given_up() -> None:
    assert None not in waits((0, 0), (1, 0), (2, 0), (3, 0), (8, 4), (9, 0), (10, 0), (11, 0), (12, 0))
    assert waits((0, 0), (1, 0), (2, 0), (3, 0), (8, 4), (9, 0), (9, 0), (9, 0), (9, 0), (9, 0))[-1] is None


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 200)), max_size=50))
def test_a_wait_is_never_long(steps: list[tuple[float, float]]) -> None:
    restarts = Restarts(random.Random(1))
    now = 0.0
    for passed, up_s in steps:
        now += passed
        wait = restarts.crashed(now, up_s)
        assert wait is None or 0 <= wait <= 10


def test_it_says_how_often() -> None:
    restarts = Restarts(FakeRandom())
    restarts.crashed(0, 0)
    assert repr(restarts) == "Restarts(1 in a row, 1 young)"
