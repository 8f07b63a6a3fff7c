"""The sizes that `scale` compares are what they say."""

from __future__ import annotations

import pytest

from benchmarks.growth import Size, configuration, sizes, user
from benchmarks.scale import Round, median_ratio
from proxy.config.loading import parse
from proxy.core.routing import RouteTable, Split
from proxy.model import Path

AXES = sizes(users=20_000, connections=1_000)
ALL = [size for axis in AXES.values() for size in axis]


@pytest.mark.parametrize("size", ALL, ids=lambda size: size.name)
def test_every_size_has_a_configuration_that_is_valid(size: Size) -> None:
    text = configuration(size, port=8080, backends=range(9_000, 9_100), store="memory://")
    config = parse(text, {})
    assert len(config.rollouts) == size.rollouts
    assert len(config.rollouts[0].routes) == size.routes
    assert len(config.rollouts[0].allow.v2) == size.users
    assert len(config.backends.v1.endpoints) == len(config.backends.v2.endpoints) == size.endpoints


def test_an_axis_begins_with_its_smallest_size() -> None:
    assert [axis[0].label for axis in AXES.values()] == ["1", "0", "1", "1", "1"]


def test_requests_reach_all_rollouts_and_listed_users() -> None:
    many, listed = AXES["rollouts"][-1], AXES["overridden users"][-1]
    config = parse(configuration(many, port=1, backends=[9_000], store="memory://"), {})
    table = RouteTable.of(config.rollouts)
    targets = [request.split(b" ", 2)[1] for request in many.requests]
    assert {table.match(b"bench", target, b"GET") for target in targets} == set(range(50))
    pins = Split.of(
        0, parse(configuration(listed, port=1, backends=[9_000], store="memory://"), {}).rollouts[0]
    )
    asking = {request.split(b"X-User-Id: ")[1].strip() for request in listed.requests}
    assert len(asking) == 20_000
    assert all(pins.pins[key] is Path.V2 for key in asking)
    assert user(7).encode() in asking


def test_only_what_is_asked_may_differ_for_one_proxy_to_serve_two_sizes() -> None:
    one, _, idle, turns = AXES["connections"]
    assert idle.stands_as(turns)
    assert not one.stands_as(idle)


def costs(*cpu_us: float) -> list[Round]:
    return [Round(one, 1, 0) for one in cpu_us]


def test_a_ratio_compares_within_a_round() -> None:
    assert median_ratio(costs(20.0, 60.0, 100.0), [costs(10.0, 60.0, 10.0)]) == 2.0


def test_a_ratio_compares_with_the_cheapest_of_the_smaller_sizes() -> None:
    assert median_ratio(costs(30.0, 30.0), [costs(60.0, 10.0), costs(20.0, 20.0)]) == 2.25
