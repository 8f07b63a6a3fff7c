"""Days as they come: what must not take a healthy v2 back, and what must take a sick one back soon."""

from __future__ import annotations

import pytest

from proxy.simulation.outcome import Ending, Outcome
from proxy.simulation.run import simulated
from tests.simulation.scenes import configured, scenario

WATCHED = """
[[rollouts]]
name = "default"
[[rollouts.phases]]
name = "watched"
percentage = 10
min_duration = "48h"
"""
USUAL = """
duration = "25m"
[traffic]
rps = 20
[v1]
error_rate = 0.001
latency = {latency}
"""
LOGNORMAL = '{ p50 = "20ms", p95 = "60ms" }'
BIMODAL = '[{ weight = 9, p50 = "20ms", p95 = "60ms" }, { weight = 1, p50 = "1s", p95 = "2s" }]'


def day(text: str, latency: str = LOGNORMAL, seed: int = 1) -> Outcome:
    return simulated(configured(WATCHED), scenario(USUAL.format(latency=latency) + text), seed)


@pytest.mark.parametrize(
    "text",
    [
        '[[change]]\nat = "10m"\nfor = "60s"\nboth = { error_rate = 0.3 }',
        '[[change]]\nat = "10m"\nfor = "60s"\nboth = { error_rate = 1.0 }',
        '[[change]]\nat = "10m"\nfor = "30s"\nboth = { hang = 1.0 }',
        '[[change]]\nat = "10m"\nfor = "2m"\nboth = { latency_factor = 10.0 }',
        '[[change]]\nat = "10m"\nfor = "1s"\nv2 = { error_rate = 0.5 }',
        '[[change]]\nat = "5m"\nfor = "5m"\nevery = "10m"\nrps = 0',
        "[[clients]]\nbucket = 0\nrps = 0.2\nerror_rate = 1.0",
        "noise = 0.3",
    ],
    ids=["outage", "blackout", "hang", "slow", "blip", "gaps", "bad client", "noise"],
)
def test_what_v1_lives_through_too_takes_nothing_back(text: str) -> None:
    found = day(text)
    assert (found.outcome, found.percentage) == (Ending.RUNNING, 10)
    assert found.v2_requests > 1_000


def test_two_sorts_of_answers_are_no_fault() -> None:
    assert day("", BIMODAL).outcome is Ending.RUNNING


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        ("error_rate = 1.0", 30),
        ("error_rate = 0.2", 120),
        ("error_rate = 0.1", 300),
        ("hang = 1.0", 40),
        ("latency_factor = 5.0", 120),
        ('fails_with = "connect"\nerror_rate = 1.0', 30),
    ],
)
def test_a_sick_v2_is_taken_back_soon_and_clients_hardly_see_it(fault: str, seconds: float) -> None:
    found = day(f'[[change]]\nat = "15m"\n[change.v2]\n{fault}')
    assert found.outcome is Ending.ROLLED_BACK
    assert found.rolled_back_at_s is not None
    assert 900 < found.rolled_back_at_s < 900 + seconds
    assert found.client_errors < 60


def test_a_fault_that_grows_is_found_before_it_is_large() -> None:
    found = day('[[change]]\nat = "5m"\nramp = "20m"\nv2 = { error_rate = 0.2 }')
    assert found.outcome is Ending.ROLLED_BACK
    assert found.rolled_back_at_s is not None
    assert found.rolled_back_at_s < 900  # at 10 %


def test_more_slow_answers_of_two_sorts_are_found() -> None:
    worse = BIMODAL.replace("weight = 1,", "weight = 5,")
    found = day(f'[[change]]\nat = "10m"\nv2 = {{ latency = {worse} }}', BIMODAL)
    assert found.outcome is Ending.ROLLED_BACK
