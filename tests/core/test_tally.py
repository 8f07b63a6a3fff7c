"""Counters merge and subtract exactly, and read as a snapshot."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.histogram import Histogram
from proxy.core.tally import ERROR_INDEX, FALLBACK_INDEX, PathTally, Tally
from proxy.model import ErrorClass, FallbackReason, Path, PathSummary, Snapshot

counts = st.integers(min_value=0, max_value=1 << 40)


@st.composite
def path_tallies(draw: st.DrawFn) -> PathTally:
    made = PathTally(draw(counts), [draw(counts) for _ in ErrorClass])
    for latency_s in draw(st.lists(st.floats(min_value=0.0, max_value=100.0), max_size=3)):
        made.latency.record(latency_s)
    return made


tallies = st.builds(
    Tally,
    v1=path_tallies(),
    v2=path_tallies(),
    assigned_v1=counts,
    assigned_v2=counts,
    overridden=counts,
    fallbacks=st.lists(counts, min_size=7, max_size=7),
    fallback_errors=counts,
    over_budget=st.lists(counts, min_size=7, max_size=7),
    client_requests=counts,
    client_errors=counts,
    client_aborts=counts,
)


def total(*parts: Tally) -> Tally:
    summed = Tally()
    for part in parts:
        summed.add(part)
    return summed


@given(tallies, tallies, tallies)
def test_merging_is_associative_and_commutative(a: Tally, b: Tally, c: Tally) -> None:
    assert total(total(a, b), c) == total(a, total(b, c)) == total(c, b, a)


@given(tallies)
def test_an_empty_tally_adds_nothing(a: Tally) -> None:
    assert total(a, Tally()) == a


@given(tallies, tallies)
def test_adding_and_subtracting_restores(a: Tally, b: Tally) -> None:
    merged = total(a, b)
    merged.subtract(b)
    assert merged == a
    merged.subtract(a)
    assert merged == Tally()


def test_every_class_and_reason_has_its_own_place() -> None:
    assert list(ERROR_INDEX) == list(ErrorClass)
    assert sorted(ERROR_INDEX.values()) == list(range(len(PathTally().errors)))
    assert list(FALLBACK_INDEX) == list(FallbackReason)
    assert sorted(FALLBACK_INDEX.values()) == list(range(len(Tally().fallbacks)))
    assert len(Tally().over_budget) == len(Tally().fallbacks)


def test_each_path_has_its_own_attempts() -> None:
    tally = Tally()
    assert tally.of(Path.V1) is tally.v1
    assert tally.of(Path.V2) is tally.v2
    assert tally.v1 is not tally.v2


def test_what_is_under_way_elsewhere_is_merged_and_no_sum_takes_it_in() -> None:
    one, other, total = Tally(), Tally(), Tally()
    one.in_flight_v1 = Histogram.of([(50, 1)], 50)
    other.in_flight_v1, other.in_flight_v2 = Histogram.of([(50, 2)], 100), Histogram.of([(60, 3)], 180)
    for tally in (one, other, Tally()):
        total.add(tally)
        total.add_in_flight(tally)
    assert total.in_flight_v1.buckets() == [(50, 3)]
    assert (total.in_flight_v2.buckets(), total.in_flight_v2.total_us) == ([(60, 3)], 180)
    assert one.in_flight_v1.buckets() == [(50, 1)]
    sums = Tally()
    sums.add(total)
    assert sums == Tally()


def test_an_empty_tally_reads_as_an_empty_snapshot() -> None:
    assert Tally().snapshot(0.0) == Snapshot()


def test_a_snapshot_shows_every_counter() -> None:
    tally = Tally(assigned_v1=70, assigned_v2=30, overridden=5, fallback_errors=2)
    tally.client_requests, tally.client_errors, tally.client_aborts = 99, 3, 6
    tally.v2.requests = 20
    tally.v2.errors[ERROR_INDEX[ErrorClass.RESET]] = 4
    tally.v2.errors[ERROR_INDEX[ErrorClass.STATUS]] = 1
    tally.v2.latency.record(0.020)
    tally.fallbacks[FALLBACK_INDEX[FallbackReason.RESET]] = 4
    tally.fallbacks[FALLBACK_INDEX[FallbackReason.BREAKER]] = 6
    tally.over_budget[FALLBACK_INDEX[FallbackReason.UNAVAILABLE]] = 3
    tally.over_budget[FALLBACK_INDEX[FallbackReason.STATUS]] = 1

    assert tally.snapshot(60.0, health_v1=0.9, health_v2=0.5) == Snapshot(
        window_s=60.0,
        v2=PathSummary(
            requests=20,
            errors=5,
            errors_by_class=((ErrorClass.RESET, 4), (ErrorClass.STATUS, 1)),
            latency=tally.v2.latency.summary(),
        ),
        assigned_v1=70,
        assigned_v2=30,
        overridden=5,
        not_asked=9,
        fallbacks=10,
        fallbacks_by_reason=((FallbackReason.RESET, 4), (FallbackReason.BREAKER, 6)),
        fallback_errors=2,
        fallbacks_over_budget=4,
        client_requests=99,
        client_errors=3,
        client_aborts=6,
        health_v1=0.9,
        health_v2=0.5,
    )
