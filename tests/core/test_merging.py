"""The others' reports count once each, and as evidence only under the revision in force."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.delta import ToldReport
from proxy.core.merging import Merging
from tests.core.told import NAMES, report


def revision(name: str) -> int:
    return 4


def requests(merging: Merging) -> list[int]:
    return [tally.client_requests for tally in merging.drain()]


def test_what_several_tell_adds_up_in_the_order_of_the_rollouts() -> None:
    merging = Merging(NAMES)
    assert merging.take(1.0, report("a/1", 1, 3), revision)
    assert merging.take(1.0, report("b/1", 1, 4), revision)
    assert merging.take(1.0, report("b/1", 2, 5, name="other"), revision)
    assert requests(merging) == [7, 5]
    assert requests(merging) == [0, 0]


def test_a_repetition_counts_nothing_and_a_new_life_begins_anew() -> None:
    merging = Merging(NAMES)
    assert merging.take(1.0, report("a/1", 5), revision)
    assert not merging.take(1.0, report("a/1", 5), revision)
    assert not merging.take(1.0, report("a/1", 4), revision)
    assert merging.take(1.0, report("a/2", 1), revision)
    assert requests(merging) == [2, 0]
    assert (merging.received.taken, merging.received.repeated) == (2, 2)


def test_gaps_are_counted_but_not_what_came_before_the_first() -> None:
    merging = Merging(NAMES)
    for number in (7, 8, 11):
        merging.take(1.0, report("a/1", number), revision)
    assert merging.received.missing == 2


@given(st.permutations(range(1, 8)), st.lists(st.integers(1, 7)))
def test_in_whatever_order_nothing_counts_twice(order: list[int], again: list[int]) -> None:
    merging = Merging(NAMES)
    taken = [
        number
        for number in [*order, *again]
        if merging.take(0.0, report("a/1", number, 10**number), revision)
    ]
    assert len(set(taken)) == len(taken)
    assert requests(merging)[0] == sum(10**number for number in taken)
    assert len(order) + len(again) == merging.received.taken + merging.received.repeated


def test_under_an_earlier_revision_it_is_late() -> None:
    merging = Merging(NAMES)
    merging.take(1.0, report("a/1", 1, 10, revision=3), revision)
    merging.take(1.0, report("a/1", 2, 20, revision=5), revision)  # here the change is still on its way
    assert requests(merging) == [20, 0]
    assert [tally.client_requests for tally in merging.late()] == [10, 0]
    assert [tally.client_requests for tally in merging.late()] == [0, 0]
    assert merging.received.late == 1


def test_of_a_rollout_that_is_unknown_here_nothing_is_kept() -> None:
    merging = Merging(NAMES)
    assert merging.take(1.0, report("a/1", 1, 10, name="third", ages=2), revision)
    assert requests(merging) == [0, 0]


def test_what_is_under_way_is_what_each_said_last_until_it_has_gone() -> None:
    merging = Merging(NAMES)
    merging.take(1.0, report("a/1", 1, ages=2), revision)
    merging.take(2.0, report("a/1", 2, ages=3), revision)
    merging.take(1.0, report("b/1", 1, ages=5), revision)
    assert merging.drain()[0].in_flight_v2.count == 8
    assert merging.drain()[0].in_flight_v2.count == 8
    merging.forget(2.0, 0.0)
    assert merging.drain()[0].in_flight_v2.count == 3
    assert not merging.take(3.0, report("b/1", 1), revision), "a repetition is known all the same"


def test_what_is_under_way_counts_once_though_told_under_two_revisions() -> None:
    both = (*report("a/1", 1, ages=2).rollouts, *report("a/1", 1, revision=5, ages=3).rollouts)
    for told in (both, both[::-1]):
        merging = Merging(NAMES)
        merging.take(1.0, ToldReport("a/1", 1, told), revision)
        drained = merging.drain()[0]
        assert (drained.client_requests, drained.in_flight_v2.count) == (2, 3)


def test_of_whoever_was_silent_for_long_nothing_is_known() -> None:
    merging = Merging(NAMES)
    merging.take(1.0, report("a/1", 7), revision)
    merging.take(2.0, report("b/1", 7), revision)
    merging.forget(3.0, 2.0)
    assert merging.take(4.0, report("a/1", 1), revision), "as if it had never been"
    assert not merging.take(4.0, report("b/1", 1), revision)
    assert merging.received.missing == 0


def test_who_cannot_be_read_is_told_of_once_of_late() -> None:
    merging = Merging(NAMES)
    assert [merging.refuse(float(now), "a/1") for now in (1, 2, 3)] == [True, False, False]
    assert merging.refuse(3.0, "b/1")
    assert merging.received.unread == 4
    merging.forget(0.0, 3.0)
    assert not merging.refuse(4.0, "a/1")
    merging.forget(0.0, 5.0)
    assert merging.refuse(6.0, "a/1")
    assert merging.take(7.0, report("a/1", 1), revision), "what was refused is as if it had never come"


def test_cleared_it_begins_anew_but_for_what_was_received() -> None:
    merging = Merging(NAMES)
    merging.take(1.0, report("a/1", 1, ages=2), revision)
    merging.take(1.0, report("a/1", 2, revision=1), revision)
    merging.clear()
    assert (requests(merging), merging.late()[0].client_requests) == ([0, 0], 0)
    assert merging.take(1.0, report("a/1", 1), revision)
    assert merging.received.taken == 3


def test_after_a_reload_only_what_is_the_same_counts() -> None:
    merging = Merging(NAMES)
    merging.take(1.0, report("a/1", 1, 10), revision)
    merging.take(1.0, report("a/1", 2, 20, name="other"), revision)
    merging.take(1.0, report("a/1", 3, 30, revision=1), revision)
    merging.follow(("new", "other", "default"), {"default"})
    assert requests(merging) == [0, 0, 10]
    assert [tally.client_requests for tally in merging.late()] == [0, 0, 30]
    assert "1 heard" in repr(merging)


def test_what_is_under_way_for_a_rollout_that_a_reload_took_away_is_nobodys() -> None:
    merging = Merging(NAMES)
    merging.take(1.0, report("a/1", 1, name="other", ages=2), revision)
    merging.follow(("default",), {"default"})
    [left] = merging.drain()
    assert left.in_flight_v2.count == 0
