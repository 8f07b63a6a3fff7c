"""Evidence over time: what is put in, what is earned, and how it is held back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.bets import GAINS
from proxy.core.e_process import ALLOWANCE, FRESH, REFILL_S, STAKE_PER_S, EProcess, Round

ALL = len(GAINS)


def logs(value: float) -> list[float]:
    return [value] * ALL


def test_each_bet_has_its_stake_and_its_allowance() -> None:
    assert len(FRESH) == len(REFILL_S) == ALL
    assert math.fsum(FRESH) == pytest.approx(ALL)
    assert list(REFILL_S) == sorted(REFILL_S, reverse=True)


def test_it_starts_with_what_is_put_in_and_a_step_adds_to_it() -> None:
    process = EProcess(0.5)
    assert process.value == 0.5
    process.step(0.1)
    assert process.value == pytest.approx(0.6)
    process.earn(logs(0.0), 0.0)
    assert process.value == pytest.approx(0.6)


def test_fresh_stake_comes_with_time_even_without_a_bet() -> None:
    process = EProcess(0.0)
    process.earn([], 86_400.0)
    assert process.value == pytest.approx(86_400.0 * STAKE_PER_S)


def test_a_bet_multiplies_its_stake() -> None:
    process = EProcess(1.0, 0.0)
    process.earn(logs(-2.0), 1.0)
    assert process.value == pytest.approx(math.exp(-2.0))
    process.earn(logs(1.5), 1.0)
    assert process.value == pytest.approx(math.exp(-0.5))


def test_no_burst_earns_more_than_the_allowance_however_strong() -> None:
    process = EProcess(1.0, 0.0)
    process.earn(logs(1000.0), 0.0)
    assert process.value == pytest.approx(math.exp(ALLOWANCE))
    process.earn(logs(1000.0), 0.0)
    assert process.value == pytest.approx(math.exp(ALLOWANCE))


def test_the_allowance_comes_back_sooner_for_a_catastrophe_than_for_a_small_effect() -> None:
    process = EProcess(1.0, 0.0)
    process.earn(logs(ALLOWANCE), 0.0)
    process.earn(logs(1000.0), 0.5)
    earned = [ALLOWANCE + ALLOWANCE * 0.5 / refill for refill in REFILL_S]
    assert process.value * ALL == pytest.approx(
        math.fsum(part * math.exp(e) for part, e in zip(FRESH, earned, strict=True))
    )


def test_the_allowance_may_be_another() -> None:
    process = EProcess(1.0, 0.0, 20.0)
    process.earn(logs(1000.0), 0.0)
    assert process.value == pytest.approx(math.exp(20.0))
    process.restart()
    process.earn(logs(1000.0), 0.0)
    assert process.value == pytest.approx(math.exp(20.0))


def test_a_debt_is_paid_off_while_bets_lose() -> None:
    process = EProcess(1.0, 0.0)
    process.earn(logs(ALLOWANCE), 0.0)
    process.earn(logs(0.0), 0.5)
    process.earn(logs(0.0), 60.0)
    process.earn(logs(1000.0), 0.0)
    assert process.value == pytest.approx(math.exp(2 * ALLOWANCE))


def test_losses_are_not_held_back() -> None:
    process = EProcess(1.0, 0.0)
    process.earn(logs(-50.0), 0.0)
    assert process.value == pytest.approx(math.exp(-50.0))


def test_after_a_loss_fresh_stake_decides_how_soon_it_is_back() -> None:
    process = EProcess(1.0)
    process.earn(logs(-1e9), 1.0)
    assert process.value == 0.0
    for _ in range(4):
        process.earn(logs(ALLOWANCE), 1.0)
    assert process.value > 100.0  # within four seconds


def test_a_long_outage_does_not_overflow() -> None:
    process = EProcess(1.0)
    for _ in range(1000):
        process.earn(logs(ALLOWANCE), 60.0)
    assert process.value == 1e15
    process.earn(logs(0.0), 60.0)
    process.earn(logs(0.0), 60.0)
    assert process.value == 1e15
    process.take(Round(logs(0.0), is_kept=True), 60.0)
    assert process.value == 1e15


@given(st.lists(st.tuples(st.tuples(*[st.floats(-9.0, 2.0)] * ALL), st.floats(0.0, 90.0)), max_size=8))
def test_a_round_that_is_kept_brings_what_its_logarithms_bring(
    ticks: list[tuple[tuple[float, ...], float]],
) -> None:
    process, kept = EProcess(1.0, 0.01), EProcess(1.0, 0.01)
    for earned, dt_s in ticks:
        process.earn(list(earned), dt_s)
        kept.take(Round(list(earned), is_kept=True), dt_s)
        assert kept.value == pytest.approx(process.value, rel=1e-12)


def test_a_restart_forgets_evidence_and_debts() -> None:
    process = EProcess(0.5, 0.0)
    process.earn(logs(1000.0), 0.0)
    process.restart()
    assert process.value == 0.5
    process.earn(logs(1000.0), 0.0)
    assert process.value == pytest.approx(0.5 * math.exp(ALLOWANCE))


@given(st.lists(st.tuples(st.tuples(*[st.floats(-9.0, 9.0)] * ALL), st.floats(0.0, 90.0)), max_size=8))
def test_it_never_exceeds_what_the_bets_alone_would_have_made(
    ticks: list[tuple[tuple[float, ...], float]],
) -> None:
    process = EProcess(1.0, 0.01)
    free = list(FRESH)
    for earned, dt_s in ticks:
        process.earn(list(earned), dt_s)
        free = [(stake + 0.01 * dt_s) * math.exp(e) for stake, e in zip(free, earned, strict=True)]
        assert 0.0 <= process.value <= math.fsum(free) / ALL * (1.0 + 1e-9)


def test_its_name_shows_where_it_stands() -> None:
    assert repr(EProcess(1.0)) == "EProcess(1: 0.08, 0.12, 0.17, 0.3, 1, 4.3)"
    assert repr(Round([0.5, -1.0])) == "Round(0.5, -1)"
