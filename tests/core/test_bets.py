"""Bets are safe: whatever the rates are, the null does not make them grow."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.bets import GAINS, Bet, Bets, MirroredBets

if TYPE_CHECKING:
    from collections.abc import Iterator

RATES = (0.0, 0.0001, 0.01, 0.1, 0.5, 0.9, 1.0)
SIZES = ((1, 1), (1, 4), (4, 1), (3, 3), (12, 1))
TOLERANCES = tuple(product((1.0, 1.1, 3.0), (0.0, 0.001, 0.1)))

rates = st.floats(0.0, 1.0)
expected = st.floats(1e-6, 0.999)
sizes = st.integers(1, 2000)
ratios = st.floats(1.0, 4.0)
points = st.floats(0.0, 0.3)


def chance(n: int, s: int, rate: float) -> float:
    return float(math.comb(n, s) * rate**s * (1.0 - rate) ** (n - s))


def expectation(bet: Bet, n: tuple[int, int], mean: tuple[float, float]) -> float:
    """E[E] over all outcomes of a block."""
    return sum(
        chance(n[0], s1, mean[0]) * chance(n[1], s2, mean[1]) * math.exp(bet.log_e(n[0], s1, n[1], s2))
        for s1 in range(n[0] + 1)
        for s2 in range(n[1] + 1)
    )


def null_means(bets: Bets, mean1: float) -> Iterator[float]:
    """Means of v2 that the null allows, its edge first."""
    edge = bets.ratio * mean1 + bets.points
    if isinstance(bets, MirroredBets):
        return (mean for mean in (edge, 0.5 * (edge + 1.0), 1.0) if edge <= mean <= 1.0)
    return iter((min(edge, 1.0), 0.5 * min(edge, 1.0)))


@pytest.mark.parametrize(("ratio", "points"), TOLERANCES)
def test_no_null_makes_a_bet_grow(ratio: float, points: float) -> None:
    bets = Bets(ratio, points)
    worst = 0.0
    for a, n, mean1 in product((0.0005, 0.02, 0.3), SIZES, RATES):
        for bet, mean2 in product(bets.at(a, n[1] / n[0]), null_means(bets, mean1)):
            worst = max(worst, expectation(bet, n, (mean1, mean2)))
    assert 0.99 < worst <= 1.0 + 1e-9


@pytest.mark.parametrize(("ratio", "points"), [(r, p) for r, p in TOLERANCES if p])
def test_no_null_makes_a_mirrored_bet_grow(ratio: float, points: float) -> None:
    bets = MirroredBets(ratio, points)
    worst = 0.0
    for a, n, mean1 in product((0.0005, 0.02, 0.3), SIZES, RATES):
        for bet, mean2 in product(bets.at(a, n[1] / n[0]), null_means(bets, mean1)):
            worst = max(worst, expectation(bet, n, (mean1, mean2)))
    assert 0.98 < worst <= 1.0 + 1e-9


@given(ratios, points, expected, sizes, sizes, st.lists(rates, min_size=1, max_size=6))
def test_a_bet_is_safe_while_rates_change_within_its_block(
    ratio: float, points: float, a: float, n1: int, n2: int, means: list[float]
) -> None:
    n1, n2 = n1 * len(means), n2 * len(means)  # each of v1's rates holds for the same part of the block
    mean1 = sum(means) / len(means)
    mean2 = min(ratio * mean1 + points, 1.0)
    for bet in Bets(ratio, points).at(a, n2 / n1):
        c1, c2 = bet.coefficients(n2 / n1)
        log = n2 * math.log1p(c2 * (mean2 - bet.b0))
        log += sum(n1 / len(means) * math.log1p(-c1 * (mean - bet.a0)) for mean in means)
        assert log <= 1e-7


@given(ratios, st.floats(0.001, 0.3), expected, sizes, sizes, rates)
def test_a_mirrored_bet_is_safe_at_any_size(
    ratio: float, points: float, a: float, n1: int, n2: int, mean1: float
) -> None:
    mean2 = ratio * mean1 + points
    for bet in MirroredBets(ratio, points).at(a, n2 / n1) if mean2 <= 1.0 else []:
        c1, c2 = bet.coefficients(n2 / n1)
        assert n1 * math.log1p(-c1 * (mean1 - bet.a0)) + n2 * math.log1p(c2 * (mean2 - bet.b0)) <= 1e-7


@given(ratios, points, expected, st.floats(1e-5, 1e5))
@example(1.0, 0.0, 0.1, 2.0)
def test_the_null_point_of_a_bet_is_the_closest_one(ratio: float, points: float, a: float, nu: float) -> None:
    for bet in Bets(ratio, points).at(a, nu):
        assert bet.a - 1e-9 <= bet.a0 <= 1.0
        assert bet.b0 == ratio * bet.a0 + points <= bet.b + 1e-9

        def divergence(a0: float, bet: Bet = bet) -> float:
            b0 = ratio * a0 + points
            return _divergence(bet.a, a0) + math.exp(round(math.log(nu) / 0.1) * 0.1) * _divergence(bet.b, b0)

        at_root = divergence(bet.a0)
        for step in (-1e-3, 1e-3):
            near = bet.a0 * (1.0 + step)
            if 0.0 < ratio * near + points < 1.0:
                assert at_root <= divergence(near) * (1.0 + 1e-6) + 1e-12


def _divergence(p: float, q: float) -> float:
    return p * math.log(p / q) + (1.0 - p) * math.log((1.0 - p) / (1.0 - q))


@given(expected, st.floats(1e-5, 1e5), sizes, sizes, st.booleans())
def test_no_outcome_ruins_a_bet(a: float, off: float, n1: int, n2: int, mirrored: bool) -> None:
    """Even one that was sized for another ν: a factor of zero would be a bet that can never recover."""
    bets = MirroredBets(1.0, 0.01) if mirrored else Bets(1.1, 0.001)
    for bet in bets.at(a, off):
        for s1, s2 in product((0, n1), (0, n2)):
            assert math.isfinite(bet.log_e(n1, s1, n2, s2))


def test_a_bet_that_is_scaled_down_keeps_its_relation() -> None:
    bet = Bets(1.1, 0.001).at(0.001, 0.1)[-1]
    c1, c2 = bet.coefficients(50.0)
    assert c1 * (1.0 - bet.a0) == pytest.approx(1.0 - 0.5 * bet.a / bet.a0)
    assert c1 == pytest.approx(1.1 * 50.0 * c2)
    mirrored = MirroredBets(1.0, 0.3).at(0.4, 0.1)[0]
    d1, d2 = mirrored.coefficients(50.0)
    assert 1.0 + d1 * mirrored.a0 == pytest.approx(0.5 * (1.0 - mirrored.a) / (1.0 - mirrored.a0))
    assert d1 == pytest.approx(50.0 * d2)


def test_errors_of_v2_speak_against_it_and_those_of_v1_for_it() -> None:
    for bet in Bets(1.1, 0.001).at(0.01, 1.0):
        assert bet.log_e(10, 0, 10, 5) > bet.log_e(10, 0, 10, 1) > bet.log_e(10, 1, 10, 1)
    for bet in MirroredBets(1.0, 0.01).at(0.01, 1.0):
        assert bet.log_e(10, 0, 10, 5) < bet.log_e(10, 0, 10, 1) < bet.log_e(10, 1, 10, 1)


def test_where_everything_is_tolerable_there_is_no_bet() -> None:
    assert Bets(1.1, 0.001).at(0.95, 1.0) == []
    assert len(Bets(1.1, 0.001).at(0.85, 1.0)) == len(GAINS)


def test_where_equal_rates_are_unacceptable_there_is_no_mirrored_bet() -> None:
    assert MirroredBets(0.9, 0.001).at(0.5, 1.0) == []
    assert MirroredBets(1.0, 0.01).at(1.0 - 1e-9, 1.0) == []


def test_equal_blocks_share_their_bets_and_few_are_kept() -> None:
    bets = Bets(1.1, 0.001)
    assert bets.at(0.01, 0.5) is bets.at(0.01, 0.5)
    assert repr(bets) == "Bets(1.1 x v1 + 0.001, 6 kept)"
    for step in range(300):
        bets.at(0.01, math.exp(step * 0.1))
    assert repr(bets) == "Bets(1.1 x v1 + 0.001, 780 kept)"
    assert repr(bets.at(0.01, 1.0)[0]) == "Bet(v1 0.00995, v2 0.0159, null 0.0118/0.0139)"


@given(expected, st.integers(1, 90), st.integers(1, 90), st.data())
def test_a_round_is_what_each_bet_says_of_a_block(a: float, n1: int, n2: int, data: st.DataObject) -> None:
    s1, s2 = data.draw(st.integers(0, n1)), data.draw(st.integers(0, n2))
    bets = Bets(1.1, 0.001)
    said = [bet.log_e(n1, s1, n2, s2) for bet in bets.at(a, n2 / n1)]
    for _ in range(2):  # also the second time, when it is kept
        assert bets.round(a, n1, s1, n2, s2).logs == pytest.approx(said)
        assert bets.logs(a, n1, s1 * 0.5, n2, s2) == pytest.approx(
            [bet.log_e(n1, s1 * 0.5, n2, s2) for bet in bets.at(a, n2 / n1)]
        )


def test_rounds_of_small_blocks_are_kept_and_not_for_ever() -> None:
    bets = Bets(1.1, 0.001, most_kept=200)
    first = bets.round(0.01, 9, 0, 1, 0)
    assert bets.round(0.01, 9, 0, 1, 0) is first
    assert bets.round(0.01, 90, 0, 10, 0) is not bets.round(0.01, 90, 0, 10, 0)
    for n1 in range(1, 50):
        for n2 in range(1, 14):
            bets.round(0.01, n1, 0, n2, 0)
    assert bets.round(0.01, 9, 0, 1, 0) is not first
    assert bets.round(0.01, 9, 0, 1, 0).logs == first.logs


def test_sizes_of_blocks_are_kept_and_not_for_ever() -> None:
    bets = Bets(1.1, 0.001)
    first = bets.logs(0.01, 9, 1, 1, 0)
    for step in range(600):
        bets.logs(0.01, 1 + step / 100, 0, 1, 0)
    assert bets.logs(0.01, 9, 1, 1, 0) == first
