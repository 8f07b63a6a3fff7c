"""Whether v1 may answer what v2 failed, how long v2 may take, and how often v1 is asked."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.schema import Fallback
from proxy.core.fallback import (
    IDEMPOTENT,
    Budget,
    FallbackPolicy,
    attempt_timeout,
    decide_on_error,
    decide_on_status,
    is_error_status,
    may_repeat,
)
from proxy.model import ErrorClass, FallbackReason

if TYPE_CHECKING:
    from collections.abc import Iterator

POLICY = FallbackPolicy.of(Fallback())
BOOLEANS = (False, True)


def policy(**values: object) -> FallbackPolicy:
    return FallbackPolicy.of(Fallback.model_validate(values))


# ... the policy of a configuration


def test_by_default_every_failure_before_the_answer_falls_back() -> None:
    assert POLICY.enabled
    assert POLICY.errors == set(ErrorClass) - {ErrorClass.TRUNCATED, ErrorClass.STATUS}
    assert POLICY.statuses == {500, 502, 503, 504}
    assert not POLICY.all_methods
    assert POLICY.max_body_bytes == 65_536


@pytest.mark.parametrize(
    ("cause", "errors", "statuses"),
    [
        ("connect", {ErrorClass.CONNECT}, set()),
        ("timeout", {ErrorClass.TIMEOUT}, set()),
        ("reset", {ErrorClass.RESET, ErrorClass.INVALID}, set()),
        ("5xx", set(), {500, 502, 503, 504}),
        ("503", set(), {503}),
    ],
)
def test_each_cause_by_itself(cause: str, errors: set[ErrorClass], statuses: set[int]) -> None:
    only = policy(on=[cause])
    assert only.errors == errors
    assert only.statuses == statuses


def test_causes_add_up() -> None:
    both = policy(on=["connect", "500", "503"], methods="all", max_body="1KiB", enabled=False)
    assert both == FallbackPolicy(
        enabled=False,
        errors=frozenset({ErrorClass.CONNECT}),
        statuses=frozenset({500, 503}),
        all_methods=True,
        max_body_bytes=1024,
    )


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *((status, False) for status in (200, 304, 404, 429, 499, 501, 505)),
        *((status, True) for status in (500, 502, 503, 504, 506, 511, 599, 600, 999)),
    ],
)
def test_which_statuses_blame_the_upstream(status: int, expected: bool) -> None:
    assert is_error_status(status) is expected


# ... may it be repeated: RFC 9110 section 9.2.2


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"])
def test_idempotent_methods_may_always_be_repeated(method: bytes) -> None:
    assert may_repeat(method, keyed=False, sent=True, policy=POLICY)


@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"get", b"PROPFIND", b""])
def test_other_methods_may_be_repeated_if_unsent_or_keyed_or_by_choice(method: bytes) -> None:
    assert not may_repeat(method, keyed=False, sent=True, policy=POLICY)
    assert may_repeat(method, keyed=False, sent=False, policy=POLICY)
    assert may_repeat(method, keyed=True, sent=True, policy=POLICY)
    assert may_repeat(method, keyed=False, sent=True, policy=policy(methods="all"))


POLICIES = [
    POLICY,
    policy(methods="all"),
    policy(enabled=False),
    policy(on=["timeout", "503"]),
    policy(on=["connect", "reset", "5xx"]),
]


@pytest.mark.parametrize("rules", POLICIES)
@pytest.mark.parametrize("kind", ErrorClass)
def test_every_case_of_a_broken_attempt(rules: FallbackPolicy, kind: ErrorClass) -> None:
    for sent, keyed, replayable, started in itertools.product(BOOLEANS, repeat=4):
        for method in (b"GET", b"POST"):
            wanted = rules.enabled and kind in rules.errors
            repeatable = not sent or keyed or rules.all_methods or method in IDEMPOTENT
            reason = decide_on_error(
                rules, kind, sent=sent, method=method, keyed=keyed, replayable=replayable, started=started
            )
            if wanted and repeatable and replayable and not started:
                assert reason is FallbackReason(kind.value)
            else:
                assert reason is None


@pytest.mark.parametrize("rules", POLICIES)
@pytest.mark.parametrize("status", [200, 404, 500, 501, 502, 503, 504, 505])
def test_every_case_of_a_failed_answer(rules: FallbackPolicy, status: int) -> None:
    for keyed, replayable in itertools.product(BOOLEANS, repeat=2):
        for method in (b"GET", b"POST"):
            wanted = rules.enabled and status in rules.statuses
            repeatable = keyed or rules.all_methods or method in IDEMPOTENT
            reason = decide_on_status(rules, status, method=method, keyed=keyed, replayable=replayable)
            assert (reason is FallbackReason.STATUS) is (wanted and repeatable and replayable)


# ... how long


@pytest.mark.parametrize(
    ("deadline", "response_timeout_s", "reserve", "expected"),
    [
        (130.0, 10.0, 0.5, 110.0),  # the response time-out is the shorter
        (112.0, 10.0, 0.5, 106.0),  # half of what is left is v1's
        (112.0, 10.0, 0.0, 110.0),
        (104.0, 10.0, 0.0, 104.0),
        (112.0, 10.0, 1.0, 100.0),
        (90.0, 10.0, 0.5, 100.0),  # too late already
    ],
)
def test_v2_leaves_v1_its_share_of_the_time(
    deadline: float, response_timeout_s: float, reserve: float, expected: float
) -> None:
    assert attempt_timeout(100.0, deadline, response_timeout_s, reserve) == expected


# ... how many


def test_a_share_of_one_refuses_nothing() -> None:
    budget = Budget(1.0, 0.0)
    budget.request(0.0)
    assert all(budget.allow(0.0) for _ in range(1000))
    assert repr(budget) == "<Budget 0 spent of 1 x 0 requests>"


def test_a_share_of_nothing_with_no_floor_refuses_everything() -> None:
    budget = Budget(0.0, 0.0)
    for _ in range(1000):
        budget.request(5.0)
    assert not budget.allow(5.0)
    assert not budget.allow(500.0)


def test_the_share_is_one_of_recent_requests() -> None:
    budget = Budget(0.2, 0.0)
    for _ in range(50):
        budget.request(100.5)
    assert [budget.allow(101.0) for _ in range(12)] == [True] * 10 + [False] * 2
    assert repr(budget) == "<Budget 10 spent of 0.2 x 50 requests>"
    for _ in range(5):
        budget.request(105.0)
    assert [budget.allow(109.9) for _ in range(2)] == [True, False]


def test_what_is_ten_seconds_old_is_forgotten() -> None:
    budget = Budget(0.5, 0.0)
    for _ in range(10):
        budget.request(100.0)
    assert budget.allow(109.9)
    assert not budget.allow(110.0)
    for _ in range(4):
        budget.request(119.0)
    assert [budget.allow(119.0) for _ in range(3)] == [True, True, False]
    budget.request(100_000.0)
    assert not budget.allow(100_000.0)


def test_the_floor_helps_a_service_of_few_requests() -> None:
    budget = Budget(0.0, 3.0)
    assert [budget.allow(7.0) for _ in range(4)] == [True, True, True, False]
    assert not budget.allow(7.2)
    assert budget.allow(7.4)
    assert [budget.allow(100.0) for _ in range(4)] == [True, True, True, False]


def test_a_floor_below_one_a_second_still_adds_up_to_one() -> None:
    budget = Budget(0.0, 0.25)
    assert budget.allow(0.0)
    assert not budget.allow(3.9)
    assert budget.allow(4.1)
    assert not budget.allow(4.2)


steps = st.lists(st.tuples(st.sampled_from([0.0, 0.01, 0.4, 1.0, 12.0]), st.booleans()), max_size=200)


def allowed_and_asked(budget: Budget, history: list[tuple[float, bool]]) -> Iterator[tuple[float, int, int]]:
    """(now, fallbacks, requests) at each fallback that was granted, both over the 10 s before it."""
    now, asked, granted = 1000.0, list[float](), list[float]()
    for wait_s, wants_fallback in history:
        now += wait_s
        if not wants_fallback:
            asked.append(now)
            budget.request(now)
        elif budget.allow(now):
            granted.append(now)
            # The seconds that the budget remembers begin up to one second later than 10 s ago.
            recent = [at for at in granted if at > now - 9.0]
            yield now, len(recent), sum(at > now - 10.0 for at in asked)


@given(
    history=steps, share=st.sampled_from([0.0, 0.1, 0.5, 0.9]), floor=st.sampled_from([0.0, 0.5, 1.0, 3.0])
)
def test_the_budget_is_never_exceeded(history: list[tuple[float, bool]], share: float, floor: float) -> None:
    for _, fallbacks, requests in allowed_and_asked(Budget(share, floor), history):
        floor_most = floor * 9.0 + max(1.0, floor) if floor else 0.0
        assert fallbacks <= share * requests + floor_most + 1e-6
