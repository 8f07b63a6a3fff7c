"""One client connection: parsing, refusals, order, persistence."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.dataplane.wire import GET, GET_V1, OK, TranscriptRecorder, request, settle
from tests.dataplane.wire import settings as configured

if TYPE_CHECKING:
    from tests.dataplane.conftest import Opener
    from tests.dataplane.wire import Peer, World


async def refused(world: World, *reads: bytes) -> int:
    """The status of the answer to what breaks a rule; nothing of it may reach an upstream."""
    client = world.client()
    for data in reads:
        await client.sends(data)
    answer = client.message()
    assert answer.fields[b"connection"] == b"close"
    assert answer.fields[b"content-type"] == b"application/problem+json"
    assert client.end == "half-closed"
    assert world.dialled == []
    assert world.heard() == []
    return answer.status


# ... refusals

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(b"nonsense\r\n\r\n", 400, id="RFC 9112 section 3, no request line"),
        pytest.param(b"F,O / HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="RFC 9110 section 9.1, no token"),
        pytest.param(b"F" * 65 + b" / HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="a method without end"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="RFC 9112 section 3.2, no Host"),
        pytest.param(HEAD + b"Host: a\r\n\r\n", 400, id="RFC 9112 section 3.2, two Hosts"),
        pytest.param(b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, id="RFC 9112 section 3.2, empty Host"),
        pytest.param(b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="RFC 9112 section 3.2.1, fragment"),
        pytest.param(HEAD + b"X : y\r\n\r\n", 400, id="RFC 9112 section 5.1, space before the colon"),
        pytest.param(HEAD + b"X: y\r\n z\r\n\r\n", 400, id="RFC 9112 section 5.2, folded line"),
        pytest.param(HEAD + b"X: y\rz\r\n\r\n", 400, id="RFC 9112 section 2.2, bare CR"),
        pytest.param(HEAD.replace(b"\r\n", b"\n") + b"\n", 400, id="RFC 9112 section 2.2, bare LF"),
        pytest.param(HEAD + b"X: a\0b\r\n\r\n", 400, id="RFC 9110 section 5.5, NUL in a value"),
        pytest.param(HEAD + b"X_Forwarded_For: b\r\n\r\n", 400, id="twin of a field of ours"),
        pytest.param(
            HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            id="RFC 9112 section 6.3, both",
        ),
        pytest.param(
            HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
            400,
            id="RFC 9112 section 6.3, final coding not chunked",
        ),
        pytest.param(
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            id="RFC 9112 section 6.1, chunked in 1.0",
        ),
        pytest.param(HEAD + b"Content-Length: +3\r\n\r\n", 400, id="RFC 9112 section 6.3, invalid length"),
        pytest.param(
            b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="RFC 9112 section 3.2.3, authority-form"
        ),
        pytest.param(HEAD + b"Expect: magic\r\n\r\n", 417, id="RFC 9110 section 10.1.1, unknown expectation"),
        pytest.param(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, id="RFC 9110 section 15.6.6, HTTP/2"),
        pytest.param(b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505, id="RFC 9110 section 15.6.6, HTTP/3"),
        pytest.param(b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, id="RFC 9110 section 15.6.6, HTTP/0.9"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, id="RFC 9110 section 15.6.6, HTTP/2 preface"),
    ],
)
async def test_a_request_that_breaks_a_rule_is_refused(world: World, data: bytes, status: int) -> None:
    if data.startswith(b"CONNECT"):
        status = 405  # RFC 9110 section 9.3.6
    assert await refused(world, data) == status


async def test_an_unfinished_head_over_the_limit_is_refused_431(world: World) -> None:
    assert await refused(world, HEAD + b"X: " + b"y" * 20_000, b"y" * 20_000) == 431


async def test_a_finished_head_over_the_limit_is_refused_431(world: World) -> None:
    assert await refused(world, HEAD + b"X: " + b"y" * 33_000 + b"\r\n\r\n") == 431


async def test_too_many_fields_are_refused_431(world: World) -> None:
    assert await refused(world, HEAD + b"X: y\r\n" * 100 + b"\r\n") == 431


async def test_a_target_over_the_limit_is_refused_414(world: World) -> None:
    assert await refused(world, b"GET /" + b"x" * 17_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n") == 414


async def test_an_unfinished_target_over_the_limit_is_refused_414(world: World) -> None:
    assert await refused(world, b"GET /" + b"x" * 40_000) == 414


async def test_rfc9112_3_a_request_line_of_8000_bytes_passes(world: World) -> None:
    client = world.client()
    await client.sends(b"GET /" + b"x" * 7_990 + b" HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 99 + b"\r\n")
    await world.v1.sends(OK)
    assert client.message().status == 200


async def test_a_body_in_the_same_read_does_not_count_as_head(world: World) -> None:
    client = world.client()
    await client.sends(request("POST", body=b"x" * 60_000))
    assert len(world.v2.message().body) == 60_000
    await world.v2.sends(OK)
    assert client.message().status == 200


@pytest.mark.parametrize(
    "flood", [b"5;" + b"x" * 40_000, b"1\r\na\r\n0\r\n" + b"X-T: y\r\n" * 8_000, b"0\r\nX: " + b"y" * 40_000]
)
async def test_rfc9112_7_1_1_extensions_and_trailers_are_bounded(world: World, flood: bytes) -> None:
    client = world.client()
    await client.sends(request("POST", "/x", "Transfer-Encoding: chunked"))
    await client.sends(flood)
    assert client.message().status == 431
    assert world.v2.end == "aborted"
    assert world.heard() == ["assigned v2", "outcome aborted"]


async def test_many_small_chunks_are_no_flood(world: World) -> None:
    client = world.client()
    await client.sends(request("POST", "/x", "Transfer-Encoding: chunked"))
    for _ in range(10):
        await client.sends(b"1\r\nx\r\n" * 10_000)
    await client.sends(b"0\r\n\r\n")
    assert world.v2.message().body == b"x" * 100_000
    await world.v2.sends(OK)
    assert client.message().status == 200


async def test_rfc9112_7_1_a_broken_chunk_is_refused_and_the_upstream_cancelled(world: World) -> None:
    client = world.client()
    await client.sends(request("POST", "/x", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n")
    await client.sends(b"zz\r\n")
    assert client.message().status == 400
    assert (client.end, world.v2.end) == ("half-closed", "aborted")
    assert world.heard() == ["assigned v2", "outcome aborted"]


async def test_rfc9112_7_1_a_broken_chunk_under_an_answer_breaks_the_connection(world: World) -> None:
    client = world.client()
    await client.sends(request("POST", "/x", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n")
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    await client.sends(b"zz\r\n")
    assert (client.end, world.v2.end) == ("reset", "aborted")
    assert world.heard() == ["assigned v2", "outcome aborted"]


async def test_a_broken_body_in_a_pipelined_request_is_refused_after_its_predecessor(world: World) -> None:
    client = world.client()
    await client.sends(GET + request("POST", "/y", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n")
    await client.sends(b"zz\r\n")
    assert client.got() == b""
    await world.v2.sends(OK)
    assert [answer.status for answer in client.messages()] == [200, 400]
    assert world.heard() == ["assigned v2", "attempt v2 good", "outcome good"]


async def test_rfc9112_9_3_2_a_refusal_waits_for_the_answers_before_it(world: World) -> None:
    client = world.client()
    await client.sends(GET + GET + b"nonsense\r\n\r\n" + GET)
    assert client.got() == b""
    await world.v2.sends(OK)
    await world.v2.sends(OK)
    assert [answer.status for answer in client.messages()] == [200, 200, 400]
    assert client.end == "half-closed"
    await client.sends(GET)
    assert world.ports == [9002]


async def test_nothing_that_follows_a_refusal_in_the_same_read_is_looked_at(world: World) -> None:
    assert await refused(world, b"GET / HTTP/1.1\r\n\r\n" + GET) == 400


async def test_the_body_of_a_refused_request_goes_nowhere(world: World) -> None:
    assert await refused(world, HEAD + b"Expect: magic\r\nContent-Length: 3\r\n\r\nabc") == 417


# ... what is no fault


async def test_rfc9112_2_2_an_empty_line_before_the_request_is_skipped(world: World) -> None:
    client = world.client()
    await client.sends(b"\r\n" + GET)
    await world.v2.sends(OK)
    await client.sends(b"\r\n" + GET)
    await world.v2.sends(OK)
    assert [answer.status for answer in client.messages()] == [200, 200]


async def test_rfc9110_7_8_a_wish_to_upgrade_is_ignored(world: World) -> None:
    client = world.client()
    upgrade = ("Connection: upgrade", "Upgrade: h2c")
    await client.sends(request("GET", "/x", *upgrade) + GET)
    assert b"pgrade" not in world.v2.got()
    await world.v2.sends(OK)
    await world.v2.sends(OK)
    await client.sends(request("POST", "/x", *upgrade, body=b"abc"))
    assert world.v2.got().endswith(b"\r\n\r\nabc")
    await world.v2.sends(OK)
    await client.sends(request("POST", "/x", *upgrade, "Content-Length: 3") + b"a")
    await client.sends(b"bc" + GET)
    assert world.v2.got().endswith(b"\r\n\r\nabc")
    await world.v2.sends(OK)
    await world.v2.sends(OK)
    assert [answer.status for answer in client.messages()] == [200] * 5


async def test_rfc9112_5_1_white_space_after_values_is_no_part_of_them(world: World) -> None:
    client = world.client()
    await client.sends(b"POST / HTTP/1.1\r\nHost: a \r\nX-User: u\t\r\nContent-Length: 2 \r\n\r\nab")
    assert world.v2.message().fields[b"host"] == b"a"
    await world.v2.sends(OK)
    assert client.message().status == 200


# ... pipelining and persistence


async def test_rfc9112_9_3_2_pipelined_answers_keep_their_order(world: World) -> None:
    client = world.client()
    await client.sends(request(target="/1") + request(target="/2", user="") + request(target="/3"))
    assert world.ports == [9002]
    await world.v2.sends(OK.replace(b"ok", b"v2"))
    await world.v1.sends(OK.replace(b"ok", b"v1"))
    assert world.v2.messages()[-1].start == b"GET /3 HTTP/1.1"
    await world.v2.sends(OK)
    assert [answer.body for answer in client.messages()] == [b"v2", b"v1", b"ok"]


async def test_requests_that_arrive_during_an_answer_wait_unparsed(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await client.sends(request(target="/2")[:20])
    await client.sends(request(target="/2")[20:] + request(target="/3"))
    for _ in range(3):
        await world.v2.sends(OK)
    assert [sent.start[:6] for sent in world.v2.messages()] == [b"GET /x", b"GET /2", b"GET /3"]
    assert len(client.messages()) == 3


async def test_a_pipelining_flood_is_paused_and_answered(world: World) -> None:
    client = world.client()
    flood = 5_000
    await client.sends(GET * flood)
    await client.sends(GET)
    assert not client.is_read()
    for _ in range(flood + 1):
        await world.v2.sends(OK)
    assert len(client.messages()) == flood + 1
    assert client.is_read()


async def test_a_flood_of_requests_that_are_answered_at_once_does_not_dig_itself_in(world: World) -> None:
    client = world.client()
    await client.sends(b"OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n" * 2_000)
    await settle()
    assert len(client.messages()) == 2_000


async def test_a_flood_of_wishes_to_upgrade_does_not_dig_itself_in(world: World) -> None:
    client = world.client()
    wish = b"OPTIONS * HTTP/1.1\r\nHost:a\r\nMax-Forwards:0\r\nConnection:upgrade\r\nUpgrade:x\r\n\r\n"
    await client.sends(wish * 2_000)
    await settle()
    assert len(client.messages()) == 2_000


async def test_rfc9112_2_3_rtsp_is_not_http(world: World) -> None:
    assert await refused(world, b"OPTIONS /a RTSP/1.0\r\nHost: a\r\n\r\n") == 400


async def test_rfc9112_2_3_rtsp_is_not_http_in_pieces_either(world: World) -> None:
    data = b"OPTIONS /a RTSP/1.0\r\nHost: a\r\n\r\n"
    assert await refused(world, *(data[at : at + 1] for at in range(len(data)))) == 400


async def test_a_large_upload_behind_pipelined_requests_arrives_whole(world: World) -> None:
    client = world.client()
    body = bytes(range(256)) * 200
    await client.sends(GET + GET + request("PUT", "/up", body=body) + GET)
    await world.v2.sends(OK)
    await world.v2.sends(OK)
    world.v2.got()
    await world.v2.sends(OK)
    await world.v2.sends(OK)
    assert len(client.messages()) == 4


async def test_a_client_that_asks_on_without_reading_is_not_answered_on(world: World) -> None:
    client = world.client()
    client.stalls()
    await client.sends(GET * 50)
    big = b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"x" * 90_000
    await world.v2.sends(big)
    assert len(world.v2.messages()) == 1
    await client.sends(GET)
    assert len(client.transport.pending) < 100_000
    await client.catches_up()
    for _ in range(50):
        await world.v2.sends(OK)
    assert len(client.messages()) == 51


async def test_answers_of_ours_are_held_back_too_from_a_client_that_does_not_read(world: World) -> None:
    client = world.client()
    client.stalls()
    await client.sends(b"OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n" * 2_000)
    assert len(client.transport.pending) < 70_000
    await client.catches_up()
    assert len(client.messages()) == 2_000


async def test_a_client_that_reads_its_last_answer_late_gets_all_of_it(world: World) -> None:
    client = world.client()
    client.stalls()
    await client.sends(request("GET", "/x", "Connection: close"))
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"x" * 90_000)
    await world.passes(20)
    await client.catches_up()
    assert len(client.message().body) == 90_000
    assert not world.context.connections


async def test_a_half_head_that_waited_is_finished_later(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await client.sends(GET[:20])
    await world.v2.sends(OK)
    await client.sends(GET[20:])
    await world.v2.sends(OK)
    assert len(client.messages()) == 2


async def test_a_client_that_never_reads_its_answer_is_cut_off(world: World) -> None:
    client = world.client()
    client.stalls()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"x" * 90_000)
    await world.passes(29)
    assert client.end == ""
    await world.passes(1.6)
    assert client.end == "aborted"
    assert not world.context.connections


@pytest.mark.parametrize("fields", [(), ("Connection: close",)])
async def test_a_client_that_takes_some_of_its_answer_and_no_more_is_cut_off(
    world: World, fields: tuple[str, ...]
) -> None:
    client = world.client()
    client.stalls()
    await client.sends(request("GET", "/x", *fields))
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"x" * 90_000)
    await world.passes(0.2)
    del client.transport.pending[:1_000]
    await world.passes(29.4)
    assert not client.transport.lost
    await world.passes(2)
    assert client.end == "aborted"
    assert not world.context.connections


async def test_a_client_that_was_slow_once_is_not_kept_for_longer_when_it_idles(world: World) -> None:
    client = world.client()
    client.stalls()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"x" * 90_000)
    await client.catches_up()
    await world.passes(76)
    assert client.end == "closed"


async def test_a_client_that_never_reads_its_last_answer_is_cut_off(world: World) -> None:
    client = world.client()
    client.stalls()
    await client.sends(request("GET", "/x", "Connection: close"))
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"x" * 90_000)
    assert client.end == "closed"
    await world.passes(31)
    assert client.end == "aborted"
    assert not world.context.connections


async def test_rfc9112_9_6_close_is_honoured_and_nothing_after_it_is_processed(world: World) -> None:
    client = world.client()
    await client.sends(request("GET", "/x", "Connection: close") + GET)
    await world.v2.sends(OK)
    assert client.message().fields[b"connection"] == b"close"
    # What came behind it is read and dropped for a while: a reset could overtake the answer.
    assert client.end == "half-closed"
    await world.passes(2.6)
    assert client.end != "half-closed"
    assert len(world.v2.messages()) == 1


async def test_rfc9112_9_3_http_1_0_closes_unless_it_is_asked_not_to(world: World) -> None:
    client = world.client()
    await client.sends(request("GET", "/x", "Connection: keep-alive", version="1.0"))
    await world.v2.sends(OK)
    assert client.message().fields[b"connection"] == b"keep-alive"
    await client.sends(request(version="1.0"))
    await world.v2.sends(OK)
    answer = client.message()
    assert (answer.start, answer.fields[b"connection"]) == (b"HTTP/1.1 200 OK", b"close")
    assert client.end == "closed"


# ... deadlines of a connection


async def test_a_head_that_takes_too_long_is_refused_408(world: World) -> None:
    client = world.client()
    await client.sends(b"GET / HT")
    for _ in range(9):
        await world.passes(1)
        await client.sends(b"T" if client.got() else b"")
    assert client.end == ""
    await world.passes(1.6)
    assert client.message().status == 408
    assert client.end == "half-closed"
    await world.passes(3)
    assert client.end == "aborted"  # it is not lingered over for ever
    assert world.heard() == []


async def test_a_head_of_single_bytes_does_not_win_time(world: World) -> None:
    client = world.client()
    for at in range(11):
        await client.sends(GET[at : at + 1])
        await world.passes(1)
    assert client.message().status == 408


async def test_a_client_that_says_nothing_is_closed(world: World) -> None:
    client = world.client()
    await world.passes(9.5)
    assert client.end == ""
    await world.passes(1.1)
    assert (client.end, client.got()) == ("closed", b"")


async def test_an_idle_client_is_closed_after_the_keep_alive_time(open_world: Opener) -> None:
    world = await open_world(listen={"keepalive_timeout": "20s"})
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(OK)
    await world.passes(19.4)
    assert client.end == ""
    await world.passes(1.2)
    assert client.end == "closed"


async def test_a_half_received_successor_does_not_cut_off_a_running_request(open_world: Opener) -> None:
    world = await open_world(v2={"response_timeout": "29s"}, fallback={"enabled": False})
    client = world.client()
    await client.sends(request("POST", "/x", "Content-Length: 3"))
    await client.sends(b"abc" + GET[:20])
    await world.passes(15)
    assert client.end == ""
    await world.v2.sends(OK)
    assert client.message().status == 200
    await client.sends(GET[20:])
    await world.v2.sends(OK)
    assert client.message().status == 200


# ... odds and ends


async def test_a_write_to_a_client_that_has_just_gone_is_no_error(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    client.transport.lost = True  # the loop knows, and has not said so yet
    await world.v2.sends(OK)
    client.transport.protocol.connection_lost(None)
    assert world.heard() == ["assigned v2", "attempt v2 good", "outcome good"]


async def test_an_answer_to_a_client_that_is_being_closed_ends_nothing_twice(world: World) -> None:
    client = world.client()
    await client.sends(request("GET", "/x", "Connection: close"))
    client.transport.end = "closed"
    await world.v2.sends(OK)
    assert client.message().status == 200


async def test_a_transport_without_a_socket_is_aborted(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    client.transport.socket = None
    await world.v2.leaves()
    assert client.end == "aborted"


async def test_a_client_of_a_unix_socket_has_no_address(world: World) -> None:
    client = world.client("")
    await client.sends(GET)
    assert world.v2.message().fields[b"x-forwarded-for"] == b"unknown"


async def test_a_transport_that_cannot_half_close_is_lingered_over_all_the_same(world: World) -> None:
    client = world.client()
    client.transport.can_half_close = False
    await client.sends(b"nonsense\r\n\r\n")
    assert client.message().status == 400
    assert client.end == ""
    await world.passes(3)
    assert client.end == "aborted"


async def test_a_connection_shows_where_it_stands(world: World) -> None:
    client = world.client()
    await client.sends(GET + GET)
    [connection] = world.context.connections
    assert repr(connection) == "<Downstream 192.0.2.7 mode=0 <Exchange GET /x v2 waiting> queued=1>"
    assert not connection.idle


async def answers_to(world: World, client: Peer, requests: int) -> list[bytes]:
    for _ in range(requests):
        for peer in world.connections:
            if peer.got():
                await peer.sends(OK)
    return [answer.start for answer in client.messages()]


STREAM = (
    request("POST", "/1", body=b"abc")
    + GET_V1
    + request("POST", "/2", "Transfer-Encoding: chunked", user="")
    + b"3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nX-T: 1\r\n\r\n"
    + GET
    + request("PUT", "/3", "Connection: upgrade", "Upgrade: x", body=b"GET / HTTP/1.1\r\n\r\n")
    + request("GET", "/4", "Connection: upgrade", "Upgrade: x")
    + GET
)


@given(cuts=st.sets(st.integers(1, len(STREAM) - 1), max_size=6))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_rfc9112_9_3_2_however_a_stream_of_requests_is_cut_the_answers_are_the_same(
    world: World, cuts: set[int]
) -> None:
    client = world.client()
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, end in pairwise(edges):
        await client.sends(STREAM[start:end])
    assert await answers_to(world, client, 10) == [b"HTTP/1.1 200 OK"] * 7
    await client.leaves()


# ... the clock of an idle connection, and of the loop


async def test_rfc9112_2_2_an_empty_line_before_a_request_begins_no_head(world: World) -> None:
    client = world.client()
    for _ in range(3):
        await client.sends(b"\r\n")
        await client.sends(GET)
        await world.v2.sends(OK)
        assert client.message().status == 200
    [connection] = world.context.connections
    assert connection.idle
    await world.passes(world.context.listen.header_timeout_s + 1)
    assert client.got() == b""
    assert client.end == ""


@pytest.mark.parametrize("line", [b"", b"Content-Length: 1\r\n"])
async def test_a_long_read_of_tiny_requests_is_answered_in_portions(world: World, line: bytes) -> None:
    client = world.client()
    tiny = b"OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n" + line + b"\r\n" + b"x" * bool(line)
    client.transport.protocol.data_received(tiny * 1_000)
    assert 0 < len(client.got().split(b"HTTP/1.1 200")) - 1 < 300
    await settle()
    assert len(client.messages()) > 600


async def test_a_head_over_the_limit_is_refused_however_much_of_it_is_white_space(world: World) -> None:
    assert await refused(world, HEAD + b"X-A: a" + b" " * 100_000 + b"\r\n\r\n") == 431


async def test_a_head_that_has_begun_is_still_the_old_configuration_s(world: World) -> None:
    client = world.client()
    await client.sends(b"GET / HTTP/1.1\r\nHost: a\r\nX-Go: v1\r\n")
    before = world.context
    world.plane.replace(
        configured(override={"header": "X-Go", "networks": ["192.0.2.0/24"]}), TranscriptRecorder()
    )
    assert before.is_needed_by(world.plane.context.connections)
    await client.sends(b"X-User: u\r\n\r\n")
    assert world.v2.message().fields[b"x-go"] == b"v1"
    await world.v2.sends(OK)
    await client.sends(b"GET / HTTP/1.1\r\nHost: a\r\nX-User: u\r\nX-Go: v1\r\n\r\n")
    assert b"x-go" not in world.v1.message().fields


class _Counted(bytes):
    """Bytes that know how often somebody asked for their number."""

    asked = 0

    def __len__(self) -> int:
        _Counted.asked += 1
        return super().__len__()


async def test_what_waits_for_its_turn_is_not_counted_again_with_every_byte(world: World) -> None:
    """Else who sends single bytes behind a slow request could keep the loop busy."""
    client = world.client()
    await client.sends(GET)
    _Counted.asked = 0
    for _ in range(1_000):
        client.transport.protocol.data_received(_Counted(b"x"))
    assert _Counted.asked <= 4_000
    assert client.is_read()
    client.transport.protocol.data_received(b"x" * (64 << 10))
    assert not client.is_read()


async def test_an_empty_line_behind_pipelined_requests_does_not_end_the_reading(world: World) -> None:
    """The body that waits for its turn has paused it."""
    client = world.client()
    body = b"b" * 70_000
    await client.sends(GET_V1 + request("POST", "/x", user="", body=body) + b"\r\n")
    assert not client.is_read()
    for _ in range(2):
        await world.v1.sends(OK)
    assert client.is_read()
    await client.sends(GET_V1)
    await world.v1.sends(OK)
    assert len(client.messages()) == 3
