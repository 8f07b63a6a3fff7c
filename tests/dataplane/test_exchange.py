"""The life of a request: in, to an upstream, its answer, out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.dataplane.wire import DATE, FAILED, GET, GET_V1, OK, request

if TYPE_CHECKING:
    from tests.dataplane.conftest import Opener
    from tests.dataplane.wire import World

IDS = b"5" * 32


# ... a request and its answer


async def test_a_request_goes_to_its_path_and_the_answer_comes_back(world: World) -> None:
    client = world.client()
    await client.sends(
        b"GET /x?y HTTP/1.1\r\nHost: a\r\nX-User: u\r\nAccept: */*\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n"
    )
    assert world.v2.got() == (
        b"GET /x?y HTTP/1.1\r\nHost: a\r\nX-User: u\r\nAccept: */*\r\n"
        b"X-Request-Id: " + IDS + b"\r\n"
        b"Via: 1.1 dualpath\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\n"
        b"X-Forwarded-Host: a\r\n"
        b'Forwarded: for=192.0.2.7;proto=http;host="a"\r\n'
        b"traceparent: 00-" + IDS + b"-" + b"5" * 16 + b"-00\r\nX-Dualpath-Path: v2\r\n\r\n"
    )
    await world.v2.sends(b"HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nX-A: 1\r\nKeep-Alive: 5\r\n\r\nok")
    assert client.got() == b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 2\r\n" + DATE + b"\r\nok"
    assert world.heard() == ["assigned v2", "attempt v2 good", "outcome good"]
    assert client.end == world.v2.end == ""


async def test_the_next_request_takes_the_pooled_connection(world: World) -> None:
    client = world.client()
    for _ in range(3):
        await client.sends(GET)
        await world.v2.sends(OK)
        assert client.message().body == b"ok"
    assert world.ports == [9002]


async def test_a_key_without_a_user_goes_to_v1(world: World) -> None:
    client = world.client()
    await client.sends(GET_V1)
    assert world.v1.message().fields[b"x-dualpath-path"] == b"v1"
    await world.v1.sends(OK)
    assert client.message().status == 200
    assert world.heard() == ["assigned v1", "attempt v1 good", "outcome good"]


async def test_v1_s_errors_go_through_and_count_as_v1_s(world: World) -> None:
    client = world.client()
    await client.sends(GET_V1)
    await world.v1.sends(FAILED)
    assert client.message().status == 503
    assert world.heard() == ["assigned v1", "attempt v1 status", "outcome failed"]


@pytest.mark.parametrize("status", [400, 404, 501, 505])
async def test_an_answer_that_blames_the_request_is_no_error(world: World, status: int) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)
    assert client.message().status == status
    assert world.heard() == ["assigned v2", "attempt v2 good", "outcome good"]


async def test_a_latency_is_the_time_from_the_request_to_the_whole_answer(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.passes(0.2)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
    await world.passes(0.1)
    await world.v2.sends(b"k")
    assert client.message().body == b"ok"
    assert world.recorder.latencies == [0.3]


async def test_the_latency_of_an_event_stream_ends_with_its_head(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.passes(0.2)
    await world.v2.sends(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    for _ in range(4):
        await world.passes(20)
        await world.v2.sends(b"1\r\nx\r\n")
    await world.v2.sends(b"0\r\n\r\n")
    assert client.message().body == b"xxxx"
    assert world.recorder.latencies == [0.2]


EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("status", [200, 501, 500])
async def test_an_event_stream_ends_well_when_its_client_leaves(open_world: Opener, status: int) -> None:
    world = await open_world(fallback={"on": ["connect"]})
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(EVENTS.replace(b"200", b"%d" % status) + b"1\r\nx\r\n")
    await client.leaves()
    assert world.v2.end == "aborted"
    told = ["attempt v2 status", "outcome failed"] if status == 500 else ["attempt v2 good", "outcome good"]
    assert world.heard() == ["assigned v2", *told]


async def test_an_event_stream_that_breaks_off_counts_against_its_version(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(EVENTS + b"1\r\nx\r\n")
    await world.v2.leaves(ConnectionResetError())
    assert client.end == "reset"
    assert world.heard() == ["assigned v2", "attempt v2 truncated", "outcome failed"]


async def test_event_streams_do_not_keep_the_places_of_probes(open_world: Opener) -> None:
    world = await open_world(breaker={"consecutive_failures": 1, "open_for": "1s", "probes": 2})
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(FAILED)
    await world.v1.sends(OK)
    await world.passes(1.1)
    streams = [world.client() for _ in range(2)]
    for number, stream in enumerate(streams):
        assert world.plane.breaker("default") == ("open", "half_open")[number]
        await stream.sends(GET)
        await world.v2.sends(EVENTS)
    assert world.plane.breaker("default") == "closed"
    await streams[0].leaves()
    await world.v2.sends(b"0\r\n\r\n")
    assert world.plane.breaker("default") == "closed"
    assert world.heard()[-4:] == ["attempt v2 good", "outcome good"] * 2


async def test_a_request_outside_every_route_goes_to_v1_and_is_counted_nowhere(open_world: Opener) -> None:
    world = await open_world(routes=[{"prefix": "/api"}])
    client = world.client()
    await client.sends(GET)
    await world.v1.sends(FAILED)
    assert client.message().status == 503
    await client.sends(request(body=b"abc", method="POST"))
    await world.v1.leaves()
    assert client.message().status == 502
    assert world.heard() == []


async def test_a_request_outside_every_route_has_its_deadline_too(open_world: Opener) -> None:
    world = await open_world(routes=[{"prefix": "/api"}], v1={"response_timeout": "60s"})
    client = world.client()
    await client.sends(GET)
    await world.passes(30.1)
    assert client.message().status == 504


# ... requests with a body


async def test_rfc9112_6_2_a_body_by_length_goes_through(world: World) -> None:
    client = world.client()
    await client.sends(request("POST", body=b"hello"))
    sent = world.v2.message()
    assert (sent.body, sent.fields[b"content-length"]) == (b"hello", b"5")
    await world.v2.sends(OK)
    assert client.message().status == 200


async def test_rfc9112_7_1_a_chunked_body_goes_through_piece_by_piece(world: World) -> None:
    client = world.client()
    await client.sends(request("POST", "/x", "Transfer-Encoding: chunked") + b"3;ext=1\r\nabc\r\n")
    sent = world.v2.got()
    assert sent.endswith(b"\r\n\r\n3\r\nabc\r\n")
    assert b"Transfer-Encoding: chunked\r\n" in sent
    await client.sends(b"2\r\nd")
    await client.sends(b"e\r\n0\r\nX-Trailer: 1\r\n\r\n")
    assert world.v2.got() == b"1\r\nd\r\n1\r\ne\r\n0\r\n\r\n"
    await world.v2.sends(OK)
    assert client.message().status == 200
    await client.sends(GET)
    assert b"trailer" not in world.v2.got().lower()


async def test_a_large_body_is_streamed(open_world: Opener) -> None:
    world = await open_world(fallback={"max_body": "1KiB"})
    client = world.client()
    await client.sends(request("POST", "/x", "Content-Length: 300000"))
    world.v2.got()
    for _ in range(3):
        await client.sends(b"x" * 100_000)
        assert world.v2.got() == b"x" * 100_000
    await world.v2.sends(OK)
    assert client.message().status == 200
    await client.sends(GET)
    assert world.v2.message().start == b"GET /x HTTP/1.1"


async def test_a_body_that_arrives_while_connecting_is_sent_then(world: World) -> None:
    client = world.client()
    world.client()
    client.transport.inbox.append(request("POST", "/x", "Content-Length: 6") + b"abc")
    client.transport.deliver()
    client.transport.protocol.data_received(b"def")
    await client.sends(b"")
    assert world.v2.message().body == b"abcdef"


async def test_a_client_that_sends_faster_than_a_connection_is_made_is_paused(open_world: Opener) -> None:
    world = await open_world(fallback={"max_body": "1MiB"}, v2={"connect_timeout": "9s"})
    world.silent.add(9002)
    client = world.client()
    await client.sends(request("PUT", "/x", "Content-Length: 200000") + b"x" * 60_000)
    assert client.is_read()
    await client.sends(b"x" * 60_000)
    assert not client.is_read()
    await client.sends(b"x" * 80_000)
    await world.passes(10)  # v1 stands in
    assert world.v1.message().body == b"x" * 200_000
    assert client.is_read()
    await world.v1.sends(OK)
    assert client.message().status == 200


async def test_back_pressure_of_the_upstream_reaches_the_client(world: World) -> None:
    client = world.client()
    await client.sends(request("POST", "/x", "Content-Length: 400000"))
    world.v2.stalls()
    await client.sends(b"x" * 100_000)
    assert not client.is_read()
    await client.sends(b"x" * 300_000)  # stays in the client's buffers
    world.v2.got()
    await world.v2.catches_up()
    assert client.is_read()
    assert len(world.v2.got()) == 400_000
    await world.v2.sends(OK)
    assert client.message().status == 200


async def test_back_pressure_by_what_was_held_while_connecting_is_not_forgotten(open_world: Opener) -> None:
    world = await open_world(fallback={"max_body": "1MiB"})
    world.silent.add(9002)
    client = world.client()
    await client.sends(request("PUT", "/x", "Content-Length: 400000") + b"x" * 100_000)
    world.stalling.add(9001)
    await world.passes(1.1)  # v1 stands in, and takes nothing
    assert not client.is_read()
    await world.v1.catches_up()
    assert client.is_read()
    await client.leaves()


async def test_back_pressure_of_an_upstream_that_has_everything_stops_no_client(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(OK)
    world.v2.stalls()
    await client.sends(request("POST", "/x", body=b"x" * 100_000))
    assert client.is_read()
    await world.v2.catches_up()
    await world.v2.sends(OK)
    assert [m.status for m in client.messages()] == [200, 200]


# ... back-pressure of the client


async def test_back_pressure_of_the_client_reaches_the_upstream(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    client.stalls()
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 100_000)
    assert not world.v2.is_read()
    await world.passes(5)
    await client.catches_up()
    assert world.v2.is_read()
    await world.v2.sends(b"x" * 200_000)
    assert client.message().body == b"x" * 300_000
    assert world.heard() == ["assigned v2", "attempt v2 good", "outcome good"]
    [latency] = world.recorder.latencies
    assert latency < 0.1  # the client's time is not v2's


async def test_a_client_that_does_not_read_is_cut_off_and_not_held_against_v2(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    client.stalls()
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 100_000)
    await world.passes(29)
    assert client.end == ""
    await world.passes(1.1)
    assert client.end == "reset"
    assert world.v2.end == "aborted"
    assert world.heard() == ["assigned v2", "outcome aborted"]


async def test_a_client_that_takes_some_and_then_no_more_is_cut_off_in_time_too(world: World) -> None:
    """Its system takes what fits into its buffers, a moment after we have begun to wait."""
    client = world.client()
    await client.sends(GET)
    client.stalls()
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 100_000)
    await world.passes(0.2)
    del client.transport.pending[:10_000]
    await world.passes(29.6)
    assert client.end == ""
    await world.passes(1.4)
    assert client.end == "reset"


async def test_a_client_that_goes_on_taking_a_little_is_not_cut_off(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    client.stalls()
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 100_000)
    for _ in range(4):
        await world.passes(28)
        del client.transport.pending[:10]
    assert client.end == ""


async def test_an_answer_to_a_client_that_does_not_read_yet_pauses_the_next_one(world: World) -> None:
    client = world.client()
    client.stalls()
    await client.sends(GET + GET)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"y" * 1_000)
    assert len(client.transport.pending) < 110_000
    await client.catches_up()
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"y" * 1_000)


async def test_interim_answers_to_a_client_that_does_not_read_pause_the_final_one(world: World) -> None:
    client = world.client()
    client.stalls()
    await client.sends(GET)
    for _ in range(3):
        await world.v2.sends(b"HTTP/1.1 103 Early\r\nLink: " + b"x" * 10_000 + b"\r\n\r\n")
    await world.v2.sends(b"HTTP/1.1 103 Early\r\n\r\n")
    client.transport.protocol.pause_writing()
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
    assert not world.v2.is_read()
    client.transport.protocol.resume_writing()
    assert world.v2.is_read()
    client.transport.protocol.pause_writing()
    client.transport.protocol.resume_writing()
    await world.v2.sends(b"def")
    await client.catches_up()
    assert client.got().endswith(b"abcdef")


async def test_a_client_that_sends_but_does_not_read_is_cut_off_all_the_same(world: World) -> None:
    client = world.client()
    client.stalls()
    await client.sends(request("POST", "/x", "Content-Length: 100"))
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 100_000)
    for _ in range(3):
        await world.passes(9)
        await client.sends(b"x")
    await world.passes(4)
    assert client.end == "reset"
    assert world.heard() == ["assigned v2", "outcome aborted"]


async def test_a_client_that_pauses_before_its_answer_is_no_matter(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    client.transport.protocol.pause_writing()
    client.transport.protocol.resume_writing()
    await world.v2.sends(OK)
    assert client.message().body == b"ok"


# ... Expect: 100-continue

EXPECTING = request("POST", "/x", "Expect: 100-continue", "Content-Length: 3")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def test_rfc9110_10_1_1_the_upstream_s_100_reaches_the_client(world: World) -> None:
    client = world.client()
    await client.sends(EXPECTING)
    assert b"Expect: 100-continue\r\n" in world.v2.got()
    assert client.got() == b""
    await world.v2.sends(b"HTTP/1.1 100 Continue\r\nX-A: 1\r\nConnection: x\r\n\r\n")
    assert client.got() == b"HTTP/1.1 100 Continue\r\nX-A: 1\r\n\r\n"
    await world.v2.sends(CONTINUE)
    assert client.got() == b""  # one is enough
    await client.sends(b"abc")
    assert world.v2.got() == b"abc"
    await world.v2.sends(OK)
    assert client.message().status == 200


async def test_rfc9110_10_1_1_a_100_is_never_waited_for_longer_than_a_second(world: World) -> None:
    client = world.client()
    await client.sends(EXPECTING)
    await world.passes(0.9)
    assert client.got() == b""
    await world.passes(0.2)
    assert client.got() == CONTINUE
    await client.sends(b"abc")
    assert world.v2.got().endswith(b"\r\n\r\nabc")
    await world.v2.sends(CONTINUE + OK)
    assert client.message().status == 200


async def test_rfc9110_10_1_1_a_client_that_does_not_wait_gets_no_100(world: World) -> None:
    client = world.client()
    await client.sends(EXPECTING + b"a")
    await client.sends(b"bc")
    await world.v2.sends(CONTINUE + OK)
    assert client.message().status == 200


async def test_rfc9110_10_1_1_a_final_answer_in_place_of_100_poisons_no_pooled_connection(
    world: World,
) -> None:
    client = world.client()
    await client.sends(EXPECTING)
    await world.v2.sends(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
    answer = client.message()
    assert (answer.status, answer.fields[b"connection"]) == (413, b"close")
    assert world.v2.end == "aborted"
    assert client.end == "half-closed"
    await world.passes(3)
    assert client.end == "aborted"
    assert world.heard() == ["assigned v2", "attempt v2 good", "outcome good"]


async def test_rfc9110_15_2_an_unasked_100_goes_nowhere(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(CONTINUE + OK)
    assert client.message().status == 200


@pytest.mark.parametrize("status", [102, 103, 150, 199])
async def test_rfc9110_15_2_interim_answers_are_relayed(world: World, status: int) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 %d X\r\nLink: </a>\r\nContent-Length: 0\r\n\r\n" % status)
    early = client.got()
    assert early.startswith(b"HTTP/1.1 %d " % status)
    assert early.endswith(b"\r\nLink: </a>\r\n\r\n")
    await world.v2.sends(OK)
    assert client.message().status == 200


async def test_rfc9110_15_2_interim_answers_never_go_to_http_1_0(world: World) -> None:
    client = world.client()
    await client.sends(request(version="1.0"))
    await world.v2.sends(b"HTTP/1.1 103 Early\r\n\r\n" + OK)
    assert client.message().status == 200


# ... an answer before the request is complete


async def test_rfc9112_9_3_an_early_answer_reaches_the_client_and_the_rest_is_read(world: World) -> None:
    client = world.client()
    await client.sends(request("POST", "/x", "Content-Length: 100000") + b"x" * 10)
    await world.v2.sends(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    answer = client.message()
    assert (answer.status, answer.fields[b"connection"], answer.body) == (403, b"close", b"no")
    assert client.end == "half-closed"
    assert world.v2.end == "aborted"  # the next request would have been taken for the rest of this one
    await client.sends(b"x" * 60_000)
    assert client.end == "half-closed"
    await client.sends(b"x" * 30_000)
    assert client.end == "half-closed"  # no more is read: closing over unread bytes would reset the answer
    await world.passes(2.6)
    assert client.end == "aborted"


async def test_the_last_chunk_of_an_answer_stays_out_of_the_next_one(world: World) -> None:
    client, other = world.client(), world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
    await world.v2.sends(b"0\r\n\r\n")
    assert client.message().body == b"ab"
    await other.sends(GET)
    await world.v2.sends(OK)
    assert len(world.connections) == 1
    assert other.message().body == b"ok"
    assert not other.got()


async def test_rfc9112_9_3_an_early_answer_is_lingered_over_for_two_seconds(world: World) -> None:
    client = world.client()
    await client.sends(request("POST", "/x", "Content-Length: 100000") + b"x" * 10)
    await world.v2.sends(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    await world.passes(1.4)
    assert client.end == "half-closed"
    await world.passes(1.2)
    assert client.end == "aborted"


@pytest.mark.parametrize("framing", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
async def test_a_connection_that_has_not_taken_the_whole_request_serves_no_other(
    world: World, framing: str
) -> None:
    """The next request would wait behind the rest of this one, for as long as the backend likes."""
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(OK)
    world.v2.stalls()
    body = b"x" * 100_000
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    await client.sends(request("POST", "/x", framing) + (chunked if "chunked" in framing else body))
    await world.v2.sends(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    assert [m.status for m in client.messages()] == [200, 403]
    assert world.v2.end == "aborted"


async def test_an_upload_goes_on_under_an_answer_that_has_begun(world: World) -> None:
    client = world.client()
    await client.sends(request("POST", "/x", "Content-Length: 6") + b"abc")
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nABC")
    world.v2.got()
    await client.sends(b"def")
    assert world.v2.got() == b"def"
    await world.v2.sends(b"DEF")
    assert client.message().body == b"ABCDEF"
    assert client.end == "closed"


async def test_a_client_that_stalls_its_upload_under_an_answer_is_not_held_against_v2(world: World) -> None:
    client = world.client()
    await client.sends(request("POST", "/x", "Content-Length: 6") + b"abc")
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nABC")
    await world.passes(61)
    assert client.end == "reset"
    assert world.heard() == ["assigned v2", "outcome aborted"]


async def test_an_upload_under_an_answer_keeps_the_answer_alive(world: World) -> None:
    client = world.client()
    await client.sends(request("POST", "/x", "Content-Length: 6"))
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
    for _ in range(6):
        await world.passes(20)
        await client.sends(b"x")
    await world.v2.sends(b"ABCDEF")
    assert client.message().body == b"ABCDEF"
    assert world.heard() == ["assigned v2", "attempt v2 good", "outcome good"]


# ... deadlines, by stage


async def test_connecting_has_its_deadline(open_world: Opener) -> None:
    world = await open_world(fallback={"enabled": False})
    world.silent.add(9002)
    client = world.client()
    await client.sends(GET)
    await world.passes(0.9)
    assert client.got() == b""
    await world.passes(0.2)
    assert client.message().status == 504
    assert world.heard() == ["assigned v2", "attempt v2 connect", "outcome failed"]


async def test_a_client_that_stalls_its_upload_gets_408_and_counts_against_nobody(world: World) -> None:
    client = world.client()
    await client.sends(request("POST", "/x", "Content-Length: 10") + b"abc")
    await world.passes(20)
    await client.sends(b"d")
    await world.passes(29)
    assert client.got() == b""
    await world.passes(1.1)
    answer = client.message()
    assert (answer.status, answer.fields[b"connection"]) == (408, b"close")
    assert (client.end, world.v2.end) == ("half-closed", "aborted")
    assert world.heard() == ["assigned v2", "outcome aborted"]


async def test_an_upstream_that_does_not_take_the_body_is_held_to_account(world: World) -> None:
    client = world.client()
    await client.sends(request("POST", "/x", "Content-Length: 400000"))
    world.v2.stalls()
    await client.sends(b"x" * 100_000)
    await world.passes(31)
    assert client.message().status == 504
    assert world.heard() == ["assigned v2", "attempt v2 timeout", "outcome failed"]


async def test_waiting_for_the_head_has_its_deadline(open_world: Opener) -> None:
    world = await open_world(v1={"response_timeout": "3s"})
    client = world.client()
    await client.sends(GET_V1)
    await world.passes(2.9)
    assert client.got() == b""
    await world.passes(0.2)
    assert client.message().status == 504
    assert world.v1.end == "aborted"
    assert world.heard() == ["assigned v1", "attempt v1 timeout", "outcome failed"]


async def test_the_whole_request_has_its_deadline(open_world: Opener) -> None:
    world = await open_world(timeout="4s", fallback={"enabled": False})
    client = world.client()
    await client.sends(GET)
    await world.passes(4.1)
    assert client.message().status == 504


async def test_the_whole_request_s_deadline_begins_when_the_body_is_complete(open_world: Opener) -> None:
    world = await open_world(timeout="4s", fallback={"enabled": False})
    client = world.client()
    await client.sends(request("POST", "/x", "Content-Length: 2"))
    await world.passes(10)
    await client.sends(b"ab")
    await world.passes(3.9)
    assert client.got() == b""
    await world.passes(0.2)
    assert client.message().status == 504


async def test_an_answer_that_stands_still_is_broken_off(open_world: Opener) -> None:
    world = await open_world(v2={"idle_timeout": "5s"})
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    await world.passes(4)
    await world.v2.sends(b"d")
    await world.passes(4.9)
    assert client.end == ""
    await world.passes(0.2)
    assert client.end == "reset"
    assert world.heard() == ["assigned v2", "attempt v2 timeout", "outcome failed"]


# ... the client leaves, by stage


async def test_a_client_that_leaves_while_connecting(world: World) -> None:
    world.silent.add(9002)
    client = world.client()
    await client.sends(GET)
    await client.leaves()
    assert world.heard() == ["assigned v2", "outcome aborted"]
    assert world.is_clean()
    await world.passes(40)
    assert world.ports == [9002]


async def test_a_client_that_leaves_while_uploading(world: World) -> None:
    client = world.client()
    await client.sends(request("POST", "/x", "Content-Length: 10") + b"abc")
    await client.leaves(ConnectionResetError())
    assert world.v2.end == "aborted"
    assert world.heard() == ["assigned v2", "outcome aborted"]


async def test_a_client_that_leaves_while_waiting(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await client.leaves()
    assert world.v2.end == "aborted"
    assert world.heard() == ["assigned v2", "outcome aborted"]


async def test_a_client_that_leaves_in_the_answer(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    await client.leaves(ConnectionResetError())
    assert world.v2.end == "aborted"
    assert world.heard() == ["assigned v2", "outcome aborted"]


async def test_a_client_that_leaves_before_its_turn_was_never_there(world: World) -> None:
    client = world.client()
    await client.sends(GET + GET)
    await client.leaves()
    assert world.heard() == ["assigned v2", "outcome aborted"]


async def test_a_client_that_leaves_in_a_fallback(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(FAILED)
    await client.leaves()
    assert world.v1.end == "aborted"
    assert world.heard() == ["assigned v2", "attempt v2 status", "fallback status", "outcome aborted"]


# ... what it shows of itself


async def test_an_exchange_shows_where_it_stands(world: World) -> None:
    client = world.client()
    await client.sends(request(target="/x?y"))
    [exchange] = world.context.active
    assert repr(exchange) == "<Exchange GET /x?y v2 waiting>"
    await world.v2.sends(OK)
    assert repr(exchange) == "<Exchange GET /x?y v2 finished>"
