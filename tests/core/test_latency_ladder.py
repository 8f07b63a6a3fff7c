"""The ladder of latencies: nobody can expect to win against a tolerable v2; a slower one is found."""

from __future__ import annotations

import math
import random
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.e_process import REFILL_S, EProcess
from proxy.core.histogram import Histogram
from proxy.core.latency_ladder import FACTORS, STEPS, Fear, LadderTest, Step, standing
from proxy.core.latency_past import Known, Ticks
from proxy.core.latency_threshold import Allowed


def ladder() -> LadderTest:
    return LadderTest(Allowed(1.25, 0.01), EProcess(0.6))


def knowing(latencies_s: list[float]) -> LadderTest:
    made = ladder()
    made.draw(Known(of(latencies_s)))
    return made


def of(latencies_s: list[float]) -> Histogram:
    made = Histogram()
    for latency_s in latencies_s:
        made.record(latency_s)
    return made


def lognormal(chance: random.Random, n: int, p50_s: float) -> list[float]:
    return [chance.lognormvariate(math.log(p50_s), 0.668) for _ in range(n)]


def observe(test: LadderTest, v1: list[float], v2: list[float]) -> None:
    ticks, nothing = Ticks(), Histogram()
    ticks.measure(zip(test.from_v1, test.from_v2, strict=True))
    test.observe(ticks.next((of(v1), of(v2)), (nothing, nothing), 1.0))


def evidence_after(seconds: int, slower: float, p50_s: float = 0.05) -> float:
    chance = random.Random(1)
    test = knowing(lognormal(chance, 3_000, p50_s))
    for _ in range(seconds):
        observe(test, lognormal(chance, 9, p50_s), lognormal(chance, 1, p50_s * slower))
    return test.evidence


def shares(*weights: float) -> list[float]:
    return [weight / sum(weights) for weight in weights]


weights = st.tuples(*[st.floats(0.001, 1.0)] * 3)


@given(weights, weights, weights, st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)))
def test_nobody_can_expect_to_win_against_a_v2_that_is_no_slower(
    usual: tuple[float, ...],
    feared: tuple[float, ...],
    v1: tuple[float, ...],
    quicker: tuple[float, float],
) -> None:
    """For all that could come of one or two requests to each path, whatever was expected of them."""
    bet = Fear(shares(*usual), shares(*feared))
    of_v1 = shares(*v1)
    top = of_v1[2] * quicker[1]
    middle = (of_v1[1] + of_v1[2] - top) * quicker[0]
    of_v2 = [1.0 - middle - top, middle, top]
    for n1, n2 in product((1, 2), repeat=2):
        expected = 0.0
        for steps1 in product(range(3), repeat=n1):
            for steps2 in product(range(3), repeat=n2):
                probability = math.prod(of_v1[k] for k in steps1) * math.prod(of_v2[k] for k in steps2)
                on1, on2 = [steps1.count(k) for k in range(3)], [steps2.count(k) for k in range(3)]
                expected += probability * math.exp(bet.log_e(standing(on1, on2), n2 / n1))
        assert expected <= 1.0 + 1e-9


def test_what_is_feared_rises_with_the_steps() -> None:
    bet = Fear([0.4, 0.3, 0.3], [0.5, 0.1, 0.4])
    gains = [bet.log_e([(step, 1, 1)], 1.0) for step in range(3)]
    assert gains == sorted(gains)
    assert gains[0] == pytest.approx(gains[1])


def test_no_request_is_a_proof() -> None:
    bet = Fear([0.5, 0.5], [0.0, 1.0])
    assert bet.log_e([(0, 1, 1)], 1.0) > math.log(0.04)
    assert repr(bet) == "Fear(0.05, 1.95)"


def test_a_v2_that_takes_twice_as_long_is_found() -> None:
    assert evidence_after(200, 2.0) > 1_000.0
    assert evidence_after(200, 1.0) < 0.6
    assert evidence_after(200, 1.3) < 0.6, "tolerable: 1.25 times and 10 ms"


def test_where_nothing_feared_is_intolerable_nothing_is_bet() -> None:
    """At 2 ms the 10 ms on top are several times v1's latency."""
    chance = random.Random(1)
    test = knowing(lognormal(chance, 3_000, 0.002))
    for _ in range(200):
        observe(test, lognormal(chance, 9, 0.002), lognormal(chance, 1, 0.003))
    assert test.evidence < 0.7


def test_a_step_says_where_it_begins() -> None:
    step = Step(100, 120)
    assert repr(step) == "Step(v1 from bucket 100, v2 from 120)"
    assert step.feared == sorted(step.feared, reverse=True), "the slower, the shorter what becomes as long"


def test_v1_may_have_one_latency() -> None:
    test = knowing([0.01] * 500)
    assert "LadderTest(2 steps" in repr(test)
    observe(test, [0.01] * 90, [0.01] * 10)
    assert test.evidence < 0.6
    for _ in range(3):
        observe(test, [0.01] * 90, [0.2] * 10)
    assert test.evidence > 1_000.0


def test_one_request_that_takes_longer_than_any_before_is_no_alarm() -> None:
    chance = random.Random(1)
    test = knowing(lognormal(chance, 3_000, 0.05))
    for _ in range(100):
        observe(test, lognormal(chance, 9, 0.05), lognormal(chance, 1, 0.05))
    observe(test, lognormal(chance, 9, 0.05), [5.0])
    assert test.evidence < 10.0


def test_a_block_takes_both_paths_and_eight_requests() -> None:
    test = knowing(lognormal(random.Random(1), 3_000, 0.05))
    before = test.evidence
    for v1 in ([0.05] * 20, [], [0.05] * 20):
        observe(test, v1, [])
    assert test.evidence == before
    observe(test, [], [1.0])
    assert test.evidence != before


def test_a_step_puts_stake_in_and_a_restart_forgets() -> None:
    test = knowing(lognormal(random.Random(1), 3_000, 0.05))
    test.step(0.1)
    assert test.evidence == pytest.approx(0.7)
    test.restart()
    assert test.evidence == pytest.approx(0.6)


def test_there_is_an_allowance_for_each_fear() -> None:
    assert len(FACTORS) == len(REFILL_S)
    assert list(FACTORS) == sorted(FACTORS)
    assert list(STEPS) == sorted(STEPS)
