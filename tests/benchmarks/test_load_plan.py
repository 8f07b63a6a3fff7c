"""The plan of a load: when requests are due, by which method, from whom, and where they may go."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load_plan import Mix, Schedule, is_loopback, parse_header, parse_mix, user_name

# ... the schedule


def test_requests_are_due_at_even_distances() -> None:
    schedule = Schedule(rate=4, duration_s=1)
    assert [schedule.due_s(number) for number in range(schedule.count)] == [0, 0.25, 0.5, 0.75]


def test_a_ramp_sends_half_of_what_its_end_would() -> None:
    schedule = Schedule(rate=100, duration_s=10, ramp_s=4)
    assert schedule.count == 800
    assert sum(schedule.due_s(number) < 4 for number in range(800)) == 200
    assert schedule.due_s(50) == 2.0  # a quarter of the ramp's requests in its first half
    assert schedule.due_s(200) == 4.0


@given(
    rate=st.floats(0.1, 5000),
    duration_s=st.floats(0.1, 20),
    ramp=st.floats(0, 1),
    share=st.floats(0, 1),
)
def test_what_is_due_by_an_instant_is_what_the_instants_say(
    rate: float, duration_s: float, ramp: float, share: float
) -> None:
    schedule = Schedule(rate, duration_s, ramp * duration_s)
    by = schedule.due_by(share * duration_s)
    assert 0 <= by <= schedule.count
    assert by == 0 or schedule.due_s(by - 1) <= share * duration_s + 1e-6
    assert by == schedule.count or schedule.due_s(by) >= share * duration_s - 1e-6
    assert schedule.count == 0 or schedule.due_s(schedule.count - 1) < duration_s


def test_a_rate_that_is_no_binary_number_sends_no_extra_request() -> None:
    assert Schedule(rate=0.07, duration_s=100).count == 7


def test_nothing_is_due_before_the_beginning_and_nothing_more_after_the_end() -> None:
    schedule = Schedule(rate=10, duration_s=2)
    assert (schedule.due_by(-1), schedule.due_by(99)) == (0, 20)


@pytest.mark.parametrize("wrong", [(0, 1, 0), (1, 0, 0), (1, 1, 2), (1, 1, -1)])
def test_an_impossible_schedule_is_refused(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Schedule(*wrong)


# ... the choice


def test_methods_are_chosen_by_weight() -> None:
    mix = parse_mix("GET:80, POST:20,PUT:0")
    rng = random.Random(7)
    drawn = Counter(mix.choose(rng) for _ in range(10_000))
    assert 0.78 < drawn["GET"] / 10_000 < 0.82
    assert drawn["GET"] + drawn["POST"] == 10_000


def test_a_method_alone_has_a_weight() -> None:
    assert parse_mix("GET") == Mix(("GET",), (1,))


@pytest.mark.parametrize("wrong", ["", "get:1", "GET:x", "GET:-1", "GET:1,,POST:1", "GET:0", "GET:1.5"])
def test_a_mix_that_says_nothing_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"METHOD:WEIGHT|whole number|above 0"):
        parse_mix(wrong)


def test_users_are_the_same_in_every_run() -> None:
    rng = random.Random(3)
    assert {user_name(rng, 5) for _ in range(200)} == {f"user-{number}" for number in range(1, 6)}


def test_a_header_has_a_name_and_a_value() -> None:
    assert parse_header("Authorization: Bearer a:b") == ("Authorization", "Bearer a:b")


@pytest.mark.parametrize("wrong", ["Authorization", ": x", "A B: c", "A: b\r\nC: d"])
def test_a_header_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="Name: value"):
        parse_header(wrong)


@pytest.mark.parametrize(
    ("host", "is_here"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("localhost.example.org", False),
        ("127.0.0.1.example.org", False),
        (None, False),
    ],
)
def test_only_this_machine_is_loopback(host: str | None, is_here: bool) -> None:
    assert is_loopback(host) is is_here
