from __future__ import annotations

from math import sqrt

import pytest

from proxy.simulation.chance import binomial, generator, poisson


def moments(drawn: list[int]) -> tuple[float, float]:
    mean = sum(drawn) / len(drawn)
    return mean, sum((one - mean) ** 2 for one in drawn) / len(drawn)


@pytest.mark.parametrize("mean", [0.3, 3.0, 40.0, 700.0, 30_000.0])
def test_a_poisson_number_has_its_mean_and_variance(mean: float) -> None:
    rng, n = generator(1, "test"), 4_000
    found, variance = moments([poisson(mean).draw(rng) for _ in range(n)])
    assert found == pytest.approx(mean, abs=5 * sqrt(mean / n))
    assert variance == pytest.approx(mean, rel=0.2)


@pytest.mark.parametrize(
    ("n", "p"), [(1, 0.5), (10, 0.3), (1_000, 0.001), (1_000, 0.4), (1_000, 0.9), (200_000, 0.37)]
)
def test_a_binomial_number_has_its_mean_and_variance(n: int, p: float) -> None:
    rng, draws = generator(2, "test"), 2_000
    drawn = [binomial(rng, n, p) for _ in range(draws)]
    found, variance = moments(drawn)
    assert min(drawn) >= 0
    assert max(drawn) <= n
    assert found == pytest.approx(n * p, abs=5 * sqrt(n * p * (1 - p) / draws))
    assert variance == pytest.approx(n * p * (1 - p), rel=0.2)


@pytest.mark.parametrize(
    ("n", "p", "found"), [(0, 0.5, 0), (7, 0.0, 0), (7, 1.0, 7), (7, 1.5, 7), (-1, 1.0, 0)]
)
def test_what_is_certain_takes_no_chance(n: int, p: float, found: int) -> None:
    rng = generator(3, "test")
    before = rng.getstate()
    assert binomial(rng, n, p) == found
    assert rng.getstate() == before


def test_nothing_is_expected_and_nothing_comes() -> None:
    assert poisson(0.0).draw(generator(0, "test")) == 0


def test_one_seed_gives_one_chance_for_each_purpose() -> None:
    assert generator(4, "a").random() == generator(4, "a").random()
    assert generator(4, "a").random() != generator(4, "b").random() != generator(5, "b").random()
