"""When v2 does not serve: who answers, what the client sees, and what is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.dataplane.wire import FAILED, GET, GET_V1, OK, request

if TYPE_CHECKING:
    from tests.dataplane.conftest import Opener
    from tests.dataplane.wire import World

V1_OK = OK.replace(b"ok", b"v1")
CHUNKED_FAILURE = b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsorry\r\n"


def covered(reason: str) -> list[str]:
    """What is heard of a request that v1 answered in v2's place."""
    return ["assigned v2", f"attempt v2 {reason}", f"fallback {reason}", "outcome good"]


# ... v1 stands in


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
async def test_v1_answers_after_a_5xx_of_v2(world: World, status: int, method: str) -> None:
    client = world.client()
    await client.sends(request(method))
    await world.v2.sends(FAILED.replace(b"503", b"%d" % status))
    sent = world.v1.message()
    assert sent.start == f"{method} /x HTTP/1.1".encode()
    assert sent.fields[b"x-dualpath-path"] == b"v1"
    await world.v1.sends(V1_OK)
    assert client.message().body == b"v1"
    assert world.heard() == covered("status")


async def test_v1_answers_a_head_request_after_a_5xx_of_v2(world: World) -> None:
    client = world.client()
    await client.sends(request("HEAD"))
    await world.v2.sends(b"HTTP/1.1 503 X\r\nContent-Length: 4\r\n\r\n")
    await world.v1.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    answer = client.message(bodiless=True)
    assert (answer.status, answer.fields[b"content-length"]) == (200, b"2")
    assert (world.v1.end, world.v2.end) == ("", "")


async def test_v1_answers_when_v2_refuses_connections(world: World) -> None:
    world.refusing.add(9002)
    client = world.client()
    await client.sends(request("POST", body=b"abc"))  # it never got there, so any method
    assert world.v1.message().body == b"abc"
    await world.v1.sends(V1_OK)
    assert client.message().body == b"v1"
    assert world.heard() == covered("connect")


async def test_v1_answers_when_v2_does_not_take_connections(world: World) -> None:
    world.silent.add(9002)
    client = world.client()
    await client.sends(GET)
    await world.passes(1.1)
    await world.v1.sends(V1_OK)
    assert client.message().body == b"v1"
    assert world.heard() == covered("connect")


async def test_v1_answers_when_v2_does_not_answer_and_keeps_its_share_of_the_time(open_world: Opener) -> None:
    world = await open_world(timeout="10s", v2={"response_timeout": "20s"})
    client = world.client()
    await client.sends(GET)
    await world.passes(4.9)
    assert world.ports == [9002]
    await world.passes(0.2)
    assert world.v2.end == "aborted"
    await world.passes(4)
    await world.v1.sends(V1_OK)
    assert client.message().body == b"v1"
    assert world.heard() == covered("timeout")


@pytest.mark.parametrize("partial", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-Len"])
async def test_v1_answers_when_v2_resets_before_its_head_is_complete(world: World, partial: bytes) -> None:
    client = world.client()
    await client.sends(GET)
    if partial:
        await world.v2.sends(partial)
    await world.v2.leaves(ConnectionResetError("reset by peer"))
    await world.v1.sends(V1_OK)
    assert client.message().body == b"v1"
    assert world.heard() == covered("reset")


GARBAGE = {
    "garbage": b"SSH-2.0-OpenSSH\r\n",
    "lone LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "space before the colon": b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    "folded line": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
    "invalid length": b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    "unequal lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "both framings": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    "chunked in 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "HTTP/2 and surplus": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n?",
    "HTTP/2": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "unasked switch": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "status below 100": b"HTTP/1.1 099 What\r\n\r\n",
    "interim with a body": b"HTTP/1.1 104 X\r\nContent-Length: 5\r\n\r\nhello" + OK,
    "broken chunk in the first read": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a whole answer with a head over the limit": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: "
    + b"y" * 40_000
    + b"\r\n\r\n",
    "a head over the limit": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
    "an endless head": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000,
    "a storm of interim answers": b"HTTP/1.1 103 Early\r\n\r\n" * 2_000,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
async def test_v1_answers_when_v2_s_answer_cannot_be_believed(world: World, garbage: bytes) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(garbage)
    assert world.v2.end == "aborted"
    await world.v1.sends(V1_OK)
    early, _, final = client.got().rpartition(b"HTTP/1.1 200 OK")
    assert early.count(b"HTTP/1.1 10") == early.count(b"HTTP/1.1") <= 32
    assert final.endswith(b"\r\n\r\nv1")
    assert world.heard() == covered("invalid")


async def test_a_request_with_a_body_is_replayed(world: World) -> None:
    client = world.client()
    await client.sends(request("PUT", "/x", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n")
    await client.sends(b"2\r\nde\r\n0\r\n\r\n")
    await world.v2.sends(FAILED)
    assert world.v1.message().body == b"abcde"
    await world.v1.sends(V1_OK)
    assert client.message().body == b"v1"


async def test_a_request_whose_body_is_still_on_its_way_is_replayed_and_continued(world: World) -> None:
    client = world.client()
    await client.sends(request("PUT", "/x", "Content-Length: 6") + b"abc")
    await world.v2.sends(FAILED)
    assert world.v2.end == "aborted"
    await client.sends(b"def")
    assert world.v1.message().body == b"abcdef"
    await world.v1.sends(V1_OK)
    answer = client.message()
    assert (answer.body, b"connection" in answer.fields) == (b"v1", False)


# ... v1 does not stand in


async def test_rfc9110_9_2_2_a_post_that_v2_may_have_seen_is_never_sent_twice(world: World) -> None:
    client = world.client()
    await client.sends(request("POST", body=b"abc"))
    await world.v2.sends(FAILED)
    assert client.message().body == b"down"
    assert world.ports == [9002]
    assert world.heard() == ["assigned v2", "attempt v2 status", "outcome failed"]


async def test_rfc9110_9_2_2_a_post_whose_answer_is_missing_gets_502(world: World) -> None:
    client = world.client()
    await client.sends(request("POST", body=b"abc"))
    await world.v2.leaves(ConnectionResetError())
    assert client.message().status == 502
    assert world.heard() == ["assigned v2", "attempt v2 reset", "outcome failed"]


async def test_a_post_with_an_idempotency_key_may_be_repeated(world: World) -> None:
    client = world.client()
    await client.sends(request("POST", "/x", "Idempotency-Key: k", body=b"abc"))
    await world.v2.sends(FAILED)
    sent = world.v1.message()
    assert (sent.body, sent.fields[b"idempotency-key"]) == (b"abc", b"k")
    await world.v1.sends(V1_OK)
    assert world.heard() == covered("status")


async def test_the_operator_may_allow_all_methods(open_world: Opener) -> None:
    world = await open_world(fallback={"methods": "all"})
    client = world.client()
    await client.sends(request("PATCH", body=b"abc"))
    await world.v2.leaves()
    await world.v1.sends(V1_OK)
    assert client.message().body == b"v1"


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_over_the_limit_gives_up_its_fallback_and_is_not_refused(
    open_world: Opener, chunked: bool
) -> None:
    world = await open_world(fallback={"max_body": "4B"})
    client = world.client()
    if chunked:
        await client.sends(request("PUT", "/x", "Transfer-Encoding: chunked"))
        await client.sends(b"5\r\nabcde\r\n0\r\n\r\n")
    else:
        await client.sends(request("PUT", body=b"abcde"))
    assert world.v2.message().body == b"abcde"
    await world.v2.sends(FAILED)
    assert client.message().body == b"down"
    assert world.ports == [9002]


async def test_a_body_over_the_limit_goes_to_v1_if_v2_was_never_reached(open_world: Opener) -> None:
    world = await open_world(fallback={"max_body": "4B"})
    world.refusing.add(9002)
    client = world.client()
    await client.sends(request("PUT", body=b"abcde"))
    assert world.v1.message().body == b"abcde"
    await world.v1.sends(V1_OK)
    assert world.heard() == covered("connect")


async def test_after_the_first_byte_there_is_no_second_answer(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    await world.v2.leaves()
    assert client.end == "reset"
    assert world.ports == [9002]
    assert world.heard() == ["assigned v2", "attempt v2 truncated", "outcome failed"]


async def test_a_disabled_fallback_lets_everything_through(open_world: Opener) -> None:
    world = await open_world(fallback={"enabled": False})
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(FAILED)
    await client.sends(GET)
    await world.v2.sends(b"garbage\r\n")
    assert [answer.status for answer in client.messages()] == [503, 502]
    assert world.ports == [9002]


async def test_a_cause_that_is_not_listed_is_no_cause(open_world: Opener) -> None:
    world = await open_world(fallback={"on": ["connect", "502"]})
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(FAILED)
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 200 ")
    await world.v2.leaves()
    assert [answer.status for answer in client.messages()] == [503, 502]


async def test_over_the_budget_v2_s_answer_goes_through_and_is_counted(open_world: Opener) -> None:
    world = await open_world(fallback={"budget": 0.0, "budget_floor": 1.0})
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(FAILED)
    await world.v1.sends(V1_OK)
    await client.sends(GET)
    await world.v2.sends(FAILED)
    assert [answer.status for answer in client.messages()] == [200, 503]
    assert world.heard()[4:] == ["assigned v2", "over budget status", "attempt v2 status", "outcome failed"]
    await client.sends(GET)
    await world.v2.leaves(ConnectionResetError())


async def test_over_the_budget_a_broken_attempt_is_answered_502(open_world: Opener) -> None:
    world = await open_world(fallback={"budget": 0.0, "budget_floor": 0.0})
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"garbage\r\n")
    assert client.message().status == 502
    assert world.heard() == ["assigned v2", "attempt v2 invalid", "over budget invalid", "outcome failed"]


# ... v1 fails too


async def test_if_v1_fails_too_the_client_gets_v2_s_own_answer(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 503 X\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\ndown")
    await world.v1.sends(b"HTTP/1.1 500 Y\r\nContent-Length: 5\r\n\r\nworse")
    answer = client.message()
    assert (answer.status, answer.fields[b"retry-after"], answer.body) == (503, b"7", b"down")
    assert world.heard() == ["assigned v2", "attempt v2 status", "fallback status failed", "outcome failed"]


async def test_if_v1_breaks_too_the_client_gets_v2_s_own_answer(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")
    await world.v1.leaves()
    answer = client.message()
    assert (answer.status, answer.body) == (500, b"")


async def test_if_v2_s_own_answer_was_not_whole_its_status_is_kept(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(CHUNKED_FAILURE)
    await world.v2.sends(b"0\r\n\r\n")
    await world.v1.sends(b"garbage\r\n")
    answer = client.message()
    assert (answer.status, answer.fields[b"content-type"]) == (500, b"application/problem+json")


async def test_if_v2_was_broken_and_v1_fails_the_client_gets_v1_s_answer(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.leaves()
    await world.v1.sends(FAILED)
    assert client.message().body == b"down"
    assert world.heard() == ["assigned v2", "attempt v2 reset", "fallback reset failed", "outcome failed"]


async def test_an_answer_of_v1_that_blames_the_request_is_an_answer(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(FAILED)
    await world.v1.sends(b"HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n")
    assert client.message().status == 501
    assert world.heard()[-1] == "outcome good"


async def test_if_both_refuse_the_client_gets_502(world: World) -> None:
    world.refusing |= {9001, 9002}
    client = world.client()
    await client.sends(GET)
    assert client.message().status == 502
    assert world.heard() == ["assigned v2", "attempt v2 connect", "fallback connect failed", "outcome failed"]


# ... stale connections


async def test_rfc9112_9_3_1_a_stale_pooled_connection_is_nobody_s_error(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(OK)
    stale = world.v2
    await client.sends(GET)
    await stale.leaves()
    assert world.ports == [9002, 9002]
    assert world.v2.message().start == b"GET /x HTTP/1.1"
    await world.v2.sends(OK)
    assert [answer.status for answer in client.messages()] == [200, 200]
    assert world.heard() == ["assigned v2", "attempt v2 good", "outcome good"] * 2


async def test_a_fresh_connection_that_dies_after_a_stale_one_is_v2_s_error(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(OK)
    await client.sends(GET)
    await world.v2.leaves()
    await world.v2.leaves()
    await world.v1.sends(V1_OK)
    assert [answer.body for answer in client.messages()] == [b"ok", b"v1"]
    assert world.heard()[3:] == covered("reset")


async def test_a_connection_that_dies_in_the_head_is_not_stale(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(OK)
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 2")
    await world.v2.leaves()
    await world.v1.sends(V1_OK)
    assert world.heard()[3:] == covered("reset")


async def test_a_pooled_connection_that_breaks_later_was_not_stale(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(OK)
    await client.sends(GET)
    await world.passes(0.3)
    await world.v2.leaves()
    await world.v1.sends(V1_OK)
    assert world.heard()[3:] == covered("reset")


async def test_rfc9110_9_2_2_a_post_on_a_stale_connection_is_not_repeated(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(OK)
    await client.sends(request("POST", body=b"abc"))
    await world.v2.leaves()
    assert [answer.status for answer in client.messages()] == [200, 502]
    assert world.ports == [9002]
    assert world.heard()[3:] == ["assigned v2", "attempt v2 reset", "outcome failed"]


async def test_a_post_takes_only_a_connection_that_was_in_use_just_now(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(OK)
    await world.passes(0.9)
    await client.sends(request("POST", body=b"abc"))
    await world.v2.sends(OK)
    assert world.ports == [9002]
    await world.passes(1.1)
    await client.sends(request("POST", body=b"abc"))
    await world.v2.sends(OK)
    assert world.ports == [9002, 9002]
    await world.passes(1.1)
    await client.sends(GET)
    await world.v2.sends(OK)
    assert world.ports == [9002, 9002]
    assert len(client.messages()) == 4


# ... the breaker


async def trip(world: World) -> None:
    """Two failures in a row open the breaker."""
    client = world.client()
    for _ in range(2):
        await client.sends(GET)
        await world.v2.sends(FAILED)
        await world.v1.sends(V1_OK)
    assert world.plane.breaker("default") == "open"
    await client.leaves()
    client.got()
    world.heard()


BREAKER = {"consecutive_failures": 2, "open_for": "5s", "probes": 1}


async def test_an_open_breaker_sends_every_method_to_v1_at_once(open_world: Opener) -> None:
    world = await open_world(breaker=BREAKER)
    await trip(world)
    client = world.client()
    await client.sends(request("POST", body=b"abc"))
    assert world.v1.messages()[-1].body == b"abc"
    await world.v1.sends(V1_OK)
    assert client.message().body == b"v1"
    assert world.heard() == ["assigned v2", "fallback breaker", "outcome good"]


async def test_a_half_open_breaker_lets_one_probe_through_and_closes_if_it_goes_well(
    open_world: Opener,
) -> None:
    world = await open_world(breaker=BREAKER)
    await trip(world)
    await world.passes(5.1)
    probe, other = world.client(), world.client()
    await probe.sends(GET)
    await other.sends(GET)
    assert world.plane.breaker("default") == "half_open"
    await world.v1.sends(V1_OK)
    assert other.message().body == b"v1"
    await world.v2.sends(OK)
    assert probe.message().body == b"ok"
    assert world.plane.breaker("default") == "closed"


async def test_a_probe_whose_client_leaves_makes_room_for_another(open_world: Opener) -> None:
    world = await open_world(breaker=BREAKER)
    await trip(world)
    await world.passes(5.1)
    probe, other = world.client(), world.client()
    await probe.sends(GET)
    await probe.leaves()
    await other.sends(GET)
    await world.v2.sends(OK)
    assert other.message().body == b"ok"
    assert world.plane.breaker("default") == "closed"


async def test_a_probe_that_fails_opens_it_again(open_world: Opener) -> None:
    world = await open_world(breaker=BREAKER)
    await trip(world)
    await world.passes(5.1)
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(FAILED)
    await world.v1.sends(V1_OK)
    assert client.message().body == b"v1"
    assert world.plane.breaker("default") == "open"


async def test_without_fallback_an_open_breaker_still_leads_to_v1(open_world: Opener) -> None:
    world = await open_world(breaker=BREAKER, fallback={"enabled": False})
    client = world.client()
    for _ in range(2):
        await client.sends(GET)
        await world.v2.sends(FAILED)
    world.heard()
    client.got()
    await client.sends(GET)
    await world.v1.sends(V1_OK)
    assert client.message().body == b"v1"
    assert world.heard() == ["assigned v2", "fallback breaker", "outcome good"]


async def test_over_the_budget_an_open_breaker_answers_503(open_world: Opener) -> None:
    world = await open_world(breaker=BREAKER, fallback={"budget": 0.0, "budget_floor": 2.0})
    await trip(world)
    client = world.client()
    await client.sends(GET)
    assert client.message().status == 503
    assert world.heard() == ["assigned v2", "over budget breaker", "outcome failed"]


# ... no endpoint


async def test_without_a_healthy_endpoint_of_v2_v1_answers(open_world: Opener) -> None:
    world = await open_world()
    [status] = [s for s in world.plane.statuses() if s.path == "v2"]
    world.plane.set_health(status.path, status.url, healthy=False)
    client = world.client()
    await client.sends(request("POST", body=b"abc"))
    await world.v1.sends(V1_OK)
    assert client.message().body == b"v1"
    assert world.heard() == ["assigned v2", "fallback unavailable", "outcome good"]


async def test_without_an_endpoint_a_probe_of_the_breaker_gives_its_place_back(open_world: Opener) -> None:
    world = await open_world(breaker=BREAKER)
    await trip(world)
    await world.passes(5.1)
    [status] = [s for s in world.plane.statuses() if s.path == "v2"]
    world.plane.set_health(status.path, status.url, healthy=False)
    client = world.client()
    await client.sends(GET)
    await world.v1.sends(V1_OK)
    world.plane.set_health(status.path, status.url, healthy=True)
    await client.sends(GET)
    await world.v2.sends(OK)
    assert [answer.body for answer in client.messages()] == [b"v1", b"ok"]


async def test_v1_is_asked_even_if_it_is_believed_dead(world: World) -> None:
    [status] = [s for s in world.plane.statuses() if s.path == "v1"]
    world.plane.set_health(status.path, status.url, healthy=False)
    client = world.client()
    await client.sends(GET_V1)
    await world.v1.sends(V1_OK)
    assert client.message().body == b"v1"


async def test_an_endpoint_that_refuses_is_replaced_by_another_of_its_path_once(open_world: Opener) -> None:
    world = await open_world(v2={"endpoints": ["http://127.0.0.1:9002", "http://127.0.0.1:9003"]})
    world.refusing.add(9002)
    client = world.client()
    await client.sends(request("POST", body=b"abc"))
    assert world.ports == [9002, 9003]
    await world.backend(9003).sends(OK)
    assert client.message().body == b"ok"
    world.refusing.add(9003)
    await world.backend(9003).leaves()
    await client.sends(GET)
    assert sorted(world.ports[2:]) == [9001, 9002, 9003]
    await world.v1.sends(V1_OK)
    assert client.message().body == b"v1"


# ... overridden requests

OVERRIDE = {"override": {"networks": ["192.0.2.0/24"]}}
WISH = request("GET", "/x", "X-Dualpath-Override: v2", user="")


async def test_an_overridden_request_counts_in_no_comparison(open_world: Opener) -> None:
    world = await open_world(percentage=0, **OVERRIDE)
    client = world.client()
    await client.sends(WISH)
    assert b"override" not in world.v2.got().lower()
    await world.v2.sends(FAILED)
    await world.v1.sends(V1_OK)
    assert client.message().body == b"v1"
    assert world.heard() == ["overridden v2", "outcome good"]


async def test_an_overridden_request_over_the_budget_is_counted_nowhere(open_world: Opener) -> None:
    world = await open_world(fallback={"budget": 0.0, "budget_floor": 0.0}, **OVERRIDE)
    client = world.client()
    await client.sends(WISH)
    await world.v2.sends(FAILED)
    assert client.message().status == 503
    assert world.heard() == ["overridden v2", "outcome failed"]


async def test_overridden_requests_neither_open_nor_probe_the_breaker(open_world: Opener) -> None:
    world = await open_world(breaker=BREAKER, **OVERRIDE)
    client = world.client()
    for _ in range(5):
        await client.sends(WISH)
        await world.v2.sends(FAILED)
        await world.v1.sends(V1_OK)
    assert world.plane.breaker("default") == "closed"
    await trip(world)
    client.got()
    await client.sends(WISH)
    await world.v2.sends(OK)  # whoever asks for v2 gets it, open breaker or not
    assert client.message().body == b"ok"
    await client.sends(WISH)
    await client.leaves()
    assert world.plane.breaker("default") == "open"


async def test_an_overridden_request_without_an_endpoint_takes_no_probe_s_place(open_world: Opener) -> None:
    world = await open_world(**OVERRIDE)
    [status] = [s for s in world.plane.statuses() if s.path == "v2"]
    world.plane.set_health(status.path, status.url, healthy=False)
    client = world.client()
    await client.sends(WISH)
    await world.v1.sends(V1_OK)
    assert client.message().body == b"v1"
    assert world.heard() == ["overridden v2", "outcome good"]
