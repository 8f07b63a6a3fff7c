"""Backends of several endpoints: load spreads, dead ones are left alone, sick ones come back when well."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest_asyncio

from tests.e2e import answers
from tests.e2e.proxy_process import ProxyProcess, config, running_proxy
from tests.e2e.raw_backend import Answer, Exchange, RawBackend, normal
from tests.e2e.raw_client import connected, fetch
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

USER = (b"X-User-Id", b"a")
Trio = list[RawBackend]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def trio() -> AsyncIterator[Trio]:
    """Three endpoints of v2."""
    endpoints = [RawBackend(f"v2-{number}") for number in range(3)]
    for endpoint in endpoints:
        await endpoint.listen()
    yield endpoints
    for endpoint in endpoints:
        await endpoint.refuse()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def proxy(
    backends: tuple[RawBackend, RawBackend], trio: Trio, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ProxyProcess]:
    """One v1, three endpoints of v2 that are probed ten times a second."""
    probe = {
        "path": "/healthz", "interval": "100ms", "timeout": "2s", "healthy_after": 1, "unhealthy_after": 2
    }  # fmt: skip
    v2 = {"health": probe, "ejection": {"consecutive_failures": 3, "duration": "2s"}}
    document = config(backends[0].url, [endpoint.url for endpoint in trio], v2=v2)
    async with running_proxy(document, tmp_path_factory.mktemp("proxy")) as process:
        yield process


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def all_well(proxy: ProxyProcess, trio: Trio) -> None:
    """Starts each test with three healthy endpoints that all take traffic."""
    for endpoint in trio:
        endpoint.forget()

    async def all_answer() -> bool:
        await ask(proxy, 30)
        return all(requests(endpoint) for endpoint in trio)

    await eventually(all_answer)
    for endpoint in trio:
        endpoint.received.clear()


async def test_requests_spread_over_the_endpoints(proxy: ProxyProcess, trio: Trio) -> None:
    assert set(await ask(proxy, 300)) == {b"v2-0", b"v2-1", b"v2-2"}
    assert min(requests(endpoint) for endpoint in trio) > 50


async def test_a_slow_endpoint_gets_less(proxy: ProxyProcess, trio: Trio) -> None:
    """Power of two choices by outstanding requests: what is slow has more of them, and loses the choice."""
    trio[0].answer = not_for_probes(answers.slow(0.05))
    await ask(proxy, 400, at_once=8)
    assert requests(trio[0]) < 0.6 * min(requests(trio[1]), requests(trio[2]))


async def test_an_endpoint_that_refuses_is_ejected(proxy: ProxyProcess, trio: Trio, v1: RawBackend) -> None:
    await trio[0].refuse()
    try:
        await ask(proxy, 60)  # every one a 200: v1 stands in until the endpoint is known as dead
        v1.received.clear()
        assert set(await ask(proxy, 100)) == {b"v2-1", b"v2-2"}
        assert v1.count() == 0
    finally:
        await trio[0].listen()


async def test_an_endpoint_that_fails_its_traffic_but_not_its_probes_is_ejected_for_a_while(
    proxy: ProxyProcess, trio: Trio, v1: RawBackend
) -> None:
    trio[0].answer = not_for_probes(answers.status("500 Internal Server Error"))
    assert set(await ask(proxy, 60)) <= {b"v1", b"v2-1", b"v2-2"}
    hits = requests(trio[0])
    assert hits < 20
    await ask(proxy, 50)
    assert requests(trio[0]) == hits
    trio[0].forget()

    async def is_back() -> bool:
        await ask(proxy, 10)
        return requests(trio[0]) > 0

    await eventually(is_back)


async def test_an_endpoint_that_fails_its_probes_gets_nothing_until_it_is_well(
    proxy: ProxyProcess, trio: Trio
) -> None:
    async def fails_its_probes(exchange: Exchange) -> None:
        sick = exchange.request.target == "/healthz"
        await (answers.status("503 Service Unavailable") if sick else normal)(exchange)

    trio[1].answer = fails_its_probes

    async def left_alone() -> bool:
        trio[1].received.clear()
        await ask(proxy, 20)
        return requests(trio[1]) == 0

    await eventually(left_alone)
    assert set(await ask(proxy, 60)) == {b"v2-0", b"v2-2"}
    trio[1].forget()

    async def is_back() -> bool:
        await ask(proxy, 10)
        return requests(trio[1]) > 0

    await eventually(is_back)


async def test_without_a_healthy_endpoint_v1_answers_everything(
    proxy: ProxyProcess, trio: Trio, v1: RawBackend
) -> None:
    for endpoint in trio:
        endpoint.answer = answers.status("500 Internal Server Error")

    async def v2_is_not_asked() -> bool:
        for endpoint in trio:
            endpoint.received.clear()
        assert set(await ask(proxy, 20)) == {b"v1"}
        return not any(requests(endpoint) for endpoint in trio)

    await eventually(v2_is_not_asked)
    answer = await fetch(proxy.listen, "POST", "/", (USER,), b"content")
    assert (answer.status, answer.backend) == (200, b"v1")


def not_for_probes(script: Answer) -> Answer:
    """The script for traffic; probes get a 200."""

    async def answer(exchange: Exchange) -> None:
        await (normal if exchange.request.target == "/healthz" else script)(exchange)

    return answer


def requests(endpoint: RawBackend) -> int:
    """How many requests of clients an endpoint has got."""
    return len([one for one in endpoint.received if one.target != "/healthz"])


async def ask(proxy: ProxyProcess, count: int, *, at_once: int = 4) -> list[bytes]:
    """Who answered that many requests, over some kept connections; every answer must be a 200."""
    seen: list[bytes] = []

    async def some() -> None:
        async with connected(proxy.listen) as client:
            for _ in range(count // at_once):
                answer = await client.ask("GET", "/", (USER,))
                assert (answer.status, answer.complete) == (200, True), answer
                seen.append(answer.backend or b"")

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(some())
    return seen
