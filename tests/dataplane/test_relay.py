"""The answer on its way to the client: framing, persistence, fields of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.dataplane.wire import DATE, FAILED, GET, OK, request

if TYPE_CHECKING:
    from tests.dataplane.conftest import Opener
    from tests.dataplane.wire import World


async def test_rfc9112_7_1_a_chunked_answer_is_chunked_anew(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;ext\r\nabc\r\n2\r\nde\r\n")
    assert client.got() == b"HTTP/1.1 200 OK\r\n" + DATE + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"
    await world.v2.sends(b"1\r\n")
    assert client.got() == b""
    await world.v2.sends(b"f\r\n0\r\nX-Trailer: 1\r\n\r\n")
    assert client.got() == b"1\r\nf\r\n0\r\n\r\n"
    await client.sends(GET)
    await world.v2.sends(OK)
    assert client.message().status == 200
    assert world.ports == [9002]


async def test_rfc9112_6_3_an_answer_that_ends_with_its_connection_is_chunked_for_http_1_1(
    world: World,
) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\n\r\nabc")
    await world.v2.sends(b"def")
    await world.v2.leaves()
    answer = client.message()
    assert (answer.body, answer.fields[b"transfer-encoding"]) == (b"abcdef", b"chunked")
    assert client.end == ""
    assert world.heard() == ["assigned v2", "attempt v2 good", "outcome good"]


@pytest.mark.parametrize("framing", [b"", b"Transfer-Encoding: chunked\r\n"])
async def test_rfc9112_6_3_for_http_1_0_a_body_of_unknown_length_ends_with_the_connection(
    world: World, framing: bytes
) -> None:
    client = world.client()
    await client.sends(request("GET", "/x", "Connection: keep-alive", version="1.0"))
    await world.v2.sends(
        b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n" + (b"3\r\nabc\r\n0\r\n\r\n" if framing else b"abc")
    )
    if not framing:
        await world.v2.leaves()
    assert client.got() == b"HTTP/1.1 200 OK\r\n" + DATE + b"Connection: close\r\n\r\nabc"
    assert client.end == "closed"


async def test_rfc9112_8_a_reset_is_no_end_of_an_answer_without_length(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\n\r\nabc")
    await world.v2.leaves(ConnectionResetError())
    assert client.end == "reset"
    assert not client.got().endswith(b"0\r\n\r\n")
    assert world.heard() == ["assigned v2", "attempt v2 truncated", "outcome failed"]


BROKEN = {
    "short": (b"Content-Length: 9\r\n\r\nabc", b""),
    "short chunk": (b"Transfer-Encoding: chunked\r\n\r\n9\r\nabc", b""),
    "no last chunk": (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b""),
    "broken chunk": (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"zz\r\n"),
    "chunk line with a lone LF": (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"3\nabc\n0\n\n"),
    "endless trailers": (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"0\r\n" + b"X: y\r\n" * 200),
}


@pytest.mark.parametrize(("begins", "goes_on"), BROKEN.values(), ids=BROKEN.keys())
async def test_rfc9112_8_an_incomplete_answer_is_never_passed_on_as_complete(
    world: World, begins: bytes, goes_on: bytes
) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\n" + begins)
    if goes_on:
        await world.v2.sends(goes_on)
    else:
        await world.v2.leaves()
    assert client.end == "reset"
    assert not client.got().endswith(b"0\r\n\r\n")
    assert world.heard() == ["assigned v2", "attempt v2 truncated", "outcome failed"]


@pytest.mark.parametrize("length", [b"Content-Length: 70\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_rfc9112_6_3_an_answer_to_head_has_no_body_and_its_connection_stays(
    world: World, length: bytes
) -> None:
    client = world.client()
    for _ in range(2):
        await client.sends(request("HEAD"))
        await world.v2.sends(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n")
        answer = client.message(bodiless=True)
        assert answer.fields.get(b"content-length") == (b"70" if b"70" in length else None)
        assert b"transfer-encoding" not in answer.fields
    await client.sends(GET)
    await world.v2.sends(OK)
    assert client.message().body == b"ok"
    assert world.ports == [9002]


async def test_rfc9112_6_3_304_and_204_have_no_body(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 70\r\nETag: x\r\n\r\n")
    assert client.message(bodiless=True).fields[b"content-length"] == b"70"  # RFC 9110 section 8.6
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
    assert b"content-length" not in client.message(bodiless=True).fields
    assert world.ports == [9002]


async def test_a_304_with_an_invalid_length_passes_none_on(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 304 Not Modified\r\nContent-Length:\r\n\r\n")
    assert b"content-length" not in client.got().lower()


async def test_a_large_answer_goes_through_in_pieces(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"a" * 50_000)
    await world.v2.sends(b"b" * 150_000)
    assert client.message().body == b"a" * 50_000 + b"b" * 150_000
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await world.v2.sends(b"c350\r\n" + b"c" * 50_000 + b"\r\n0\r\n\r\n")
    assert client.message().body == b"c" * 50_000


async def test_rfc9110_6_6_1_a_date_is_added_only_where_it_is_missing(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nDate: yesterday\r\nContent-Length: 0\r\n\r\n")
    assert client.message().fields[b"date"] == b"yesterday"


@pytest.mark.parametrize(("status", "start"), [(299, b"HTTP/1.1 299 "), (999, b"HTTP/1.1 999 ")])
async def test_rfc9112_4_an_unregistered_status_has_no_phrase(
    world: World, status: int, start: bytes
) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 %d Strange\r\nContent-Length: 0\r\n\r\n" % status)
    assert client.message().start == start


async def test_the_path_is_shown_where_it_is_to_be(open_world: Opener) -> None:
    world = await open_world(listen={"expose_path": True})
    client = world.client()
    shown = []
    for first, second in [(OK, b""), (FAILED, OK), (FAILED, FAILED)]:
        await client.sends(GET)
        await world.v2.sends(first)
        if second:
            await world.v1.sends(second)
        shown.append(client.message().fields[b"x-dualpath-path"])
    await client.sends(request(user=""))
    await world.v1.sends(OK)
    shown.append(client.message().fields[b"x-dualpath-path"])
    assert shown == [b"v2", b"v1-fallback", b"v2", b"v1"]


async def test_while_draining_every_answer_closes_its_connection(world: World) -> None:
    client, other = world.client(), world.client()
    await client.sends(GET)
    await other.sends(request("GET", user=""))
    world.context.draining = True
    await world.v2.sends(OK)
    await world.v1.leaves()
    assert client.message().fields[b"connection"] == b"close"
    answer = other.message()
    assert (answer.status, answer.fields[b"connection"]) == (502, b"close")
    assert client.end == other.end == "closed"


async def test_an_answer_of_ours_to_head_has_no_body(world: World) -> None:
    world.refusing |= {9001, 9002}
    client = world.client()
    await client.sends(request("HEAD"))
    answer = client.message(bodiless=True)
    assert answer.status == 502
    assert client.end == ""


# ... Max-Forwards


async def test_rfc9110_7_6_2_options_with_max_forwards_0_is_answered_here(open_world: Opener) -> None:
    for routes in ([{"prefix": "/"}], [{"prefix": "/api"}]):
        world = await open_world(routes=routes)
        client = world.client()
        await client.sends(request("OPTIONS", "/x", "Max-Forwards: 0"))
        assert client.message().status == 200
        await client.sends(request("OPTIONS", "/x", "Max-Forwards: 0", body=b"abc")[:-1])
        assert client.message().fields[b"connection"] == b"close"
        assert world.dialled == []


async def test_rfc9112_9_3_a_client_of_http_1_0_is_told_that_its_connection_stays(open_world: Opener) -> None:
    world = await open_world(fallback={"on": []})
    client = world.client()
    for line, answer in (("Max-Forwards: 0", 200), ("X-A: 1", 502)):
        await client.sends(request("OPTIONS", "/x", "Connection: keep-alive", line, version="1.0"))
        if answer == 502:
            await world.v2.sends(b"nonsense\r\n\r\n")
        told = client.message()
        assert (told.status, told.fields[b"connection"], client.end) == (answer, b"keep-alive", "")


async def test_rfc9110_9_3_8_a_trace_for_us_reflects_nothing(world: World) -> None:
    client = world.client()
    await client.sends(request("TRACE", "/x", "Max-Forwards: 0", "Cookie: secret"))
    answer = client.message()
    assert answer.status == 405
    assert b"secret" not in answer.body
    assert world.heard() == ["assigned v2", "outcome good"]


async def test_rfc9110_7_6_2_max_forwards_above_0_is_decremented(world: World) -> None:
    client = world.client()
    await client.sends(request("OPTIONS", "/x", "Max-Forwards: 5"))
    assert world.v2.message().fields[b"max-forwards"] == b"4"
    await world.v2.sends(OK)
    assert client.message().status == 200


@pytest.mark.parametrize(
    ("protocols", "named", "told"),
    [
        (["websocket"], "websocket", b"websocket"),
        (["websocket"], "h2c, WebSocket/13 , IRC/6.9,websocket", b"websocket"),
        (["*"], "TLS/1.0, HTTP/2.0, WebSocket, IRC/6.9", b"WebSocket, IRC/6.9"),
        (["websocket"], "IRC/6.9", None),
        ([], "websocket", None),
        (["*"], "web socket", None),
    ],
)
async def test_rfc9110_15_5_22_what_a_426_asks_for_is_said_if_it_can_be_had(
    open_world: Opener, protocols: list[str], named: str, told: bytes | None
) -> None:
    world = await open_world(tunnels={"protocols": protocols})
    client = world.client()
    await client.sends(GET)
    head = f"HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: {named}\r\n"
    await world.v2.sends(head.encode() + b"Content-Length: 2\r\n\r\nno")
    answer = client.message()
    assert answer.fields.get(b"upgrade") == told
    assert answer.fields.get(b"connection") == (None if told is None else b"upgrade")
    assert (answer.status, answer.body, client.end) == (426, b"no", "")
