"""A backend that is to have only so many requests at once: who waits, in which order, and for how long."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

from tests.dataplane.wire import GET, GET_V1, OK, request

if TYPE_CHECKING:
    import pytest

    from proxy.dataplane.waiting import Waiting
    from tests.dataplane.conftest import Opener
    from tests.dataplane.wire import Peer, World

ONE_AT_ONCE = {"max_requests": 1, "max_pending": 2, "pending_timeout": "200ms"}


def line_of(world: World) -> Waiting:
    waiting = world.context.v1.waiting
    assert waiting is not None
    return waiting


async def arrive(world: World, *requests: bytes) -> list[Peer]:
    """So many clients, each with its request."""
    clients = [world.client() for _ in requests]
    for client, data in zip(clients, requests, strict=True):
        await client.sends(data)
    return clients


async def test_without_a_limit_nobody_waits(world: World) -> None:
    await arrive(world, *[GET_V1] * 50)
    assert world.ports == [9001] * 50
    assert world.context.v1.waiting is None


async def test_who_waits_is_served_in_order_and_on_the_connection_that_has_come_free(
    open_world: Opener,
) -> None:
    world = await open_world(v1=ONE_AT_ONCE)
    clients = await arrive(world, *(request(target=f"/{n}", user="") for n in range(3)))
    assert repr(line_of(world)) == "<Waiting 2 behind 1 of 1>"
    for number, client in enumerate(clients):
        assert world.v1.message().start == b"GET /%d HTTP/1.1" % number
        await world.v1.sends(OK)
        assert client.message().status == 200
    assert world.ports == [9001]
    assert world.heard() == ["assigned v1"] * 3 + ["attempt v1 good", "outcome good"] * 3


async def test_a_newcomer_does_not_overtake_who_waits(open_world: Opener) -> None:
    world = await open_world(v1={**ONE_AT_ONCE, "max_requests": 2})
    first, _, third = await arrive(world, *(request(target=f"/{n}", user="") for n in range(3)))
    fourth = world.client()
    first.transport.lose(None)  # its place is free, and the next one's turn comes in a moment
    fourth.transport.protocol.data_received(request(target="/late", user=""))
    await world.passes(0)
    assert world.v1.message().start == b"GET /2 HTTP/1.1"
    await third.leaves()
    assert world.v1.message().start == b"GET /late HTTP/1.1"


async def test_one_too_many_for_v1_is_told_to_come_again(open_world: Opener) -> None:
    world = await open_world(v1=ONE_AT_ONCE)
    clients = await arrive(world, *[GET_V1] * 4)
    answer = clients[3].message()
    assert (answer.status, answer.fields[b"retry-after"]) == (503, b"1")
    assert clients[3].end == ""  # the connection stays
    assert world.heard() == ["assigned v1"] * 4  # no attempt, and no outcome: it says nothing about v1
    await clients[3].sends(GET_V1)
    assert clients[3].message().status == 503


async def test_who_waits_too_long_for_v1_is_told_to_come_again(open_world: Opener) -> None:
    world = await open_world(v1=ONE_AT_ONCE)
    _, second = await arrive(world, GET_V1, GET_V1)
    await world.passes(0.15)
    assert second.got() == b""
    await world.passes(0.1)
    assert second.message().status == 503
    assert world.heard() == ["assigned v1"] * 2
    assert len(world.context.active) == 1


async def test_one_too_many_for_v2_is_v1_s_and_not_v2_s_error(open_world: Opener) -> None:
    world = await open_world(v2={**ONE_AT_ONCE, "max_pending": 0})
    _, second = await arrive(world, GET, request("POST", body=b"x"))
    assert world.ports == [9002, 9001]
    await world.v1.sends(OK)
    assert second.message().status == 200
    assert world.heard() == ["assigned v2"] * 2 + ["fallback unavailable", "outcome good"]


async def test_who_waits_too_long_for_v2_is_v1_s(open_world: Opener) -> None:
    world = await open_world(v2=ONE_AT_ONCE)
    await arrive(world, GET, GET)
    await world.passes(0.25)
    assert world.ports == [9002, 9001]
    await world.v1.sends(OK)
    assert world.heard() == ["assigned v2"] * 2 + ["fallback unavailable", "outcome good"]


async def test_who_finds_no_room_at_either_is_told_to_come_again(open_world: Opener) -> None:
    full = {**ONE_AT_ONCE, "max_pending": 0}
    world = await open_world(v1=full, v2=full)
    _, _, third = await arrive(world, GET_V1, GET, GET)
    assert third.message().status == 503
    assert "fallback unavailable" not in world.heard()


async def test_no_room_at_v1_leaves_v2_s_answer(open_world: Opener) -> None:
    world = await open_world(v1={**ONE_AT_ONCE, "max_pending": 0})
    _, second = await arrive(world, GET_V1, GET)
    await world.v2.sends(b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nv2")
    answer = second.message()
    assert (answer.status, answer.body) == (500, b"v2")
    assert b"retry-after" not in answer.fields


async def test_a_client_that_leaves_while_it_waits_gives_up_its_place(open_world: Opener) -> None:
    world = await open_world(v1=ONE_AT_ONCE)
    first, second, third = await arrive(world, *(request(target=f"/{n}", user="") for n in range(3)))
    await second.leaves()
    assert repr(line_of(world)) == "<Waiting 1 behind 1 of 1>"
    await first.leaves()
    assert world.v1.message().start == b"GET /2 HTTP/1.1"
    await world.v1.sends(OK)
    assert third.message().status == 200
    assert world.heard()[3:] == ["outcome aborted"] * 2 + ["attempt v1 good", "outcome good"]


async def test_the_body_of_who_waits_is_kept_and_no_more_than_that(open_world: Opener) -> None:
    world = await open_world(v1=ONE_AT_ONCE)
    first, second = await arrive(
        world, GET_V1, b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" + b"x" * 70_000
    )
    assert not second.is_read()
    await world.v1.sends(OK)
    assert second.is_read()
    assert len(world.v1.got()) > 70_000
    await first.leaves()
    await second.leaves()


async def test_a_failed_attempt_frees_its_place_too(open_world: Opener) -> None:
    world = await open_world(v1=ONE_AT_ONCE)
    first, second = await arrive(world, GET_V1, GET_V1)
    await world.v1.sends(b"garbage\r\n\r\n")
    assert first.message().status == 502
    await world.v1.sends(OK)
    assert second.message().status == 200


async def test_an_open_breaker_is_heeded_when_the_turn_has_come(open_world: Opener) -> None:
    breaker = {"consecutive_failures": 1, "open_for": "10s"}
    world = await open_world(v2=ONE_AT_ONCE, breaker=breaker)
    first, second = await arrive(world, GET, GET)
    await world.v2.sends(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")
    assert world.ports == [9002, 9001, 9001]
    await world.connections[1].sends(OK)
    await world.connections[2].sends(OK)
    assert (first.message().status, second.message().status) == (200, 200)
    assert [line for line in world.heard() if line.startswith("fallback")] == [
        "fallback status",
        "fallback breaker",
    ]


async def test_nobody_waits_behind_a_breakers_probes(open_world: Opener) -> None:
    breaker = {"consecutive_failures": 1, "open_for": "100ms", "probes": 3}
    world = await open_world(v2={**ONE_AT_ONCE, "max_requests": 2}, breaker=breaker)
    await arrive(world, GET)
    await world.v2.sends(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")
    await world.passes(0.15)
    await arrive(world, GET, GET)
    assert world.ports.count(9001) == 1
    await arrive(world, GET)
    assert world.ports.count(9001) == 2
    assert repr(world.context.v2.waiting) == "<Waiting 0 behind 2 of 2>"


async def test_the_end_finds_those_who_wait(open_world: Opener) -> None:
    world = await open_world(v1=ONE_AT_ONCE)
    await arrive(world, *[GET_V1] * 3)
    await world.plane.stop()
    assert not world.context.active
    assert repr(line_of(world)) == "<Waiting 0 behind 0 of 1>"


# ... no means to ask anybody


async def test_no_file_descriptor_left_is_not_v2_s_fault(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = world.client()
    await client.sends(GET_V1)
    await world.v1.sends(OK)
    client.got()
    world.heard()
    exhaust(monkeypatch, errno.EMFILE)
    await client.sends(request("POST", body=b"x"))
    await world.v1.sends(OK)  # it had a connection
    assert client.message().status == 200
    assert world.heard() == ["assigned v2", "fallback unavailable", "outcome good"]


async def test_no_file_descriptor_and_no_connection_left_is_nobody_s_fault(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code in (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS):
        exhaust(monkeypatch, code)
        client = world.client()
        await client.sends(GET)
        answer = client.message()
        assert (answer.status, answer.fields[b"retry-after"]) == (503, b"1")
        assert world.heard() == ["assigned v2"]
    assert world.is_clean()


def exhaust(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """From now on every connection fails like this."""

    async def fails(*_: object, **__: object) -> None:
        raise OSError(code, "as configured")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", fails)
