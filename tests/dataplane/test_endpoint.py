"""One address of a backend: connecting, and the pool."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any, cast

from tests.dataplane.wire import GET, OK, FakeTransport, request, settle

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


async def test_a_connection_that_ends_before_it_is_of_use_counts_as_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can have been sent on it, so that v1 may have what must not be sent twice."""

    async def ends_at_once(*arguments: Any, **keys: Any) -> tuple[FakeTransport, asyncio.Protocol]:
        transport, protocol = await world.create_connection(*arguments, **keys)
        if transport is world.connections[0].transport:
            transport.end = "closed"  # the loop knows, and has not said so yet
            asyncio.get_running_loop().call_soon(transport.lose, ConnectionResetError())
        return transport, protocol

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", ends_at_once)
    client = world.client()
    await client.sends(request("POST", body=b"once"))
    assert world.v2.got() == b""
    await world.v1.sends(OK)
    assert client.message().status == 200
    assert world.heard() == ["assigned v2", "attempt v2 connect", "fallback connect", "outcome good"]
    assert not endpoint_of(world).connections


async def test_an_https_endpoint_is_spoken_to_over_tls(open_world: Opener) -> None:
    world = await open_world(v2={"endpoints": ["https://localhost:9002"]})
    client = world.client()
    await client.sends(GET)
    assert world.dialled == [("127.0.0.1", 9002, True)]
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


def hosts(world: World) -> list[str]:
    return [host for host, _, _ in world.dialled]


async def test_every_address_of_a_name_is_tried_before_it_counts_as_a_failure(open_world: Opener) -> None:
    world = await open_world(v2={"endpoints": ["http://localhost:9002"]})
    world.refusing.add(9002)
    client = world.client()
    await client.sends(GET)
    assert hosts(world) == ["127.0.0.1", "::1", "127.0.0.1"]  # the last one is v1's
    await world.v1.sends(OK)
    assert client.message().status == 200
    assert world.heard() == ["assigned v2", "attempt v2 connect", "fallback connect", "outcome good"]


async def test_the_address_that_served_last_is_tried_first(
    open_world: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await open_world(v2={"endpoints": ["http://localhost:9002"]})
    refuse_first(world, monkeypatch, ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"))
    clients = await busy(world, 2)
    assert hosts(world) == ["::1", "::1"]
    for client in clients:
        await client.leaves()


async def test_without_descriptors_no_other_address_is_tried(
    open_world: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await open_world(v2={"endpoints": ["http://localhost:9002"]})
    refuse_first(world, monkeypatch, OSError(errno.EMFILE, "Too many open files"))
    [client] = await busy(world, 1)
    assert hosts(world) == ["127.0.0.1"]  # v1, which has no connection to spare either
    assert "attempt v2 connect" not in world.heard()
    await client.leaves()


async def test_a_connection_to_an_address_that_is_gone_ends_with_its_request(world: World) -> None:
    await busy(world, 2)
    await world.connections[0].sends(OK)
    endpoint_of(world)._addresses.known = ("192.0.2.9",)
    endpoint_of(world)._moved()
    assert [upstream.end for upstream in world.connections] == ["aborted", ""]
    await world.connections[1].sends(OK)
    assert [upstream.end for upstream in world.connections] == ["aborted", "aborted"]
    assert endpoint_of(world).idle_connections == 0


async def test_what_breaks_while_it_is_connected_is_told_apart_from_a_handshake(
    open_world: Opener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for scheme, logged in (("http", 0), ("https", 1)):
        world = await open_world(v2={"endpoints": [f"{scheme}://127.0.0.1:9002"]})
        refuse_first(world, monkeypatch, ConnectionResetError())
        for _ in range(2):
            [client] = await busy(world, 1)
            await world.v1.sends(OK)
            assert client.message().status == 200
        assert world.heard().count("attempt v2 connect") == 2
        told = [record.getMessage() for record in caplog.records]
        assert (
            told == ["https://127.0.0.1:9002: the TLS handshake failed: the connection was closed"] * logged
        )


def refuse_first(world: World, monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    """From now on v2 fails like this at 127.0.0.1."""

    async def create_connection(factory: Any, host: str, port: int, **more: Any) -> object:
        if (host, port) == ("127.0.0.1", 9002):
            raise error
        return await world.create_connection(factory, host, port, **more)

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create_connection)
