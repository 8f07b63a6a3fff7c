"""Buckets, exact merging, and quantiles against sorted lists."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.histogram import (
    BUCKET_COUNT,
    MAX_US,
    Histogram,
    bucket_bounds_us,
    bucket_index,
    first_above,
)
from proxy.model import LatencySummary

latencies_s = st.floats(min_value=100e-6, max_value=600.0)
samples = st.lists(st.floats(min_value=0.0, max_value=2_000.0), max_size=40)


def histogram(values: list[float]) -> Histogram:
    made = Histogram()
    for value in values:
        made.record(value)
    return made


def exact_quantile(values: list[float], q: float) -> float:
    return sorted(values)[max(math.ceil(q * len(values)), 1) - 1]


# ... layout


def test_buckets_follow_one_another_without_gap_or_overlap() -> None:
    end = 0
    for index in range(BUCKET_COUNT):
        first, beyond = bucket_bounds_us(index)
        assert first == end
        assert bucket_index(first) == bucket_index(beyond - 1) == index
        end = beyond
    assert end == MAX_US + 1


def test_there_are_832_buckets() -> None:
    assert BUCKET_COUNT == 832


@pytest.mark.parametrize(
    ("us", "index"),
    [
        (-1, 0),
        (0, 0),
        (63, 63),
        (64, 64),
        (65, 64),
        (66, 65),
        (127, 95),
        (128, 96),
        (MAX_US, 831),
        (1 << 40, 831),
    ],
)
def test_bucket_of_a_latency(us: int, index: int) -> None:
    assert bucket_index(us) == index


@given(st.integers(min_value=32, max_value=MAX_US))
def test_the_middle_of_a_bucket_is_within_a_64th_of_all_in_it(us: int) -> None:
    first, beyond = bucket_bounds_us(bucket_index(us))
    middle = (first + beyond) / 2
    assert max(beyond - middle, middle - first) <= first / 64


# ... recording


@given(st.floats(min_value=-10.0, max_value=5_000.0))
def test_record_agrees_with_bucket_index(latency_s: float) -> None:
    recorded = histogram([latency_s])
    us = int(latency_s * 1e6)
    assert recorded.buckets() == [(bucket_index(us), 1)]
    assert recorded.count == 1
    assert recorded.total_us == min(max(us, 0), MAX_US)


def test_a_latency_beyond_the_last_bucket_counts_as_the_longest() -> None:
    assert histogram([3_600.0]).reading().max == pytest.approx(MAX_US * 1e-6, rel=1 / 64)


def test_a_clock_that_goes_back_counts_as_zero() -> None:
    recorded = histogram([-0.5])
    assert recorded.buckets() == [(0, 1)]
    assert recorded.total_s == 0.0


def few(values: list[float]) -> Histogram:
    made = histogram(values)
    return Histogram.of_few(dict(made.buckets()), made.total_us)


@given(samples, st.integers(0, BUCKET_COUNT))
def test_few_latencies_read_as_those_that_were_recorded(values: list[float], index: int) -> None:
    recorded = histogram(values)
    assert few(values).count == recorded.count
    assert few(values).count_from(index) == recorded.count_from(index)
    assert few(values).reading().figures() == recorded.reading().figures()
    assert few(values).buckets() == recorded.buckets()
    assert few(values) == recorded


@given(samples, st.integers(1, BUCKET_COUNT - 1))
def test_few_latencies_are_sorted_as_those_that_were_recorded(values: list[float], edge: int) -> None:
    steps, on, recorded = bytes(edge) + b"\1" * (BUCKET_COUNT + 1 - edge), [0, 0], [0, 0]
    few(values).sort_into(on, steps)
    histogram(values).sort_into(recorded, steps)
    assert on == recorded


def test_a_few_latencies_can_do_what_all_others_can() -> None:
    made, total, on = Histogram.of_few({100: 2, 7: 1}, 600), Histogram(), [0, 0]
    assert made.count == 3
    assert (made.count_from(8), made.count_from(100), made.count_from(101)) == (2, 2, 0)
    made.sort_into(on, bytes(50) + b"\1" * (BUCKET_COUNT - 49))
    assert on == [1, 2]
    total.add(made)
    total.add(made)
    total.subtract(made)
    assert (total.buckets(), total.count, total.total_us) == ([(7, 1), (100, 2)], 3, 600)
    assert made.buckets() == [(7, 1), (100, 2)]
    assert (made.count, made.count_from(8)) == (3, 2), "once it has a count for every bucket, too"


@given(samples, samples)
def test_few_latencies_merge_as_those_that_were_recorded(left: list[float], right: list[float]) -> None:
    merged, piece = few(left), few(right)
    merged.add(piece)
    assert merged == histogram(left + right)
    assert merged.count == len(left + right)
    merged.subtract(piece)
    assert merged == histogram(left)


# ... reading


def test_an_empty_histogram_reads_as_zeros() -> None:
    empty = Histogram()
    assert empty.summary() == LatencySummary()
    assert empty.reading().max == empty.count == 0
    assert empty.quantile(0.5) == empty.reading().quantile(0.5) == 0.0


@given(st.lists(latencies_s, min_size=1, max_size=200), st.floats(min_value=0.0, max_value=1.0))
def test_quantiles_are_within_three_percent_of_the_exact_ones(values: list[float], q: float) -> None:
    assert histogram(values).reading().quantile(q) == pytest.approx(exact_quantile(values, q), rel=0.03)


@given(st.lists(latencies_s, min_size=1, max_size=100))
def test_the_summary_agrees_with_quantiles_and_mean(values: list[float]) -> None:
    recorded = histogram(values)
    summary = recorded.summary()
    read = (summary.p50, summary.p90, summary.p95, summary.p99, summary.max)
    assert read == tuple(recorded.reading().quantile(q) for q in (0.5, 0.9, 0.95, 0.99, 1.0))
    assert list(read) == sorted(read)
    assert summary.mean == pytest.approx(sum(values) / len(values), abs=1e-6)


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_quantile_outside_0_to_1_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Histogram().reading().quantile(q)


def test_repr_shows_what_is_in_it() -> None:
    assert repr(histogram([0.25, 0.25])) == "Histogram(2 latencies, 0.500000 s in all, at most 0.251904 s)"


# ... merging


@given(samples, samples, samples)
def test_merging_is_associative_and_commutative(a: list[float], b: list[float], c: list[float]) -> None:
    left, right, swapped = histogram(a), histogram(b), histogram(c)
    left.add(histogram(b))
    left.add(histogram(c))
    right.add(histogram(c))
    right.add(histogram(a))
    swapped.add(histogram(a))
    swapped.add(histogram(b))
    assert left == right == swapped == histogram(a + b + c)


@given(samples, samples)
def test_adding_and_subtracting_restores(a: list[float], b: list[float]) -> None:
    merged = histogram(a)
    merged.add(histogram(b))
    merged.subtract(histogram(b))
    assert merged == histogram(a)


deeds = st.lists(
    st.tuples(st.sampled_from(["record", "lend", "add", "subtract", "read"]), samples), max_size=25
)


@given(deeds)
def test_what_is_remembered_between_readings_is_never_stale(history: list[tuple[str, list[float]]]) -> None:
    subject, held, taken = Histogram(), list[float](), list[list[float]]()
    for deed, values in history:
        match deed:
            case "record":
                for value in [0.0, *values]:
                    subject.record(value)
                held += [0.0, *values]
            case "lend":  # merged into another, so that the filled buckets are remembered
                other = histogram(values)
                other.add(subject)
                assert other == histogram(values + held)
            case "add":
                subject.add(histogram(values))
                taken.append(values)
                held += values
            case "subtract" if taken:
                gone = taken.pop()
                subject.subtract(histogram(gone))
                for value in gone:
                    held.remove(value)
            case _:
                assert subject.summary() == histogram(held).summary()
    assert subject == histogram(held)
    assert subject.count == len(held)
    assert subject.summary() == histogram(held).summary()
    assert Histogram.of(subject.buckets(), subject.total_us) == subject


def test_what_is_counted_after_a_reading_is_in_the_next_one() -> None:
    made = histogram([0.1])
    for more, count in ((0.2, 2), (0.05, 3)):
        assert made.count == count - 1
        made.record(more)
        assert made.count == count


def test_a_reading_stays_as_it_was() -> None:
    recorded = histogram([0.25])
    before = recorded.reading()
    recorded.record(0.5)
    assert before == histogram([0.25]).reading()
    assert before != recorded.reading()
    assert before.buckets() == histogram([0.25]).buckets()
    assert repr(before) == "Reading(1 latencies, p50 0.251904 s, p95 0.251904 s)"


def test_a_histogram_equals_no_other_thing() -> None:
    assert Histogram() != 0
    assert Histogram().reading() != 0


# ... without a reading


@given(samples, samples, st.floats(min_value=0.0, max_value=1.0))
def test_a_histogram_tells_the_same_as_its_reading(left: list[float], right: list[float], q: float) -> None:
    kept = histogram(left)
    for other in (histogram(right), histogram([])):
        kept.add(other)
        assert kept.quantile(q) == kept.reading().quantile(q)
        assert kept.count == kept.reading().count


@given(samples, st.floats(min_value=0.0, max_value=2_000.0))
def test_what_exceeds_a_limit_is_what_the_quantiles_show_above_it(values: list[float], limit: float) -> None:
    made = histogram(values)
    shown = [histogram([value]).reading().max for value in values]
    assert made.count_from(first_above(limit)) == sum(value > limit for value in shown)


def test_nothing_exceeds_what_is_longer_than_any_latency() -> None:
    assert first_above(1e9) == BUCKET_COUNT
    assert histogram([2_000.0]).count_from(BUCKET_COUNT) == 0
