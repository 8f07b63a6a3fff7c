"""Blocks, v1's expected rate, and the evidence that v2 is worse."""

from __future__ import annotations

import random
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.detector import START, STEP, Block, Blocks, DesignRate, RegressionDetector
from proxy.core.e_process import STAKE_PER_S
from proxy.core.policy import JudgePolicy

counts = st.integers(0, 12)


def told(block: Block | None) -> tuple[float, ...] | None:
    return None if block is None else (block.n1, block.s1, block.n2, block.s2, block.dt_s)


def observe(detector: RegressionDetector, rates: tuple[float, float], share: float, requests: int) -> int:
    """One request a second with these error rates, until it fails; how many v2 had, or -1."""
    chance, blocks, seen = random.Random(7), Blocks(), 0
    for _ in range(requests):
        on_v2 = chance.random() < share
        seen += on_v2
        error = int(chance.random() < rates[on_v2])
        block = blocks.add(0, 0, 1, error, 1.0) if on_v2 else blocks.add(1, error, 0, 0, 1.0)
        if block is not None:
            detector.observe(block)
            if detector.fails():
                return seen
    return -1


# ... blocks


def settled() -> Blocks:
    """Blocks that have seen enough for blocks of eight."""
    blocks = Blocks()
    assert blocks.add(32, 0, 32, 0, 1.0) is not None
    return blocks


def test_a_block_closes_when_both_paths_were_asked_and_eight_requests_made() -> None:
    blocks = settled()
    assert blocks.add(7, 1, 0, 0, 1.0) is None
    assert blocks.add(5, 0, 0, 0, 2.0) is None
    assert told(blocks.add(0, 0, 2, 1, 0.5)) == (12, 1, 2, 1, 3.5)
    assert blocks.add(3, 0, 4, 0, 1.0) is None
    assert told(blocks.add(0, 0, 1, 1, 1.0)) == (3, 0, 5, 1, 2.0)


def test_at_first_a_block_closes_as_soon_as_both_paths_were_asked() -> None:
    blocks = Blocks()
    assert blocks.add(0, 0, 1, 1, 1.0) is None
    assert told(blocks.add(1, 0, 0, 0, 1.0)) == (1, 0, 1, 1, 2.0)


def test_a_restart_forgets_what_was_gathered_and_begins_with_small_blocks() -> None:
    blocks = settled()
    assert blocks.add(7, 7, 0, 0, 1.0) is None
    assert repr(blocks) == "Blocks(v1 7/7, v2 0/0, 1 s)"
    blocks.restart()
    assert repr(blocks) == "Blocks(nothing gathered)"
    blocks.restart()
    assert repr(Block(8, 2, 1, 0, 1.5)) == "Block(v1 2/8, v2 0/1, 1.5 s)"
    assert told(blocks.add(1, 0, 1, 0, 1.0)) == (1, 0, 1, 0, 1.0)


@given(st.lists(st.tuples(counts, counts, st.floats(0.0, 1.0), st.floats(0.0, 1.0)), max_size=20))
def test_what_becomes_of_requests_never_decides_when_a_block_closes(
    ticks: list[tuple[int, int, float, float]],
) -> None:
    good, bad = Blocks(), Blocks()
    for n1, n2, part1, part2 in ticks:
        s1, s2 = int(n1 * part1), int(n2 * part2)
        one, other = good.add(n1, 0, n2, 0, 1.0), bad.add(n1, s1, n2, s2, 1.0)
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert (one.n1, one.n2, one.dt_s) == (other.n1, other.n2, other.dt_s)


@given(st.lists(st.tuples(counts, counts)))
def test_blocks_lose_no_request(ticks: list[tuple[int, int]]) -> None:
    blocks = Blocks()
    closed = [block for n1, n2 in ticks if (block := blocks.add(n1, n1, n2, n2, 1.0))]
    rest = blocks.add(1000, 1000, 1000, 1000, 1.0)
    assert rest is not None
    assert sum(b.n1 for b in [*closed, rest]) == sum(n1 for n1, _ in ticks) + 1000
    assert sum(b.s2 for b in [*closed, rest]) == sum(n2 for _, n2 in ticks) + 1000
    assert sum(b.dt_s for b in [*closed, rest]) == len(ticks) + 1


# ... v1's expected rate


def test_the_expected_rate_begins_at_one_in_a_hundred_and_follows_v1() -> None:
    rate = DesignRate()
    assert rate.value == 0.01
    rate.learn(950, 39.5, 1.0)
    assert rate.value == pytest.approx(0.04, rel=1e-3)
    assert repr(rate) == "DesignRate(0.04)"


def test_half_of_what_is_known_of_v1_is_forgotten_in_half_an_hour() -> None:
    rate = DesignRate()
    rate.learn(1000, 100, 1.0)
    rate.learn(0, 0, 1800.0)
    assert rate.value == pytest.approx((50 + 0.5) / (500 + 50))


# ... the evidence


def test_healthy_traffic_is_left_alone() -> None:
    for rates in ((0.001, 0.001), (0.04, 0.04), (0.3, 0.3), (1.0, 1.0), (0.04, 0.0)):
        assert observe(RegressionDetector(JudgePolicy()), rates, 0.5, 5_000) == -1


def test_a_dead_v2_is_seen_within_a_handful_of_requests() -> None:
    assert 0 < observe(RegressionDetector(JudgePolicy()), (0.001, 1.0), 0.5, 100) <= 7


def test_two_errors_are_never_enough_however_good_v1_is() -> None:
    detector = RegressionDetector(JudgePolicy())
    for _ in range(2):
        detector.observe(Block(99, 0, 1, 1, 10.0))
    assert not detector.fails()
    assert detector.evidence == 50.0
    detector.observe(Block(99, 0, 1, 1, 10.0))
    assert detector.fails()


def test_an_excused_block_speaks_for_v2_but_not_against_it() -> None:
    detector, other = RegressionDetector(JudgePolicy()), RegressionDetector(JudgePolicy())
    for _ in range(100):
        detector.observe(Block(9, 0, 1, 1, 1.0), excused=True)
    assert START <= detector.evidence < START + 0.001
    detector.observe(Block(9, 0, 1, 0, 1.0), excused=True)
    other.observe(Block(9, 0, 1, 0, 1.0))
    assert detector.evidence < START
    assert other.evidence < START


def test_a_late_regression_is_seen_though_all_was_well_for_long() -> None:
    detector = RegressionDetector(JudgePolicy())
    assert observe(detector, (0.001, 0.001), 0.1, 20_000) == -1
    assert detector.evidence < 0.1
    assert 0 < observe(detector, (0.001, 0.201), 0.1, 5_000) <= 80


def test_a_shared_outage_says_nothing_against_v2() -> None:
    detector = RegressionDetector(JudgePolicy())
    for _ in range(4):
        assert observe(detector, (0.001, 0.001), 0.2, 2_000) == -1
        assert observe(detector, (0.5, 0.5), 0.2, 200) == -1


def test_half_of_the_evidence_is_that_of_latency() -> None:
    detector = RegressionDetector(JudgePolicy(false_alarms=0.05))
    assert detector.combined(41.0) == pytest.approx(0.5 * START + 20.5)
    assert detector.fails(40.0 - START)  # 1 / α is 20
    assert not detector.fails(39.9 - START)


def test_a_step_adds_stake_and_a_restart_takes_everything_back() -> None:
    detector = RegressionDetector(JudgePolicy())
    detector.step()
    assert detector.evidence == pytest.approx(START + STEP)
    assert observe(detector, (0.0, 1.0), 0.5, 100) > 0
    known = detector.design_rate
    detector.restart()
    assert (detector.evidence, detector.design_rate) == (START, known)


def test_before_v2_has_traffic_it_learns_what_v1_does() -> None:
    detector = RegressionDetector(JudgePolicy())
    detector.learn(100_000, 4_000, 60.0)
    assert detector.design_rate == pytest.approx(0.04, rel=1e-3)
    assert detector.evidence == START
    assert repr(detector) == "RegressionDetector(1.2, v1 0.04)"


def test_a_bet_uses_only_what_was_known_before_its_block() -> None:
    """A rate learnt from the block itself would expect what has happened, and see nothing in it."""
    one, other = RegressionDetector(JudgePolicy()), RegressionDetector(JudgePolicy())
    one.observe(Block(10, 0, 10, 10, 1.0))
    other.observe(Block(10, 10, 10, 10, 1.0))
    assert one.evidence > 10.0 > other.evidence
    assert one.design_rate < 0.01 < other.design_rate


def test_a_wider_tolerance_takes_more_to_be_crossed() -> None:
    narrow, wide = RegressionDetector(JudgePolicy()), RegressionDetector(JudgePolicy())
    for _ in range(40):
        wide.widen(0.05)
        narrow.observe(Block(90, 0, 10, 1, 1.0))
        wide.observe(Block(90, 0, 10, 1, 1.0))
    assert narrow.fails()
    assert not wide.fails()


@pytest.mark.parametrize("rates", [(0.0, 0.001), (0.01, 0.012), (0.3, 0.331), (0.9, 0.991), (1.0, 1.0)])
def test_on_tolerable_traffic_the_evidence_expects_no_more_than_was_put_in(
    rates: tuple[float, float],
) -> None:
    """Every course that three pairs of requests can take, with what it learns and holds back on the way."""
    expected = 0.0
    for course in product((0, 1), repeat=6):
        detector, chance = RegressionDetector(JudgePolicy()), 1.0
        for s1, s2 in zip(course[::2], course[1::2], strict=True):
            chance *= (rates[0] if s1 else 1.0 - rates[0]) * (rates[1] if s2 else 1.0 - rates[1])
            detector.observe(Block(1, s1, 1, s2, 1.0))
        expected += chance * detector.evidence
    assert expected <= START + 3.0 * STAKE_PER_S + 1e-9
