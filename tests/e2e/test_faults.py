"""Every fault of a backend, on v1 and on v2, for what may be repeated and what may not: what the client gets,
what is counted, and that nothing is left behind.

All faults are played through at once, each under a rollout of its own, so that the books can be read per
fault. A request with a user goes to v2, one without to v1.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.e2e import answers
from tests.e2e.faults import CONNECTING, FAULTS, STATES, Fault, at_target
from tests.e2e.proxy_process import ProxyProcess, Table, config, running_proxy
from tests.e2e.raw_client import Outcome, connected, fetch, request
from tests.e2e.waiting import HANG_S, eventually, stopwatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.e2e.raw_backend import Exchange, RawBackend
    from tests.e2e.raw_client import Response

USER = (b"X-User-Id", b"a")
METHODS = ("GET", "POST")
PATHS = ("v1", "v2")
BODY = b"content"

EVERYTHING = {**FAULTS, **CONNECTING}


@dataclass(frozen=True, slots=True)
class Played:
    """What came of all faults: answers, and the books afterwards."""

    answers: dict[tuple[str, str, str], Response]
    books: dict[str, Table]
    endpoints: list[Table]
    descriptors: tuple[int, int]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def proxy(
    backends: tuple[RawBackend, RawBackend], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ProxyProcess]:
    """One rollout for each fault and method; short time-outs."""
    times = {
        "connect_timeout": "1s",
        "response_timeout": "2s",
        "idle_timeout": "2s",
        "keepalive_timeout": "300ms",
    }
    document = config(backends[0].url, backends[1].url, v1=times, v2=times)
    [usual] = document["rollouts"]
    document["rollouts"] = [
        {**usual, "name": f"{name}-{method}", "routes": [{"prefix": f"/{name}", "methods": [method]}]}
        for name in EVERYTHING
        for method in METHODS
    ] + [usual]
    async with running_proxy(document, tmp_path_factory.mktemp("proxy")) as process:
        yield process


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def played(proxy: ProxyProcess, backends: tuple[RawBackend, RawBackend]) -> Played:
    """Plays all faults through, once."""
    v1, v2 = backends
    assert (await fetch(proxy.listen, "GET", "/warm")).complete
    before = await descriptors_at_rest(proxy, v1, v2)
    got: dict[tuple[str, str, str], Response] = {}

    async def play(path: str, *names: str) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = {
                (name, path, method): group.create_task(ask(proxy, path, method, name))
                for name in names
                for method in METHODS
            }
        got.update({key: task.result() for key, task in tasks.items()})

    for path, backend, other in (("v1", v1, v2), ("v2", v2, v1)):
        backend.answer = at_target
        other.forget()
        await play(path, *FAULTS)
        for name, state in STATES.items():
            async with state(backend):
                await play(path, name)
        backend.forget()
    await proxy.settled()
    after = await descriptors_at_rest(proxy, v1, v2)
    v1.forget()
    v2.forget()
    status = await proxy.get("/api/v1/status")
    books = {one["name"]: one for one in status["rollouts"]}
    return Played(got, books, books["default"]["endpoints"], (before, after))


async def ask(proxy: ProxyProcess, path: str, method: str, name: str) -> Response:
    """One request, on a connection of its own."""
    fields = (USER,) if path == "v2" else ()
    if method == "GET" or not EVERYTHING[name].unfinished:
        return await fetch(proxy.listen, method, f"/{name}", fields, BODY if method == "POST" else None)
    declared = (b"Content-Length", b"%d" % (2 * len(BODY)))
    async with connected(proxy.listen) as client:
        await client.send(request(method, f"/{name}", (*fields, declared)) + BODY)
        return await client.response(method)


async def descriptors_at_rest(proxy: ProxyProcess, *backends: RawBackend) -> int:
    """How many file descriptors the proxy has open once its connections to backends and clients are gone."""
    await eventually(lambda: not any(backend.open_connections for backend in backends))
    counts: list[int] = []

    def is_steady() -> bool:
        counts.append(len(os.listdir(f"/proc/{proxy.process.pid}/fd")))
        return len(counts) > 20 and len(set(counts[-20:])) == 1

    await eventually(is_steady)
    return counts[-1]


# ... what the client gets


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", EVERYTHING)
async def test_v1s_faults_are_told_honestly(played: Played, name: str, method: str) -> None:
    fault, answer = EVERYTHING[name], played.answers[name, "v1", method]
    assert (answer.status, answer.complete) == (fault.status, fault.whole), answer
    assert not fault.hides or answer.backend is None or fault.error == "status"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", EVERYTHING)
async def test_v1_stands_in_for_v2_where_that_is_safe(played: Played, name: str, method: str) -> None:
    fault, answer = EVERYTHING[name], played.answers[name, "v2", method]
    if stands_in(fault, method):
        assert (answer.status, answer.complete, answer.backend) == (200, True, b"v1"), answer
        assert answer.body == f"v1 {method} /{name}".encode()
    else:
        assert (answer.status, answer.complete) == (fault.status, fault.whole), answer
        assert answer.backend != b"v1"


def stands_in(fault: Fault, method: str) -> bool:
    """RFC 9110 section 9.2.2: what may have been taken is repeated only if the method is idempotent."""
    return fault.hides and (method == "GET" or fault.error == "connect")


# ... what is counted


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", EVERYTHING)
async def test_a_fault_is_counted_once_against_the_version_that_was_asked(
    played: Played, name: str, method: str
) -> None:
    fault, books = EVERYTHING[name], played.books[f"{name}-{method}"]
    errors = {fault.error: 1} if fault.error else {}
    for path in PATHS:
        told = books["paths"][path]
        assert (told["requests"], told["errors_by_class"]) == (1, errors), path
    covered = stands_in(fault, method)
    assert books["fallbacks_by_reason"] == ({fault.error: 1} if covered else {})
    assert books["paths"]["v2"]["fallback_errors"] == 0
    # ... and as the clients saw it: v1's fault, and v2's unless v1 stood in
    failed = bool(fault.error)
    assert books["client"]["requests"] == 2
    assert books["client"]["errors"] == failed + (failed and not covered)
    assert books["client"]["aborts"] == 0


# ... what is left


async def test_no_attempt_is_left(played: Played) -> None:
    assert [one["outstanding"] for one in played.endpoints] == [0, 0]
    assert [one["idle_connections"] for one in played.endpoints] == [0, 0]


async def test_no_descriptor_is_left(played: Played) -> None:
    before, after = played.descriptors
    assert after <= before


# ... faults in time


@pytest.mark.parametrize("name", ["reset-in-the-body", "chunk-size-of-no-digits", "end-in-a-chunk"])
async def test_a_break_is_passed_on_within_100_ms(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, name: str
) -> None:
    took: list[float] = []
    for _ in range(3):  # the least of them: it is the proxy that is measured, and not this machine
        broke = asyncio.Event()

        async def break_off(exchange: Exchange, broke: asyncio.Event = broke) -> None:
            await FAULTS[name].script(exchange)
            broke.set()

        v2.answer = break_off
        asking = asyncio.create_task(fetch(proxy.listen, "GET", "/x", (USER,)))
        await broke.wait()
        async with stopwatch(proxy.tree()) as watch:
            answer = await asking
        assert answer.outcome in {Outcome.SHORT, Outcome.RESET}
        took.append(watch.own_s)
    assert min(took) < 0.1, took


async def test_an_endless_body_is_passed_on_until_its_client_has_enough(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    before = await proxy.settled()
    v2.answer = answers.large(1 << 40)
    async with connected(proxy.listen) as client:
        await client.send(request("GET", "/x", (USER,)))
        await client.interim()
        assert len(await client.reader.readexactly(4 << 20)) == 4 << 20
        client.reset()
    async with stopwatch(proxy.tree()) as watch:
        await eventually(lambda: v2.open_connections == 0)
    assert watch.own_s < 0.5, watch
    after = await proxy.settled()
    assert after["paths"]["v2"]["errors"] == before["paths"]["v2"]["errors"]
    assert after["client"]["aborts"] == before["client"]["aborts"] + 1


async def test_200_clients_that_leave_cancel_v2_within_500_ms_and_leave_nothing(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    """In turn before the head, in the upload, and in the body of the answer."""
    v1.drop()
    v2.drop()
    descriptors = await descriptors_at_rest(proxy, v1, v2)
    before = await proxy.settled()
    body = answers.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nsome", end="hang")

    async def hang(exchange: Exchange) -> None:
        await (body if exchange.request.target == "/body" else answers.HANG)(exchange)

    v2.answer = hang
    requests = [
        request("GET", "/head", (USER,)),
        request("POST", "/upload", (USER, (b"Content-Length", b"100"))) + b"some",
        request("GET", "/body", (USER,)),
    ]
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(proxy.listen)) for _ in range(200)]
        await asyncio.gather(*(one.send(requests[at % 3]) for at, one in enumerate(clients)))
        await eventually(lambda: v2.count() == 200)
        async with stopwatch(proxy.tree()) as watch:
            for client in clients:
                client.reset()
            await eventually(lambda: v2.open_connections == 0)
        assert watch.own_s < 0.5, watch
    v2.forget()
    after = await proxy.settled()
    for figure in ("requests", "errors", "fallbacks"):
        assert after["paths"]["v2"][figure] == before["paths"]["v2"][figure]
    assert after["client"]["aborts"] == before["client"]["aborts"] + 200
    assert after["client"]["errors"] == before["client"]["errors"]
    assert all(one["outstanding"] == 0 for one in after["endpoints"])
    assert await descriptors_at_rest(proxy, v1, v2) <= descriptors


# ... no room, and no means


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def limited(
    backends: tuple[RawBackend, RawBackend], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ProxyProcess]:
    """Two requests at once for each version; three may wait for v1, none for v2."""
    queue = {"max_requests": 2, "max_pending": 3, "pending_timeout": "60s"}
    document = config(backends[0].url, backends[1].url, v1=queue, v2={**queue, "max_pending": 0})
    async with running_proxy(document, tmp_path_factory.mktemp("limited")) as process:
        yield process


async def test_a_backend_with_a_limit_has_no_more_requests_than_that(
    limited: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    gate = asyncio.Event()
    v1.answer = v2.answer = answers.held(gate)
    tasks = [asyncio.create_task(fetch(limited.listen, "GET", "/", (USER,))) for _ in range(4)]
    await eventually(lambda: (v1.count(), v2.count()) == (2, 2))  # v2 is full, so that v1 has the rest
    tasks += [asyncio.create_task(fetch(limited.listen, "POST", "/", (), BODY)) for _ in range(5)]
    turned_away = [(await first_done(tasks)).result() for _ in range(2)]
    assert [(one.status, one.get(b"retry-after")) for one in turned_away] == [(503, b"1")] * 2
    assert (v1.count(), v2.count()) == (2, 2)
    gate.set()
    assert [answer.status for answer in await asyncio.gather(*tasks)] == [200] * 7
    told = await limited.settled()
    assert told["fallbacks_by_reason"] == {"unavailable": 2}
    assert (told["paths"]["v2"]["errors"], told["paths"]["v1"]["errors"]) == (0, 0)
    assert told["client"]["errors"] == 0
    assert (await limited.get("/api/v1/status"))["refused"]["overloaded"] == 2


async def test_want_of_file_descriptors_is_no_versions_fault(
    limited: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    """v1 stands in on a connection that is there; without one the client is told to come again."""
    v2.drop()
    await eventually(lambda: v2.open_connections == 0)
    before = await limited.settled()
    async with connected(limited.listen) as client:
        assert (await client.ask("POST", "/", (), BODY)).backend == b"v1"
        with no_more_descriptors(limited.process.pid):
            answer = await client.ask("POST", "/", (USER,), BODY)
            assert (answer.status, answer.backend) == (200, b"v1")
        v1.drop()
        await eventually(lambda: has_closed(limited, v1))
        with no_more_descriptors(limited.process.pid):
            answer = await client.ask("GET", "/", (USER,))
            assert (answer.status, answer.get(b"retry-after")) == (503, b"1")
        assert (await client.ask("GET", "/", (USER,))).backend == b"v2"
    after = await limited.settled()
    assert after["paths"]["v2"]["errors"] == before["paths"]["v2"]["errors"]
    assert after["paths"]["v1"]["errors"] == before["paths"]["v1"]["errors"]
    stood_in = [one["fallbacks_by_reason"].get("unavailable", 0) for one in (before, after)]
    assert stood_in[1] == stood_in[0] + 1


@contextlib.contextmanager
def no_more_descriptors(pid: int) -> Iterator[None]:
    """The process can open nothing more meanwhile."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


async def has_closed(proxy: ProxyProcess, backend: RawBackend) -> bool:
    """Whether the proxy keeps no connection to it."""
    told = (await proxy.status())["endpoints"]
    return any(one["url"] == backend.url and not one["idle_connections"] for one in told)


async def first_done(tasks: list[asyncio.Task[Response]]) -> asyncio.Task[Response]:
    """The first of them that is over, which is taken out."""
    done, _ = await asyncio.wait(tasks, timeout=HANG_S, return_when=asyncio.FIRST_COMPLETED)
    assert done, "nobody has been answered"
    one = done.pop()
    tasks.remove(one)
    return one
