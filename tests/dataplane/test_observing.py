"""Requests as they are told to those who want to see them."""

from __future__ import annotations

import dataclasses
import re
from random import Random
from typing import TYPE_CHECKING

import pytest

from proxy.core.forwarding import Identifiers
from proxy.core.sampling import Sampling, Wanted
from proxy.dataplane.observing import Watch
from proxy.model import ErrorClass, FallbackReason, Path, RolloutState, State
from tests.dataplane.wire import FAILED, GET, GET_V1, OK, request

if TYPE_CHECKING:
    from proxy.core.observed import ObservedRequest
    from tests.dataplane.conftest import Opener
    from tests.dataplane.wire import Peer, World

ALL = Sampling(share=1)
BY_OUTCOME = Sampling(fallbacks=True, errors=True, slow_s=2.0)
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
SENT_ON = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-0([0-3])")


class Seen:
    """What was told, in order."""

    def __init__(self) -> None:
        self.requests: list[ObservedRequest] = []

    def request_ended(self, request: ObservedRequest) -> None:
        self.requests.append(request)

    @property
    def only(self) -> ObservedRequest:
        [request] = self.requests
        return request


def see(world: World, traces: Sampling | None = ALL, log: Sampling | None = None, *fields: bytes) -> Seen:
    """From now on, with identifiers that differ from one another."""
    seen = Seen()
    world.plane.be_watched(Watch(Wanted(traces, log, frozenset(fields)), seen, world.clock))
    world.context.identifiers = Identifiers(Random(1))
    return seen


def context_sent_to(backend: Peer) -> tuple[str, str, str]:
    """Trace, span and flags that the upstream was told."""
    found = SENT_ON.fullmatch(backend.message().fields[b"traceparent"])
    assert found
    return found[1].decode(), found[2].decode(), found[3].decode()


def parent(flags: str, trace_id: str = TRACE_ID) -> str:
    return f"traceparent: 00-{trace_id}-{PARENT_ID}-{flags}"


async def answer_v2(world: World, head: bytes = GET, answer: bytes = OK) -> None:
    await world.client().sends(head)
    await world.v2.sends(answer)


# ... what is told


async def test_a_sampled_request_is_told_as_its_client_saw_it(world: World) -> None:
    world.plane.publish(RolloutState("default", State.RUNNING, 99_000, phase="canary"))
    world.clock.advance(1)
    seen = see(world, ALL, None, b"user-agent")
    await world.client().sends(request("POST", "/x?q=1", "User-Agent:  me ", "X-Other: 1", body=b"abc"))
    world.clock.advance(0.5)
    trace_id, span_id, flags = context_sent_to(world.v2)
    await world.v2.sends(OK)
    told = seen.only
    assert told.attempts == (
        dataclasses.replace(
            told.attempts[0],
            path=Path.V2,
            endpoint="http://127.0.0.1:9002",
            span_id=span_id,
            started_at=world.clock.wall() - 0.5,
            duration_s=0.5,
            status=200,
            error=None,
            resend=0,
            detail="",
        ),
    )
    assert flags == "1"
    assert told == dataclasses.replace(
        told,
        rollout="default",
        assigned=Path.V2,
        answered_by="v2",
        overridden=False,
        bucket=world.plane.explain(key="u", host="", path="/", method="GET").bucket,
        weight=99_000,
        phase="canary",
        breaker="closed",
        fallback=None,
        method="POST",
        target="/x?q=1",
        host="a",
        scheme="http",
        minor_version=1,
        client="192.0.2.7",
        request_id=trace_id,
        status=200,
        failed=False,
        aborted=False,
        started_at=world.clock.wall() - 0.5,
        duration_s=0.5,
        received_bytes=3,
        sent_bytes=2,
        trace_id=trace_id,
        parent_id="",
        trace_state="",
        traced=True,
        logged=False,
        fields=(("user-agent", "me"),),
        route="/",
        withdrawn_at=0.0,
    )
    assert told.span_id not in {span_id, ""}


async def test_a_request_of_no_rollout_is_told_without_one(open_world: Opener) -> None:
    world = await open_world(routes=[{"prefix": "/api"}])
    seen = see(world)
    await world.client().sends(request(target="/other"))
    await world.v1.sends(OK)
    told = seen.only
    assert (told.rollout, told.assigned, told.answered_by) == ("", Path.V1, "v1")
    assert (told.bucket, told.weight, told.phase, told.breaker, told.route) == (None, 0, None, "", "")


async def test_the_route_is_the_longest_prefix_that_covers_the_path(open_world: Opener) -> None:
    world = await open_world(routes=[{"prefix": "/api"}, {"prefix": "/api/v2/"}, {"prefix": "/apiary"}])
    seen = see(world)
    for target in ("/api?x=/api/v2/", "/api/v2/x", "/api/v22"):
        await answer_v2(world, request(target=target))
    assert [told.route for told in seen.requests] == ["/api", "/api/v2/", "/api"]


async def test_a_fallback_is_told_with_both_attempts_and_their_spans(world: World) -> None:
    seen = see(world)
    client = world.client()
    await client.sends(GET)
    world.clock.advance(0.25)
    first = context_sent_to(world.v2)
    await world.v2.sends(FAILED)
    world.clock.advance(0.5)
    second = context_sent_to(world.v1)
    await world.v1.sends(OK)
    told = seen.only
    assert (told.answered_by, told.fallback, told.status) == ("v1-fallback", FallbackReason.STATUS, 200)
    assert [(one.path, one.status, one.error) for one in told.attempts] == [
        (Path.V2, 503, ErrorClass.STATUS),
        (Path.V1, 200, None),
    ]
    assert [(one.duration_s, one.resend) for one in told.attempts] == [(0.25, 0), (0.5, 0)]
    assert told.attempts[1].started_at == told.started_at + 0.25
    assert first[0] == second[0] == told.trace_id
    assert [first[1], second[1]] == [one.span_id for one in told.attempts]
    assert len({told.span_id, first[1], second[1]}) == 3


async def test_an_attempt_that_is_repeated_counts_its_resends(open_world: Opener) -> None:
    world = await open_world(v2={"endpoints": ["http://127.0.0.1:9002", "http://127.0.0.1:9003"]})
    world.refusing.add(9002)
    seen = see(world)
    await world.client().sends(GET)
    await world.backend(9003).sends(OK)
    first, second = seen.only.attempts
    assert (first.error, first.resend, first.status) == (ErrorClass.CONNECT, 0, 0)
    assert first.detail == "cannot connect: Connection refused"
    assert (second.error, second.resend, second.endpoint) == (None, 1, "http://127.0.0.1:9003")


async def test_a_stale_connection_is_an_attempt_too(world: World) -> None:
    seen = see(world)
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(OK)
    stale = world.v2
    await client.sends(GET)
    await stale.leaves(ConnectionResetError())
    await world.v2.sends(OK)
    first, second = seen.requests[1].attempts
    assert (first.error, first.detail) == (ErrorClass.RESET, "the pooled connection was dead already")
    assert (second.resend, second.status) == (1, 200)
    assert seen.requests[1].fallback is None


async def test_v2_s_own_failure_is_told_as_v2_s_when_v1_cannot_better_it(world: World) -> None:
    seen = see(world)
    await answer_v2(world, GET, FAILED)
    await world.v1.sends(FAILED)
    told = seen.only
    assert (told.status, told.failed, told.answered_by) == (503, True, "v2")
    assert [one.status for one in told.attempts] == [503, 503]


async def test_an_answer_of_our_own_is_nobody_s(world: World) -> None:
    world.refusing.update({9001, 9002})
    seen = see(world)
    await world.client().sends(GET)
    told = seen.only
    assert (told.status, told.failed, told.answered_by) == (502, True, "")
    assert [one.error for one in told.attempts] == [ErrorClass.CONNECT] * 2


async def test_what_the_breaker_keeps_from_v2_has_one_attempt(open_world: Opener) -> None:
    world = await open_world(breaker={"consecutive_failures": 1})
    seen = see(world, BY_OUTCOME)
    await answer_v2(world, GET, FAILED)
    await world.v1.sends(OK)
    await world.client().sends(GET)
    await world.v1.sends(OK)
    told = seen.requests[1]
    assert (told.fallback, told.breaker) == (FallbackReason.BREAKER, "open")
    assert [one.path for one in told.attempts] == [Path.V1]


async def test_a_client_that_leaves_is_told_with_what_was_under_way(world: World) -> None:
    seen = see(world)
    client = world.client()
    await client.sends(GET)
    await world.passes(0.5)
    await client.leaves()
    told = seen.only
    assert (told.aborted, told.failed, told.status, told.answered_by) == (True, False, 0, "")
    assert [(one.status, one.error) for one in told.attempts] == [(0, None)]
    assert 0.4 < told.attempts[0].duration_s <= told.duration_s


async def test_a_client_that_leaves_at_once_was_there_for_no_negative_time(world: World) -> None:
    # Its leaving is told by a clock that only the next sweep brings up to date.
    seen = see(world)
    client = world.client()
    world.clock.advance(0.01)
    await client.sends(GET)
    await client.leaves()
    assert (seen.only.aborted, seen.only.duration_s) == (True, 0.0)
    assert [one.duration_s for one in seen.only.attempts] == [0.0]


async def test_an_answer_that_breaks_is_told_with_its_status(world: World) -> None:
    seen = see(world, BY_OUTCOME)
    await answer_v2(world, GET, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    await world.v2.leaves()
    told = seen.only
    assert (told.status, told.failed, told.answered_by, told.sent_bytes) == (200, True, "v2", 3)
    assert told.attempts[0].error is ErrorClass.TRUNCATED
    assert told.attempts[0].detail == "upstream closed the connection"


async def test_content_is_counted_without_its_framing(world: World) -> None:
    seen = see(world)
    head = b"POST /x HTTP/1.1\r\nHost: a\r\nX-User: u\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"4\r\nabcd\r\n1\r\ne\r\n0\r\n\r\n"
    await answer_v2(world, head + chunks, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    assert (seen.only.received_bytes, seen.only.sent_bytes) == (5, 5)


async def test_a_rollback_is_told_of_the_requests_that_ran_through_it(world: World) -> None:
    world.plane.publish(RolloutState("default", State.RUNNING, 50_000, phase="half"))
    seen = see(world)
    world.clock.advance(1)
    await answer_v2(world)
    client = world.client()
    await client.sends(GET)
    await world.passes(1)
    rolled_back_at = world.clock.wall()
    world.plane.publish(RolloutState("default", State.ROLLED_BACK, 0))
    await world.passes(0.5)
    await world.v2.sends(OK)
    await world.client().sends(GET)
    await world.v1.sends(OK)
    before, through, after = seen.requests
    assert (before.withdrawn_at, before.weight, before.phase) == (0.0, 50_000, "half")
    assert through.withdrawn_at == pytest.approx(rolled_back_at)
    assert (through.weight, through.phase, through.answered_by) == (50_000, "half", "v2")
    assert (after.withdrawn_at, after.weight, after.phase) == (0.0, 0, None)


async def test_a_tunnel_is_told_when_it_begins(open_world: Opener) -> None:
    world = await open_world(tunnels={"protocols": ["websocket"]})
    seen = see(world)
    head = request("GET", "/x", "Connection: upgrade", "Upgrade: websocket")
    await answer_v2(world, head, b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert (seen.only.status, seen.only.answered_by, seen.only.attempts[0].status) == (101, "v2", 101)


async def test_the_fields_that_are_asked_for_are_told(open_world: Opener) -> None:
    world = await open_world(listen={"trusted_proxies": ["192.0.2.7"]})
    seen = see(world, None, ALL, b"x-a", b"forwarded", b"x-none")
    await answer_v2(world, request("GET", "/", "X-A: 1", "x-a:2", "Forwarded: for=10.0.0.1", "X-B: 3"))
    assert seen.only.fields == (("x-a", "1"), ("x-a", "2"), ("forwarded", "for=10.0.0.1"))
    assert seen.only.client == "10.0.0.1"


async def test_what_is_no_request_is_told_by_chance(world: World) -> None:
    seen = see(world, BY_OUTCOME, ALL)
    await world.client().sends(b"GET / HTTP/1.1\r\n\r\n")
    told = seen.only
    assert (told.status, told.method, told.target, told.traced, told.logged) == (400, "", "", False, True)
    seen = see(world, BY_OUTCOME)
    await world.client().sends(b"GET / HTTP/1.1\r\n\r\n")
    assert seen.requests == []


async def test_what_is_shed_is_told_by_chance(world: World) -> None:
    world.context.shedding = True
    seen = see(world)
    await world.client().sends(GET)
    assert (seen.only.status, seen.only.failed, seen.only.attempts) == (503, True, ())
    seen = see(world, BY_OUTCOME)
    await world.client().sends(GET)
    assert seen.requests == []


async def test_what_finds_no_room_is_told_as_an_error(open_world: Opener) -> None:
    world = await open_world(v1={"max_requests": 1, "max_pending": 0})
    seen = see(world, BY_OUTCOME)
    await world.client().sends(GET_V1)
    await world.client().sends(GET_V1)
    assert (seen.only.status, seen.only.failed, seen.only.attempts) == (503, True, ())
    await world.v1.sends(OK)


# ... what is chosen


async def test_nothing_is_told_of_a_request_that_nobody_wants(world: World) -> None:
    seen = see(world, BY_OUTCOME)
    await answer_v2(world)
    assert context_sent_to(world.v2)[2] == "0"
    assert seen.requests == []


@pytest.mark.parametrize("share", [0.01, 0.3])
async def test_chance_takes_its_share(world: World, share: float) -> None:
    seen = see(world, Sampling(share=share), Sampling(share=2 * share))
    client = world.client()
    for _ in range(1000):
        await client.sends(GET_V1)
        await world.v1.sends(OK)
    traced = sum(told.traced for told in seen.requests)
    logged = sum(told.logged for told in seen.requests)
    assert 0.5 * share < traced / 1000 < 1.6 * share
    assert 0.5 * share < logged / 2000 < 1.6 * share
    assert all(told.logged for told in seen.requests), "the smaller share is a part of the larger"


@pytest.mark.parametrize(
    ("answer", "kept"),
    [(OK, False), (FAILED, True), (b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n", False)],
)
async def test_errors_are_told_whatever_chance_says(world: World, answer: bytes, kept: bool) -> None:
    seen = see(world, None, Sampling(errors=True))
    await world.client().sends(GET_V1)
    await world.v1.sends(answer)
    assert [(told.logged, told.traced) for told in seen.requests] == [(True, False)] * kept


async def test_slow_requests_are_told_whatever_chance_says(world: World) -> None:
    seen = see(world, Sampling(slow_s=2), Sampling(slow_s=1))
    for seconds in (0.9, 1.1, 2.1):
        client = world.client()
        await client.sends(GET_V1)
        world.clock.advance(seconds)
        await world.v1.sends(OK)
    assert [(told.traced, told.logged) for told in seen.requests] == [(False, True), (True, True)]


async def test_an_event_stream_is_as_slow_as_its_head(world: World) -> None:
    seen = see(world, Sampling(slow_s=2))
    stream = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = world.client()
    await client.sends(GET_V1)
    await world.v1.sends(stream)
    world.clock.advance(10)
    await client.leaves()
    assert seen.requests == []


# ... the client's trace


@pytest.mark.parametrize(
    ("given", "sent", "traced"),
    [("01", "1", True), ("00", "0", False), ("03", "3", True), ("02", "2", False)],
)
async def test_the_client_s_choice_is_heeded_and_passed_on(
    world: World, given: str, sent: str, traced: bool
) -> None:
    share = 0.0 if traced else 1.0
    seen = see(world, Sampling(share=share, heeds_parent=True, slow_s=5))
    await world.client().sends(request("GET", "/x", parent(given), "tracestate: a=1,b=2"))
    message = world.v2.message()
    assert message.fields[b"tracestate"] == b"a=1,b=2"
    found = SENT_ON.fullmatch(message.fields[b"traceparent"])
    assert found
    assert (found[1].decode(), found[3].decode()) == (TRACE_ID, sent)
    assert found[2].decode() != PARENT_ID
    world.clock.advance(0 if traced else 5)
    await world.v2.sends(OK)
    told = seen.only
    assert (told.trace_id, told.parent_id, told.trace_state) == (TRACE_ID, PARENT_ID, "a=1,b=2")
    assert told.attempts[0].span_id == found[2].decode()


@pytest.mark.parametrize("trace_id", ["f" * 16 + "0" * 15 + "1", "0" * 15 + "1" + "f" * 16])
@pytest.mark.parametrize("flags", ["00", "01"])
async def test_a_client_s_choice_that_is_ignored_is_none_by_the_digits_of_its_trace_either(
    world: World, trace_id: str, flags: str
) -> None:
    seen = see(world, Sampling(share=0.5))
    for _ in range(20):
        await answer_v2(world, request("GET", "/x", parent(flags, trace_id)))
    assert 4 <= len(seen.requests) <= 16
    assert {told.trace_id for told in seen.requests} == {trace_id}


async def test_without_traces_the_client_s_context_goes_on_untouched(world: World) -> None:
    seen = see(world, None, ALL)
    await world.client().sends(request("GET", "/x", parent("01")))
    await world.v2.sends(FAILED)
    for backend in (world.v2, world.v1):
        assert backend.message().fields[b"traceparent"].decode() == parent("01").removeprefix("traceparent: ")
    await world.v1.sends(OK)
    told = seen.only
    assert (told.trace_id, told.parent_id, told.span_id) == (TRACE_ID, PARENT_ID, "")


async def test_a_value_of_the_client_that_is_no_context_begins_a_new_trace(world: World) -> None:
    seen = see(world)
    two = request("GET", "/x", parent("01"), parent("01"), parent("01"))
    for head in (two, request("GET", "/x", "traceparent: 00-x")):
        await answer_v2(world, head)
        assert context_sent_to(world.v2)[0] == seen.requests[-1].trace_id != TRACE_ID
        assert seen.requests[-1].parent_id == ""
