"""The journal's format: what is written reads back equal, and what is not as agreed is refused whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.delta import Delta, RolloutDelta, read_told
from proxy.core.delta import written as report_written
from proxy.core.heard import MOST_SOURCES
from proxy.core.histogram import Histogram
from proxy.core.journal import MOST_REVISIONS, Book, Leaf
from proxy.core.journal_wire import heard_read, heard_written, read, written
from proxy.core.tally import Tally
from proxy.errors import UnknownVersion, WireError
from tests.core.test_delta import tallies

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).with_name("journal-1.json")


def leaf(*tallies: Tally) -> Leaf:
    """Of second 1000, told by one instance each; at its end another one had told something."""
    book = Book(["default", "other"], 990, 5.0, 120.0)
    for place, tally in enumerate(tallies):
        delta = Delta(f"i{place}/1", place + 3, (RolloutDelta("default", place + 1, "closed", tally),))
        book.take(1_000.0 + place / 8, read_told(report_written(delta)))
    found = book.take(1_001.0, read_told(report_written(Delta("z/1", 1))))
    assert found is not None
    return found


def sample() -> Leaf:
    tally = Tally(client_requests=9, client_errors=1, assigned_v1=5, assigned_v2=4, fallback_errors=1)
    tally.fallbacks[0] = 2
    tally.v1.requests, tally.v1.latency = 5, Histogram.of([(70, 4), (73, 1)], 500)
    tally.v2.requests, tally.v2.errors[-1], tally.v2.latency = 4, 1, Histogram.of([(12, 4)], 48)
    tally.in_flight_v2 = Histogram.of([(63, 2), (65, 1)], 200)
    return leaf(tally, Tally(client_requests=1))


def test_the_format_is_the_one_that_was_agreed_on() -> None:
    """Journals of the version before are read: the file is that of version 1, and is never written anew."""
    golden = orjson.loads(GOLDEN.read_bytes())
    one = sample()
    assert written(one.entry) == golden["entry"]
    assert heard_written(one.heard, one.entry.until) == golden["heard"]
    assert read(golden["entry"]) == one.entry
    assert list(heard_read(golden["heard"], 1_001)) == list(one.heard)


@given(st.lists(tallies(), min_size=1, max_size=4))
def test_what_is_written_reads_back_equal(counted: list[Tally]) -> None:
    one = leaf(*counted)
    entry = read(orjson.loads(orjson.dumps(written(one.entry))))
    assert (entry.since, entry.until, sorted(entry.names)) == (990, 1_001, ["default", "other"])
    for name in ("default", "other"):
        for revision in range(len(counted) + 2):
            for found, due in zip(
                entry.tallies(name, revision), one.entry.tallies(name, revision), strict=True
            ):
                assert found == due
                assert found.in_flight_v1.buckets() == due.in_flight_v1.buckets()
    heard = heard_read(orjson.loads(orjson.dumps(heard_written(one.heard, 1_001))), 1_001)
    assert list(heard) == list(one.heard)


def broken(change: Callable[[Any], None], key: str = "entry") -> Any:
    document = orjson.loads(GOLDEN.read_bytes())[key]
    change(document)
    return document


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.update(since=1_001),
        lambda one: one.update(since=-1),
        lambda one: one.pop("until"),
        lambda one: one.update(names="default"),
        lambda one: one.update(names=[f"n{number}" for number in range(1_001)]),
        lambda one: one.update(names=[""]),
        lambda one: one.update(sums=[["default", 1, {}]] * 2),
        lambda one: one.update(sums=[["default", number, {}] for number in range(MOST_REVISIONS + 1)]),
        lambda one: one["sums"].append(["default", 1]),
        lambda one: one["sums"].append(["default", -1, {}]),
        lambda one: one["sums"].append(["default", 1, {"client_requests": 1.5}]),
        lambda one: one["sums"].append(["default", 1, {"v1": {"requests": 1, "total_us": 1, "counts": []}}]),
        lambda one: one.update(under_way=[]),
        lambda one: one.update(under_way={f"n{number}": {} for number in range(1_001)}),
        lambda one: one["under_way"].update(default={"in_flight_v2": {"total_us": 1, "counts": [-1]}}),
    ],
)
def test_an_entry_that_is_not_as_agreed_is_refused(change: Callable[[Any], None]) -> None:
    with pytest.raises(WireError):
        read(broken(change))


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.update(until=1_002),
        lambda one: one.pop("sources"),
        lambda one: one.update(sources=[["s", 1.0, 1, {}]] * (MOST_SOURCES + 1)),
        lambda one: one["sources"].append(["s", 1_001.0, 1, {}]),
        lambda one: one["sources"].append(["s", 1.0, 0, {}]),
        lambda one: one["sources"].append(["s", 1.0, 1]),
        lambda one: one["sources"].append([7, 1.0, 1, {}]),
        lambda one: one["sources"].append(["s", 1.0, 1, {"default": 3}]),
    ],
)
def test_who_told_what_is_refused_too_unless_it_is_as_agreed(change: Callable[[Any], None]) -> None:
    with pytest.raises(WireError):
        heard_read(broken(change, "heard"), 1_001)


def test_a_newer_version_says_that_it_is_one() -> None:
    with pytest.raises(UnknownVersion):
        read({"version": 2})
    with pytest.raises(UnknownVersion):
        heard_read({"version": 2}, 1)
    strange: tuple[object, ...] = (None, [], {}, "x")
    for nothing in strange:
        with pytest.raises(WireError):
            read(nothing)
