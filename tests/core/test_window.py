"""What is inside a window, and when it leaves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.histogram import Histogram
from proxy.core.tally import Tally
from proxy.core.window import Window


def of(requests: int, latency_s: float = 0.010) -> Tally:
    tally = Tally(client_requests=requests)
    tally.v2.requests = requests
    for _ in range(requests):
        tally.v2.latency.record(latency_s)
    return tally


def test_a_window_of_sixty_seconds_holds_sixty_ticks() -> None:
    window = Window(60.0)
    for tick in range(100):
        window.push(float(tick), of(1))
    assert window.tally(99.0).client_requests == 60


def test_the_first_tick_leaves_when_the_window_has_passed_it() -> None:
    window = Window(10.0)
    window.push(0.0, of(5))
    assert window.tally(9.999).client_requests == 5
    assert window.tally(10.0).client_requests == 0


def test_reading_forgets_even_when_no_more_ticks_come() -> None:
    window = Window(10.0)
    window.push(0.0, of(5))
    window.push(5.0, of(7))
    assert window.tally(12.0).client_requests == 7
    assert window.tally(1_000.0) == Tally()


def test_a_long_pause_between_ticks_leaves_only_the_newest() -> None:
    window = Window(10.0)
    window.push(0.0, of(5))
    window.push(300.0, of(2))
    assert window.tally(300.0) == of(2)


def test_the_maximum_latency_leaves_with_its_tick() -> None:
    window = Window(10.0)
    window.push(0.0, of(1, latency_s=4.0))
    window.push(1.0, of(1, latency_s=0.5))
    assert window.tally(9.0).v2.latency.reading().max > 3.9
    assert window.tally(10.0).v2.latency.reading().max < 0.6


def test_clear_forgets_everything() -> None:
    window = Window(10.0)
    window.push(0.0, of(5))
    window.clear()
    assert window.tally(0.0) == Tally()
    window.push(1.0, of(2))
    assert window.tally(1.0) == of(2)


def test_a_pushed_tally_is_never_changed() -> None:
    window, tally = Window(3_600.0), of(3)
    for tick in range(10):
        window.push(float(tick), tally)
    window.tally(5_000.0)
    assert tally == of(3)


def test_a_long_window_keeps_a_bounded_number_of_entries() -> None:
    window = Window(3_600.0)
    for tick in range(4_000):
        window.push(float(tick), of(1))
    assert repr(window) == "Window(3600 s, 120 entries)"
    assert 3_600 - 30 <= window.tally(3_999.0).client_requests <= 3_600


@given(st.lists(st.tuples(st.floats(min_value=1.0, max_value=20.0), st.integers(0, 5)), max_size=60))
def test_the_running_sum_is_that_of_the_ticks_inside(steps: list[tuple[float, int]]) -> None:
    window, now, pushed = Window(30.0), 0.0, []
    for pause_s, requests in steps:
        now += pause_s
        window.push(now, of(requests))
        pushed.append((now, requests))
    inside = Tally()
    for at, requests in pushed:
        if now - at < 30.0:
            inside.add(of(requests))
    assert window.tally(now) == inside


@given(st.lists(st.floats(min_value=0.0, max_value=3.0), max_size=200))
def test_entries_that_were_merged_leave_at_most_a_120th_too_early(pauses: list[float]) -> None:
    window, now, pushed = Window(60.0), 0.0, []
    for pause_s in pauses:
        now += pause_s
        window.push(now, of(1))
        pushed.append(now)
    at_most = sum(now - at < 60.0 for at in pushed)
    at_least = sum(now - at < 60.0 * 119 / 120 for at in pushed)
    assert at_least <= window.tally(now).client_requests <= at_most


@given(
    st.lists(
        st.tuples(st.floats(min_value=0.0, max_value=12.0), st.integers(0, 5), st.booleans()), max_size=60
    )
)
def test_a_sum_is_the_same_however_often_it_was_asked_for(steps: list[tuple[float, int, bool]]) -> None:
    asked, silent, now = Window(30.0), Window(30.0), 0.0
    for pause_s, requests, asks in steps:
        now += pause_s
        asked.push(now, of(requests))
        silent.push(now, of(requests))
        if asks:
            asked.tally(now)
    assert asked.tally(now + 5.0) == silent.tally(now + 5.0)


def test_nothing_is_summed_until_somebody_asks() -> None:
    window, now = Window(10.0), 0.0
    for tick in range(100):
        now = float(tick)
        window.push(now, of(1))
    assert window._sum == Tally()
    assert window.tally(now).client_requests == 10


def test_a_window_that_was_read_and_cleared_sums_anew() -> None:
    window = Window(10.0)
    for tick in range(3):
        window.push(float(tick), of(1))
    window.tally(2.0)
    window.clear()
    window.push(3.0, of(5))
    assert window.tally(3.0).client_requests == 5
    assert window.tally(13.0) == Tally()


@given(st.lists(st.tuples(st.floats(min_value=0.0, max_value=3.0), st.integers(0, 5)), max_size=60))
def test_without_latencies_the_counts_are_the_same_and_no_latency_is_summed(
    steps: list[tuple[float, int]],
) -> None:
    whole, counts, now = Window(10.0), Window(10.0, latencies=False), 0.0
    for pause_s, requests in steps:
        now += pause_s
        tally = of(requests)
        tally.v2.requests = requests
        tally.v2.latency.record(0.01)
        whole.push(now, tally)
        counts.push(now, tally)
    told, untold = whole.tally(now), counts.tally(now)
    assert untold.v1.latency.count == untold.v2.latency.count == 0
    told.v1.latency = told.v2.latency = Histogram()
    assert told.snapshot(10.0) == untold.snapshot(10.0)
