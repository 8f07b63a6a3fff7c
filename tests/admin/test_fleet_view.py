"""A fleet as status shows it has just the keys that are promised, whatever there is to tell."""

from __future__ import annotations

from typing import Any

from proxy.admin.fleet_view import fleet_view
from proxy.admin.schemas import SCHEMAS
from proxy.core.fleet import Role
from proxy.core.members import FleetReport, MemberRecord, MemberView, Serving
from proxy.rendering import fleet_text

RECORD = MemberRecord("1.0", Role.JUDGE, 5.0, "a:9900", 2, "same", 7, rollouts={"default": Serving(3, 1_000)})
WELL = FleetReport(
    "a", Role.JUDGE, judge="a", reached=True, head=7, copied=7, members=(MemberView("a", 0.1, RECORD),)
)


def members_of(view: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = view["members"]
    return found


def test_the_keys_are_those_of_the_schema() -> None:
    found = fleet_view(WELL)
    assert set(found) == set(SCHEMAS["Fleet"]["properties"])
    (member,) = members_of(found)
    assert set(member) == set(SCHEMAS["Member"]["properties"])
    assert member["rollouts"] == {"default": {"revision": 3, "weight": 1_000}}


def test_of_one_that_cannot_be_read_it_says_that_it_is_there() -> None:
    view = fleet_view(FleetReport("a", Role.FOLLOWER, members=(MemberView("b", 1.0, None),)))
    (member,) = members_of(view)
    assert (member["readable"], member["version"], member["role"]) == (False, None, None)
    assert set(member) == set(SCHEMAS["Member"]["properties"])


def test_in_words_a_fleet_that_is_well_takes_one_line() -> None:
    assert fleet_text(fleet_view(WELL)).plain == "one of 1 instance, a judges"


def test_in_words_what_is_odd_is_named() -> None:
    odd = FleetReport(
        "a",
        Role.FOLLOWER,
        judge="a",
        reached=True,
        members=(
            MemberView("a", 0.1, RECORD),
            MemberView("b", 0.1, MemberRecord("1.0", Role.FOLLOWER, 5.0, config="other"), 30.2, ("default",)),
            MemberView("c", 0.1, None),
        ),
    )
    assert fleet_text(fleet_view(odd)).plain == (
        "one of 3 instances, a judges; b is behind, b's clock is +30 s off, c cannot be understood, "
        "their configurations differ"
    )


def test_in_words_it_says_plainly_when_nobody_can_be_reached() -> None:
    told = fleet_text(fleet_view(FleetReport("a", Role.ALONE, trouble="gone"))).plain
    assert told.startswith("one of 0 instances, nobody judges; the shared store does not answer")
    assert "raises nothing" in told
