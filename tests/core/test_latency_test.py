"""Whether v2 is slower than v1, or shown to be as fast: thresholds, hangs, stalls, proofs."""

from __future__ import annotations

import gc
import math
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.histogram import BUCKET_COUNT, Histogram
from proxy.core.latency_past import Tick, bucket_of
from proxy.core.latency_test import LatencyTests, outcomes
from proxy.core.policy import JudgePolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

POLICY = JudgePolicy()
NEEDED = 200.0  # of `evidence`, if errors say nothing
NOTHING = (Histogram(), Histogram())

Draw = "Callable[[random.Random], float]"


def of(latencies_s: Iterable[float]) -> Histogram:
    made = Histogram()
    for latency_s in latencies_s:
        made.record(latency_s)
    return made


def lognormal(p50_s: float, p95_s: float) -> Callable[[random.Random], float]:
    mu, sigma = math.log(p50_s), math.log(p95_s / p50_s) / 1.645
    return lambda chance: chance.lognormvariate(mu, sigma)


USUAL = lognormal(0.1, 0.3)


def two_modes(chance: random.Random) -> float:
    return chance.gauss(0.5, 0.02) if chance.random() < 0.1 else chance.gauss(0.02, 0.002)


def knowing(v1: Callable[[random.Random], float] = USUAL, seed: int = 1) -> LatencyTests:
    """Tests that have seen five minutes of v1 alone."""
    tests, chance = LatencyTests(POLICY), random.Random(seed)
    tests.learn(of(v1(chance) for _ in range(2_700)), 2_700, 300.0)
    return tests


def seconds_until(
    done: Callable[[LatencyTests], bool],
    tests: LatencyTests,
    v2: Callable[[random.Random], float],
    *,
    v1: Callable[[random.Random], float] = USUAL,
    limit: int = 2_000,
    seed: int = 2,
) -> int:
    """Nine requests a second to v1 and one to v2; -1 if it does not come to that."""
    chance = random.Random(seed)
    for second in range(1, limit + 1):
        tests.observe((of(v1(chance) for _ in range(9)), of([v2(chance)])), NOTHING, 1.0)
        if done(tests):
            return second
    return -1


def opposes(tests: LatencyTests) -> bool:
    return tests.evidence >= NEEDED


def accepts(tests: LatencyTests) -> bool:
    return tests.satisfied


# ... v1's past


def test_there_is_no_threshold_before_fifty_latencies_of_v1() -> None:
    tests = LatencyTests(POLICY)
    for _ in range(49):
        tests.observe((of([0.1]), of([9.0])), NOTHING, 1.0)
    assert not tests.drawn
    assert (tests.evidence, tests.satisfied) == (LatencyTests(POLICY).evidence, False)
    tests.observe((of([0.1]), of([9.0])), NOTHING, 1.0)
    assert tests.drawn


# ... requests under way


def test_a_v2_that_hangs_is_seen_before_anything_of_it_ends() -> None:
    tests, chance = knowing(), random.Random(3)
    hanging: list[float] = []
    for _ in range(24):
        hanging = [age + 1.0 for age in hanging] + [0.9]
        tests.observe((of(USUAL(chance) for _ in range(9)), of([])), (of([]), of(hanging)), 1.0)
    assert opposes(tests)


# ... against v2


@pytest.mark.parametrize("seed", range(3))
def test_a_v2_that_takes_twice_as_long_is_found_within_minutes(seed: int) -> None:
    tests = knowing(seed=seed)
    assert 0 < seconds_until(opposes, tests, lognormal(0.2, 0.6), seed=seed) < 300
    assert tests.loudest().evidence > 1.0
    assert tests.loudest().slow.s2 > 0


def test_a_v2_like_v1_is_not_called_slower_and_neither_is_one_that_both_suffer_from() -> None:
    chance, tests = random.Random(5), knowing()
    for minute in range(60):
        slower = 5.0 if minute % 6 == 0 else 1.0
        for _ in range(6):
            latencies = [slower * USUAL(chance) for _ in range(100)]
            tests.observe((of(latencies[:90]), of(latencies[90:])), NOTHING, 10.0)
            assert not opposes(tests)


def test_a_few_requests_that_take_very_long_are_seen_by_the_mean() -> None:
    usual = lognormal(0.02, 0.06)
    chance, tests = random.Random(6), knowing(usual)

    def stalling(chance: random.Random) -> float:
        return 30.0 if chance.random() < 0.008 else usual(chance)

    for _ in range(300):
        sides = of(usual(chance) for _ in range(50)), of(stalling(chance) for _ in range(50))
        tests.observe(sides, NOTHING, 1.0)
    assert tests.mean_evidence > max(test.evidence for test in tests.quantiles)
    assert opposes(tests)


def test_a_latency_counts_as_ten_seconds_at_most() -> None:
    assert outcomes(of([]), 0) == 0.0
    assert outcomes(of([1.0, 2.0]), 2) == pytest.approx(0.3)
    assert outcomes(of([1.0, 600.0]), 2) == pytest.approx(1.1, rel=0.02)
    assert outcomes(of([900.0] * 5), 5) == 5.0


def test_longer_than_any_latency_is_in_no_bucket() -> None:
    tests = LatencyTests(POLICY)
    tests.learn(of([1e9] * 60), 60, 1.0)
    tests.observe((of([1e9]), of([1e9] * 9)), NOTHING, 1.0)
    assert tests.quantiles[0].slow.s2 == 0
    assert bucket_of(1e9) == BUCKET_COUNT - 1


# ... for v2


@pytest.mark.parametrize(
    "v1", [USUAL, two_modes, lambda chance: 0.05], ids=["usual", "two modes", "constant"]
)
def test_a_v2_like_v1_is_accepted_soon(v1: Callable[[random.Random], float]) -> None:
    tests = knowing(v1)
    nu = 1.0 / 9.0
    before = tests.slowest(nu)
    took = seconds_until(accepts, tests, v1, v1=v1)
    assert 0 < took < 200
    assert 0.0 < before < 200.0
    assert tests.slowest(nu) == 0.0


def test_a_v2_that_is_unacceptable_is_not_accepted() -> None:
    """At most one in twenty, by design; these are on the border, and read at every second."""
    wrong = 0
    for seed in range(20):
        tests = knowing(seed=seed)
        wrong += seconds_until(accepts, tests, lambda c: 1.5 * USUAL(c) + 0.01, limit=150, seed=seed) > 0
    assert wrong <= 2


def test_nothing_can_be_won_where_v1_itself_is_unacceptable() -> None:
    policy = JudgePolicy(latency_unacceptable_ratio=0.5, latency_unacceptable_s=0.0)
    tests = LatencyTests(policy)
    tests.learn(of([0.1] * 60), 60, 1.0)
    assert tests.slowest(0.1) == math.inf
    tests.observe((of([0.1] * 9), of([0.1] * 9)), NOTHING, 1.0)
    assert [acceptor.evidence for acceptor in tests.acceptors] == [1.0, 1.0]


# ... phases


def test_a_phase_step_keeps_what_speaks_against_v2_and_forgets_what_speaks_for_it() -> None:
    tests = knowing()
    seconds_until(accepts, tests, USUAL)
    before, mean = tests.evidence, tests.mean_evidence
    tests.step()
    assert tests.evidence == pytest.approx(before + 0.1)
    assert tests.mean_evidence == pytest.approx(mean + 0.1)
    assert not tests.satisfied
    assert [slow.n2 for slow in tests.thresholds] == [0] * 5


def test_a_restart_forgets_both_and_keeps_what_is_known_of_v1() -> None:
    tests = knowing()
    seconds_until(opposes, tests, lognormal(0.4, 1.2))
    tests.restart()
    assert tests.evidence == LatencyTests(POLICY).evidence
    assert tests.drawn
    assert not tests.satisfied
    assert 0 < seconds_until(accepts, tests, USUAL) < 200


@given(st.lists(st.lists(st.floats(0.001, 20.0), max_size=4), max_size=20))
def test_all_that_is_seen_is_counted_once(ticks: list[list[float]]) -> None:
    tests, expected = LatencyTests(POLICY), 0
    tests.learn(of([0.1] * 60), 60, 1.0)
    for latencies in ticks:
        tests.observe((of([0.1]), of(latencies)), NOTHING, 1.0)
        expected += len(latencies)
    assert [slow.n2 for slow in tests.thresholds] == [expected] * 5


def test_it_makes_no_difference_in_which_tick_of_a_block_a_request_comes() -> None:
    chance, at_once, in_turn = random.Random(4), knowing(), knowing()
    for _ in range(15):
        v1, v2 = [USUAL(chance) for _ in range(9)], [2.0 * USUAL(chance)]
        at_once.observe((of(v1), of(v2)), NOTHING, 3.0)
        for some in (v1[:4], v1[4:]):
            in_turn.observe((of(some), of([])), NOTHING, 1.0)
        in_turn.observe((of([]), of(v2)), NOTHING, 1.0)
    assert in_turn.evidence == pytest.approx(at_once.evidence)
    assert in_turn.evidence != pytest.approx(knowing().evidence)
    assert [acceptor.evidence for acceptor in in_turn.acceptors] == pytest.approx(
        [acceptor.evidence for acceptor in at_once.acceptors]
    )
    for tests in (at_once, in_turn):
        assert [(slow.n1, slow.n2) for slow in tests.thresholds] == [(135, 15)] * 5
        tests.recount()
        assert [(slow.n1, slow.n2) for slow in tests.thresholds] == [(0, 0)] * 5


def test_ticks_are_not_kept_however_long_v1_is_asked_nothing() -> None:
    tests = knowing(lambda chance: 0.1)
    for _ in range(2 * 3600):  # v1's past is an hour at most: then thresholds are drawn no more
        tests.observe((Histogram(), of([0.1, 20.0])), NOTHING, 1.0)
    assert sum(isinstance(one, Tick) for one in gc.get_objects()) < 20
    assert [(slow.n1, slow.n2, slow.s2) for slow in tests.thresholds] == [(0, 14_400, 7_200)] * 5


def test_what_waits_for_the_other_path_comes_before_what_is_under_way() -> None:
    tests, nothing = knowing(), of([])
    tests.observe((of([0.1] * 4), nothing), NOTHING, 1.0)
    tests.observe((nothing, nothing), (nothing, of([20.0])), 1.0)
    tests.observe((of([0.1]), nothing), (nothing, of([20.0])), 1.0)
    assert [(slow.n1, slow.n2, slow.s2) for slow in tests.thresholds] == [(5, 1, 1)] * 5


def test_everything_says_what_it_is() -> None:
    tests = knowing(lambda chance: 0.1)
    assert repr(tests) == "LatencyTests(0.6, Past(2700 latencies))"
    assert repr(tests.quantiles[2]) == "QuantileTest(p99 over 98.3 ms, 0.6)"
    assert repr(tests.quantiles[2].slow) == "Threshold(98.3 ms, v1 0/0, v2 0/0)"
    assert repr(tests.quantiles[2].slow.allowed) == "Allowed(1.25 x and 10 ms)"
    assert repr(tests.acceptors[1]) == "LatencyAcceptor(p90, 1 of 20)"
    assert tests.acceptors[1].needed == pytest.approx(20.0)
    tests.observe((of([0.1]), of([0.1])), NOTHING, 1.0)
    assert "ms expected" in repr(tests._mean)
