from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import series_wire
from proxy.core.histogram import MAX_US
from proxy.core.series import (
    BUCKETS,
    CLIENT,
    KINDS,
    METHODS,
    SERVER,
    STATUSES,
    Exemplar,
    Increment,
    Labels,
    Sighting,
)
from proxy.errors import WireError
from proxy.model import Path

LABELS = st.builds(
    Labels,
    rollout=st.text(max_size=20, alphabet="abc-é"),
    path=st.sampled_from([str(path) for path in Path]),
    method=st.sampled_from(METHODS),
    status=st.sampled_from(STATUSES),
)
SECONDS = st.floats(0, 1e9)


@st.composite
def increments(draw: st.DrawFn) -> Increment:
    pairs = st.tuples(st.integers(0, BUCKETS - 1), st.integers(1, 10**9))
    counts = tuple(draw(st.lists(pairs, max_size=BUCKETS)))
    total_us = draw(st.integers(0, sum(n for _, n in counts) * MAX_US))
    return Increment(draw(st.sampled_from(KINDS)), draw(LABELS), counts, total_us)


INCREMENTS = increments()
SIGHTINGS = st.builds(
    Sighting,
    kind=st.sampled_from([SERVER, CLIENT]),
    labels=LABELS,
    exemplar=st.builds(
        Exemplar,
        trace_id=st.text("0123456789abcdef", min_size=32, max_size=32),
        span_id=st.text("0123456789abcdef", min_size=16, max_size=16),
        value_s=SECONDS,
        at=SECONDS,
    ),
)

ROW: list[Any] = ["both", "shop", "v2", "GET", "2xx", 2 * MAX_US, [3, 2]]
SEEN: list[Any] = ["client", "shop", "v2", "GET", "2xx", "ab" * 16, "cd" * 8, 0.5, 1e9]


def over_the_wire(row: list[object]) -> object:
    return orjson.loads(orjson.dumps(row))


@given(INCREMENTS)
def test_what_is_written_reads_back_equal(increment: Increment) -> None:
    assert series_wire.read_row(over_the_wire(series_wire.row(increment)), "x") == increment


@given(SIGHTINGS)
def test_an_exemplar_reads_back_equal(sighting: Sighting) -> None:
    assert series_wire.read_sighting(over_the_wire(series_wire.sighting(sighting)), "x") == sighting


def test_what_is_agreed_is_written() -> None:
    assert series_wire.row(series_wire.read_row(ROW, "x")) == ROW
    assert series_wire.sighting(series_wire.read_sighting(SEEN, "x")) == SEEN


def test_a_method_of_another_version_is_one_of_the_others() -> None:
    assert series_wire.read_row([*ROW[:3], "QUERY", *ROW[4:]], "x").labels.method == "_OTHER"


ABSURD: list[list[Any]] = [
    ["neither", None, []],
    [None, 3, "x" * 3000],
    ["v3", None, []],
    ["", None],
    ["6xx", {}, 2],
    [-1, True, "1", None, 0.5, 2 * MAX_US + 1],
    [None, [1], [BUCKETS, 1], [0, -1], [0, 1] * (BUCKETS + 1), [0.5, 1]],
]


@pytest.mark.parametrize(
    ("place", "absurd"), [(place, value) for place, values in enumerate(ABSURD) for value in values]
)
def test_what_is_not_as_agreed_is_refused(place: int, absurd: object) -> None:
    series_wire.read_row(ROW, "x")
    with pytest.raises(WireError, match=r"^x"):
        series_wire.read_row([*ROW[:place], absurd, *ROW[place + 1 :]], "x")


@pytest.mark.parametrize(
    ("place", "absurd"),
    [
        (0, "both"),
        (0, []),
        (2, "v3"),
        (5, "AB" * 16),
        (5, "ab"),
        (6, "zz" * 8),
        (6, None),
        (7, -1),
        (8, "now"),
    ],
)
def test_an_exemplar_that_is_not_as_agreed_is_refused(place: int, absurd: object) -> None:
    series_wire.read_sighting(SEEN, "x")
    with pytest.raises(WireError, match=r"^x"):
        series_wire.read_sighting([*SEEN[:place], absurd, *SEEN[place + 1 :]], "x")
