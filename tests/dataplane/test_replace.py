"""Another configuration while requests run: they end under the old one, and the next go by the new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from proxy.core.breaker import BreakerState
from proxy.model import Path, RolloutState, State
from tests.dataplane.wire import FAILED, GET, GET_V1, OK, TranscriptRecorder, World, settings

if TYPE_CHECKING:
    from tests.dataplane.conftest import Opener

OTHER = {"endpoints": ["http://127.0.0.1:9009"]}
ROLLOUT: dict[str, Any] = {"name": "default", "key": ["header:X-User"], "percentage": 99}
REST: dict[str, Any] = {
    "name": "rest",
    "key": ["header:X-User"],
    "routes": [{"prefix": "/rest"}],
    "percentage": 99,
}


def replaced(world: World, **keys: Any) -> TranscriptRecorder:
    """The data plane has this configuration now, and this recorder."""
    recorder = TranscriptRecorder()
    world.plane.replace(settings(**keys), recorder)
    return recorder


async def test_the_next_request_of_a_connection_goes_by_the_new_configuration(world: World) -> None:
    client = world.client()
    await client.sends(GET_V1)
    await world.v1.sends(OK)
    replaced(world, v1=OTHER)
    await client.sends(GET_V1)
    await world.backend(9009).sends(OK)
    assert [message.status for message in client.messages()] == [200, 200]
    assert world.ports == [9001, 9009]


async def test_a_running_request_ends_under_the_old_configuration_and_is_told_to_its_recorder(
    world: World,
) -> None:
    client = world.client()
    await client.sends(GET)
    recorder = replaced(world, v1=OTHER, v2=OTHER, rollouts=[REST, ROLLOUT])
    await world.v2.sends(FAILED)
    await world.v1.sends(OK)  # its fallback is the old one too
    assert client.message().status == 200
    assert world.ports == [9002, 9001]
    assert world.heard() == ["assigned v2", "attempt v2 status", "fallback status", "outcome good"]
    assert recorder.lines == []


async def test_a_queued_request_ends_under_the_old_configuration(world: World) -> None:
    client = world.client()
    await client.sends(GET_V1 + GET_V1)
    first = world.v1
    replaced(world, v1=OTHER)
    await world.passes(2)
    await first.sends(OK)
    await first.sends(OK)
    assert [message.status for message in client.messages()] == [200, 200]
    assert world.ports == [9001]


async def test_the_old_pools_close_once_nobody_needs_them(world: World) -> None:
    client = world.client()
    await client.sends(GET_V1)
    old = world.v1
    replaced(world, v1=OTHER)
    await world.passes(2)
    assert old.end == ""
    await old.sends(OK)
    await world.passes(1)
    assert old.end == "aborted"


async def test_a_backend_whose_table_is_the_same_keeps_its_connections(world: World) -> None:
    client = world.client()
    await client.sends(GET_V1)
    await world.v1.sends(OK)
    replaced(world, v2=OTHER, listen={"expose_path": True})
    await world.passes(1)
    await client.sends(GET_V1)
    await world.v1.sends(OK)
    assert client.messages()[-1].fields[b"x-dualpath-path"] == b"v1"
    assert world.ports == [9001]


async def test_a_deadline_of_the_old_configuration_still_counts(open_world: Opener) -> None:
    world = await open_world(v1={"response_timeout": "1s"})
    client = world.client()
    await client.sends(GET_V1)
    replaced(world, v1={"response_timeout": "60s"})
    await world.passes(1.1)
    assert client.message().status == 504


async def test_breaker_and_weight_of_a_rollout_that_is_the_same_go_on() -> None:
    world = World(settings())
    world.plane.publish(RolloutState("default", State.RUNNING, 7_000))
    live = world.plane.routes.rollouts[0]
    replaced(world, rollouts=[REST, ROLLOUT])
    rest, again = world.plane.routes.rollouts
    assert (again.breaker, again.split) == (live.breaker, live.split)
    assert (again.index, live.index) == (1, 0)
    assert rest.split.weight == 0  # until it is published
    assert {rest.split.decide(b"%d" % user) for user in range(100)} == {Path.V1}
    assert world.plane.explain(key="a", host="", path="/rest", method="GET").rollout == "rest"


async def test_users_stay_where_they_are_when_their_rollout_changes(world: World) -> None:
    world.plane.publish(RolloutState("default", State.RUNNING, 50_000))
    before = [world.plane.routes.rollouts[0].split.decide(b"%d" % user) for user in range(100)]
    replaced(world, rollouts=[{**ROLLOUT, "timeout": "9s", "salt": "default"}])
    assert [world.plane.routes.rollouts[0].split.decide(b"%d" % user) for user in range(100)] == before


async def test_a_rollout_that_changed_keeps_its_weight_and_begins_with_a_closed_breaker() -> None:
    world = World(settings())
    world.plane.publish(RolloutState("default", State.ROLLED_BACK, 0))
    live = world.plane.routes.rollouts[0]
    replaced(world, salt="pepper")
    [again] = world.plane.routes.rollouts
    assert (again.split.weight, again.split.suspended) == (0, True)
    assert again.breaker is not live.breaker
    assert again.breaker.state is BreakerState.CLOSED


@pytest.mark.parametrize(("probed", "health"), [(True, 0.5), (False, 1.0)])
async def test_a_new_pool_knows_what_probes_found_as_long_as_there_are_probes(
    probed: bool, health: float
) -> None:
    table: dict[str, Any] = {"endpoints": ["http://127.0.0.1:9002", "http://127.0.0.1:9003"]}
    world = World(settings(v2={**table, "health": {"path": "/"}}))
    world.plane.set_health(Path.V2, "http://127.0.0.1:9003", healthy=False)
    changed = {**table, "response_timeout": "1s", **({"health": {"path": "/"}} if probed else {})}
    replaced(world, v2=changed)
    assert world.plane.health(Path.V2) == health


async def test_who_is_trusted_is_looked_at_again(world: World) -> None:
    client = world.client(("10.1.2.3", 50_000))
    replaced(world, listen={"trusted_proxies": ["10.0.0.0/8"]})
    assert [connection.trusted for connection in world.context.connections] == [True]
    replaced(world)
    assert [connection.trusted for connection in world.context.connections] == [False]
    assert client.end == ""


async def test_draining_tells_requests_of_an_older_configuration_too(world: World) -> None:
    client = world.client()
    await client.sends(GET_V1)
    replaced(world, v1=OTHER)
    world.context = world.plane.context
    await world.plane.stop()
    assert client.end == "reset"
    assert world.heard() == ["assigned v1", "outcome aborted"]
