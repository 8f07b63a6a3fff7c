"""Requests that fail on v1 too say nothing against v2."""

from __future__ import annotations

from proxy.core.shared_fate import SharedFate


def fate() -> SharedFate:
    return SharedFate(1.1, 0.001)


def test_a_client_whose_requests_fail_everywhere_excuses_v2() -> None:
    shared = fate()
    for second in range(60):
        shared.observe(2, 1, int(second > 0), 1.0)  # v1's answer comes a tick after v2's
        assert shared.excuses == (second >= 2)


def test_a_v2_that_fails_what_v1_answers_is_not_excused() -> None:
    shared = fate()
    for second in range(60):
        shared.observe(10, 5, int(second % 5 == 4), 1.0)  # v1 fails 4 % by itself
        assert not shared.excuses


def test_without_a_fallback_there_is_no_excuse() -> None:
    shared = fate()
    for _ in range(10):
        shared.observe(1000, 1, 0, 1.0)
        assert not shared.excuses


def test_a_real_fault_ends_the_excuse_within_seconds() -> None:
    shared = fate()
    for _ in range(600):
        shared.observe(2, 1, 1, 1.0)
        assert shared.excuses
    for _ in range(15):
        shared.observe(2, 2, 1, 1.0)
    assert not shared.excuses


def test_where_nothing_fails_there_is_nothing_to_excuse() -> None:
    shared = fate()
    shared.observe(10, 0, 0, 1.0)
    assert not shared.excuses
    assert repr(shared) == "SharedFate(0 of 0 failed on v1 too)"
