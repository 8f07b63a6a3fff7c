"""One address of a backend: connecting, and the pool."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from tests.dataplane.wire import GET, OK, FakeTransport, settle

if TYPE_CHECKING:
    import pytest

    from proxy.dataplane.endpoint import Endpoint
    from tests.dataplane.conftest import Opener
    from tests.dataplane.wire import Peer, World


def endpoint_of(world: World) -> Endpoint:
    return world.context.v2.endpoints[0]


async def busy(world: World, count: int) -> list[Peer]:
    """So many clients, each with a request on a connection of its own."""
    clients = [world.client() for _ in range(count)]
    for client in clients:
        await client.sends(GET)
    return clients


async def test_the_most_recently_used_connection_is_taken_first(world: World) -> None:
    await busy(world, 3)
    first, second, third = world.connections
    for upstream in (second, third, first):
        await upstream.sends(OK)
        await world.passes(0.1)
    assert endpoint_of(world).idle_connections == 3
    assert repr(endpoint_of(world)) == "<Endpoint http://127.0.0.1:9002 outstanding=0 idle=3>"
    for upstream in world.connections:
        upstream.got()
    client = world.client()
    await client.sends(GET)
    assert first.got()


async def test_connections_beyond_the_limit_are_not_kept(open_world: Opener) -> None:
    world = await open_world(v2={"max_idle_connections": 1})
    await busy(world, 2)
    for upstream in world.connections:
        await upstream.sends(OK)
    assert [upstream.end for upstream in world.connections] == ["", "aborted"]


async def test_idle_connections_are_closed_in_time(open_world: Opener) -> None:
    world = await open_world(v2={"keepalive_timeout": "10s"})
    await busy(world, 2)
    await world.connections[0].sends(OK)
    await world.passes(5)
    await world.connections[1].sends(OK)
    await world.passes(6)
    assert [upstream.end for upstream in world.connections] == ["aborted", ""]
    assert endpoint_of(world).idle_connections == 1


async def test_a_connection_that_dies_while_idle_is_nobody_s_error(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(OK)
    world.heard()
    await world.v2.leaves()
    assert endpoint_of(world).idle_connections == 0
    assert world.heard() == []
    await client.sends(GET)
    assert world.ports == [9002, 9002]


async def test_a_connection_that_is_closing_is_not_taken(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(OK)
    world.v2.transport.end = "closed"  # the loop knows, and has not said so yet
    await client.sends(GET)
    assert world.ports == [9002, 9002]


async def test_a_connection_that_is_made_as_its_client_leaves_is_closed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[FakeTransport] = []

    async def half_made(factory: object, host: str, port: int, **_: object) -> None:
        assert callable(factory)
        transport = FakeTransport((host, port))
        transport.protocol = cast("asyncio.Protocol", factory())
        transport.protocol.connection_made(transport)
        made.append(transport)
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", half_made)
    client = world.client()
    await client.sends(GET)
    await client.leaves()
    await settle()
    assert made[0].end == "aborted"


async def test_an_https_endpoint_is_spoken_to_over_tls(open_world: Opener) -> None:
    world = await open_world(v2={"endpoints": ["https://localhost:9002"]})
    client = world.client()
    await client.sends(GET)
    assert world.dialled == [("localhost", 9002, True)]
    await client.leaves()


async def test_the_end_of_an_endpoint_is_the_end_of_its_connections(world: World) -> None:
    client, other = await busy(world, 2)
    await world.connections[0].sends(OK)
    endpoint_of(world).close()
    await settle()
    assert [upstream.end for upstream in world.connections] == ["aborted", "aborted"]
    assert endpoint_of(world).idle_connections == 0
    await client.leaves()
    await other.leaves()
