"""What has to be open before a rollout goes into a phase by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from proxy.config.times import parse_hours
from proxy.core.gates import LocalTime, closed, entered, frozen, is_open
from proxy.core.rollout import step
from proxy.judgment import Judgment, Verdict
from proxy.model import RolloutState, State, Transition
from tests.core.plans import CANARY, FULL, HALF, percent, plan, state

if TYPE_CHECKING:
    from proxy.config.rollout import Rollout

MONDAY, FRIDAY, SATURDAY, SUNDAY = 0, 4, 5, 6
PASSED = Judgment(Verdict.PASS, ("passed",), cause="phase:canary")


def gated(**keys: object) -> Rollout:
    """A plan whose second phase has these gates."""
    return plan(phases=[CANARY, {**HALF, **keys}, FULL])


def at(text: str, day: int = MONDAY) -> LocalTime:
    hour, minute = text.split(":")
    return LocalTime(day, int(hour) * 60 + int(minute))


@pytest.mark.parametrize(
    ("hours", "day", "time", "expected"),
    [
        ("Mon-Fri 09:00-17:00", MONDAY, "09:00", True),
        ("Mon-Fri 09:00-17:00", MONDAY, "08:59", False),
        ("Mon-Fri 09:00-17:00", FRIDAY, "16:59", True),
        ("Mon-Fri 09:00-17:00", FRIDAY, "17:00", False),
        ("Mon-Fri 09:00-17:00", SATURDAY, "12:00", False),
        ("Fri 22:00-02:00", FRIDAY, "23:00", True),
        ("Fri 22:00-02:00", SATURDAY, "01:59", True),
        ("Fri 22:00-02:00", SATURDAY, "02:00", False),
        ("Fri 22:00-02:00", FRIDAY, "01:00", False),
        ("Sun 22:00-02:00", MONDAY, "01:00", True),
        ("00:00-24:00", SUNDAY, "23:59", True),
    ],
)
def test_hours_belong_to_the_day_on_which_they_begin(hours: str, day: int, time: str, expected: bool) -> None:
    assert is_open([parse_hours(hours)], at(time, day)) is expected


def test_without_hours_it_is_always_open_and_with_several_any_will_do() -> None:
    assert is_open((), at("03:00"))
    both = [parse_hours("Mon 09:00-10:00"), parse_hours("Mon 20:00-21:00")]
    assert is_open(both, at("20:30"))
    assert not is_open(both, at("12:00"))


def test_approval_is_a_persons_affair() -> None:
    rollout = gated(approval=True)
    assert closed(rollout.phases[1], rollout, 0.0, at("12:00")) == [
        "approval (promote) is needed before phase half"
    ]
    assert closed(rollout.phases[0], rollout, 0.0, at("12:00")) == []
    assert frozen(rollout, 0.0, at("12:00")) == []


def test_a_freeze_lasts_until_the_last_one_ends() -> None:
    rollout = plan(
        phases=[CANARY, HALF],
        freeze=[
            {"from": "2026-12-24T00:00:00Z", "until": "2026-12-27T00:00:00Z"},
            {"from": "2026-12-26T00:00:00Z", "until": "2027-01-02T00:00:00Z"},
        ],
    )
    day = 86_400.0
    eve = 1_798_070_400.0  # 2026-12-24T00:00:00Z
    said = [closed(rollout.phases[1], rollout, eve + n * day, at("00:00")) for n in (-0.001, 0, 2, 8.999, 9)]
    assert said == [
        [],
        ["frozen until 2026-12-27T00:00:00Z before phase half"],
        ["frozen until 2027-01-02T00:00:00Z before phase half"],
        ["frozen until 2027-01-02T00:00:00Z before phase half"],
        [],
    ]
    assert frozen(rollout, eve, at("00:00")) == ["frozen until 2026-12-27T00:00:00Z"]


def test_hours_of_the_rollout_and_of_the_phase_must_both_be_on() -> None:
    rollout = plan(
        phases=[CANARY, {**HALF, "hours": ["12:00-14:00"]}],
        hours=["Mon-Fri 09:00-17:00"],
        timezone="Europe/Berlin",
    )
    half = rollout.phases[1]
    assert closed(half, rollout, 0.0, at("13:00")) == []
    assert closed(half, rollout, 0.0, at("10:00")) == [
        "outside of 12:00-14:00 (Europe/Berlin) before phase half"
    ]
    assert closed(half, rollout, 0.0, at("13:00", SUNDAY)) == [
        "outside of Mon,Tue,Wed,Thu,Fri 09:00-17:00 (Europe/Berlin) before phase half"
    ]
    assert frozen(rollout, 0.0, at("13:00", SUNDAY)) != []


# ... which gates count


def test_a_promotion_goes_through_the_gates_of_the_phase_it_enters() -> None:
    rollout = gated(approval=True)
    transition = step(state(percentage=1, phase="canary"), PASSED, rollout, at=200.0)
    assert transition is not None
    assert entered(transition, rollout) is rollout.phases[1]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (state(percentage=100, phase="full"), state(State.COMPLETED, 100, "full")),  # no further phase
        (state(percentage=50, phase="half"), state(State.ROLLED_BACK)),
        (state(percentage=50, phase="half"), state(percentage=1, phase="canary")),  # one back
        (state(State.PAUSED, 1, "canary"), state(percentage=1, phase="canary")),
        (state(percentage=1, phase="canary"), state(State.PAUSED, 1, "canary")),
        (state(percentage=1), state(percentage=30)),  # in no phase
    ],
)
def test_what_enters_no_phase_or_lowers_has_no_gate(before: RolloutState, after: RolloutState) -> None:
    moved = Transition(before, replace(after, revision=8), "", "", "", 0.0)
    assert entered(moved, gated(approval=True)) is None


def test_a_start_enters_the_first_phase() -> None:
    rollout = gated()
    started = Transition(state(State.ROLLED_BACK), state(percentage=1, phase="canary"), "", "", "", 0.0)
    assert entered(started, rollout) is rollout.phases[0]
    assert started.after.weight == percent(1)
