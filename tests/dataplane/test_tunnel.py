"""What follows a 101: bytes both ways, and the end of both connections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from proxy.core.breaker import BreakerState
from proxy.dataplane.bounded_reads import READ_BYTES, BoundedReads
from proxy.model import RolloutState, State
from tests.dataplane.test_replace import OTHER, REST, replaced
from tests.dataplane.wire import FAILED, OK, request, settle

if TYPE_CHECKING:
    from tests.dataplane.conftest import Opener
    from tests.dataplane.wire import Peer, World

ASKING = (
    "Connection: keep-alive, Upgrade",
    "Upgrade: WebSocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
HANDSHAKE = request("GET", "/chat", *ASKING)
HANDSHAKE_V1 = request("GET", "/chat", *ASKING, user="")
SWITCHED = (
    b"HTTP/1.1 101 Sure\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pP\r\n"
    b"Keep-Alive: 5\r\n\r\n"
)
GOOD = ["assigned v2", "attempt v2 good", "outcome good"]
CUT = {"on_rollback": "cut", "drain_timeout": "10s"}


async def opened(world: World) -> tuple[Peer, Peer]:
    """A client and v2 with a tunnel between them."""
    client = world.client()
    await client.sends(HANDSHAKE)
    backend = world.v2
    await backend.sends(SWITCHED)
    assert b"GET /chat" in backend.got()
    assert client.got().startswith(b"HTTP/1.1 101 ")
    return client, backend


def published(world: World, state: State, weight: int) -> None:
    """A weight comes into force."""
    world.plane.publish(RolloutState("default", state, weight))


# ... the handshake


async def test_rfc9110_7_8_a_connection_switches_and_bytes_go_both_ways_untouched(world: World) -> None:
    client = world.client()
    await client.sends(HANDSHAKE)
    asked = world.v2.message().fields
    assert asked[b"connection"].lower() == b"upgrade"
    assert asked[b"upgrade"] == b"WebSocket"
    assert asked[b"sec-websocket-key"] == b"dGhlIHNhbXBsZSBub25jZQ=="
    await world.v2.sends(SWITCHED)
    head, empty, rest = client.got().partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    assert start == b"HTTP/1.1 101 Switching Protocols"
    assert sorted(line.lower() for line in lines) == [
        b"connection: upgrade",
        b"sec-websocket-accept: s3pp",
        b"upgrade: websocket",
    ]
    assert (empty, rest) == (b"\r\n\r\n", b"")
    await client.sends(b"\x81\x02hi")
    await world.v2.sends(b"HTTP/1.1 200 OK\r\n\r\n\0\xff")
    assert world.v2.got() == b"\x81\x02hi"
    assert client.got() == b"HTTP/1.1 200 OK\r\n\r\n\0\xff"
    assert world.heard() == GOOD


async def test_what_either_side_says_with_the_handshake_is_not_lost(world: World) -> None:
    client = world.client()
    await client.sends(HANDSHAKE + b"GET /not-a-request HTTP/1.1\r\n\r\n")
    await client.sends(b"\x82more")
    assert world.v2.message().start.startswith(b"GET /chat ")  # and nothing after it
    await world.v2.sends(SWITCHED + b"\x81\x05hello")
    assert world.v2.got() == b"GET /not-a-request HTTP/1.1\r\n\r\n\x82more"
    assert client.got().endswith(b"\r\n\r\n\x81\x05hello")
    assert world.heard() == GOOD


async def test_a_client_that_says_much_before_the_101_is_read_again_after_it(world: World) -> None:
    client = world.client()
    await client.sends(HANDSHAKE)
    await client.sends(b"x" * 70_000)
    assert not client.is_read()
    await world.v2.sends(SWITCHED)
    assert client.is_read()
    assert world.v2.got().endswith(b"x" * 70_000)


async def test_a_handshake_waits_for_its_turn(world: World) -> None:
    client = world.client()
    await client.sends(request() + HANDSHAKE + b"\x81\0")
    await world.v2.sends(OK)
    assert world.v2.messages()[1].start.startswith(b"GET /chat ")
    await world.v2.sends(SWITCHED)
    assert world.v2.got() == b"\x81\0"


async def test_any_other_answer_is_an_ordinary_one_and_the_connection_goes_on(world: World) -> None:
    client = world.client()
    for status in (200, 400, 401, 426):
        await client.sends(HANDSHAKE + request("GET", "/next"))
        await world.v2.sends(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nno" % status)
        assert client.message().status == status
        assert world.v2.messages()[-1].start.startswith(b"GET /next ")
        await world.v2.sends(OK)
        assert client.message().status == 200
    assert world.heard() == GOOD * 8
    assert world.ports == [9002]


async def test_the_latency_is_that_of_the_handshake(world: World) -> None:
    client = world.client()
    await client.sends(HANDSHAKE)
    await world.passes(0.25)
    await world.v2.sends(SWITCHED)
    await world.passes(300)
    await client.leaves()
    assert world.recorder.latencies == [0.25]
    assert world.heard() == GOOD


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (FAILED, "status"),
        (b"SSH-2.0-x\r\n\r\n", "invalid"),
        (SWITCHED.replace(b"websocket", b"irc"), "invalid"),
        (b"HTTP/1.1 101 Sure\r\n\r\n", "invalid"),
        (None, "reset"),
    ],
)
async def test_v1_switches_where_v2_does_not(open_world: Opener, answer: bytes | None, reason: str) -> None:
    world = await open_world(listen={"expose_path": True})
    client = world.client()
    await client.sends(HANDSHAKE + b"\x81\0")
    if answer is None:
        await world.v2.leaves(ConnectionResetError())
    else:
        await world.v2.sends(answer)
    await world.v1.sends(SWITCHED)
    assert b"\r\nX-Dualpath-Path: v1-fallback\r\n" in client.got()
    assert world.v1.got().endswith(b"\r\n\r\n\x81\0")
    assert world.heard()[-2:] == [f"fallback {reason}", "outcome good"]


async def test_v1_switches_where_v2_is_refused_or_silent(open_world: Opener) -> None:
    world = await open_world(listen={"expose_path": True})
    world.refusing.add(9002)
    client = world.client()
    await client.sends(HANDSHAKE)
    await world.v1.sends(SWITCHED)
    assert b"v1-fallback" in client.got()
    world.refusing.clear()
    other = world.client()
    await other.sends(HANDSHAKE)
    await world.passes(10.1)
    await world.v1.sends(SWITCHED)
    assert b"v1-fallback" in other.got()
    assert [line for line in world.heard() if line.startswith("fallback")] == [
        "fallback connect",
        "fallback timeout",
    ]


async def test_a_backend_that_is_gone_with_its_101_has_failed(world: World) -> None:
    client = world.client()
    await client.sends(HANDSHAKE)
    world.v2.transport.close()
    world.v2.transport.protocol.data_received(SWITCHED)
    await settle()
    await world.v1.sends(OK)
    assert client.message().status == 200
    assert world.heard() == ["assigned v2", "attempt v2 reset", "fallback reset", "outcome good"]


async def test_rfc9110_7_8_a_101_that_nobody_asked_for_is_a_failure(world: World) -> None:
    client = world.client()
    await client.sends(request())
    await world.v2.sends(SWITCHED)
    await world.v1.sends(OK)
    assert client.message().status == 200
    assert world.heard()[1] == "attempt v2 invalid"


@pytest.mark.parametrize(
    ("protocols", "protocol", "passes"),
    [
        (["websocket"], "irc", False),
        ([], "websocket", False),
        (["*"], "irc/6.9", True),
        (["*"], "h2c", False),
    ],
)
async def test_only_protocols_that_are_allowed_go_on(
    open_world: Opener, protocols: list[str], protocol: str, passes: bool
) -> None:
    world = await open_world(tunnels={"protocols": protocols})
    client = world.client()
    await client.sends(request("GET", "/x", "Connection: Upgrade", f"Upgrade: {protocol}"))
    asked = world.v2.message().fields
    assert (b"upgrade" in asked) is (b"connection" in asked) is passes
    await world.v2.sends(OK)
    assert client.message().status == 200


@pytest.mark.no_cover
async def test_outside_every_route_websocket_is_allowed(open_world: Opener) -> None:
    world = await open_world(routes=[{"prefix": "/api"}])
    client = world.client()
    await client.sends(HANDSHAKE)
    await world.v1.sends(SWITCHED)
    await client.sends(b"\x81\0")
    assert world.v1.got().endswith(b"\r\n\r\n\x81\0")
    published(world, State.ROLLED_BACK, 0)
    await world.passes(599)
    assert client.end == ""
    await world.passes(2)
    assert client.end == "closed"
    assert world.heard() == []


async def test_the_issued_cookie_comes_with_the_101(open_world: Opener) -> None:
    world = await open_world(key=["cookie:uid"], issue_cookie="uid", percentage=100)
    client = world.client()
    await client.sends(HANDSHAKE)
    await world.v2.sends(SWITCHED)
    assert b"\r\nSet-Cookie: uid=555" in client.got()


async def test_a_tunnel_does_not_keep_a_probe_s_place(open_world: Opener) -> None:
    world = await open_world(breaker={"consecutive_failures": 1, "open_for": "1s", "probes": 1})
    client = world.client()
    await client.sends(request())
    await world.v2.sends(FAILED)
    await world.v1.sends(OK)
    await world.passes(1.1)
    await opened(world)
    assert world.plane.breaker("default") == BreakerState.CLOSED


# ... its bytes


@pytest.mark.parametrize("slow", ["client", "backend"])
async def test_a_side_that_takes_nothing_is_not_written_to_without_end(world: World, slow: str) -> None:
    client, backend = await opened(world)
    reader, writer = (client, backend) if slow == "client" else (backend, client)
    reader.stalls()
    for _ in range(10):
        await writer.sends(b"x" * 30_000)
    assert not writer.is_read()
    assert len(reader.transport.pending) == 90_000  # three pieces: the third went over 64 KiB
    await reader.sends(b"y")
    assert writer.got() == b"y"  # the other direction goes on
    await reader.catches_up()
    assert writer.is_read()
    assert reader.got() == b"x" * 300_000


async def test_a_client_that_does_not_read_its_101_holds_the_backend_back(world: World) -> None:
    client = world.client()
    await client.sends(HANDSHAKE)
    client.stalls()
    await world.v2.sends(SWITCHED + b"x" * 70_000)
    assert not world.v2.is_read()
    await client.catches_up()
    assert world.v2.is_read()


async def test_what_took_no_more_before_the_switch_takes_no_more_after_it(open_world: Opener) -> None:
    world = await open_world(listen={"max_head": "128KiB"})
    world.stalling.add(9002)
    client = world.client()
    client.stalls()
    await client.sends(request("GET", "/chat", *ASKING, "X-Long: " + "y" * 70_000))
    for _ in range(3):
        await world.v2.sends(b"HTTP/1.1 103 Early Hints\r\nX-Long: " + b"y" * 30_000 + b"\r\n\r\n")
    await world.v2.sends(SWITCHED)
    assert (client.is_read(), world.v2.is_read()) == (False, False)
    await client.catches_up()
    await world.v2.catches_up()
    assert (client.is_read(), world.v2.is_read()) == (True, True)


async def test_a_loop_may_be_given_the_room_to_read_into(world: World) -> None:
    client, backend = await opened(world)
    for reader, writer in ((client, backend), (backend, client)):
        side = cast("BoundedReads", writer.transport.protocol)
        room = side.get_buffer(-1)
        assert len(room) == READ_BYTES
        room[:3] = b"abc"
        side.buffer_updated(3)
        room[:3] = b"xyz"
        assert reader.got() == b"abc"


async def test_a_tunnel_that_stands_still_is_closed(open_world: Opener) -> None:
    world = await open_world(tunnels={"idle_timeout": "5s"})
    client, backend = await opened(world)
    for side in (client, backend, client):
        await world.passes(4)
        await side.sends(b"x")
    await world.passes(4.9)
    assert (client.end, backend.end) == ("", "")
    await world.passes(0.7)
    assert (client.end, backend.end) == ("closed", "closed")


async def test_a_slow_reader_is_no_standstill(open_world: Opener) -> None:
    world = await open_world(tunnels={"idle_timeout": "5s"})
    client, backend = await opened(world)
    client.stalls()
    await backend.sends(b"x" * 100_000)
    for _ in range(3):
        await world.passes(4)
        del client.transport.pending[:10]
    assert client.end == ""
    await world.passes(14)
    assert (client.end, backend.end) == ("aborted", "closed")


# ... its end


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
@pytest.mark.parametrize("leaver", ["client", "backend"])
async def test_when_one_side_is_gone_the_other_is_closed(
    world: World, leaver: str, error: Exception | None
) -> None:
    client, backend = await opened(world)
    gone, other = (client, backend) if leaver == "client" else (backend, client)
    gone.transport.can_half_close = error is not None
    await gone.sends(b"bye")
    await gone.leaves(error)
    assert other.got() == b"bye"
    assert other.end == "closed"
    assert world.is_clean()
    assert not world.context.connections
    assert world.heard() == GOOD


async def test_what_is_under_way_still_arrives(world: World) -> None:
    client, backend = await opened(world)
    client.stalls()
    await backend.sends(b"x" * 100_000)
    await backend.leaves(ConnectionResetError())
    await world.passes(1.5)
    del client.transport.pending[:50_000]
    await world.passes(2)  # it takes some: it has time again
    assert client.end == "closed"
    await client.catches_up()
    assert len(client.got()) == 50_000
    assert world.is_clean()


async def test_what_nobody_takes_is_given_up(world: World) -> None:
    client, backend = await opened(world)
    backend.stalls()
    await client.sends(b"x" * 100_000)
    await client.leaves(ConnectionResetError())
    await world.passes(1)
    assert backend.end == "closed"
    published(world, State.RUNNING, 99_000)  # it has no more time for that
    await world.passes(2)
    assert backend.end == "aborted"
    assert world.is_clean()


@pytest.mark.parametrize("first", ["client", "backend"])
async def test_one_side_may_be_done_before_the_other(world: World, first: str) -> None:
    client, backend = await opened(world)
    done, other = (client, backend) if first == "client" else (backend, client)
    await done.sends(b"all of it")
    await done.leaves()
    assert (done.end, other.end) == ("", "half-closed")
    await other.sends(b"an answer")
    assert done.got() == b"an answer"
    assert not world.is_clean()
    other.stalls()
    other.transport.protocol.pause_writing()
    assert done.is_read()  # there is nothing to be read from it: it stays as it is
    other.transport.protocol.resume_writing()
    await other.leaves()
    assert (done.end, other.end) == ("closed", "closed")
    assert world.is_clean()


async def test_a_connection_that_dies_as_it_is_written_to_is_told_of_later(world: World) -> None:
    client, backend = await opened(world)
    backend.transport.lost = True  # uvloop: to write fails from here on
    await client.sends(b"x")
    assert client.end == ""
    backend.transport.lost = False
    await backend.leaves(ConnectionResetError())
    assert client.end == "closed"


async def test_a_client_that_leaves_before_the_101_is_nobody_s_error(world: World) -> None:
    client = world.client()
    await client.sends(HANDSHAKE)
    await client.leaves()
    assert world.v2.end == "aborted"
    assert world.heard() == ["assigned v2", "outcome aborted"]


# ... weights


async def test_at_a_rollback_tunnels_are_kept(world: World) -> None:
    client, backend = await opened(world)
    published(world, State.ROLLED_BACK, 0)
    await world.passes(300)
    assert world.plane.tunnels() == (0, 1)
    await client.sends(b"x")
    assert backend.got() == b"x"
    assert "v2 open" in repr(next(iter(world.context.tunnels)))


async def test_or_they_are_cut_after_a_while(open_world: Opener) -> None:
    world = await open_world(tunnels=CUT)
    client, backend = await opened(world)
    stable = world.client()
    await stable.sends(HANDSHAKE_V1)
    await world.v1.sends(SWITCHED)
    published(world, State.ROLLED_BACK, 0)
    await world.passes(5)
    published(world, State.ROLLED_BACK, 0)  # the time is not drawn out
    await world.passes(4.9)
    await client.sends(b"x")
    assert backend.got() == b"x"
    await world.passes(0.7)
    assert (client.end, backend.end, stable.end) == ("closed", "closed", "")
    assert world.plane.tunnels() == (1, 0)


async def test_a_weight_that_comes_back_in_time_spares_them(open_world: Opener) -> None:
    world = await open_world(tunnels=CUT)
    client, _ = await opened(world)
    published(world, State.ROLLED_BACK, 0)
    await world.passes(9)
    published(world, State.RUNNING, 99_000)
    await world.passes(60)
    assert client.end == ""


async def test_what_an_override_header_sent_to_v2_is_not_cut(open_world: Opener) -> None:
    world = await open_world(tunnels=CUT, percentage=0, override={"networks": ["192.0.2.0/24"]})
    client = world.client()
    await client.sends(request("GET", "/chat", *ASKING, "X-Dualpath-Override: v2"))
    await world.v2.sends(SWITCHED)
    published(world, State.ROLLED_BACK, 0)
    await world.passes(60)
    assert client.end == ""


async def test_what_a_list_sent_to_v2_is_cut_at_a_rollback(open_world: Opener) -> None:
    world = await open_world(tunnels=CUT, percentage=0, allow={"v2": ["u"]})
    client, _ = await opened(world)
    published(world, State.RUNNING, 0)
    await world.passes(60)
    assert client.end == ""
    published(world, State.ROLLED_BACK, 0)
    await world.passes(11)
    assert client.end == "closed"


# ... a reload, and the end of the process


@pytest.mark.no_cover
async def test_tunnels_follow_a_reload_and_outlive_their_pool(world: World) -> None:
    client, backend = await opened(world)
    replaced(world, v2=OTHER, tunnels=CUT)
    await world.passes(300)
    await client.sends(b"x")
    assert backend.got() == b"x"
    published(world, State.ROLLED_BACK, 0)
    await world.passes(11)
    assert (client.end, backend.end) == ("closed", "closed")


async def test_a_rollout_that_is_gone_lets_nobody_go_to_v2(open_world: Opener) -> None:
    world = await open_world(tunnels=CUT)
    client, _ = await opened(world)
    replaced(world, rollouts=[REST])
    await world.passes(11)
    assert client.end == "closed"


async def test_draining_waits_for_tunnels_and_the_stop_cuts_them(open_world: Opener) -> None:
    world = await open_world(listen={"drain_timeout": "3s"})
    client, backend = await opened(world)
    drained = asyncio.create_task(world.plane.drain())
    await world.passes(2.9)
    await client.sends(b"x")
    assert backend.got() == b"x"
    assert not drained.done()
    await world.passes(0.2)
    assert drained.done()
    await world.plane.stop()
    await settle()
    assert (client.end, backend.end) == ("reset", "aborted")
    assert world.is_clean()
    assert world.heard() == GOOD


async def test_draining_waits_for_what_is_under_way(world: World) -> None:
    client, backend = await opened(world)
    backend.stalls()
    await client.sends(b"x" * 1_000)
    drained = asyncio.create_task(world.plane.drain())
    await client.leaves(ConnectionResetError())
    await world.passes(1)
    assert not drained.done()
    await backend.catches_up()
    await world.passes(0.1)
    assert drained.done()
    assert backend.got() == b"x" * 1_000


async def test_draining_ends_with_the_last_tunnel(world: World) -> None:
    client, _ = await opened(world)
    drained = asyncio.create_task(world.plane.drain())
    await world.passes(5)
    await client.leaves(ConnectionResetError())
    await world.passes(0.1)
    assert drained.done()
