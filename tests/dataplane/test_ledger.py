"""Each attempt and each request is counted once, whatever happens to it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from proxy.core.histogram import bucket_bounds_us
from proxy.telemetry.recorder import TallyRecorder
from tests.dataplane.wire import FAILED, GET, GET_V1, OK, TranscriptRecorder, request, settings, settle

if TYPE_CHECKING:
    from tests.dataplane.conftest import Opener
    from tests.dataplane.wire import World

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["arrives", "posts", "answers", "fails", "dies", "babbles", "begins", "leaves", "passes"]
        ),
        st.integers(0, 3),
    ),
    max_size=25,
)
ANSWERS = {
    "answers": OK,
    "fails": FAILED,
    "babbles": b"?\r\n",
    "begins": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
}


async def play(world: World, steps: list[tuple[str, int]]) -> None:
    """Clients and backends do what the steps say, as far as they can."""
    clients = [world.client() for _ in range(4)]
    for what, number in steps:
        client = clients[number]
        waiting = [peer for peer in world.connections if not peer.transport.lost and peer.transport.written]
        if what in {"arrives", "posts"} and not client.transport.lost:
            await client.sends(request("GET" if what == "arrives" else "POST", user=f"u{number}"))
        elif what == "leaves" and not client.transport.lost:
            await client.leaves()
        elif what == "passes":
            await world.passes(3.0 * number)
        elif waiting and what in {*ANSWERS, "dies"}:
            peer = waiting[number % len(waiting)]
            if what != "begins":
                peer.got()
            if what == "dies":
                await peer.leaves()
            else:
                await peer.sends(ANSWERS[what])
    for client in clients:
        await client.leaves()
    await settle()


@given(steps=STEPS)
@examples(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_every_request_has_one_outcome_and_every_attempt_ends_once(
    world: World, steps: list[tuple[str, int]]
) -> None:
    await play(world, steps)
    kinds = Counter(line.split()[0] for line in world.heard())
    assert kinds["assigned"] == kinds["outcome"]
    assert kinds["attempt"] + kinds["fallback"] <= 2 * kinds["assigned"]
    assert world.is_clean()
    breaker = world.context.routes.rollouts[0].breaker
    assert "0 probes running" in repr(breaker)
    breaker.reset()


async def test_the_transcript_is_what_the_recorder_counts(world: World) -> None:
    recorder = world.context.recorder = TallyRecorder(1)
    client = world.client()
    await client.sends(request())
    await world.v2.sends(FAILED)
    await world.v1.sends(OK)
    await client.sends(request(user=""))
    await client.leaves()
    [tally] = recorder.drain()
    assert (tally.assigned_v1, tally.assigned_v2, tally.overridden) == (1, 1, 0)
    assert (tally.v1.requests, tally.v2.requests, sum(tally.v2.errors), sum(tally.fallbacks)) == (0, 1, 1, 1)
    assert (tally.client_requests, tally.client_errors, tally.client_aborts) == (1, 0, 1)


# ... what is under way

JUDGED = {"phases": [{"name": "canary", "percentage": 99}], "percentage": 99}
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def ages(world: World, rollout: int = 0) -> tuple[list[int], list[int]]:
    """For how many whole tenths of a second the attempts on v1 and v2 have been under way."""
    found = world.plane.under_way()
    if rollout not in found:
        return [], []
    v1, v2 = (
        [round(bucket_bounds_us(index)[1] / 1e5) for index, count in one.buckets() for _ in range(count)]
        for one in found[rollout]
    )
    return v1, v2


async def test_what_waits_for_an_answer_is_as_old_as_its_attempt(open_world: Opener) -> None:
    world = await open_world(**JUDGED)
    assert world.plane.under_way() == {}
    clients = [world.client() for _ in range(3)]
    await clients[0].sends(GET_V1)
    await world.passes(0.4)
    await clients[1].sends(GET)
    await world.passes(0.2)
    await clients[2].sends(GET)
    assert ages(world) == ([6], [0, 2])
    await world.v2.sends(OK)
    await world.passes(0.2)
    assert ages(world) == ([8], [4])
    await clients[1].leaves()
    await world.v1.sends(OK)
    assert world.plane.under_way() == {}


async def test_only_first_choices_are_waited_for(open_world: Opener) -> None:
    pinned = {"allow": {"v2": ["pinned"], "v1": ["home"]}}
    world = await open_world(**JUDGED, **pinned)
    client = world.client()
    await client.sends(GET)
    await world.passes(0.3)
    await world.v2.sends(FAILED)  # v1 is asked in its place
    for user in ("pinned", "home"):
        await world.client().sends(request(user=user))
    await world.passes(0.3)
    assert world.plane.under_way() == {}


async def test_an_event_stream_stays_as_old_as_it_was_at_its_head(open_world: Opener) -> None:
    world = await open_world(**JUDGED)
    client = world.client()
    await client.sends(GET)
    await world.passes(0.2)
    await world.v2.sends(STREAM)
    await world.passes(5)
    assert ages(world) == ([], [2])
    await client.leaves()
    assert (world.recorder.latencies, ages(world)) == ([0.2], ([], []))


async def test_time_in_which_the_client_does_not_read_is_not_the_backends(open_world: Opener) -> None:
    world = await open_world(**JUDGED)
    client = world.client()
    await client.sends(GET)
    client.stalls()
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b"x" * 200_000)
    await world.passes(2)
    assert ages(world)[1] == [0]
    await client.catches_up()
    await world.passes(0.3)
    assert ages(world)[1] == [3]


async def test_nobody_looks_where_nobody_judges_latency(open_world: Opener) -> None:
    for tables in ({}, {**JUDGED, "judge": {"enabled": False}}):
        world = await open_world(**tables)
        await world.client().sends(GET)
        assert world.plane.under_way() == {}
    guard = {"metric": "latency_p95", "above": "1s"}
    world = await open_world(guards=[guard])
    await world.client().sends(GET)
    assert ages(world) == ([], [0])


async def test_a_reload_keeps_what_is_under_way_where_the_table_is_the_same(open_world: Opener) -> None:
    rest = {"name": "rest", "routes": [{"prefix": "/rest"}], "key": ["header:X-User"], **JUDGED}
    rollout = {"name": "default", "key": ["header:X-User"], **JUDGED}
    world = await open_world(rollouts=[rollout, rest])
    for target in ("/x", "/rest"):
        await world.client().sends(request("GET", target))
    await world.passes(0.1)
    world.plane.replace(settings(rollouts=[{**rest, "timeout": "3s"}, rollout]), TranscriptRecorder())
    await world.client().sends(GET)
    assert ages(world, 0) == ([], [])
    assert ages(world, 1) == ([], [0, 1])
    world.plane.replace(settings(rollouts=[rollout]), TranscriptRecorder())
    assert ages(world, 0) == ([], [0, 1])
