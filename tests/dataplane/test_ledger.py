"""Each attempt and each request is counted once, whatever happens to it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.telemetry.recorder import TallyRecorder
from tests.dataplane.wire import FAILED, OK, request, settle

if TYPE_CHECKING:
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
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
