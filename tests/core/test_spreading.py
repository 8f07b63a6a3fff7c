"""The same key takes the same path on every instance; while a change spreads, it moves once and in its
direction, whichever instance it asks next."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from proxy.config.schema import Rollout
from proxy.core.routing import Split
from proxy.model import BUCKETS, Path, RolloutState, State

PLAN = Rollout(name="default", key=("header:X-User-Id",))
weights = st.integers(0, BUCKETS)
keys = st.binary(min_size=1, max_size=40)


def instances(count: int, weight: int) -> list[Split]:
    """As many instances, each with a split of its own, all with this weight in force."""
    found = [Split.of(0, PLAN) for _ in range(count)]
    for one in found:
        one.apply(state(weight))
    return found


def state(weight: int) -> RolloutState:
    return RolloutState("default", State.RUNNING, weight)


@given(keys, weights)
def test_all_instances_send_a_key_the_same_way(key: bytes, weight: int) -> None:
    assert len({one.decide(key) for one in instances(3, weight)}) == 1


@given(
    keys, weights, weights, st.lists(st.integers(0, 4), min_size=1, max_size=60), st.permutations(range(5))
)
def test_whoever_asks_while_a_change_spreads_moves_only_in_its_direction(
    key: bytes, before: int, after: int, asked: list[int], order: list[int]
) -> None:
    """Between the requests of one client, asked of any instances, the change reaches one instance after the
    other: at any one of them the key moves at most once, and nowhere against the change."""
    fleet, seen = instances(5, before), dict[int, list[Path]]()
    first, reached = fleet[0].decide(key), list(order)
    last = instances(1, after)[0].decide(key)
    for nth, place in enumerate(asked):
        if reached and nth % 3 == 2:
            fleet[reached.pop()].apply(state(after))
        seen.setdefault(place, []).append(fleet[place].decide(key))
    for paths in seen.values():
        assert sum(one is not other for one, other in pairwise(paths)) <= 1
        assert set(paths) <= {first, last}
        if paths[0] is last:
            assert set(paths) == {last}, "nobody is sent back"
    if before <= after:
        assert first is Path.V1 or last is Path.V2, "raising moves nobody to v1"
    else:
        assert first is Path.V2 or last is Path.V1, "lowering moves nobody to v2"


@given(st.lists(keys, min_size=30, max_size=60, unique=True), weights, weights)
def test_a_change_moves_just_those_between_both_weights(found: list[bytes], before: int, after: int) -> None:
    one, other = instances(1, before)[0], instances(1, after)[0]
    moved = {key for key in found if one.decide(key) is not other.decide(key)}
    low, high = sorted((before, after))
    assert moved == {key for key in found if low <= one.bucket(key) < high}
