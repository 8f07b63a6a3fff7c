"""The evidence that v2 is as good as v1."""

from __future__ import annotations

import math
import random
from itertools import product

import pytest

from proxy.core.acceptor import Acceptor
from proxy.core.detector import Block
from proxy.core.policy import JudgePolicy


def observe(acceptor: Acceptor, rates: tuple[float, float], blocks: int, chance: random.Random) -> int:
    """Blocks of 9 requests to v1 and one to v2 until satisfied; how many v2 had, or -1."""
    for number in range(blocks):
        s1 = int(chance.random() < 9.0 * rates[0])
        s2 = int(chance.random() < rates[1])
        acceptor.observe(Block(9, s1, 1, s2, 1.0), max(rates[0], 0.001))
        if acceptor.satisfied:
            return number + 1
    return -1


def test_a_good_v2_is_accepted_after_some_hundred_requests() -> None:
    chance = random.Random(1)
    taken = sorted(observe(Acceptor(JudgePolicy()), (0.001, 0.001), 3000, chance) for _ in range(21))
    assert 250 <= taken[0] <= taken[10] <= 400


def test_a_v2_at_the_edge_of_the_unacceptable_is_rarely_accepted() -> None:
    chance = random.Random(1)
    accepted = sum(observe(Acceptor(JudgePolicy()), (0.001, 0.011), 900, chance) > 0 for _ in range(40))
    assert accepted <= 6


@pytest.mark.parametrize("rates", [(0.0, 0.01), (0.2, 0.21), (0.5, 0.9), (0.99, 1.0)])
def test_on_unacceptable_traffic_the_evidence_expects_no_more_than_one(rates: tuple[float, float]) -> None:
    expected = 0.0
    for course in product((0, 1), repeat=6):
        acceptor, chance = Acceptor(JudgePolicy()), 1.0
        for s1, s2 in zip(course[::2], course[1::2], strict=True):
            chance *= (rates[0] if s1 else 1.0 - rates[0]) * (rates[1] if s2 else 1.0 - rates[1])
            acceptor.observe(Block(1, s1, 1, s2, 1.0), 0.05)
        expected += chance * acceptor.evidence
    assert expected <= 1.0 + 1e-9


def test_it_lays_up_little_so_that_bad_times_show() -> None:
    acceptor = Acceptor(JudgePolicy())
    for _ in range(1000):
        acceptor.observe(Block(900, 1, 100, 0, 1.0), 0.001)
    assert acceptor.evidence == pytest.approx(20.0 * math.exp(3.0))
    acceptor.observe(Block(900, 1, 100, 5, 1.0), 0.001)
    assert not acceptor.satisfied


def test_what_remains_is_about_three_over_the_unacceptable_points() -> None:
    acceptor = Acceptor(JudgePolicy())
    assert 300 <= acceptor.remaining(0.001, 1.0 / 9.0) <= 400
    before = acceptor.remaining(0.001, 1.0 / 9.0)
    for _ in range(100):
        acceptor.observe(Block(9, 0, 1, 0, 1.0), 0.001)
    assert before - 140 <= acceptor.remaining(0.001, 1.0 / 9.0) <= before - 80
    for _ in range(400):
        acceptor.observe(Block(9, 0, 1, 0, 1.0), 0.001)
    assert acceptor.remaining(0.001, 1.0 / 9.0) == 0.0


def test_what_remains_is_endless_where_the_bet_cannot_win() -> None:
    assert Acceptor(JudgePolicy(unacceptable_ratio=0.5)).remaining(0.5, 1.0) == math.inf
    assert Acceptor(JudgePolicy()).remaining(0.5, 0.001) < math.inf


def test_a_new_phase_begins_anew() -> None:
    acceptor = Acceptor(JudgePolicy())
    assert observe(acceptor, (0.0, 0.0), 3000, random.Random(1)) > 0
    assert acceptor.needed == pytest.approx(20.0)
    acceptor.restart()
    assert acceptor.evidence == 1.0
    assert repr(acceptor) == "Acceptor(1 of 20)"
