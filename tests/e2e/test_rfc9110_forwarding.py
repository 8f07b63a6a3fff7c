"""What an intermediary does to sound messages: RFC 9110 section 7, and RFC 9112 section 9 on connections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.e2e import answers
from tests.e2e.raw_client import Outcome, connected, fetch, request
from tests.e2e.waiting import stopwatch

if TYPE_CHECKING:
    from tests.e2e.proxy_process import ProxyProcess, Table
    from tests.e2e.raw_backend import Exchange, RawBackend


@pytest.fixture(scope="module")
def settings() -> dict[str, Table]:
    return {"rollout": {"percentage": 0}, "listen": {"header_timeout": "1s", "body_idle_timeout": "1s"}}


# ... towards the backends


@pytest.mark.parametrize("spelling", [bytes.lower, bytes.upper, bytes.title])
async def test_rfc9110_7_6_1_nobody_can_name_away_what_matters_end_to_end(
    proxy: ProxyProcess, v1: RawBackend, spelling: object
) -> None:
    assert callable(spelling)
    named = (
        b"host, content-length, transfer-encoding, x-forwarded-for, x-forwarded-proto, forwarded, via, "
        b"authorization, cookie, x-request-id, max-forwards, close-to-nothing"
    )
    fields = (
        (b"Connection", spelling(named)),
        (b"Authorization", b"Basic eA=="),
        (b"Cookie", b"a=b"),
        (b"X-Request-Id", b"mine"),
        (b"Close-To-Nothing", b"1"),
    )
    assert (await fetch(proxy.listen, "POST", "/", fields, b"content")).status == 200
    (got,) = v1.received
    assert (got.get(b"host"), bytes(got.body.kept)) == (b"example.test", b"content")
    assert (got.get(b"authorization"), got.get(b"cookie")) == (b"Basic eA==", b"a=b")
    assert (got.get(b"x-forwarded-for"), got.get(b"x-request-id")) == (b"127.0.0.1", b"mine")
    assert (got.get(b"via"), got.get(b"close-to-nothing")) == (b"1.1 dualpath", None)
    assert got.get(b"connection") is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"Keep-Alive", b"timeout=5"),
        (b"Proxy-Connection", b"keep-alive"),
        (b"TE", b"trailers"),
        (b"Trailer", b"X-Sum"),
        (b"Upgrade", b"h2c"),
        (b"HTTP2-Settings", b"AAMAAABkAAQAAP__"),
    ],
)
async def test_rfc9110_7_6_1_hop_by_hop_fields_stay_here_even_if_connection_does_not_name_them(
    proxy: ProxyProcess, v1: RawBackend, name: bytes, value: bytes
) -> None:
    await fetch(proxy.listen, "GET", "/", ((name, value),))
    assert v1.received[0].get(name.lower()) is None


async def test_rfc9110_5_3_lines_of_one_name_keep_their_order_and_are_not_merged(
    proxy: ProxyProcess, v1: RawBackend
) -> None:
    fields = ((b"X-A", b"1"), (b"X-B", b""), (b"x-a", b"2, 3"), (b"Accept", b"*/*"), (b"X-A", b"1"))
    v1.answer = answers.status("200 OK", b"", *fields)
    answer = await fetch(proxy.listen, "GET", "/", fields)
    assert v1.received[0].head.all(b"x-a") == answer.head.all(b"x-a") == [b"1", b"2, 3", b"1"]
    assert v1.received[0].head.all(b"x-b") == answer.head.all(b"x-b") == [b""]


async def test_rfc9110_6_5_1_trailers_of_a_request_become_no_fields(
    proxy: ProxyProcess, v1: RawBackend
) -> None:
    trailers = b"X-Sum: 1\r\nAuthorization: Basic eA==\r\nHost: evil\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with connected(proxy.listen) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.send(b"3\r\nabc\r\n0\r\n" + trailers)
        assert (await client.response("POST")).status == 200
        assert (await client.ask("GET", "/next")).body == b"v1 GET /next"
    got = v1.received[0]
    assert (bytes(got.body.kept), got.body.trailers, got.get(b"host")) == (b"abc", (), b"a")
    assert (got.get(b"x-sum"), got.get(b"authorization")) == (None, None)


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
async def test_rfc9110_7_6_2_max_forwards_is_decremented_and_answered_at_zero(
    proxy: ProxyProcess, v1: RawBackend, method: str
) -> None:
    assert (await fetch(proxy.listen, method, "/", ((b"Max-Forwards", b"2"),))).status == 200
    assert [one.get(b"max-forwards") for one in v1.received] == [b"1"]
    answer = await fetch(proxy.listen, method, "/", ((b"Max-Forwards", b"0"), (b"Cookie", b"secret")))
    assert answer.status == (200 if method == "OPTIONS" else 405)
    assert b"secret" not in answer.body
    assert v1.count() == 1


async def test_rfc9110_9_3_8_a_backend_that_reflects_a_trace_is_shown_no_credentials(
    proxy: ProxyProcess, v1: RawBackend
) -> None:
    fields = ((b"Cookie", b"a=b"), (b"Authorization", b"Basic eA=="), (b"X-A", b"1"))
    await fetch(proxy.listen, "TRACE", "/", fields)
    (got,) = v1.received
    assert (got.get(b"cookie"), got.get(b"authorization"), got.get(b"x-a")) == (None, None, b"1")


async def test_rfc9110_7_6_a_proxy_that_is_its_own_backend_stops_going_round(
    proxy: ProxyProcess, v1: RawBackend
) -> None:
    async def go_round(exchange: Exchange) -> None:
        via = exchange.request.get(b"via") or b""
        answer = await fetch(proxy.listen, "GET", "/", ((b"Via", via),))
        await exchange.reply(b"%d Round" % answer.status, answer.body)

    v1.answer = go_round
    assert (await fetch(proxy.listen)).status == 508
    assert v1.count() == 5


# ... connections


async def test_rfc9112_9_6_nothing_behind_a_close_is_read_even_behind_a_body(
    proxy: ProxyProcess, v1: RawBackend
) -> None:
    async with connected(proxy.listen) as client:
        close = ((b"Connection", b"x-a, close"),)
        await client.send(request("POST", "/1", close, b"content") + request("GET", "/2"))
        assert (await client.response("POST")).body == b"v1 POST /1"
        assert await client.ended() in {Outcome.CLOSED, Outcome.RESET}
    assert [one.target for one in v1.received] == ["/1"]


async def test_rfc9112_9_6_what_comes_behind_a_close_costs_nobody_the_answer(
    proxy: ProxyProcess, v1: RawBackend
) -> None:
    v1.answer = answers.slow(0.05)
    async with connected(proxy.listen) as client:
        await client.send(request("GET", "/1", ((b"Connection", b"close"),)) + request("GET", "/2"))
        await client.interim()  # the answer's head; its body stays unread
        for number in range(20):
            await client.send(request("GET", f"/{number}"))
            await asyncio.sleep(0.002)
        assert await client.reader.read() == b"v1 GET /1"
    assert [one.target for one in v1.received] == ["/1"]


async def test_rfc9112_9_3_2_a_refusal_waits_for_the_answers_before_it(
    proxy: ProxyProcess, v1: RawBackend
) -> None:
    v1.answer = answers.slow(0.05)
    async with connected(proxy.listen) as client:
        await client.send(request("GET", "/1") + b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert (await client.response()).body == b"v1 GET /1"
        assert (await client.response()).status == 400
        assert await client.ended() is Outcome.CLOSED
    assert v1.count() == 1


@pytest.mark.parametrize("begun", [b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r"])
async def test_a_head_that_begins_in_its_predecessors_read_has_the_header_time_out(
    proxy: ProxyProcess, v1: RawBackend, begun: bytes
) -> None:
    async with connected(proxy.listen) as client, stopwatch(proxy.tree()) as watch:
        await client.send(request("GET", "/1") + begun)
        assert (await client.response()).body == b"v1 GET /1"
        assert ((await client.response()).status, await client.ended()) == (408, Outcome.CLOSED)
    assert watch.total_s > 0.8, watch
    assert watch.own_s < 2.0, watch
    assert v1.count() == 1


async def test_rfc9112_9_3_an_early_answer_ends_the_connection_of_a_chunked_upload(
    proxy: ProxyProcess, v1: RawBackend
) -> None:
    v1.answer = answers.unread(b"HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno", end="close")
    async with connected(proxy.listen) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        answer = await client.response("POST")
        assert (answer.status, answer.body, answer.get(b"connection")) == (413, b"no", b"close")
        await client.send(b"0\r\n\r\n" + request("GET", "/smuggled"))
        assert await client.ended() in {Outcome.CLOSED, Outcome.RESET}
    v1.forget()
    assert (await fetch(proxy.listen, "GET", "/after")).body == b"v1 GET /after"
    assert [one.target for one in v1.received] == ["/after"]


async def test_rfc9110_7_8_what_follows_a_wish_that_is_not_granted_is_the_next_request(
    proxy: ProxyProcess, v1: RawBackend
) -> None:
    wish = ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))
    async with connected(proxy.listen) as client:
        await client.send(request("GET", "/1", wish) + request("GET", "/2") + request("GET", "/3", wish))
        bodies = [(await client.response()).body for _ in range(3)]
    assert bodies == [b"v1 GET /1", b"v1 GET /2", b"v1 GET /3"]


# ... floods


async def test_a_flood_of_pipelined_requests_holds_nobody_up(proxy: ProxyProcess, v1: RawBackend) -> None:
    async with connected(proxy.listen) as flood, connected(proxy.listen) as other:
        options = b"OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"
        sending = asyncio.ensure_future(flood.send(options * 2_000))
        took_s = []
        for number in range(20):
            async with stopwatch(proxy.tree()) as watch:
                assert (await other.ask("GET", f"/{number}")).status == 200
            took_s.append(watch.own_s)
        for _ in range(2_000):
            assert (await flood.response("OPTIONS")).status == 200
        await sending
    assert max(took_s) < 0.5, took_s
