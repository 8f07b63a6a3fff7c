from __future__ import annotations

import pytest

from proxy.config.rollout import BreakerTable
from proxy.core.breaker import BreakerState
from proxy.simulation.breaking import Admission, Asked
from proxy.simulation.chance import generator
from proxy.simulation.streams import Drawn, Slow


def admission(**keys: object) -> Admission:
    return Admission(BreakerTable.model_validate({"open_for": "5s", **keys}))


def asked(subject: Admission, good: int = 0, bad: int = 0, slow: int = 0, at: float = 0.0) -> Asked:
    waiting = [Slow(500, slow, 1)] if slow else []
    return subject.asked(generator(1, "test"), Drawn(good, bad, [], waiting), at, at + 1.0)


def test_a_healthy_v2_is_asked_everything() -> None:
    assert asked(admission(), good=50) == Asked(50, 0, [], 0)
    assert asked(admission()) == Asked(0, 0, [], 0)


def test_failures_in_a_row_open_it_and_the_rest_is_not_asked() -> None:
    subject = admission(consecutive_failures=5)
    assert asked(subject, bad=20) == Asked(0, 5, [], 15)
    assert subject.breaker.state is BreakerState.OPEN
    assert asked(subject, good=1_000, at=1.0) == Asked(0, 0, [], 1_000)


def test_a_few_failures_among_many_do_not() -> None:
    subject = admission(consecutive_failures=5)
    for second in range(50):
        assert asked(subject, good=95, bad=5, at=float(second)) == Asked(95, 5, [], 0)


def test_a_share_of_failures_opens_it() -> None:
    subject = admission(consecutive_failures=1_000, failure_rate=0.5, min_requests=20)
    found = asked(subject, good=10, bad=90)
    assert found.bad + found.good >= 20
    assert found.not_asked == 100 - found.good - found.bad > 50


def test_it_is_tried_again_and_closes_when_v2_is_well() -> None:
    subject = admission(open_for="5s", probes=3)
    asked(subject, bad=10)
    assert asked(subject, good=10, at=3.0).good == 0
    assert asked(subject, good=10, at=6.0) == Asked(10, 0, [], 0)
    assert subject.breaker.state is BreakerState.CLOSED


def test_a_failing_probe_opens_it_again() -> None:
    subject = admission(open_for="5s")
    asked(subject, bad=10)
    assert asked(subject, bad=10, at=6.0) == Asked(0, 1, [], 9)
    assert asked(subject, good=10, at=8.0).not_asked == 10


@pytest.mark.parametrize(("failed", "state"), [(True, BreakerState.OPEN), (False, BreakerState.CLOSED)])
def test_slow_attempts_count_when_they_end(failed: bool, state: BreakerState) -> None:
    subject = admission(consecutive_failures=5)
    found = asked(subject, good=1, slow=5)
    assert (found.good, found.slow) == (1, [0] * 5)
    assert subject.breaker.state is BreakerState.CLOSED
    for _ in range(5):
        subject.ended(9.0, failed=failed, epoch=subject.breaker.epoch)
    assert subject.breaker.state is state
