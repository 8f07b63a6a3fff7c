from __future__ import annotations

from collections import Counter

import pytest

from proxy.simulation.chance import generator
from proxy.simulation.shape import MIDDLES_S, Mode, Pair, filled, mixed, shape_of, some_of

USUAL = (Mode(1.0, 0.020, 0.6679),)  # 60 ms at the 95th percentile


def quantiles(pairs: list[Pair]) -> tuple[float, float]:
    reading = filled(pairs).reading()
    return reading.p50, reading.p95


@pytest.mark.parametrize("mean", [60.0, 20_000.0])
def test_a_shape_has_its_quantiles_however_it_is_drawn(mean: float) -> None:
    rng = generator(1, "test")
    pairs = [pair for _ in range(int(60_000 / mean)) for pair in shape_of(USUAL).arrivals(rng, mean)]
    assert quantiles(pairs) == pytest.approx((0.020, 0.060), rel=0.05)
    assert sum(n for _, n in pairs) == pytest.approx(60_000, rel=0.03)


def test_a_factor_makes_every_latency_longer() -> None:
    pairs = shape_of(USUAL, 2.0).arrivals(generator(2, "test"), 20_000.0)
    assert quantiles(pairs) == pytest.approx((0.040, 0.120), rel=0.05)


def test_without_a_spread_all_are_alike() -> None:
    pairs = shape_of((Mode(1.0, 0.5, 0.0),)).arrivals(generator(3, "test"), 100.0)
    assert len(set(pairs)) == 1
    assert MIDDLES_S[pairs[0][0]] == pytest.approx(0.5, rel=0.02)


def test_two_modes_are_mixed_by_weight() -> None:
    modes = (Mode(3.0, 0.010, 0.1), Mode(1.0, 1.0, 0.1))
    rng = generator(4, "test")
    drawn = [bucket for _ in range(40) for bucket, _ in shape_of(modes).arrivals(rng, 100.0)]
    assert sum(MIDDLES_S[bucket] > 0.1 for bucket in drawn) == pytest.approx(1_000, rel=0.1)


@pytest.mark.parametrize("pairs", [[(100, 2), (200, 1)], [(bucket, 2) for bucket in range(100, 140)]])
def test_a_histogram_holds_what_was_drawn(pairs: list[Pair]) -> None:
    histogram = filled(pairs)
    assert histogram.buckets() == pairs
    assert histogram.total_s == pytest.approx(sum(MIDDLES_S[bucket] * n for bucket, n in pairs), rel=2e-3)


def test_some_of_the_latencies_are_among_them() -> None:
    chosen = Counter(bucket for bucket, _ in some_of(generator(5, "test"), [(1, 5), (2, 1)], 4))
    assert chosen[1] + chosen[2] == 4
    assert chosen[2] <= 1
    assert some_of(generator(5, "test"), [], 0) == []


def test_one_mode_moves_and_several_are_blended() -> None:
    slow = (Mode(1.0, 0.080, 0.0),)
    (half,) = mixed((Mode(1.0, 0.020, 0.4),), slow, 0.5)
    assert half.median_s == pytest.approx(0.040)
    assert half.sigma == pytest.approx(0.2)
    both = mixed(USUAL, (*slow, *slow), 0.25)
    assert [mode.weight for mode in both] == [0.75, 0.125, 0.125]
    assert mixed(USUAL, slow, 1.0) == slow
