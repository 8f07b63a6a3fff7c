"""Users are counted without being kept, and workers' sketches become one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from proxy.core.users import LONGEST, PLACES, UserSketch
from proxy.model import Users

HASHES = st.lists(st.tuples(st.integers(0, (1 << 64) - 1), st.booleans()), max_size=40)


def sketch_of(users: range, share_of_v2: float = 0.0) -> UserSketch:
    sketch = UserSketch()
    for user in users:
        sketch.see(xxh3_64_intdigest(b"salt:%d" % user), user % 100 < 100 * share_of_v2)
    return sketch


@pytest.mark.parametrize("users", [0, 1, 2, 10, 100, 1_000, 9_000, 15_000, 60_000])
def test_the_estimate_is_within_a_few_percent(users: int) -> None:
    seen = sketch_of(range(users), 0.25).count()
    assert seen.seen == pytest.approx(users, rel=0.05)
    assert seen.v2 == pytest.approx(len([user for user in range(users) if user % 100 < 25]), rel=0.05, abs=1)


def test_a_user_is_one_user_and_stays_one_of_v2() -> None:
    sketch = UserSketch()
    for on_v2 in (False, True, False, False):
        sketch.see(1234567, on_v2)
    assert sketch.count() == Users(1, 1)
    assert repr(sketch) == "UserSketch(Users(seen=1, v2=1))"


@given(HASHES, HASHES)
def test_what_is_told_in_parts_makes_the_same_sketch(
    first: list[tuple[int, bool]], then: list[tuple[int, bool]]
) -> None:
    here, there = UserSketch(), UserSketch()
    for part in (first, then, []):
        for hashed, on_v2 in part:
            here.see(hashed, on_v2)
        told = json.loads(json.dumps(here.changes()))
        there.merge(told)
        there.merge(told)
        assert there.count() == here.count()
    assert here.changes() == []
    assert len(there.changes()) <= 3 * len({hashed % ((1 << 61) - 1) % PLACES for hashed, _ in first + then})


def test_who_asks_again_is_told_what_has_changed() -> None:
    here, there = UserSketch(), UserSketch()
    for hashed, on_v2 in ((1234567, False), (7654321, True), (1234567, True)):
        here.see(hashed, on_v2)
        there.merge(here.changes())
        assert there.count() == here.count()
    here.see(1234567, True)
    assert here.changes() == []
    assert UserSketch().changes() == []


def test_who_asks_first_is_told_everything() -> None:
    sketch, other = sketch_of(range(500)), UserSketch()
    other.merge(sketch.changes())
    assert other.count() == sketch.count()


def test_merging_is_the_sketch_of_all() -> None:
    both = sketch_of(range(2_000))
    both.merge(sketch_of(range(1_000, 3_000)).changes())
    assert both.count() == sketch_of(range(3_000)).count()


@pytest.mark.parametrize("hashed", [0, (1 << 61) - 1, 1 << 12, (1 << 64) - 1])
def test_no_hash_is_beyond_the_registers(hashed: int) -> None:
    sketch = UserSketch()
    for _ in range(2):
        sketch.see(hashed, True)
    [place, seen, on_v2] = sketch.changes()
    assert place < PLACES
    assert 1 <= seen == on_v2 <= LONGEST
