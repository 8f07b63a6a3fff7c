from __future__ import annotations

import pytest

from proxy.core.tally import Tally
from proxy.model import BUCKETS, ErrorClass, FallbackReason, RolloutState, Snapshot, State
from proxy.simulation.drawing import DrawnEvidence
from tests.simulation.scenes import configured, scenario

SPLIT = '[[rollouts]]\nname = "default"\n'
UNCOVERED = SPLIT + "breaker = { enabled = false }\nfallback = { enabled = false }\n"


def evidence(text: str, percentage: float = 50, rollouts: str = SPLIT, seed: int = 1) -> DrawnEvidence:
    found = DrawnEvidence(configured(rollouts), scenario(text), seed)
    found.publish(RolloutState("default", State.RUNNING, round(percentage * BUCKETS / 100)))
    return found


def drawn(subject: DrawnEvidence, seconds: int, began: int = 0) -> Snapshot:
    total = Tally()
    for second in range(began + 1, began + seconds + 1):
        subject.advance(float(second))
        (tally,) = subject.drain()
        total.add(tally)
    return total.snapshot(float(seconds))


@pytest.mark.parametrize("rps", [10, 1_000])
def test_what_is_drawn_is_as_the_scenario_says(rps: int) -> None:
    latency = 'latency={p50="20ms",p95="60ms"}'
    text = f"[traffic]\nrps={rps}\n[v1]\nerror_rate=0.01\n{latency}\n[v2]\nerror_rate=0.05"
    seconds = 20_000 // rps
    found = drawn(evidence(text, 25), seconds)
    assert found.v1.requests == pytest.approx(15_000, rel=0.05)
    assert found.v2.requests == pytest.approx(5_000, rel=0.07)
    assert found.v1.error_rate == pytest.approx(0.01, rel=0.3)
    assert found.v2.error_rate == pytest.approx(0.05, rel=0.2)
    assert (found.v1.latency.p50, found.v2.latency.p95) == pytest.approx((0.020, 0.060), rel=0.08)
    assert found.v2.errors_by_class == ((ErrorClass.STATUS, found.v2.errors),)
    assert (found.assigned_v1, found.assigned_v2) == (found.v1.requests, found.v2.requests)
    assert found.fallbacks == found.v2.errors
    assert found.client_requests == found.v1.requests + found.v2.requests
    assert found.client_errors == found.v1.errors + found.fallback_errors


def test_one_seed_gives_one_history() -> None:
    text = "[traffic]\nrps=50\n[v2]\nerror_rate=0.5"
    assert drawn(evidence(text), 30) == drawn(evidence(text), 30)
    assert drawn(evidence(text), 30) != drawn(evidence(text, seed=2), 30)


def test_without_a_weight_v2_gets_nothing() -> None:
    subject = evidence("", percentage=0)
    assert drawn(subject, 60).assigned_v2 == 0
    subject.publish(RolloutState("default", State.RUNNING, BUCKETS))
    before = subject.totals.v1_requests
    assert drawn(subject, 60, began=60).assigned_v1 == 0
    assert subject.totals.v1_requests == before


def test_a_gap_is_silent() -> None:
    found = evidence('[[change]]\nat="10s"\nuntil="20s"\nrps=0')
    assert drawn(found, 10).client_requests > 0
    assert drawn(found, 10, began=10).client_requests == 0
    assert drawn(found, 10, began=20).client_requests > 0


def test_a_change_within_a_tick_counts_from_its_moment() -> None:
    subject = evidence(
        '[traffic]\nrps=1000\n[v1]\nerror_rate=0\n[[change]]\nat="30s"\nv2={error_rate=1.0}',
        rollouts=UNCOVERED,
    )
    subject.advance(60.0)
    (tally,) = subject.drain()
    assert sum(tally.v2.errors) == subject.totals.v2_requests_after_change
    assert sum(tally.v2.errors) == pytest.approx(15_000, rel=0.05)


def test_what_takes_longer_than_a_tick_is_under_way_until_it_ends() -> None:
    subject = evidence('[traffic]\nrps=100\n[v2]\nlatency="3500ms"')
    early = Tally()
    for second in (1, 2, 3):
        subject.advance(float(second))
        (tally,) = subject.drain()
        early.add(tally)
    assert early.v2.requests == 0
    assert tally.in_flight_v2.count == early.assigned_v2 == pytest.approx(150, rel=0.3)
    assert 2.0 < tally.in_flight_v2.reading().max <= 3.0
    assert tally.in_flight_v1.count == 0
    subject.advance(7.0)
    (late,) = subject.drain()
    assert late.v2.requests == pytest.approx(175, rel=0.3)
    assert late.v2.latency.reading().p50 == pytest.approx(3.5, rel=0.02)


def test_v1_may_be_slow_too() -> None:
    subject = evidence('[traffic]\nrps=50\n[v1]\nerror_rate=0\nlatency="3s"\n[v2]\nlatency="1ms"', 20)
    subject.advance(2.0)
    (tally,) = subject.drain()
    assert tally.v1.requests == 0
    assert tally.in_flight_v1.count == tally.assigned_v1 > 40
    assert drawn(subject, 10, began=2).v1.latency.p50 == pytest.approx(3.0, rel=0.02)


def test_a_hanging_v2_times_out_and_v1_answers() -> None:
    subject = evidence("[traffic]\nrps=20\n[v2]\nhang=1.0")
    assert drawn(subject, 9).client_requests == pytest.approx(90, rel=0.4)
    found = drawn(subject, 20, began=9)
    assert found.v2.errors == found.v2.requests > 50
    assert found.v2.errors_by_class[0][0] is ErrorClass.TIMEOUT
    assert found.v2.latency.p50 == pytest.approx(10.0, rel=0.02)
    reasons = dict(found.fallbacks_by_reason)
    assert reasons[FallbackReason.TIMEOUT] == found.v2.errors
    assert reasons[FallbackReason.BREAKER] == found.not_asked > 0
    assert subject.breaker.state != "closed"


def test_answers_beyond_the_deadline_are_timeouts() -> None:
    subject = evidence('[traffic]\nrps=20\n[v2]\nlatency="15s"', rollouts=UNCOVERED)
    found = drawn(subject, 30)
    assert found.v2.errors == found.v2.requests > 100
    assert found.client_errors >= found.v2.errors


@pytest.mark.parametrize(
    ("fails_with", "kind", "longest_s"),
    [
        ("connect", ErrorClass.CONNECT, 0.002),
        ("reset", ErrorClass.RESET, 2.0),
        ("timeout", ErrorClass.TIMEOUT, 11.0),
    ],
)
def test_a_failure_looks_like_what_it_is(fails_with: str, kind: ErrorClass, longest_s: float) -> None:
    text = f'[v2]\nerror_rate=1.0\nfails_with="{fails_with}"'
    found = drawn(evidence(text, rollouts=UNCOVERED), 30)
    assert found.v2.errors_by_class == ((kind, found.v2.requests),)
    assert 0 < found.v2.latency.max < longest_s


def test_failures_may_be_quicker_than_answers() -> None:
    text = '[traffic]\nrps=100\n[v2]\nerror_rate=0.5\nlatency="100ms"\nerror_latency="1ms"'
    found = drawn(evidence(text, rollouts=UNCOVERED), 20)
    assert found.v2.error_rate == pytest.approx(0.5, rel=0.1)
    assert found.v2.latency.mean == pytest.approx(0.050, rel=0.1)


def test_without_a_healthy_endpoint_nothing_is_sent() -> None:
    found = drawn(evidence("[v2]\nhealth=0"), 30)
    assert found.v2.requests == 0
    assert found.not_asked == found.assigned_v2 > 0
    assert found.fallbacks_by_reason == ((FallbackReason.UNAVAILABLE, found.assigned_v2),)


def test_v1_fails_its_fallbacks_as_often_as_its_own() -> None:
    found = drawn(evidence("[traffic]\nrps=200\n[v1]\nerror_rate=0.25\n[v2]\nerror_rate=1.0"), 30)
    assert found.fallback_errors == pytest.approx(found.fallbacks * 0.25, rel=0.15)


def test_the_budget_limits_fallbacks() -> None:
    rollouts = SPLIT + "breaker = { enabled = false }\nfallback = { budget = 0.1, budget_floor = 0.0 }\n"
    found = drawn(evidence("[traffic]\nrps=100\n[v2]\nerror_rate=1.0", rollouts=rollouts), 30)
    assert found.fallbacks == pytest.approx(300, rel=0.2)
    assert found.fallbacks_over_budget == found.v2.errors - found.fallbacks


def test_a_client_keeps_to_its_path() -> None:
    text = "[traffic]\nrps=10\n[v1]\nerror_rate=0\n[[clients]]\nrps=5\nbucket=60000\nerror_rate=1.0"
    assert drawn(evidence(text, 50), 60).v2.errors == 0
    on_v1 = drawn(evidence(text, 50), 60).v1
    assert on_v1.errors == pytest.approx(300, rel=0.3)
    assert drawn(evidence(text, 61), 60).v1.errors == 0


def test_a_clients_share_is_taken_from_all_and_its_key_is_hashed() -> None:
    client = '[[clients]]\nshare=0.2\nkey="u1"\nat="10s"\nuntil="20s"\nv2={error_rate=1.0}'
    text = f"[traffic]\nrps=100\n[v1]\nerror_rate=0\n{client}"
    subject = evidence(text, 100, rollouts=UNCOVERED)
    assert drawn(subject, 10).v2.errors == 0
    during = drawn(subject, 10, began=10)
    assert during.v2.error_rate == pytest.approx(0.2, rel=0.3)
    assert during.v2.requests == pytest.approx(1_000, rel=0.15)
    assert drawn(subject, 10, began=20).v2.errors == 0
