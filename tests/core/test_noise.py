"""How much v1 varies by itself."""

from __future__ import annotations

import math
import random

import pytest

from proxy.core.noise import NoiseMargin

REQUESTS = 30_000


def feed(margin: NoiseMargin, rates: list[float], seed: int = 3, requests: int = REQUESTS) -> None:
    """A minute for each rate, with the luck of counting."""
    chance = random.Random(seed)
    for p in rates:
        errors = round(chance.gauss(requests * p, math.sqrt(requests * p * (1.0 - p))))
        margin.minute(min(max(errors, 0), requests), requests)


def noisy(minutes: int, sigma: float, stays: float, seed: int = 1) -> list[float]:
    """1 % give or take `sigma` of it; each minute keeps the part `stays` of the one before."""
    chance, z, rates = random.Random(seed), 0.0, []
    for _ in range(minutes):
        z = stays * z + math.sqrt(1.0 - stays * stays) * chance.gauss(0.0, 1.0)
        rates.append(max(0.01 * (1.0 + sigma * z), 0.0))
    return rates


def test_luck_alone_is_no_noise_after_half_an_hour() -> None:
    for seed in range(10):
        margin = NoiseMargin(4.0)
        feed(margin, [0.01] * 31, seed)
        assert margin.margin == 0.0
        feed(margin, [0.01] * 210, seed + 100)
        assert margin.margin == 0.0


@pytest.mark.parametrize("stays", [0.0, 0.7, 0.9])
def test_noise_is_measured_and_multiplied_whether_it_is_gone_soon_or_lasts(stays: float) -> None:
    margin = NoiseMargin(4.0)
    feed(margin, noisy(240, 0.3, stays))
    assert margin.sigma() == pytest.approx(0.003 * math.sqrt(2.0), rel=0.4)
    assert margin.margin == 4.0 * margin.sigma()


def test_before_anything_is_known_v1_is_taken_to_be_unsteady() -> None:
    margin = NoiseMargin(4.0)
    assert margin.margin == pytest.approx(4.0 * 0.4 * 0.01)
    margin.minute(1_200, REQUESTS)
    assert margin.margin == pytest.approx(4.0 * 0.4 * 0.04 * (2 - 1 / 30))


def test_that_fades_more_slowly_where_there_is_noise() -> None:
    steady, unsteady = NoiseMargin(4.0), NoiseMargin(4.0)
    feed(steady, [0.01] * 29)
    feed(unsteady, noisy(29, 0.3, 0.9))
    assert steady.margin < 0.002
    assert unsteady.margin > 0.008


def test_the_time_of_day_is_no_noise() -> None:
    margin = NoiseMargin(4.0)
    feed(margin, [0.02 - 0.019 * math.cos(minute / 1440 * 2.0 * math.pi) for minute in range(240)])
    assert margin.margin < 0.003


def test_an_outage_is_no_noise() -> None:
    margin = NoiseMargin(4.0)
    feed(margin, [0.3 if minute % 60 == 50 else 0.01 for minute in range(240)])
    assert margin.margin == 0.0


def test_few_errors_need_no_margin() -> None:
    margin = NoiseMargin(4.0)
    for minute in range(60):
        margin.minute(minute % 9, 540)
    assert margin.margin == 0.0


def test_a_minute_without_requests_is_left_out() -> None:
    margin = NoiseMargin(4.0)
    margin.minute(0, 0)
    assert repr(margin) == "NoiseMargin(0.016 after 0 minutes)"
    assert margin.sigma() == 0.0


def test_what_was_four_hours_ago_is_forgotten() -> None:
    margin = NoiseMargin(4.0)
    feed(margin, noisy(240, 0.3, 0.0))
    feed(margin, [0.01] * 240)
    assert repr(margin) == "NoiseMargin(0 after 240 minutes)"
