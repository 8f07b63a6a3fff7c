"""The prober on real connections: every kind of bad answer counts, and nothing is kept open. And what v2
reports of itself, as far as the judge."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from proxy.config.schema import Backend, Backends
from proxy.controlplane.health import Line, Prober
from tests.e2e.proxy_process import config, running_proxy
from tests.e2e.raw_client import fetch
from tests.e2e.waiting import HANG_S, eventually
from tests.fakes import FakeEndpoints, FakeRandom

if TYPE_CHECKING:
    from pathlib import Path as File

    from proxy.model import Path
    from tests.e2e.raw_backend import Answer, Exchange, RawBackend

PATIENCE_S = HANG_S
PROBE = {
    "path": "/health",
    "interval": "5ms",
    "timeout": "100ms",
    "healthy_after": 1,
    "unhealthy_after": 2,
}


class Heard(FakeEndpoints):
    """Endpoints that let a test wait for what the prober says."""

    def __init__(self) -> None:
        super().__init__()
        self._news = asyncio.Event()

    def set_health(self, path: Path, url: str, *, healthy: bool) -> None:
        super().set_health(path, url, healthy=healthy)
        self._news.set()

    async def news(self) -> bool:
        """Whether v2 is healthy, when that has changed."""
        async with asyncio.timeout(PATIENCE_S):
            await self._news.wait()
        self._news.clear()
        return self.heard[-1][2]


def prober(backend: RawBackend, endpoints: FakeEndpoints) -> Prober:
    other = {"endpoints": ["http://127.0.0.1:9"]}
    document = {"v1": other, "v2": {"endpoints": [backend.url], "health": PROBE}}
    return Prober(Backends.read(document), endpoints, rng=FakeRandom(0.0))


async def unavailable(exchange: Exchange) -> None:
    await exchange.reply(b"503 Service Unavailable", b"not yet")


async def redirect(exchange: Exchange) -> None:
    await exchange.reply(b"302 Found", b"", (b"Location", b"http://127.0.0.1:9/elsewhere"))


async def endless(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx")
    await exchange.gone()


async def hang(exchange: Exchange) -> None:
    await exchange.gone()


async def garbage(exchange: Exchange) -> None:
    await exchange.send(b"\x16\x03\x01 what?\r\n\r\n")
    exchange.close()


async def cut(exchange: Exchange) -> None:
    exchange.reset()


@pytest.mark.parametrize("bad", [unavailable, hang, garbage, cut])
async def test_a_bad_answer_takes_the_endpoint_out_and_a_good_one_brings_it_back(
    v2: RawBackend, bad: Answer
) -> None:
    endpoints = Heard()
    v2.answer = bad
    async with prober(v2, endpoints):
        assert await endpoints.news() is False
        v2.forget()
        assert await endpoints.news() is True
    assert {request.target for request in v2.received} == {"/health"}


async def test_an_endpoint_that_refuses_is_out(v2: RawBackend) -> None:
    endpoints = Heard()
    await v2.refuse()
    try:
        async with prober(v2, endpoints):
            assert await endpoints.news() is False
    finally:
        await v2.listen()


@pytest.mark.parametrize("good", [redirect, endless])
async def test_the_head_is_what_counts_and_redirects_are_not_followed(v2: RawBackend, good: Answer) -> None:
    endpoints = Heard()
    v2.answer = unavailable
    async with prober(v2, endpoints):
        assert await endpoints.news() is False
        v2.answer = good
        assert await endpoints.news() is True


async def test_each_probe_has_a_connection_of_its_own_and_none_is_left(v2: RawBackend) -> None:
    async with prober(v2, Heard()):
        await eventually(lambda: v2.count() >= 3)
    assert [(request.connection, request.nth) for request in v2.received[:3]] == [(1, 1), (2, 1), (3, 1)]
    await eventually(lambda: not v2.open_connections)


async def half_well(exchange: Exchange) -> None:
    await exchange.reply(b"200 OK", b'{"database": "connected", "cache": "warming"}')


async def wholly_well(exchange: Exchange) -> None:
    await exchange.reply(b"200 OK", b'{"database": "connected", "cache": "operational", "more": 1}')


@pytest.mark.parametrize("bad", [half_well, unavailable, endless])
async def test_an_endpoint_is_well_once_its_json_is_as_expected(v2: RawBackend, bad: Answer) -> None:
    endpoints = Heard()
    v2.answer = bad
    expected = {"expect_status": [200], "expect_json": {"database": "connected", "cache": "operational"}}
    document = {
        "v1": {"endpoints": ["http://127.0.0.1:9"]},
        "v2": {"endpoints": [v2.url], "health": {**PROBE, **expected}},
    }
    async with Prober(Backends.read(document), endpoints, rng=FakeRandom(0.0)):
        assert await endpoints.news() is False
        v2.answer = wholly_well
        assert await endpoints.news() is True


# ... cache hits


@pytest.mark.parametrize("workers", [1, 2])
async def test_v2_whose_cache_misses_is_rolled_back(
    v1: RawBackend, v2: RawBackend, tmp_path: File, workers: int
) -> None:
    guard = {"metric": "cache_hit_rate", "below": 0.6}
    document = config(v1.url, v2.url, rollout={"guards": [guard]}, listen={"workers": workers})
    document["backends"]["v2"] |= {"cache_header": "X-Cache"}
    hits = iter([b"HIT", b"MISS"] * 1_000)

    async def cached(exchange: Exchange) -> None:
        await exchange.reply(b"200 OK", b"", (b"X-Cache", next(hits)))

    v2.answer = cached
    async with running_proxy(document, tmp_path) as proxy:

        async def rolled_back() -> bool:
            for number in range(10):
                await fetch(proxy.listen, "GET", "/", ((b"X-User-Id", b"%d" % number),))
            return bool((await proxy.status())["state"] == "rolled_back")

        await eventually(rolled_back)
        assert "guard cache_hit_rate below 0.6: 0.5" in (await proxy.status())["reason"]
        assert v2.count() >= 20


# ... reports


async def busy(exchange: Exchange) -> None:
    await exchange.reply(b"200 OK", b'{"cpu": 0.5, "memory": 0.95}')


async def chatty(exchange: Exchange) -> None:
    await exchange.reply(b"200 OK", b" " * 20_000)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (busy, ""),
        (unavailable, "status 503"),
        (redirect, "status 302"),
        (chatty, "over 16384 bytes"),
        (endless, "Timeout"),
        (hang, "Timeout"),
        (garbage, "Bad"),
        (cut, "Error"),
    ],
)
async def test_only_a_short_answer_with_200_is_read(v2: RawBackend, answer: Answer, said: str) -> None:
    v2.answer = answer
    line = Line(Backend.read({"endpoints": [v2.url]}), "backends.v2.tls")
    try:
        if not said:
            assert await line.read(f"{v2.url}/load", PATIENCE_S) == b'{"cpu": 0.5, "memory": 0.95}'
        else:
            with pytest.raises(Exception) as problem:  # noqa: PT011 - any is one
                await line.read(f"{v2.url}/load", 0.2 if said == "Timeout" else PATIENCE_S)
            assert said in repr(problem.value)
    finally:
        await line.close()
    assert {request.target for request in v2.received} == {"/load"}


async def test_v2_that_reports_too_much_memory_is_rolled_back(
    v1: RawBackend, v2: RawBackend, tmp_path: File
) -> None:
    guard = {"metric": "memory", "above": 0.8}
    document = config(v1.url, v2.url, rollout={"percentage": 50, "guards": [guard]})
    document["backends"]["v2"] |= {"report": "/load?short", "health": {"path": "/up", "interval": "100ms"}}
    async with running_proxy(document, tmp_path) as proxy:
        await eventually(lambda: any(request.target == "/load?short" for request in v2.received))
        assert (await proxy.status())["state"] == "running"  # what says nothing is nothing
        v2.answer = busy

        async def rolled_back() -> bool:
            return bool((await proxy.status())["state"] == "rolled_back")

        await eventually(rolled_back)
        status = await proxy.status()
        assert status["reason"].startswith("guard memory above 0.8: 0.95")
