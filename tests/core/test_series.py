from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.series import (
    BOTH,
    BOUNDS_S,
    BOUNDS_US,
    BUCKETS,
    CLIENT,
    METHODS,
    MOST_TOLD,
    OTHER,
    SERVER,
    Exemplar,
    Increment,
    Labels,
    SeriesTable,
    Sighting,
    bucket,
    method_of,
    status_of,
)

GET = Labels("shop", "v2", "GET", "2xx")
PUT = Labels("shop", "v2", "PUT", "2xx")


def grown(labels: Labels, *counts: tuple[int, int], kind: str = BOTH, total_us: int = 1) -> Increment:
    return Increment(kind, labels, counts, total_us)


def seen(
    labels: Labels, trace: int, *, value_s: float = 0.02, at: float = 1.0, kind: str = CLIENT
) -> Sighting:
    return Sighting(kind, labels, Exemplar(f"{trace:032x}", f"{trace:016x}", value_s, at))


def family(table: SeriesTable, kind: str) -> dict[Labels, list[int]]:
    return {labels: [n for n in series.counts if n] for labels, series in table.family(kind)}


def test_a_bound_belongs_to_its_bucket() -> None:
    assert [bucket(bound + 1e-7) for bound in BOUNDS_S] == list(range(len(BOUNDS_S)))
    assert [bucket(bound + 1.1e-6) for bound in BOUNDS_S] == list(range(1, BUCKETS))
    assert bucket(-1.0) == bucket(0.0) == 0
    assert bucket(31.0) == bucket(1e9) == BUCKETS - 1


@given(st.floats(0, 100))
def test_a_bucket_is_the_first_whose_bound_is_not_exceeded(seconds: float) -> None:
    us = int(seconds * 1e6)
    assert bucket(seconds) == next(index for index, bound in enumerate(BOUNDS_US) if us <= bound)


@pytest.mark.parametrize(
    ("code", "of"), [(0, "none"), (99, "none"), (101, "1xx"), (404, "4xx"), (599, "5xx")]
)
def test_statuses_are_classes_and_strange_ones_are_none(code: int, of: str) -> None:
    assert status_of(code) == of
    assert status_of(600) == status_of(999) == "none"


def test_methods_that_http_does_not_define_are_one() -> None:
    assert [method_of(name) for name in ("GET", "get", "BREW", OTHER)] == ["GET", OTHER, OTHER, OTHER]


def test_a_request_of_one_attempt_counts_in_both_families() -> None:
    table = SeriesTable(100)
    table.add([grown(GET, (0, 2), (3, 1)), grown(GET, (0, 1), kind=SERVER), grown(GET, (0, 4), kind=CLIENT)])
    assert family(table, SERVER) == {GET: [3, 1]}
    assert family(table, CLIENT) == {GET: [6, 1]}
    assert [series.total_us for _, series in table.family(SERVER)] == [2]


def test_beyond_the_limit_methods_share_a_series() -> None:
    table = SeriesTable(1)
    table.add(
        [
            grown(GET, (0, 1)),
            grown(PUT, (0, 1)),
            grown(PUT._replace(method="HEAD"), (0, 1)),
            grown(GET, (0, 1)),
        ]
    )
    assert family(table, SERVER) == {GET: [2], PUT._replace(method=OTHER): [2]}


def test_no_client_can_make_more_series_than_that() -> None:
    table = SeriesTable(10)
    every = [
        Labels(rollout, path, method, status)
        for rollout in ("a", "b")
        for path in ("v1", "v2")
        for method in METHODS
        for status in ("2xx", "4xx", "5xx")
    ]
    table.add([grown(labels, (0, 1)) for labels in every])
    assert len(family(table, SERVER)) <= 10 + 2 * 2 * 3
    assert sum(sum(series.counts) for _, series in table.family(SERVER)) == len(every)


def test_of_a_bucket_the_latest_exemplar_is_kept() -> None:
    table = SeriesTable(100)
    table.add([grown(GET, (4, 3))])
    table.see([seen(GET, 1), seen(GET, 2), seen(GET, 3, value_s=20.0), seen(PUT, 4)])
    ((_, series),) = table.family(CLIENT)
    kept = {index: int(one.trace_id, 16) for index, one in series.exemplars.items()}
    assert kept == {bucket(0.02): 2, bucket(20.0): 3}
    assert [series.exemplars for _, series in table.family(SERVER)] == [{}]


def test_an_exemplar_finds_the_series_that_methods_share() -> None:
    table = SeriesTable(1)
    table.add([grown(GET, (0, 1)), grown(PUT, (0, 1))])
    table.see([seen(PUT, 7)])
    shared = dict(table.family(CLIENT))[PUT._replace(method=OTHER)]
    assert [one.trace_id for one in shared.exemplars.values()] == [f"{7:032x}"]


def test_rollouts_that_are_gone_are_forgotten_and_what_belongs_to_none_stays() -> None:
    table = SeriesTable(100)
    none = Labels("", "v1", "GET", "2xx")
    table.add([grown(GET, (0, 1)), grown(GET._replace(rollout="old"), (0, 1)), grown(none, (0, 1))])
    table.follow(1, ["shop"])
    assert set(family(table, SERVER)) == {GET, none}
    table.add([grown(PUT, (0, 1))])
    assert PUT._replace(method=OTHER) in family(table, SERVER)


def test_failures_of_v2_explain_a_decision_before_anything_else_does() -> None:
    table = SeriesTable(100)
    failed = GET._replace(status="5xx")
    lost = GET._replace(status="none")
    other = GET._replace(rollout="other")
    on_v1 = failed._replace(path="v1")
    table.add([grown(labels, (0, 1)) for labels in (GET, failed, lost, other, on_v1)])
    table.see(
        [seen(GET, 1, at=9), seen(failed, 2, at=5), seen(failed, 2, value_s=9.0, at=5), seen(lost, 3, at=6)]
    )
    table.see([seen(other, 4), seen(on_v1, 5)])
    assert [int(one, 16) for one in table.exemplars("shop")] == [3, 2, 1]
    for trace in range(20):
        table.see([seen(failed, 100 + trace, value_s=BOUNDS_S[trace % len(BOUNDS_S)])])
    assert len(table.exemplars("shop")) == MOST_TOLD
    assert table.exemplars("nobody") == []


def test_it_says_how_many_there_are() -> None:
    table = SeriesTable(100)
    table.add([grown(GET, (0, 1))])
    assert repr(table) == "<SeriesTable 1 server, 1 client>"
