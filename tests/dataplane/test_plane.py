"""The data plane as a whole: it listens, sweeps, drains, stops."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from proxy.errors import StartError
from proxy.model import Path
from tests.dataplane.wire import BOUND, GET, OK, World, settings, settle

if TYPE_CHECKING:
    from tests.dataplane.conftest import Opener


async def test_it_says_where_it_listens(world: World) -> None:
    assert world.plane.accepting
    assert repr(world.plane) == "<DataPlane <Context 0 exchanges draining=False>>"
    other = World(settings())
    assert not other.plane.accepting


async def test_an_address_that_is_taken_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(settings())
    world.address_taken = True
    monkeypatch.setattr(asyncio.get_running_loop(), "create_server", world.create_server)
    with pytest.raises(StartError, match=r"cannot listen on 127\.0\.0\.1:8080: Address already in use"):
        await world.plane.start(BOUND)
    await world.plane.drain()
    await world.plane.stop()
    assert not world.plane.accepting


async def test_it_tells_the_state_of_endpoints_and_breakers(world: World) -> None:
    assert [(status.path, status.url) for status in world.plane.statuses()] == [
        (Path.V1, "http://127.0.0.1:9001"),
        (Path.V2, "http://127.0.0.1:9002"),
    ]
    world.plane.set_health(Path.V2, "http://127.0.0.1:9002", healthy=False)
    assert (world.plane.health(Path.V1), world.plane.health(Path.V2)) == (1.0, 0.0)
    assert world.plane.breaker("default") == "closed"


async def test_rfc9110_6_6_1_the_date_keeps_up(world: World) -> None:
    client = world.client()
    await world.passes(5.6)
    await client.sends(GET)
    await world.v2.sends(OK)
    assert client.message().fields[b"date"] == b"Tue, 14 Nov 2023 22:13:25 GMT"


async def test_draining_lets_what_runs_finish_and_takes_nothing_new(world: World) -> None:
    running, idle = world.client(), world.client()
    await running.sends(GET)
    drained = asyncio.create_task(world.plane.drain())
    await settle()
    assert world.servers[0].closed
    assert not world.plane.accepting
    await world.passes(0.5)
    assert idle.end == ""
    await idle.sends(GET)  # it was on its way
    await world.connections[1].sends(OK)
    assert idle.message().fields[b"connection"] == b"close"
    await world.passes(2)
    assert not drained.done()
    await world.connections[0].sends(OK)
    assert running.message().status == 200
    await world.passes(0.1)
    assert drained.done()
    assert (running.end, idle.end) == ("closed", "closed")


async def test_draining_closes_idle_connections_after_a_second(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.connections[0].sends(OK)
    drained = asyncio.create_task(world.plane.drain())
    await world.passes(0.9)
    assert client.end == ""
    await world.passes(0.2)
    assert client.end == "closed"
    assert drained.done()


async def test_draining_does_not_count_the_time_in_which_the_process_stood_still(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.connections[0].sends(OK)
    assert client.message().status == 200
    drained = asyncio.create_task(world.plane.drain())
    await world.passes(0.5)
    world.clock.advance(5.0)
    await world.passes(0.1)
    await client.sends(GET)
    await world.connections[0].sends(OK)
    assert client.message().fields[b"connection"] == b"close"
    await world.passes(0.1)
    assert drained.done()


async def test_draining_waits_longer_for_who_has_not_asked_anything_yet(world: World) -> None:
    client = world.client()
    drained = asyncio.create_task(world.plane.drain())
    await world.passes(4.9)
    assert client.end == ""
    await world.passes(0.2)
    assert client.end == "closed"
    assert drained.done()


async def test_who_has_not_asked_is_known_over_a_reload(open_world: Opener) -> None:
    world = await open_world(listen={"max_requests_per_connection": 3})
    silent, served = world.client(), world.client()
    await served.sends(GET)
    await world.connections[0].sends(OK)
    world.plane.replace(settings(listen={"max_requests_per_connection": 2}), world.recorder)
    drained = asyncio.create_task(world.plane.drain())
    await world.passes(1.1)
    assert (silent.end, served.end) == ("", "closed")
    await world.passes(4.0)
    assert silent.end == "closed"
    await drained


async def test_draining_lets_who_still_sends_read_the_answer(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.connections[0].sends(OK)
    assert client.message().status == 200
    drained = asyncio.create_task(world.plane.drain())
    await world.passes(0.9)
    await client.sends(b"nonsense\r\n\r\n")
    assert client.message().status == 400
    await world.passes(0.5)
    assert not client.transport.is_closing()  # over what still comes: its reset could overtake the answer
    await world.passes(2.5)
    assert client.end == "aborted"
    assert drained.done()


@pytest.mark.parametrize("drain_timeout", ["0s", "500ms"])
async def test_who_has_nothing_under_way_when_the_time_is_up_is_closed_and_not_reset(
    open_world: Opener, drain_timeout: str
) -> None:
    world = await open_world(listen={"drain_timeout": drain_timeout})
    silent, served, busy = world.client(), world.client(), world.client()
    await served.sends(GET)
    await world.connections[0].sends(OK)
    await busy.sends(GET)
    drained = asyncio.create_task(world.plane.drain())
    await world.passes(0.6)
    assert drained.done()
    await world.plane.stop()
    await settle()
    assert (silent.end, served.end, busy.end) == ("closed", "closed", "reset")


async def test_draining_gives_up_after_its_time(open_world: Opener) -> None:
    world = await open_world(listen={"drain_timeout": "3s"})
    client = world.client()
    await client.sends(GET)
    drained = asyncio.create_task(world.plane.drain())
    await world.passes(2.9)
    assert not drained.done()
    await world.passes(0.2)
    assert drained.done()
    assert client.end == ""
    await world.plane.stop()
    await settle()
    assert (client.end, world.v2.end) == ("reset", "aborted")
    assert world.heard() == ["assigned v2", "outcome aborted"]


async def test_after_the_stop_no_timer_is_left(world: World) -> None:
    await world.plane.stop()
    assert all(timer.cancelled for timer in world.timers)


async def test_a_loop_that_was_busy_hears_what_has_come_before_it_calls_anybody_late(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    world.clock.advance(100.0)  # nothing ran meanwhile
    [sweep] = world.timers
    world.timers.clear()
    sweep.call()
    await world.v2.sends(OK)
    assert client.message().body == b"ok"
    assert world.heard()[-1] == "outcome good"
    await world.passes(0.1)


async def test_a_busy_loop_calls_late_who_has_said_nothing_until_then(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    world.clock.advance(100.0)
    await world.passes(0.0)
    assert world.v1.message().fields[b"x-dualpath-path"] == b"v1"
