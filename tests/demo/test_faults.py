"""What each fault does to a request."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from proxy.demo.faults import SLOWNESS_S, Effect, Fault, FaultSwitch


def _effects(fault: Fault, count: int) -> Counter[Effect]:
    switch, rng = FaultSwitch(), random.Random(1)
    switch.turn(fault)
    return Counter(switch.strike(rng) for _ in range(count))


@pytest.mark.parametrize(
    ("fault", "effects"),
    [
        (Fault.NONE, {Effect()}),
        (Fault.ERRORS, {Effect(status=500), Effect(status=503)}),
        (Fault.SLOW, {Effect(delay_s=SLOWNESS_S)}),
        (Fault.HANG, {Effect(hangs=True)}),
        (Fault.FLAKY, {Effect(), Effect(status=500)}),
    ],
)
def test_effects(fault: Fault, effects: set[Effect]) -> None:
    assert set(_effects(fault, 200)) == effects


def test_flaky_fails_three_of_ten() -> None:
    assert 2_850 < _effects(Fault.FLAKY, 10_000)[Effect(status=500)] < 3_150


def test_a_turn_starts_the_count_anew() -> None:
    switch = FaultSwitch()
    for _ in range(3):
        switch.strike(random.Random(1))
    assert switch.requests == 3
    switch.turn(Fault.HANG)
    assert (switch.fault, switch.requests, repr(switch)) == (Fault.HANG, 0, "<FaultSwitch hang requests=0>")
