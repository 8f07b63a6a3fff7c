"""What an instance tells of itself reads back equal, or is refused with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.fleet import Role
from proxy.core.members import READS, VERSION, MemberRecord, Pace, Serving, behind, read, written
from proxy.errors import WireError

COUNTS = st.integers(0, 1_000_000)
NAMES = st.text(min_size=1, max_size=20)
RECORDS = st.builds(
    MemberRecord,
    version=NAMES,
    role=st.sampled_from(Role),
    wall=st.integers(0, 2_000_000_000).map(float),
    admin=st.text(max_size=20),
    workers=COUNTS,
    config=st.text(max_size=20),
    copied=COUNTS,
    reports=COUNTS,
    rollouts=st.dictionaries(NAMES, st.builds(Serving, COUNTS, COUNTS), max_size=3),
    per_minute=st.none() | COUNTS,
)
ONE = MemberRecord("1.0", Role.FOLLOWER, 1.5, rollouts={"default": Serving(3, 1_000)})


@given(RECORDS)
def test_what_is_written_reads_back_equal(record: MemberRecord) -> None:
    assert read(json.loads(json.dumps(written(record)))) == record


def test_a_neighbouring_version_may_tell_more() -> None:
    assert VERSION in READS
    assert read({**written(ONE), "weather": "fine"}) == ONE


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"v": 99}, "version 99"),
        ({"v": True}, "version True"),
        ({"role": "king"}, "member.role"),
        ({"role": None}, "member.role"),
        ({"wall": "noon"}, "member.wall"),
        ({"version": ""}, "member.version"),
        ({"admin": 7}, "member.admin"),
        ({"copied": -1}, "member.copied"),
        ({"per_minute": 1.5}, "member.per_minute"),
        ({"rollouts": [["default", 1]]}, "member.rollouts"),
        ({"rollouts": [["r", 1, 1]] * 1_001}, "member.rollouts"),
    ],
)
def test_what_is_not_as_agreed_is_refused(change: dict[str, Any], place: str) -> None:
    with pytest.raises(WireError, match=place):
        read({**written(ONE), **change})


def test_whoever_serves_an_earlier_revision_is_behind() -> None:
    assert behind(ONE, {"default": 4}) == ("default",)
    assert behind(ONE, {"default": 3}) == ()
    assert behind(ONE, {"default": 2}) == (), "what it has is newer than what we know"
    assert behind(ONE, {}) == ()


def test_an_instance_of_the_version_before_tells_no_pace() -> None:
    told = written(ONE)
    del told["per_minute"]
    assert read(told).per_minute is None


def test_the_pace_is_that_of_the_last_half_minute() -> None:
    pace = Pace()
    assert pace.take(0.0, 1_000) is None
    assert pace.take(1.0, 1_010) is None  # too little to tell
    assert [pace.take(float(second), 1_000 + 10 * second) for second in range(2, 40)] == [600] * 38
    assert [pace.take(40.0 + second, 1_390) for second in range(31)][-1] == 0
    assert repr(pace) == "Pace(31 seen)"
