from __future__ import annotations

import pytest

from proxy.core.observed import ObservedAttempt, ObservedRequest
from proxy.core.series import (
    BOTH,
    BUCKETS,
    CLIENT,
    METHODS,
    MOST_EXEMPLARS,
    OTHER,
    SERVER,
    STATUSES,
    Increment,
    Labels,
    bucket,
)
from proxy.model import Path
from proxy.telemetry.meters import Meters

GET = Labels("shop", "v1", "GET", "2xx")


def by_labels(drained: list[Increment]) -> dict[tuple[str, Labels], tuple[tuple[int, int], ...]]:
    return {(one.kind, one.labels): one.counts for one in drained}


def observed(*attempts: ObservedAttempt, traced: bool = True, trace: int = 1) -> ObservedRequest:
    return ObservedRequest(
        rollout="shop",
        assigned=Path.V2,
        answered_by="v1-fallback",
        overridden=False,
        bucket=7,
        weight=50_000,
        phase=None,
        breaker="closed",
        fallback=None,
        method="GET",
        target="/",
        host="a",
        scheme="http",
        minor_version=1,
        client="192.0.2.1",
        request_id="r",
        status=200,
        failed=False,
        aborted=False,
        started_at=1000.0,
        duration_s=0.3,
        received_bytes=0,
        sent_bytes=2,
        trace_id=f"{trace:032x}",
        span_id="a" * 16,
        parent_id="",
        trace_state="",
        traced=traced,
        logged=False,
        attempts=attempts,
    )


def test_each_call_counts_in_its_own_family() -> None:
    meters = Meters(["shop"])
    meter = meters.numbered
    meter.answered(0, Path.V1, b"GET", 200, 0.02)
    meter.answered(0, Path.V1, b"GET", 204, 0.02)
    meter.attempt_ended(0, Path.V2, b"POST", 503, 0.3)
    meter.request_ended(0, Path.V2, b"POST", 200, 0.4)
    assert by_labels(meters.drain()) == {
        (BOTH, GET): ((bucket(0.02), 2),),
        (CLIENT, Labels("shop", "v2", "POST", "5xx")): ((bucket(0.3), 1),),
        (SERVER, Labels("shop", "v2", "POST", "2xx")): ((bucket(0.4), 1),),
    }


def test_every_place_is_told_by_the_labels_that_it_was_counted_under() -> None:
    meters = Meters(["other", "shop"])
    expected: dict[tuple[str, Labels], tuple[tuple[int, int], ...]] = {}
    for path in Path:
        for method in METHODS:
            for number, status in enumerate(STATUSES):
                count = 1 + len(expected)
                for _ in range(count):
                    meters.numbered.attempt_ended(1, path, method.encode(), number * 100, 0.0)
                expected[(CLIENT, Labels("shop", str(path), method, status))] = ((0, count),)
    assert by_labels(meters.drain()) == expected


def test_whatever_a_client_or_a_backend_sends_has_its_place() -> None:
    meters = Meters(["shop"])
    for status in (-1, 0, 99, 600, 999):
        meters.numbered.answered(0, Path.V1, b"get", status, 1e9)
        meters.numbered.request_ended(0, Path.V1, b"\xff", status, -1.0)
    drained = meters.drain()
    assert min(one.total_us for one in drained) == 0  # a sum below would be no report
    assert by_labels(drained) == {
        (BOTH, GET._replace(method=OTHER, status="none")): ((BUCKETS - 1, 5),),
        (SERVER, GET._replace(method=OTHER, status="none")): ((0, 5),),
    }


def test_requests_outside_any_rollout_count_under_none() -> None:
    meters = Meters(["shop"])
    meters.numbered.answered(-1, Path.V1, b"GET", 200, 0.0)
    assert by_labels(meters.drain()) == {(BOTH, GET._replace(rollout="")): ((0, 1),)}


def test_what_is_drained_comes_once_and_its_sum_with_it() -> None:
    meters = Meters(["shop"])
    meters.numbered.answered(0, Path.V1, b"GET", 200, 0.25)
    meters.numbered.answered(0, Path.V1, b"GET", 200, 0.5)
    assert [one.total_us for one in meters.drain()] == [750_000]
    assert meters.drain() == []
    meters.numbered.answered(0, Path.V1, b"GET", 200, 0.25)
    assert [(one.total_us, one.counts) for one in meters.drain()] == [(250_000, ((bucket(0.25), 1),))]


def test_what_is_more_than_a_report_takes_comes_with_the_next() -> None:
    meters = Meters(["shop"])
    for method in METHODS:
        meters.numbered.answered(0, Path.V1, method.encode(), 200, 0.0)
    first, second = meters.drain(4), meters.drain(100)
    assert len(first) == 4
    assert {one.labels.method for one in (*first, *second)} == set(METHODS)
    assert len(second) == len(METHODS) - 4


def test_a_request_that_began_before_a_reload_counts_for_its_rollout() -> None:
    meters = Meters(["shop", "search"])
    before = meters.numbered
    after = meters.successor(["search", "new"])
    meters.forget_all_but(["search", "new"])
    before.answered(0, Path.V1, b"GET", 200, 0.0)
    before.answered(1, Path.V1, b"GET", 200, 0.0)
    after.answered(0, Path.V1, b"GET", 200, 0.0)
    after.answered(1, Path.V1, b"GET", 200, 0.0)
    counted = {labels.rollout: counts for (_, labels), counts in by_labels(meters.drain()).items()}
    assert counted == {"shop": ((0, 1),), "search": ((0, 2),), "new": ((0, 1),)}


def test_reloads_without_end_leave_no_rows_without_end() -> None:
    meters = Meters(["r0"])
    for number in range(200):
        meters.successor([f"r{number}"]).answered(0, Path.V1, b"GET", 200, 0.0)
        meters.forget_all_but([f"r{number}"])
    assert repr(meters) == "<Meters of 18 rollouts>"  # this one, none, and 16 that may still be heard of


def test_a_traced_request_is_an_exemplar_of_each_series_that_it_counts_in() -> None:
    meters = Meters(["shop"])
    first = ObservedAttempt(Path.V2, "http://a", "b" * 16, 1000.0, 0.2, 503, None, 0)
    second = ObservedAttempt(Path.V1, "http://b", "c" * 16, 1000.2, 0.1, 200, None, 0)
    meters.request_ended(observed(first, second))
    meters.request_ended(observed(first, traced=False, trace=2))
    seen = {(one.kind, one.labels): one.exemplar for one in meters.sightings()}
    assert {key: (one.span_id[0], one.value_s, one.at) for key, one in seen.items()} == {
        (SERVER, Labels("shop", "v2", "GET", "2xx")): ("a", 0.3, 1000.3),
        (CLIENT, Labels("shop", "v2", "GET", "5xx")): ("b", 0.2, 1000.2),
        (CLIENT, Labels("shop", "v1", "GET", "2xx")): ("c", 0.1, 1000.3000000000001),
    }
    assert {one.trace_id for one in seen.values()} == {f"{1:032x}"}
    assert meters.sightings() == []


@pytest.mark.parametrize(
    ("took_s", "shown_s"), [(0.0005004, 0.0005), (0.0100009, 0.01), (30.0000009, 30.0), (-0.02, 0.0)]
)
def test_the_value_of_an_exemplar_is_within_its_bucket(took_s: float, shown_s: float) -> None:
    meters = Meters(["shop"])
    attempt = ObservedAttempt(Path.V2, "", "b" * 16, 0.0, took_s, 200, None, 0)
    meters.request_ended(observed(attempt))
    assert [one.exemplar.value_s for one in meters.sightings() if one.kind == CLIENT] == [shown_s]


def test_exemplars_are_bounded_and_the_latest_wins() -> None:
    meters = Meters(["shop"])
    for trace in range(3):
        meters.request_ended(observed(trace=trace))
    assert [int(one.exemplar.trace_id, 16) for one in meters.sightings()] == [2]
    for status in range(100, 600, 100):
        for path in Path:
            for exponent in range(20):
                attempt = ObservedAttempt(path, "", "b" * 16, 0.0, 2.0**-exponent, status, None, 0)
                meters.request_ended(observed(attempt))
    assert len(meters.sightings()) == MOST_EXEMPLARS
