"""A hard limit as a sequential test."""

from __future__ import annotations

import random
from itertools import product

import pytest

from proxy.core.limit_test import ALARM, LimitTest


def observe(test: LimitTest, rate: float, per_s: int, seconds: int) -> int:
    """Seconds until it fires, or -1."""
    chance = random.Random(5)
    for second in range(seconds):
        test.observe(per_s, sum(chance.random() < rate for _ in range(per_s)), 1.0)
        if test.firing:
            return second + 1
    return -1


def test_half_of_the_first_twenty_failing_trips_it() -> None:
    test = LimitTest(0.1)
    for number in range(20):
        test.observe(1, number % 2, 1.0)
    assert test.firing


def test_all_of_the_first_five_failing_trip_it() -> None:
    assert 0 < observe(LimitTest(0.1), 1.0, 1, 10) <= 5


@pytest.mark.parametrize("per_s", [1, 10, 100])
def test_a_rate_below_the_limit_does_not(per_s: int) -> None:
    assert observe(LimitTest(0.1), 0.08, per_s, 5_000 // per_s) == -1


def test_a_rate_above_the_limit_does_in_the_end() -> None:
    test = LimitTest(0.02)
    assert observe(test, 0.005, 10, 1_000) == -1
    assert 0 < observe(test, 0.05, 10, 600) <= 120


def test_one_tick_is_enough_after_hours_of_good_traffic_and_a_few_good_ones_end_it() -> None:
    test = LimitTest(0.1)
    for _ in range(20_000):
        test.observe(100, 1, 1.0)
    test.observe(120, 60, 1.0)
    assert test.firing
    for _ in range(5):
        test.observe(120, 1, 1.0)
    assert not test.firing


def test_a_limit_of_zero_is_crossed_by_a_few_errors() -> None:
    test = LimitTest(0.0)
    test.observe(1000, 0, 1.0)
    assert not test.firing
    assert 0 < observe(test, 0.05, 10, 60) <= 20


def test_a_restart_forgets() -> None:
    test = LimitTest(0.1)
    test.observe(5, 5, 5.0)
    assert test.firing
    assert repr(test).startswith("LimitTest(above 0.1: ")
    test.restart()
    assert test.evidence < ALARM
    assert not test.firing


@pytest.mark.parametrize(("limit", "rate"), [(0.02, 0.02), (0.1, 0.1), (0.1, 0.05), (0.5, 0.5), (0.9, 0.9)])
def test_at_the_limit_the_evidence_expects_no_more_than_was_put_in(limit: float, rate: float) -> None:
    expected = 0.0
    for course in product((0, 1), repeat=8):
        test, chance = LimitTest(limit), 1.0
        for s in course:
            chance *= rate if s else 1.0 - rate
            test.observe(1, s, 1.0)
        expected += chance * test.evidence
    assert expected <= LimitTest(limit).evidence + 8.0 * 0.5 / 86_400.0 + 1e-9
