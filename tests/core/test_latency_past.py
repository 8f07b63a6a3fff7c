"""What tests of latency are fed: v1's past, and one tick of both paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.histogram import BUCKET_COUNT, Histogram, bucket_index
from proxy.core.latency_past import Known, Past, Ruler, Ticks, bucket_of

if TYPE_CHECKING:
    from collections.abc import Iterable

latencies_us = st.lists(st.integers(0, 2_000_000), max_size=30)
edges = st.lists(st.integers(0, BUCKET_COUNT), max_size=15)


def of(latencies_s: Iterable[float]) -> Histogram:
    made = Histogram()
    for latency_s in latencies_s:
        made.record(latency_s)
    return made


def of_us(latencies: Iterable[int]) -> Histogram:
    return Histogram.of([(bucket_index(us), 1) for us in latencies], sum(latencies))


# ... v1's past


def test_the_past_is_told_anew_when_more_is_known_or_a_minute_is_over() -> None:
    past = Past()
    past.learn(of([0.1] * 50), 50, 1.0)
    assert past.is_news()
    assert past.draw().count == 50
    past.learn(of([0.1] * 12), 12, 1.0)
    assert not past.is_news()
    past.learn(of([0.1]), 1, 1.0)
    assert past.is_news()
    past.draw()
    past.learn(Histogram(), 0, 60.0)
    assert past.is_news()
    assert repr(past) == "Past(63 latencies)"
    assert repr(past.draw()) == "Known(63 latencies)"


def test_what_is_an_hour_old_is_forgotten() -> None:
    past = Past()
    past.learn(of([0.1] * 60), 60, 1800.0)
    past.learn(of([0.2] * 70), 70, 900.0)
    assert past.draw().count == past.known == 130
    past.learn(of([0.3]), 1, 900.0)
    assert past.draw().count == past.known == 131
    past.learn(of([0.3]), 1, 1800.0)
    assert past.draw().count == past.known == 2


def test_a_share_is_never_nought_or_one() -> None:
    known = Known(of([0.1] * 9))
    assert known.share_from(0) == pytest.approx(0.95)
    assert known.share_from(bucket_of(0.2)) == pytest.approx(0.05)
    assert known.share_from(BUCKET_COUNT + 3) == pytest.approx(0.05)


@given(latencies_us, st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.99, 1.0]), st.integers(0, BUCKET_COUNT))
def test_what_is_known_is_what_the_histogram_says(us: list[int], q: float, bucket: int) -> None:
    latencies = of_us(us)
    known = Known(latencies)
    assert known.bucket(q) == bucket_of(latencies.quantile(q))
    assert known.share_from(bucket) == (latencies.count_from(bucket) + 0.5) / (latencies.count + 1.0)


# ... one tick


@given(latencies_us, edges)
def test_a_ruler_says_how_many_lie_at_each_edge_or_above(us: list[int], at: list[int]) -> None:
    ruler, latencies = Ruler(at), of_us(us)
    beyond = ruler.beyond(latencies)
    assert [beyond[ruler.steps[edge]] for edge in at] == [latencies.count_from(edge) for edge in at]
    assert beyond[-1] == len(us)
    assert repr(ruler) == f"Ruler({len(set(at)) + 1} steps)"


def test_a_ruler_and_a_side_say_how_large_they_are() -> None:
    ruler = Ruler([10, 20])
    assert repr(ruler) == "Ruler(3 steps)"
    assert repr(ruler.side(of_us([5, 15]), Histogram(), Histogram())) == "Side(2 completed)"


@given(latencies_us, edges)
def test_each_request_stands_on_one_step(us: list[int], at: list[int]) -> None:
    latencies, steps = of_us(us), sorted(at)
    on = [0] * (len(steps) + 1)
    side = Ruler(at).side(latencies, Histogram(), Histogram())
    side.stand(steps, on)
    bounds = [0, *steps]
    later = [*(latencies.count_from(edge) for edge in steps), 0]
    assert on == [latencies.count_from(bounds[k]) - later[k] for k in range(len(bounds))]
    assert repr(side) == f"Side({len(us)} completed)"


def test_a_request_that_was_slow_under_way_is_not_counted_again_when_it_ends() -> None:
    slow, ticks, told = bucket_of(0.5), Ticks(), []
    ticks.measure([(slow, slow)])
    for done, ages in (([], [0.2]), ([], [1.2]), ([], [2.2]), ([2.7], []), ([0.1], [])):
        tick = ticks.next((of(done), of(done)), (of(ages), of(ages)), 1.0)
        told.append(tick.v2.slow(slow))
        assert tick.v1.slow(slow) == told[-1]
    assert told == [(0, 0), (1, 1), (0, 0), (0, 0), (1, 0)]
    assert repr(ticks) == "Ticks(0 and 0 under way)"
    assert repr(tick) == "Tick(1 and 1 completed in 1 s)"


def test_a_request_that_its_client_gave_up_takes_nothing_back() -> None:
    slow, ticks = bucket_of(0.5), Ticks()
    ticks.measure([(slow, slow)])
    ticks.next((of([]), of([])), (of([]), of([1.2])), 1.0)
    tick = ticks.next((of([]), of([])), (of([]), of([])), 1.0)
    assert tick.v2.slow(slow) == (0, 0)
