"""A journal says of each second what all reports of it say, and which second is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.delta import ToldReport
from proxy.core.heard import Heard
from proxy.core.journal import MOST_REVISIONS, Book, Entry, Leaf, chained
from proxy.core.merging import Merging
from tests.core.told import NAMES, report

if TYPE_CHECKING:
    from collections.abc import Sequence

BEGAN = 1_000


def book(since: int = BEGAN, names: Sequence[str] = NAMES) -> Book:
    return Book(names, since, silent_s=5.0, unknown_s=120.0)


def requests(entry: Entry, name: str = "default", revision: int = 4) -> tuple[int, int]:
    now, late = entry.tallies(name, revision)
    return now.client_requests, late.client_requests


def test_what_came_in_a_second_is_one_entry_when_it_is_over() -> None:
    one = book()
    assert one.take(1_003.1, report("a/1", 1, 3)) is None
    assert one.take(1_003.9, report("b/1", 1, 4)) is None
    assert one.take(1_003.9, report("b/1", 2, 5, name="other")) is None
    leaf = one.take(1_007.0, report("a/1", 2, 50))
    assert leaf is not None
    assert (leaf.entry.since, leaf.entry.until, leaf.entry.names) == (BEGAN, 1_004, frozenset(NAMES))
    assert (requests(leaf.entry), requests(leaf.entry, "other")) == ((7, 0), (5, 0))
    rest = one.open()
    assert rest is not None
    assert (rest.since, rest.until, requests(rest)) == (1_004, 1_008, (50, 0))
    assert "1004" in repr(one)


def test_who_had_told_what_is_as_it_was_when_the_entry_ended() -> None:
    one = book()
    one.take(1_003.1, report("a/1", 1))
    leaf = one.take(1_004.0, report("a/1", 2))
    assert leaf is not None
    assert leaf.heard.highest("a/1") == 1, "or number 2 would be taken for a repetition"
    assert one.heard.highest("a/1") == 2


def test_before_anything_has_come_there_is_no_entry() -> None:
    assert book().open() is None


def test_a_repetition_counts_nothing() -> None:
    one = book()
    for at, number, amount in ((1_000.1, 1, 1), (1_000.2, 2, 10), (1_000.3, 1, 1), (1_000.4, 2, 10)):
        one.take(at, report("a/1", number, amount))
    rest = one.open()
    assert rest is not None
    assert requests(rest) == (11, 0)


def test_what_is_late_is_said_by_whoever_reads_it() -> None:
    one = book()
    one.take(1_000.1, report("a/1", 1, 1, revision=3))
    one.take(1_000.2, report("a/1", 2, 10, revision=4))
    one.take(1_000.3, report("a/1", 3, 100, revision=5))
    rest = one.open()
    assert rest is not None
    assert [requests(rest, revision=revision) for revision in (3, 4, 5, 6)] == [
        (111, 0),
        (110, 1),
        (100, 11),
        (0, 111),
    ]
    assert requests(rest, "other") == (0, 0)


def test_of_endless_revisions_a_few_are_told_apart_and_all_count() -> None:
    one = book()
    for number in range(1, 101):
        one.take(1_000.5, report("a/1", number, 1, revision=number + 50))
    one.take(1_000.6, report("a/1", 101, 1, revision=1))
    rest = one.open()
    assert rest is not None
    assert len(rest.sums["default"]) == MOST_REVISIONS
    assert requests(rest, revision=0) == (101, 0)


def test_what_is_under_way_is_what_each_has_said_last_until_it_is_silent() -> None:
    one = book()
    one.take(1_000.5, report("a/1", 1, ages=2))
    one.take(1_000.6, report("b/1", 1, ages=5))
    one.take(1_003.0, report("a/1", 2, ages=3))
    for at, due in ((1_004.0, 8), (1_005.0, 8), (1_006.0, 3)):  # of b nothing any more when 1005 is over
        leaf = one.take(at, report("c/1", int(at)))
        assert leaf is not None
        assert leaf.entry.tallies("default", 4)[0].in_flight_v2.count == due


def test_a_rollout_that_is_new_is_told_of_from_the_next_second_on() -> None:
    one = book(names=["default"])
    one.take(1_000.1, report("a/1", 1, 3))
    one.take(1_000.2, report("a/1", 2, 3, name="third"))
    one.follow(["third"])
    one.take(1_000.3, report("a/1", 3, 3, name="third"))
    first = one.take(1_001.3, report("a/1", 4, 4, name="third"))
    second = one.take(1_002.3, report("a/1", 5, 5, name="third"))
    assert first is not None
    assert second is not None
    assert (first.entry.names, second.entry.names) == (frozenset(), frozenset(["third"]))
    assert requests(second.entry, "third") == (4, 0)


def test_it_goes_on_where_another_has_ended() -> None:
    one, other = book(), book()
    one.take(1_003.1, report("a/1", 7, ages=2))
    leaf = one.take(1_004.1, report("a/1", 8))
    assert leaf is not None
    other.take(1_001.0, report("a/1", 1, 1_000))
    other.resume(leaf)
    other.take(1_004.0, report("a/1", 7, 100))
    other.take(1_004.1, report("a/1", 8, 10))
    rest = other.open()
    assert rest is not None
    assert (rest.since, requests(rest)) == (1_004, (10, 0))


def entry(since: int, until: int, names: Sequence[str] = NAMES) -> Entry:
    return Entry(since, until, frozenset(names), {}, {})


def test_only_what_hangs_together_up_to_the_end_is_a_chain() -> None:
    row = [entry(1, 2), entry(2, 3), entry(4, 5), entry(5, 9), entry(9, 10)]
    assert chained(row, NAMES) == row[2:]
    assert chained(row[:2], ["other"]) == row[:2]
    assert chained(row, [*NAMES, "third"]) == []
    assert chained([entry(1, 2, ["other"]), entry(2, 3)], NAMES) == [entry(2, 3)]
    assert chained([], NAMES) == []


def test_nobody_can_be_of_more_sources_than_there_may_be() -> None:
    one, merging = book(), Merging(NAMES)
    heard = Heard()
    for number in range(4_000):
        heard.take(1_000.0, report(f"s{number}/1", 1), NAMES)
    one.heard, merging.heard = heard.copy(), heard.copy()
    one.take(1_000.1, report("honest/1", 1, 5))
    one.take(1_000.1, report("s1/1", 2, 7))
    assert not merging.take(1_000.1, report("honest/1", 1, 5), lambda name: 4)
    assert merging.take(1_000.1, report("s1/1", 2, 7), lambda name: 4)
    assert merging.received.unread == 1
    rest = one.open()
    assert rest is not None
    assert requests(rest) == (7, 0)
    assert len(one.heard) == 4_000
    assert [merging.refuse(0.0, f"{number}/1") for number in range(4_001)].count(True) == 4_000


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["a/1", "a/2", "b/1"]),
        st.integers(1, 12),  # number: late and repeated ones are among them
        st.sampled_from(NAMES),
        st.integers(3, 5),  # revision
        st.integers(0, 3),  # under way
        st.sampled_from([0.0, 0.2, 0.5, 1.0, 3.0, 9.0]),  # since the one before
    ),
    min_size=1,
    max_size=40,
)


@given(EVENTS, st.data())
def test_from_any_leaf_on_it_is_as_if_all_had_been_read(
    events: list[tuple[str, int, str, int, int, float]], data: st.DataObject
) -> None:
    """Replay of a journal and what it lacks is the replay of all reports."""
    at, stream = float(BEGAN), list[tuple[float, ToldReport]]()
    for place, (source, number, name, revision, ages, later) in enumerate(events):
        at += later
        told = report(source, number, 10**6 + place, name=name, revision=revision, ages=ages)
        stream.append((at, told))
    whole, leaves = book(), list[Leaf]()
    for one in stream:
        if (leaf := whole.take(*one)) is not None:
            leaves.append(leaf)
    known = data.draw(st.integers(0, len(leaves)))
    other, entries = book(), [leaf.entry for leaf in leaves[:known]]
    assert list(chained(entries, NAMES)) == entries
    if known:
        other.resume(leaves[known - 1])
    for one in stream:
        if one[0] >= other.until and (leaf := other.take(*one)) is not None:
            entries.append(leaf.entry)
    assert entries == [leaf.entry for leaf in leaves]
    assert other.open() == whole.open()
    assert list(other.heard) == list(whole.heard)


@given(EVENTS)
def test_it_counts_what_a_judge_counts(events: list[tuple[str, int, str, int, int, float]]) -> None:
    one, merging, at = book(), Merging(NAMES), float(BEGAN)
    now = late = 0
    for source, number, name, revision, _, later in events:
        at += later
        told = report(source, number, 1, name=name, revision=revision)
        merging.take(at, told, lambda name: 4)
        if (leaf := one.take(at, told)) is not None:
            for each in NAMES:
                now, late = now + requests(leaf.entry, each)[0], late + requests(leaf.entry, each)[1]
    rest = one.open()
    assert rest is not None
    for each in NAMES:
        now, late = now + requests(rest, each)[0], late + requests(rest, each)[1]
    assert now == sum(tally.client_requests for tally in merging.drain())
    assert late == sum(tally.client_requests for tally in merging.late())
