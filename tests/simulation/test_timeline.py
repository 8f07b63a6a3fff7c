from __future__ import annotations

from statistics import mean, pstdev

import pytest

from proxy.simulation.timeline import Conditions, Timeline
from tests.simulation.scenes import scenario


def at(text: str, t: float) -> Conditions:
    return Timeline(scenario(text), 0).at(t)[0]


def test_v2_is_like_v1_unless_told_otherwise() -> None:
    found = at('[v1]\nerror_rate=0.02\nlatency="5ms"\n[v2]\nerror_rate=0.03', 0)
    assert (found.v1.error_rate, found.v2.error_rate) == (0.02, 0.03)
    assert found.v1.latency == found.v2.latency
    assert found.v1.latency[0].median_s == 0.005
    assert found.rps == 10


def test_a_change_lasts_until_it_ends_and_says_so() -> None:
    timeline = Timeline(scenario('[[change]]\nat="10s"\nuntil="20s"\nrps=0\nboth={error_rate=0.5}'), 0)
    assert timeline.at(0)[1] == 10
    during, until = timeline.at(10)
    assert (during.rps, during.v1.error_rate, during.v2.error_rate, until) == (0, 0.5, 0.5, 20)
    after, until = timeline.at(20)
    assert (after.rps, after.v1.error_rate, until) == (10, 0.001, float("inf"))


def test_of_two_changes_the_later_one_wins_key_by_key() -> None:
    text = """
    [[change]]
    at = "20s"
    v2 = { error_rate = 0.2 }
    [[change]]
    at = "10s"
    v2 = { error_rate = 0.1, hang = 0.3 }
    """
    assert at(text, 15).v2.error_rate == 0.1
    assert (at(text, 25).v2.error_rate, at(text, 25).v2.hang) == (0.2, 0.3)
    assert at(text, 25).v1.error_rate == 0.001


def test_a_change_may_come_again_and_again() -> None:
    text = '[[change]]\nat="1h"\nfor="1m"\nevery="1h"\nv1={error_rate=0.3}'
    timeline = Timeline(scenario(text), 0)
    times = [0, 3_600, 3_660, 7_199, 7_200, 7_260]
    assert [timeline.at(t)[0].v1.error_rate == 0.3 for t in times] == [False, True, False, False, True, False]
    assert [timeline.at(t)[1] for t in times] == [3_600, 3_660, 7_200, 7_200, 7_260, 10_800]


def test_a_ramp_gets_there_evenly() -> None:
    text = (
        '[v2]\nerror_rate=0.0\n[[change]]\nat="100s"\nramp="200s"\nrps=30\nv2={error_rate=0.1,latency="80ms"}'
    )
    half = at(text, 200)
    assert half.rps == 20
    assert half.v2.error_rate == pytest.approx(0.05)
    assert half.v2.latency[0].median_s == pytest.approx(0.040)
    assert Timeline(scenario(text), 0).at(200)[1] == 202
    there = at(text, 300)
    assert (there.rps, there.v2.error_rate, there.v2.latency[0].median_s) == (30, 0.1, 0.08)


def test_a_level_swings_and_comes_back() -> None:
    text = '[v1]\nerror_rate={low=0.0,high=0.04,period="24h"}'
    rates = [at(text, hours * 3_600).v1.error_rate for hours in (0, 6, 12, 24)]
    assert rates == pytest.approx([0.0, 0.02, 0.04, 0.0], abs=1e-9)
    assert at(text, 43_200).v2.error_rate == pytest.approx(0.04)


def test_a_lone_quantile_takes_the_rest_from_before() -> None:
    text = """
    [v1]
    latency = { p50 = "20ms", p99 = "200ms" }
    [[change]]
    at = "1s"
    v2 = { latency = { p50 = "40ms" } }
    v1 = { latency = { p99 = "400ms" }, latency_factor = 3 }
    """
    before, after = at(text, 0), at(text, 1)
    assert after.v2.latency[0].sigma == before.v2.latency[0].sigma
    assert after.v1.latency[0].median_s == 0.020
    assert after.v1.latency[0].sigma > before.v1.latency[0].sigma
    assert after.v1.factor == 3


def test_everything_else_can_change_too() -> None:
    text = """
    store_down = true
    [[change]]
    at = "1s"
    store_down = false
    webhook = 503
    traffic = { rps = 3, noise = 0.1 }
    [change.v2]
    health = 0
    cpu = 0.9
    memory = 0.8
    cache_hit_rate = 0.1
    fails_with = "connect"
    error_latency = "1ms"
    """
    before, after = at(text, 0), at(text, 1)
    assert (before.store_down, before.webhook, before.v2.health, before.v2.cpu) == (True, 200, 1, None)
    assert (after.store_down, after.webhook) == (False, 503)
    assert after.traffic_noise == 0.1
    assert after.v2.health == 0
    assert (after.v2.cpu, after.v2.memory, after.v2.cache_hit_rate) == (0.9, 0.8, 0.1)
    assert after.v2.fails_with == "connect"
    assert after.v2.error_latency is not None


def test_noise_varies_from_minute_to_minute_and_each_path_for_itself() -> None:
    timeline = Timeline(
        scenario("[v1]\nerror_rate=0.01\nnoise=0.3\n[v2]\nnoise=0.3\n[traffic]\nnoise=0.2"), 1
    )
    found = [timeline.at(minute * 60.0) for minute in range(3_000)]
    assert found[7][1] == 8 * 60
    v1, v2 = [one.v1.error_rate for one, _ in found], [one.v2.error_rate for one, _ in found]
    assert mean(v1) == pytest.approx(0.01, rel=0.1)
    assert pstdev(v1) == pytest.approx(0.003, rel=0.15)
    assert pstdev([one.rps for one, _ in found]) == pytest.approx(2.0, rel=0.15)
    pairs = [(a - 0.01) * (b - 0.01) for a, b in zip(v1, v2, strict=True)]
    assert abs(mean(pairs)) < 0.2 * 0.003**2


def test_shared_noise_varies_both_alike() -> None:
    timeline = Timeline(scenario("noise = 0.3"), 1)
    found = [timeline.at(minute * 60.0)[0] for minute in range(10)]
    assert all(one.v1.error_rate == one.v2.error_rate for one in found)
    assert len({one.v1.error_rate for one in found}) == 10


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("", None),
        ('[[change]]\nat="5s"\nboth={error_rate=1.0}', 5),
        (
            '[[change]]\nat="5s"\nv1={error_rate=0.3}\nv2={error_rate=0.3}\n[[change]]\nat="9s"\nv2={hang=1.0}',
            9,
        ),
    ],
)
def test_the_change_that_counts_is_the_one_of_v2_alone(text: str, first: float | None) -> None:
    assert Timeline(scenario(text), 0).first_change_s() == first
