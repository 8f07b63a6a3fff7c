"""Which of several endpoints is chosen, and which is left alone."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.schema import Ejection
from proxy.core.balance import Ejector, available_share, choose
from proxy.model import EndpointStatus, Path


@dataclass
class Place:
    """An endpoint as far as choosing goes."""

    name: str
    outstanding: int = 0


class Script:
    """Chance that says what it was told."""

    def __init__(self, *values: float) -> None:
        self._values = list(values)

    def random(self) -> float:
        return self._values.pop(0)

    def getrandbits(self, k: int, /) -> int:
        return int(self.random() * (1 << k))


def ejector(total: int, **values: object) -> Ejector:
    return Ejector(Ejection.model_validate({"max_share": 1.0, **values}), total)


def fail(subject: Ejector, endpoint: int, now: float, times: int = 5) -> None:
    for _ in range(times):
        subject.failure(endpoint, now)


def out(subject: Ejector, total: int, now: float) -> list[int]:
    return [endpoint for endpoint in range(total) if subject.ejected(endpoint, now)]


# ... choosing


def test_the_only_candidate_needs_no_chance() -> None:
    place = Place("a", 9)
    assert choose([place], Script()) is place


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (0.0, 0.0, "b"),  # a and b
        (0.0, 0.9, "a"),  # a and c
        (0.5, 0.0, "b"),  # b and a
        (0.5, 0.9, "b"),  # b and c
        (0.99, 0.0, "a"),  # c and a
        (0.99, 0.99, "b"),  # c and b
    ],
)
def test_the_less_busy_of_two_different_ones_is_chosen(first: float, second: float, expected: str) -> None:
    places = [Place("a", 2), Place("b", 1), Place("c", 3)]
    assert choose(places, Script(first, second)).name == expected


@given(
    outstanding=st.lists(st.integers(0, 100), min_size=2, max_size=10, unique=True),
    seed=st.integers(0, 2**32),
)
def test_the_busiest_is_never_chosen(outstanding: list[int], seed: int) -> None:
    places = [Place(str(number), number) for number in outstanding]
    assert choose(places, random.Random(seed)).outstanding < max(outstanding)


def test_equals_share_equally() -> None:
    places = [Place(name) for name in "abcd"]
    rng = random.Random(1)
    counts = Counter(choose(places, rng).name for _ in range(8000))
    assert all(abs(counts[name] - 2000) < 200 for name in "abcd")


def test_queues_stay_level() -> None:
    places = [Place(str(number)) for number in range(10)]
    rng = random.Random(1)
    for _ in range(1000):
        choose(places, rng).outstanding += 1
    assert max(place.outstanding for place in places) - min(place.outstanding for place in places) <= 6


# ... ejection


def test_failures_in_a_row_eject_for_the_duration() -> None:
    subject = ejector(3)
    fail(subject, 1, now=100.0, times=4)
    assert out(subject, 3, 100.0) == []
    subject.failure(1, 100.0)
    assert out(subject, 3, 100.0) == [1]
    assert out(subject, 3, 109.9) == [1]
    assert out(subject, 3, 110.0) == []


def test_a_success_begins_the_count_anew() -> None:
    subject = ejector(3)
    fail(subject, 1, now=100.0, times=4)
    subject.success(1, 100.0)
    fail(subject, 1, now=100.0, times=4)
    assert out(subject, 3, 100.0) == []


def test_late_failures_of_an_ejected_endpoint_do_not_count() -> None:
    subject = ejector(3)
    fail(subject, 1, now=100.0, times=9)
    fail(subject, 1, now=110.0, times=4)
    assert out(subject, 3, 110.0) == []


def test_repeated_ejections_last_longer_up_to_ten_times() -> None:
    subject = ejector(2)
    now = 100.0
    for spell in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10):
        fail(subject, 0, now)
        now += spell * 10.0
        assert subject.ejected(0, now - 0.001)
        assert not subject.ejected(0, now)


def test_being_back_for_as_long_as_it_was_away_is_forgiveness() -> None:
    subject = ejector(2)
    fail(subject, 0, now=100.0)  # until 110
    fail(subject, 0, now=119.0)  # 9 s later: 20 s, until 139
    assert subject.ejected(0, 138.9)
    fail(subject, 0, now=159.0)  # 20 s later
    assert subject.ejected(0, 168.9)
    assert not subject.ejected(0, 169.0)


@pytest.mark.parametrize(
    ("total", "max_share", "most"),
    [
        (1, 1.0, 0),
        (2, 1.0, 1),
        (2, 0.5, 1),
        (3, 0.5, 1),
        (4, 0.5, 2),
        (4, 0.1, 0),
        (10, 0.3, 3),
        (100, 0.29, 29),
    ],
)
def test_no_more_than_the_share_and_never_the_last(total: int, max_share: float, most: int) -> None:
    subject = ejector(total, max_share=max_share)
    for endpoint in range(total):
        fail(subject, endpoint, now=100.0)
    assert out(subject, total, 100.0) == list(range(most))


def test_a_failing_endpoint_is_ejected_once_there_is_room() -> None:
    subject = ejector(2)
    fail(subject, 0, now=100.0)
    fail(subject, 1, now=100.0)
    assert out(subject, 2, 100.0) == [0]
    subject.failure(1, 110.0)
    assert out(subject, 2, 110.0) == [1]


def test_the_failure_that_ejects_says_so_and_the_first_to_come_back_is_known() -> None:
    subject = ejector(4)
    assert subject.next_return(100.0) == math.inf
    assert [subject.failure(1, 100.0) for _ in range(6)] == [False, False, False, False, True, False]
    fail(subject, 2, now=103.0)
    assert subject.next_return(104.0) == 110.0
    assert subject.next_return(110.0) == 113.0
    assert subject.next_return(113.0) == math.inf


def test_disabled_it_ejects_nothing() -> None:
    subject = ejector(4, enabled=False)
    fail(subject, 1, now=100.0)
    assert out(subject, 4, 100.0) == []
    assert repr(subject) == "<Ejector of 4, at most 0 ejected, failures [0, 5, 0, 0]>"


results = st.lists(
    st.tuples(
        st.integers(0, 6), st.sampled_from([0.0, 0.0, 0.0, 3.0, 11.0]), st.sampled_from([False, False, True])
    ),
    max_size=150,
)


@given(history=results, total=st.integers(1, 7), max_share=st.sampled_from([0.0, 0.3, 0.5, 0.99, 1.0]))
def test_no_sequence_ejects_too_many(
    history: list[tuple[int, float, bool]], total: int, max_share: float
) -> None:
    subject = ejector(total, max_share=max_share, consecutive_failures=2)
    now = 100.0
    for endpoint, wait_s, well in history:
        now += wait_s
        (subject.success if well else subject.failure)(endpoint % total, now)
        ejected = out(subject, total, now)
        assert len(ejected) <= max_share * total
        assert len(ejected) < total


def test_an_endpoint_that_is_unhealthy_or_ejected_may_take_nothing() -> None:
    statuses = [
        EndpointStatus(Path.V2, f"http://{number}", healthy, ejected, 0, 0)
        for number, (healthy, ejected) in enumerate(
            [(True, False), (True, True), (False, False), (True, False)]
        )
    ]
    assert available_share(statuses) == 0.5
