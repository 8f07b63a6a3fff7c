"""A crew without a `serve` around it: what the composition root relies on."""

from __future__ import annotations

import asyncio
import random
import socket
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from proxy.clock import SystemClock
from proxy.config.loading import parse
from proxy.errors import StartError
from proxy.hand import hired
from proxy.model import Path, RolloutState, State
from proxy.supervisor import Crew
from tests.e2e.proxy_process import config, toml
from tests.e2e.raw_client import connected, fetch
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path as FilePath

    from proxy.hand import Hand
    from tests.e2e.raw_backend import RawBackend

USERS = [(b"X-User-Id", b"user-%d" % number) for number in range(24)]


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: FilePath) -> None:
    """The runtime directory of this test alone."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def crew_of(workers: int, v1: RawBackend, v2: RawBackend) -> Crew:
    """A crew that is not started, with v2 published for everybody."""
    document = config(v1.url, v2.url, rollout={"percentage": 0})
    crew = Crew(parse(toml(document), {}), clock=SystemClock(), rng=random.Random(1), workers=workers)
    for sink in crew.sinks:
        sink.publish(RolloutState("default", State.RUNNING, 100_000, None, 1))
    return crew


def bound(count: int) -> list[socket.socket]:
    """A group of listening sockets on one free port."""
    group: list[socket.socket] = []
    for _ in range(count):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(group[0].getsockname() if group else ("127.0.0.1", 0))
        sock.listen(128)
        sock.setblocking(False)
        group.append(sock)
    return group


async def test_sockets_beyond_the_number_of_workers_are_served_too(v1: RawBackend, v2: RawBackend) -> None:
    crew = crew_of(2, v1, v2)
    sockets = bound(5)
    address = sockets[0].getsockname()
    try:
        await crew.start(sockets)
        assert (crew.missing(), crew.workers_alive) == ([], 2)
        seen = await asyncio.gather(*(fetch(address, fields=(user,)) for user in USERS * 3))
        assert {(answer.status, answer.backend) for answer in seen} == {(200, b"v2")}
        counted = 0

        def all_counted() -> bool:
            nonlocal counted
            counted += sum(tally.client_requests for tally in crew.evidence.drain())
            return counted == len(seen)

        await eventually(all_counted)
        await crew.drain()
        assert crew.missing() == ["worker 0", "worker 1"]
        with pytest.raises(ConnectionRefusedError):
            async with connected(address):
                pass
    finally:
        await crew.stop()
    await crew.stop()  # once more does no harm


async def test_what_the_probes_find_reaches_every_worker(v1: RawBackend, v2: RawBackend) -> None:
    crew = crew_of(2, v1, v2)
    sockets = bound(2)
    address = sockets[0].getsockname()
    crew.endpoints.set_health(Path.V2, v2.url, healthy=False)  # before they begin
    try:
        await crew.start(sockets)
        assert await backends(address) == {b"v1"}
        for healthy, expected in ((True, b"v2"), (False, b"v1")):
            crew.endpoints.set_health(Path.V2, v2.url, healthy=healthy)

            async def all_there(expected: bytes = expected) -> bool:
                return await backends(address) == {expected}

            await eventually(all_there)
    finally:
        await crew.stop()


@pytest.mark.parametrize("is_confirmed", [False, True])
async def test_a_worker_on_trial_ends_with_its_supervisor(
    v1: RawBackend, v2: RawBackend, is_confirmed: bool
) -> None:
    crew = crew_of(1, v1, v2)
    crew.on_trial()
    crew._sockets = bound(1)
    address = crew._sockets[0].getsockname()
    hand = await hired(crew._sockets, address)
    try:
        hand.outbox.put(crew._first_order(0))
        await says(hand, "ready")
        if is_confirmed:
            hand.outbox.put({"kind": "confirm"})
        hand.outbox.put({"kind": "alone"})
        await says(hand, "alone")  # what came before has been read, too
        await hand._channel.close()  # as a supervisor that is killed
        if is_confirmed:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(hand.gone(), 0.5)
            assert (await fetch(address, fields=(USERS[0],))).status == 200
        else:
            await asyncio.wait_for(hand.gone(), 5)
    finally:
        await hand.dismissed()
        crew._close_sockets()


async def test_workers_need_a_socket_each(v1: RawBackend, v2: RawBackend) -> None:
    sockets = bound(1)
    with sockets[0], pytest.raises(StartError, match="2 workers need as many sockets, not 1"):
        await crew_of(2, v1, v2).start(sockets)


async def test_a_crew_that_was_never_started_can_be_stopped(v1: RawBackend, v2: RawBackend) -> None:
    crew = crew_of(2, v1, v2)
    assert crew.missing() == ["worker 0", "worker 1"]
    await crew.stop()


async def test_workers_that_cannot_be_started_are_told(
    v1: RawBackend, v2: RawBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    crew = crew_of(2, v1, v2)
    try:
        with pytest.raises(StartError, match="does not stay up; the last time it could not be started"):
            await crew.start(bound(2))
        with pytest.raises(StartError):
            await crew.failed()
    finally:
        await crew.stop()


async def backends(address: tuple[str, int]) -> set[bytes | None]:
    """Who answers."""
    seen = await asyncio.gather(*(fetch(address, fields=(user,)) for user in USERS))
    return {answer.backend for answer in seen}


async def says(hand: Hand, kind: str) -> None:
    """Until the worker has said that."""
    async with aclosing(hand.frames()) as frames:
        async for frame in frames:
            if frame["kind"] == kind:
                return
