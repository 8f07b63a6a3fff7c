"""What the meter is told of a request and of its attempts: each once, with what it took and how it ended."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given
from hypothesis import settings as examples

from tests.dataplane.test_ledger import STEPS, STREAM, play
from tests.dataplane.wire import FAILED, GET, GET_V1, OK, request

if TYPE_CHECKING:
    from proxy.model import Path
    from tests.dataplane.conftest import Opener
    from tests.dataplane.wire import World

Told = tuple[str, int, str, str, int, float]


class TranscriptMeter:
    """Writes down what it is told: which call, rollout, path, method, status, and tenths of a second."""

    def __init__(self) -> None:
        self.told: list[Told] = []

    def answered(self, rollout: int, path: Path, method: bytes, status: int, took_s: float) -> None:
        self._note("answered", rollout, path, method, status, took_s)

    def attempt_ended(self, rollout: int, path: Path, method: bytes, status: int, took_s: float) -> None:
        self._note("attempt", rollout, path, method, status, took_s)

    def request_ended(self, rollout: int, path: Path, method: bytes, status: int, took_s: float) -> None:
        self._note("request", rollout, path, method, status, took_s)

    def _note(self, call: str, rollout: int, path: Path, method: bytes, status: int, took_s: float) -> None:
        self.told.append((call, rollout, str(path), method.decode(), status, round(took_s, 1)))

    def heard(self) -> list[Told]:
        told, self.told = self.told, []
        return told


def measured(world: World) -> TranscriptMeter:
    """From now on this one is told."""
    world.context.meter = meter = TranscriptMeter()
    return meter


async def test_a_request_that_is_one_attempt_is_told_once(world: World) -> None:
    meter = measured(world)
    client = world.client()
    await client.sends(GET)
    await world.passes(0.2)
    await world.v2.sends(OK)
    await client.sends(GET_V1)
    await world.v1.sends(b"HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n")
    assert meter.heard() == [("answered", 0, "v2", "GET", 200, 0.2), ("answered", 0, "v1", "GET", 404, 0.0)]


async def test_a_fallback_is_two_attempts_and_one_request_of_the_path_it_was_meant_for(world: World) -> None:
    meter = measured(world)
    client = world.client()
    await client.sends(GET)
    await world.passes(0.2)
    await world.v2.sends(FAILED)
    await world.passes(0.3)
    await world.v1.sends(OK)
    assert meter.heard() == [
        ("attempt", 0, "v2", "GET", 503, 0.2),
        ("attempt", 0, "v1", "GET", 200, 0.3),
        ("request", 0, "v2", "GET", 200, 0.5),
    ]


async def test_an_error_that_the_client_gets_has_its_status(world: World) -> None:
    meter = measured(world)
    await world.client().sends(request("POST", body=b"abc"))
    await world.v2.sends(FAILED)
    assert meter.heard() == [("attempt", 0, "v2", "POST", 503, 0.0), ("request", 0, "v2", "POST", 503, 0.0)]


async def test_where_both_fail_the_client_has_what_v2_said(world: World) -> None:
    meter = measured(world)
    await world.client().sends(GET)
    await world.v2.sends(FAILED)
    await world.v1.leaves()
    assert [(one[0], one[2], one[4]) for one in meter.heard()] == [
        ("attempt", "v2", 503),
        ("attempt", "v1", 0),
        ("request", "v2", 503),
    ]


async def test_no_backend_to_be_reached_is_no_status_and_our_own_answer(world: World) -> None:
    meter = measured(world)
    world.refusing |= {9001, 9002}
    await world.client().sends(GET)
    assert [(one[0], one[2], one[4]) for one in meter.heard()] == [
        ("attempt", "v2", 0),
        ("attempt", "v1", 0),
        ("request", "v2", 502),
    ]


async def test_a_try_that_is_repeated_took_its_time_too(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(OK)
    meter = measured(world)
    await client.sends(GET)
    await world.passes(0.06)
    await world.v2.leaves()
    await world.passes(0.2)
    await world.v2.sends(OK)
    assert meter.heard() == [
        ("attempt", 0, "v2", "GET", 0, 0.1),
        ("attempt", 0, "v2", "GET", 200, 0.2),
        ("request", 0, "v2", "GET", 200, 0.3),
    ]


async def test_a_stream_took_the_backend_until_its_head_and_the_client_until_its_end(world: World) -> None:
    meter = measured(world)
    client = world.client()
    await client.sends(GET)
    await world.passes(0.2)
    await world.v2.sends(STREAM)
    await world.passes(5)
    await client.leaves()
    assert meter.heard() == [("attempt", 0, "v2", "GET", 200, 0.2), ("request", 0, "v2", "GET", 200, 5.2)]


async def test_a_client_that_leaves_has_a_request_without_an_answer_and_blames_no_attempt(
    world: World,
) -> None:
    meter = measured(world)
    client = world.client()
    await client.sends(GET)
    await world.passes(0.2)
    await client.leaves()
    assert meter.heard() == [("request", 0, "v2", "GET", 0, 0.2)]


async def test_whoever_is_turned_away_was_answered_503(open_world: Opener) -> None:
    world = await open_world(v1={"max_requests": 1, "max_pending": 0})
    meter = measured(world)
    await world.client().sends(GET_V1)
    await world.client().sends(GET_V1)
    assert meter.heard() == [("request", 0, "v1", "GET", 503, 0.0)]


async def test_requests_outside_any_rollout_are_of_none(open_world: Opener) -> None:
    world = await open_world(routes=[{"prefix": "/shop"}])
    meter = measured(world)
    await world.client().sends(request(target="/blog"))
    await world.v1.sends(OK)
    assert meter.heard() == [("answered", -1, "v1", "GET", 200, 0.0)]


async def test_without_a_meter_nothing_is_told(world: World) -> None:
    assert world.context.meter is None
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(FAILED)
    await world.v1.sends(OK)
    assert client.message().status == 200


@given(steps=STEPS)
@examples(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_every_request_is_measured_once(world: World, steps: list[tuple[str, int]]) -> None:
    meter = measured(world)
    await play(world, steps)
    outcomes = Counter(line.split()[0] for line in world.heard())["outcome"]
    calls = Counter(told[0] for told in meter.heard())
    assert calls["answered"] + calls["request"] == outcomes
    world.context.routes.rollouts[0].breaker.reset()
