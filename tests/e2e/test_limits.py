"""Every limit of `[listen]` is reached, and what happens then harms nobody else and blames no path."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.certificates import Authority
from tests.e2e import answers
from tests.e2e.here import serving
from tests.e2e.proxy_process import config, running_proxy
from tests.e2e.raw_client import LIMIT_S, Outcome, connected, fetch, request
from tests.e2e.tls_client import secured, trusting
from tests.e2e.waiting import eventually, standstill
from tests.e2e.wire import chunk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.proxy_process import Table
    from tests.e2e.raw_backend import Exchange, RawBackend

CHUNKED = (b"Transfer-Encoding", b"chunked")
ALL = 100_000


@pytest.fixture
def v1(backends: tuple[RawBackend, RawBackend]) -> RawBackend:
    backends[0].forget()
    return backends[0]


@pytest.fixture
def v2(backends: tuple[RawBackend, RawBackend]) -> RawBackend:
    backends[1].forget()
    return backends[1]


def limited(v1: RawBackend, v2: RawBackend, **listen: object) -> Table:
    return config(v1.url, v2.url, listen=listen)


# ... heads


async def test_heads_over_a_limit_are_answered_and_closed_and_nothing_goes_upstream(
    v1: RawBackend, v2: RawBackend
) -> None:
    async with serving(limited(v1, v2)) as here:
        for status, target, fields in (
            (431, "/", ((b"X-Long", b"x" * (33 << 10)),)),
            (431, "/", tuple((b"X-%d" % n, b"") for n in range(101))),
            (414, "/" + "x" * (16 << 10), ()),
            (414, "/" + "x" * (64 << 10), ()),
        ):
            async with connected(here.listen) as client:
                answer = await client.ask("GET", target, fields)
                assert (answer.status, answer.get(b"connection")) == (status, b"close")
                assert await client.ended() is Outcome.CLOSED
        assert v1.count() == 0
        assert here.refused == {"too_large": 4}
        assert (await fetch(here.listen, "GET", "/" + "x" * 7990)).status == 200


async def test_header_slowloris_is_cut_at_the_header_timeout_and_others_are_served(
    v1: RawBackend, v2: RawBackend
) -> None:
    async with serving(limited(v1, v2, header_timeout="1s")) as here, AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(connected(here.listen)) for _ in range(100)]

        async def drips(number: int) -> int:
            client = slow[number]
            asking = asyncio.create_task(client.response())
            for byte in request("GET", "/", ((b"X-Slow", b"x" * 1000),)):  # 20 s of it
                client.writer.write(bytes([byte]))
                await asyncio.wait([asking], timeout=0.02)
                if asking.done():
                    break
            return (await asking).status

        dripping = [asyncio.create_task(drips(number)) for number in range(100)]
        for _ in range(10):
            assert (await fetch(here.listen)).status == 200
        assert set(await asyncio.gather(*dripping)) == {408}
        assert here.refused == {"timeout": 100}


async def test_a_connection_with_half_a_head_takes_less_than_10_kib(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    half = request("GET", "/", ((b"X-Slow", b"x" * 100),))[:-40]
    async with running_proxy(limited(v1, v2), tmp_path) as proxy, AsyncExitStack() as stack:

        async def resident_with(more: int) -> int:
            for _ in range(more):
                await (await stack.enter_async_context(connected(proxy.listen))).send(half)
            assert (await fetch(proxy.listen)).status == 200  # which has come after all these
            return int(psutil.Process(proxy.process.pid).memory_info().rss)

        before = await resident_with(200)
        assert (await resident_with(400) - before) / 400 < 10 << 10


# ... bodies


@pytest.mark.parametrize("fields", [(), ((b"Expect", b"100-continue"),)])
async def test_a_body_that_is_announced_too_large_is_refused_before_it_comes(
    v1: RawBackend, v2: RawBackend, fields: tuple[tuple[bytes, bytes], ...]
) -> None:
    async with serving(limited(v1, v2, max_body="1KiB")) as here:
        assert (await fetch(here.listen, "POST", "/", (), b"x" * 1024)).status == 200
        async with connected(here.listen) as client:
            await client.send(request("POST", "/", (*fields, (b"Content-Length", b"1025"))))
            answer = await client.response()
            assert (answer.status, answer.interim, answer.get(b"connection")) == (413, (), b"close")
        assert (v1.count(), here.refused) == (1, {"too_large": 1})


async def test_a_chunked_body_that_grows_too_large_is_refused_and_nobody_is_to_blame(
    v1: RawBackend, v2: RawBackend
) -> None:
    v2.answer = answers.HANG
    document = config(v1.url, v2.url, listen={"max_body": "64KiB"}, rollout={"fallback": {"methods": "all"}})
    async with serving(document, weight=ALL) as here, connected(here.listen) as client:
        await client.send(request("POST", "/", (CHUNKED, (b"X-User-Id", b"a"))) + chunk(b"x" * (64 << 10)))
        await eventually(lambda: v2.count() == 1)
        await client.send(chunk(b"x"))
        assert (await client.response()).status == 413
        assert await client.ended() in {Outcome.CLOSED, Outcome.RESET}
        await eventually(lambda: v2.open_connections == 0)
        tally = here.tally()
        assert (tally.v2.requests, sum(tally.v2.errors), sum(tally.fallbacks)) == (0, 0, 0)
        assert (tally.client_errors, here.refused) == (0, {"too_large": 1})
        assert v1.count() == 0


async def test_a_chunked_body_that_grows_too_large_after_the_answer_has_begun_breaks_it_off(
    v1: RawBackend, v2: RawBackend
) -> None:
    async def early(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
        await exchange.gone()

    v1.answer = early
    async with serving(limited(v1, v2, max_body="1KiB")) as here, connected(here.listen) as client:
        await client.send(request("POST", "/", (CHUNKED,)) + chunk(b"x"))
        assert (await client.interim()).start.startswith(b"HTTP/1.1 200")
        await client.send(chunk(b"x" * 1024))
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(client.reader.read(), LIMIT_S)
        assert here.refused == {"too_large": 1}
        assert sum(here.tally().v1.errors) == 0


# ... connections


async def test_connections_over_the_limit_are_turned_away_until_others_leave(
    v1: RawBackend, v2: RawBackend
) -> None:
    async with serving(limited(v1, v2, max_connections=3)) as here:
        async with AsyncExitStack() as stack:
            kept = [await stack.enter_async_context(connected(here.listen)) for _ in range(3)]
            await eventually(lambda: here.connections == 3)
            for _ in range(5):
                async with connected(here.listen) as beyond:
                    answer = await beyond.response()
                    assert (answer.status, answer.get(b"retry-after")) == (503, b"1")
                    assert await beyond.ended() is Outcome.CLOSED
            for client in kept:
                assert (await client.ask()).status == 200
            await kept[0].close()
            await eventually(lambda: here.connections == 2)
            assert (await fetch(here.listen)).status == 200
        assert here.refused == {"connection_limit": 5}
        assert here.tally().client_errors == 0


async def test_connections_over_the_limit_are_turned_away_before_any_handshake(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    tls = {"certificates": [authority.signs(["localhost"]).table]}
    async with serving(limited(v1, v2, max_connections=2, tls=tls)) as here:
        async with (
            secured(here.listen, trusting(authority.file)) as known,
            connected(here.listen),  # one that does not shake hands counts as well
        ):
            await eventually(lambda: here.connections == 2)
            async with connected(here.listen) as beyond:
                assert await beyond.ended() in {Outcome.CLOSED, Outcome.RESET}
            assert (await known.ask()).status == 200
        assert here.refused == {"connection_limit": 1}
        await eventually(lambda: here.connections == 0)


async def test_one_client_cannot_take_more_than_its_share_but_our_own_proxies_may(
    v1: RawBackend, v2: RawBackend
) -> None:
    async with (
        serving(limited(v1, v2, max_connections_per_client=2)) as here,
        connected(here.listen) as first,
        connected(here.listen) as second,
    ):
        assert (await first.ask()).status == (await second.ask()).status == 200
        assert (await fetch(here.listen)).status == 503
        await first.close()
        await eventually(lambda: here.connections == 1)
        assert (await fetch(here.listen)).status == 200
        assert here.refused == {"connection_limit": 1}
    trusted = limited(v1, v2, max_connections_per_client=1, trusted_proxies=["127.0.0.0/8"])
    async with serving(trusted) as here, connected(here.listen), connected(here.listen) as second:
        assert (await second.ask()).status == 200


async def test_one_client_s_handshakes_count_too_and_leave_room_for_others(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    tls = {"certificates": [authority.signs(["localhost"]).table]}
    document = limited(v1, v2, max_connections_per_client=3, max_connections=6, tls=tls)
    async with serving(document) as here, AsyncExitStack() as stack:
        for _ in range(3):  # that say nothing
            await stack.enter_async_context(connected(here.listen))
        await eventually(lambda: here.connections == 3)
        for _ in range(5):
            async with connected(here.listen) as beyond:
                assert await beyond.ended() in {Outcome.CLOSED, Outcome.RESET}
        assert here.refused == {"connection_limit": 5}
        async with secured(here.listen, trusting(authority.file), source="127.0.0.2") as other:
            assert (await other.ask()).status == 200
        await stack.aclose()
        await eventually(lambda: here.connections == 0)
        async with AsyncExitStack() as again:
            for _ in range(3):
                client = await again.enter_async_context(secured(here.listen, trusting(authority.file)))
                assert (await client.ask()).status == 200
            async with connected(here.listen) as beyond:
                assert await beyond.ended() in {Outcome.CLOSED, Outcome.RESET}
        assert here.refused == {"connection_limit": 6}


async def test_a_connection_ends_after_so_many_requests_and_says_so(v1: RawBackend, v2: RawBackend) -> None:
    async with serving(limited(v1, v2, max_requests_per_connection=3)) as here:
        async with connected(here.listen) as client:
            told = [(await client.ask()).get(b"connection") for _ in range(3)]
            assert told == [None, None, b"close"]
            assert await client.ended() is Outcome.CLOSED
        async with connected(here.listen) as client:  # what is pipelined behind the last is not carried out
            await client.send(request("GET", "/") * 10)
            told = [(await client.response()).get(b"connection") for _ in range(3)]
            assert told == [None, None, b"close"]
            assert await client.ended() in {Outcome.CLOSED, Outcome.RESET}
        assert v1.count() == 6
        assert here.refused == {}


# ... clients that do not read


async def test_a_flood_of_pipelined_requests_whose_answers_nobody_reads_is_cut(
    v1: RawBackend, v2: RawBackend
) -> None:
    v1.answer = answers.status("200 OK", b"x" * 1000)
    async with (
        serving(limited(v1, v2, body_idle_timeout="300ms")) as here,
        connected(here.listen, receive_buffer=4096, limit=1024) as client,
    ):
        flood = request("GET", "/") * 1000

        async def pour() -> None:
            while True:
                client.writer.write(flood)
                await client.writer.drain()

        pouring = asyncio.create_task(pour())
        asked = await standstill(lambda: v1.count())
        assert asked < 10_000  # what fits into the buffers between, and no more
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(pouring, LIMIT_S)
        await eventually(lambda: here.connections == 0)


async def test_a_client_that_takes_one_answer_at_a_time_is_slow_and_not_cut(
    v1: RawBackend, v2: RawBackend
) -> None:
    v1.answer = answers.status("200 OK", answers.PATTERN * 4)
    async with (
        serving(limited(v1, v2, body_idle_timeout="1s", keepalive_timeout="1s")) as here,
        connected(here.listen, receive_buffer=4096, limit=1024) as client,
    ):
        await client.send(request("GET", "/") * 40)
        for _ in range(40):
            assert (await client.response()).complete
            await asyncio.sleep(0.035)


# ... attribution


async def test_a_tenth_of_malformed_requests_changes_no_path_s_error_rate(
    v1: RawBackend, v2: RawBackend
) -> None:
    bad = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/3.0\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        request("POST", "/", (CHUNKED, (b"X-User-Id", b"a"))) + b"zz\r\n",
        request("POST", "/", (CHUNKED, (b"X-User-Id", b"a"))) + b"5\r\nabcdeX\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /" + b"x" * (20 << 10) + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (40 << 10) + b"\r\n\r\n",
    ]
    async with serving(limited(v1, v2), weight=ALL) as here:
        for kind in bad:
            for _ in range(9):
                assert (await fetch(here.listen, "GET", "/", ((b"X-User-Id", b"a"),))).backend == b"v2"
            async with connected(here.listen) as client:
                await client.send(kind)
                assert 400 <= (await client.response()).status < 600
        tally = here.tally()
        assert (tally.v2.requests, sum(tally.v2.errors), sum(tally.fallbacks)) == (90, 0, 0)
        assert (tally.client_errors, sum(tally.v1.errors)) == (0, 0)
        assert here.refused == {"malformed": 8, "too_large": 2}


# ... a loop that is late


async def test_while_the_loop_is_late_new_requests_are_answered_503_and_blame_nobody(
    v1: RawBackend, v2: RawBackend
) -> None:
    user = ((b"X-User-Id", b"a"),)
    async with (
        serving(limited(v1, v2, max_loop_lag="50ms"), weight=ALL) as here,
        connected(here.listen) as client,
    ):

        async def is_shed() -> bool:
            hold_up_the_loop()
            answer = await client.ask("GET", "/", user)
            if answer.status == 503:
                assert (answer.get(b"retry-after"), answer.get(b"connection")) == (b"1", None)
            return answer.status == 503

        async def is_served() -> bool:
            return (await client.ask("GET", "/", user)).backend == b"v2"

        assert await is_served()
        await eventually(is_shed)
        await eventually(is_served)
        tally = here.tally()
        assert tally.v2.requests == v2.count() >= 2
        assert (sum(tally.v2.errors), sum(tally.fallbacks), tally.client_errors) == (0, 0, 0)
        assert here.refused["overloaded"] >= 1


async def test_a_loop_that_is_late_sheds_nothing_unless_told(v1: RawBackend, v2: RawBackend) -> None:
    async with serving(limited(v1, v2)) as here, connected(here.listen) as client:
        for _ in range(3):
            hold_up_the_loop()
            assert (await client.ask()).status == 200


def hold_up_the_loop() -> None:
    """Somebody computes for too long."""
    time.sleep(0.12)
