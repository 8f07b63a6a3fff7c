"""The breaker: what opens it, what closes it, and what no sequence of events can do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.schema import BreakerTable
from proxy.core.breaker import Breaker, BreakerState

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def breaker(**values: object) -> Breaker:
    """5 in a row, or half of at least 20 within 10 s; open for 5 s; 3 probes."""
    return Breaker(BreakerTable.model_validate({"open_for": "5s", **values}))


def fail(subject: Breaker, now: float, times: int = 5) -> None:
    for _ in range(times):
        subject.failure(now)


def half_open(probes: int = 3) -> Breaker:
    """Opened at 100, half-open at 105, with no probe running."""
    subject = breaker(probes=probes)
    fail(subject, 100.0)
    assert subject.allow(105.0)
    subject.cancel(105.0)
    assert subject.state is HALF_OPEN
    return subject


# ... closed


def test_closed_it_admits_everything() -> None:
    subject = breaker()
    assert subject.state is CLOSED
    assert all(subject.allow(100.0) for _ in range(1000))


def test_failures_in_a_row_open_it() -> None:
    subject = breaker()
    fail(subject, 100.0, times=4)
    assert subject.state is CLOSED
    subject.failure(100.0)
    assert subject.state is OPEN
    assert not subject.allow(100.0)


def test_a_success_between_them_begins_the_row_anew() -> None:
    subject = breaker()
    fail(subject, 100.0, times=4)
    subject.success(100.0)
    fail(subject, 100.0, times=4)
    assert subject.state is CLOSED


def alternate(subject: Breaker, now: float, pairs: int) -> None:
    for _ in range(pairs):
        subject.success(now)
        subject.failure(now)


def test_the_share_of_failures_opens_it_once_there_are_enough() -> None:
    subject = breaker()
    alternate(subject, 100.0, pairs=9)
    subject.success(100.0)
    assert subject.state is CLOSED
    subject.failure(100.0)
    assert subject.state is OPEN


def test_a_share_below_the_rate_does_not() -> None:
    subject = breaker(failure_rate=0.51)
    alternate(subject, 100.0, pairs=500)
    assert subject.state is CLOSED
    assert repr(subject) == "<Breaker closed 500 of 1000 failed, 0 probes running>"


def test_what_has_left_the_window_does_not_count() -> None:
    subject = breaker()
    alternate(subject, 100.0, pairs=9)
    alternate(subject, 110.0, pairs=1)
    assert repr(subject) == "<Breaker closed 1 of 2 failed, 0 probes running>"


def test_the_window_slides_by_tenths() -> None:
    subject = breaker()
    subject.success(100.0)
    alternate(subject, 101.0, pairs=9)
    alternate(subject, 110.0, pairs=1)
    assert subject.state is OPEN  # 20 within [101, 111)
    subject = breaker()
    alternate(subject, 100.0, pairs=1)
    alternate(subject, 101.0, pairs=8)
    alternate(subject, 110.0, pairs=1)
    assert subject.state is CLOSED  # 18 within [101, 111)


def test_the_window_never_holds_more_than_its_length() -> None:
    subject = breaker(min_requests=21)
    for second in range(100, 160):
        alternate(subject, float(second), pairs=1)
    assert repr(subject) == "<Breaker closed 10 of 20 failed, 0 probes running>"


def test_a_window_of_any_length_is_kept() -> None:
    subject = breaker(window="100ms", min_requests=4, consecutive_failures=100)
    fail(subject, 100.0, times=2)
    fail(subject, 100.15, times=2)
    assert subject.state is CLOSED
    fail(subject, 100.155, times=2)
    assert subject.state is OPEN


@pytest.mark.parametrize("pause_s", [10, 11, 19, 1_000_003])
def test_a_long_pause_empties_the_window(pause_s: int) -> None:
    subject = breaker(min_requests=21)
    for second in range(100, 110):
        alternate(subject, float(second), pairs=1)
    alternate(subject, 109.0 + pause_s, pairs=1)
    assert repr(subject) == "<Breaker closed 1 of 2 failed, 0 probes running>"


def test_clients_that_leave_say_nothing() -> None:
    subject = breaker()
    fail(subject, 100.0, times=4)
    subject.cancel(100.0)
    assert subject.state is CLOSED
    subject.failure(100.0)
    assert subject.state is OPEN


def test_disabled_it_stays_closed() -> None:
    subject = breaker(enabled=False)
    fail(subject, 100.0, times=100)
    subject.success(100.0)
    assert subject.state is CLOSED
    assert subject.allow(100.0)


# ... open


def test_open_it_admits_nothing_until_its_time_is_over() -> None:
    subject = breaker()
    fail(subject, 100.0)
    assert not subject.allow(104.999)
    assert subject.state is OPEN
    assert subject.allow(105.0)
    assert subject.state is HALF_OPEN


def test_open_it_does_not_listen() -> None:
    subject = breaker()
    fail(subject, 100.0)
    fail(subject, 103.0)
    for _ in range(10):
        subject.success(103.0)
        subject.cancel(103.0)
    assert subject.state is OPEN
    assert subject.allow(105.0)


# ... half-open


def test_half_open_it_admits_only_the_probes() -> None:
    subject = half_open()
    assert [subject.allow(105.0) for _ in range(5)] == [True, True, True, False, False]
    assert repr(subject) == "<Breaker half_open 5 of 5 failed, 3 probes running>"


def test_a_probe_that_ends_makes_room_for_another() -> None:
    subject = half_open()
    assert [subject.allow(105.0) for _ in range(4)] == [True, True, True, False]
    subject.cancel(105.0)
    assert [subject.allow(105.0) for _ in range(2)] == [True, False]
    subject.success(106.0)
    assert [subject.allow(106.0) for _ in range(2)] == [True, False]


def test_as_many_successes_as_probes_close_it() -> None:
    subject = half_open(probes=2)
    assert subject.allow(105.0)
    subject.success(105.0)
    assert subject.state is HALF_OPEN
    assert subject.allow(106.0)
    subject.success(106.0)
    assert subject.state is CLOSED
    fail(subject, 107.0, times=4)  # nothing of before is counted
    assert subject.state is CLOSED


def test_one_failure_opens_it_again_for_the_whole_time() -> None:
    subject = half_open()
    assert subject.allow(105.0)
    assert subject.allow(105.0)
    subject.success(105.0)
    subject.failure(106.0)
    assert subject.state is OPEN
    assert not subject.allow(110.9)
    assert [subject.allow(111.0) for _ in range(4)] == [True, True, True, False]


def test_an_unaccounted_result_never_makes_more_room_than_there_was() -> None:
    subject = half_open(probes=5)
    for _ in range(3):
        subject.success(105.0)
    assert [subject.allow(105.0) for _ in range(6)] == [True] * 5 + [False]


# ... results that come late


def test_results_from_before_the_opening_do_not_count() -> None:
    subject = breaker(probes=1)
    before = subject.epoch
    fail(subject, 100.0)
    assert subject.allow(105.0)
    subject.success(106.0, before)
    subject.failure(106.0, before)
    subject.cancel(106.0, before)
    assert subject.state is HALF_OPEN
    assert not subject.allow(106.0)
    subject.success(106.0, subject.epoch)
    assert subject.state is CLOSED
    fail(subject, 107.0, times=4)
    subject.failure(107.0, before)
    assert subject.state is CLOSED


def test_a_result_of_this_epoch_counts_as_one_without() -> None:
    subject = breaker()
    for _ in range(5):
        subject.failure(100.0, subject.epoch)
    assert subject.state is OPEN
    assert subject.allow(105.0)
    subject.cancel(105.0, subject.epoch)
    assert [subject.allow(105.0) for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize("now", [100.0, 105.0])
def test_reset_closes_it_and_forgets_what_runs(now: float) -> None:
    subject = breaker()
    fail(subject, 100.0)
    subject.allow(now)
    running = subject.epoch
    subject.reset()
    assert subject.state is CLOSED
    fail(subject, now, times=4)
    subject.failure(now, running)
    assert subject.state is CLOSED
    subject.failure(now)
    assert subject.state is OPEN


# ... no sequence of events


events = st.lists(
    st.tuples(
        st.sampled_from(["allow", "allow", "allow", "success", "failure", "cancel"]),
        st.integers(0, 50),  # which of the running attempts ends
        st.sampled_from([0.0, 0.0, 0.0, 0.5, 4.9, 5.0, 30.0]),
    ),
    max_size=120,
)
EDGES = {(CLOSED, OPEN), (OPEN, HALF_OPEN), (HALF_OPEN, OPEN), (HALF_OPEN, CLOSED)}


@given(history=events, probes=st.integers(1, 4))
def test_no_sequence_runs_more_probes_or_leaves_the_table(
    history: list[tuple[str, int, float]], probes: int
) -> None:
    subject = breaker(probes=probes, consecutive_failures=2, min_requests=4)
    now = 1000.0
    running: list[int] = []  # the epoch of each admitted attempt
    for what, which, wait_s in history:
        now += wait_s
        before = subject.state
        if what == "allow":
            if subject.allow(now):
                running.append(subject.epoch)
        elif running:
            getattr(subject, what)(now, running.pop(which % len(running)))
        assert before is subject.state or (before, subject.state) in EDGES
        if subject.state is HALF_OPEN:
            assert running.count(subject.epoch) <= probes


@given(history=events, probes=st.integers(1, 4))
def test_after_any_sequence_it_can_recover(history: list[tuple[str, int, float]], probes: int) -> None:
    subject = breaker(probes=probes, consecutive_failures=2, min_requests=4)
    now = 1000.0
    running: list[int] = []
    for what, which, wait_s in history:
        now += wait_s
        if what == "allow":
            if subject.allow(now):
                running.append(subject.epoch)
        elif running:
            getattr(subject, what)(now, running.pop(which % len(running)))
    for epoch in running:
        subject.cancel(now, epoch)
    if subject.state is OPEN:
        now += 5.0
        assert subject.allow(now)
        assert subject.state is HALF_OPEN
        subject.success(now, subject.epoch)
    for _ in range(probes):
        assert subject.allow(now)
        subject.success(now, subject.epoch)
    assert subject.state is CLOSED


def test_successes_count_as_so_many_single_ones() -> None:
    one, other = breaker(consecutive_failures=1_000), breaker(consecutive_failures=1_000)
    for _ in range(30):
        one.success(1.0)
    other.successes(1.0, 30)
    for number in range(1, 40):
        one.failure(1.5)
        other.failure(1.5)
        assert one.state is other.state is (OPEN if number >= 30 else CLOSED)


def test_successes_that_end_after_it_has_opened_change_nothing() -> None:
    subject = breaker()
    fail(subject, 1.0)
    before = repr(subject)
    subject.successes(1.0, 30)
    assert (subject.state, repr(subject)) == (OPEN, before)
