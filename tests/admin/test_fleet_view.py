"""A fleet as status shows it has just the keys that are promised, whatever there is to tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from proxy.admin.fleet_view import board_view, fleet_view, serving_view
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


def test_it_says_whose_requests_the_figures_are_of() -> None:
    assert fleet_view(WELL)["figures"] == "fleet"
    assert fleet_view(replace(WELL, role=Role.FOLLOWER))["figures"] == "instance"


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
            MemberView("c", 0.1, None, unread="member: is of version 2"),
        ),
    )
    assert fleet_text(fleet_view(odd)).plain == (
        "one of 3 instances, a judges; figures are of what came here; b is behind, b's clock is +30 s off, "
        "c cannot be understood (member: is of version 2), their configurations differ"
    )


def test_in_words_it_says_plainly_when_nobody_can_be_reached() -> None:
    told = fleet_text(fleet_view(FleetReport("a", Role.ALONE, trouble="gone"))).plain
    assert told.startswith(
        "one of 0 instances, nobody judges; figures are of what came here; the shared store does not answer"
    )
    assert "raises nothing" in told


def test_in_words_it_says_how_much_comes_here_and_since_when_the_store_is_gone() -> None:
    ours, theirs = (replace(RECORD, per_minute=count) for count in (3_000, 1_000))
    fleet = replace(WELL, members=(MemberView("a", 0.1, ours), MemberView("b", 0.1, theirs)))
    assert fleet_text(fleet_view(fleet)).plain == "one of 2 instances with 75% of the traffic, a judges"
    assert fleet_text(fleet_view(fleet), figures=False).plain == "one of 2 instances, a judges"
    gone = fleet_view(replace(fleet, reached=False, reached_s_ago=75.3))
    assert "the shared store does not answer for 1m 15s: served by the copy here" in fleet_text(gone).plain
    assert "does not answer: served" in fleet_text(gone, figures=False).plain


def test_the_board_hardly_changes_while_nothing_does() -> None:
    def seen(age: float, skew: float, count: int) -> MemberView:
        return MemberView("a", age, replace(RECORD, per_minute=count), skew)

    one, other = (
        board_view(replace(WELL, members=(member, MemberView("b", 0.2, None)), skew_s=skew, lease_s=skew))
        for member, skew in ((seen(0.1, 0.2, 1_234), 0.01), (seen(0.4, -0.1, 1_199), 0.02))
    )
    assert one == other
    assert members_of(one)[0]["per_minute"] == 1_200
    assert members_of(one)[1]["per_minute"] is None
    assert "rollouts" not in members_of(one)[0]


def test_what_each_serves_stands_in_the_order_of_the_members() -> None:
    fleet = replace(WELL, members=(*WELL.members, MemberView("b", 0.2, None)))
    assert serving_view(fleet, "default") == [{"revision": 3, "weight": 1_000}, None]
    assert serving_view(fleet, "other") == [None, None]
