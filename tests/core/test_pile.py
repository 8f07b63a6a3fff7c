"""However many reports are added up, the sum is that of their tallies."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.delta import READS, Delta, RolloutDelta, read_told, written
from proxy.core.pile import Pile
from proxy.core.tally import Tally
from proxy.model import Path
from tests.core.test_delta import tallies


@given(st.lists(st.tuples(tallies(), st.sampled_from(READS)), max_size=5))
def test_the_sum_of_what_was_told_is_the_sum_of_what_was_counted(counted: list[tuple[Tally, int]]) -> None:
    pile, due = Pile(), Tally()
    for tally, version in counted:
        delta = Delta("a/1", 1, (RolloutDelta("default", 1, "closed", tally),))
        pile.add(read_told(written(delta, version)).rollouts[0].counters)
        due.add(tally)
    assert pile.tally() == due
    for path in Path:
        assert pile.tally().of(path).latency.buckets() == due.of(path).latency.buckets()
        assert pile.tally().of(path).latency.count == due.of(path).latency.count


def test_nothing_is_an_empty_tally() -> None:
    assert Pile().tally() == Tally()
