"""What a backend is told of a request, what a client is told of an answer, and what never gets that far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e import answers
from tests.e2e.raw_client import connected, fetch, request
from tests.e2e.waiting import stopwatch

if TYPE_CHECKING:
    from tests.e2e.proxy_process import ProxyProcess, Table
    from tests.e2e.raw_backend import RawBackend

USER = (b"X-User-Id", b"a")


@pytest.fixture(scope="module")
def settings() -> dict[str, Table]:
    return {"listen": {"header_timeout": "1s"}}


# ... towards the backends


@pytest.mark.parametrize(
    "target", ["/", "/?", "/a//b/../c", "/%2F%61?x=%20+&&", "/a;b=c?q=1?2", "//host/path", "/~!$&'()*,=:@|"]
)
async def test_path_and_query_are_untouched(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, target: str
) -> None:
    assert (await fetch(proxy.listen, "GET", target)).status == 200
    assert [one.target for one in v1.received] == [target]


async def test_the_backend_is_told_who_asked(proxy: ProxyProcess, v1: RawBackend, v2: RawBackend) -> None:
    forged = ((b"X-Forwarded-For", b"6.6.6.6"), (b"X-Dualpath-Path", b"v1"), (b"Via", b"1.1 before"))
    await fetch(proxy.listen, "GET", "/", (USER, *forged))
    (got,) = v2.received
    assert got.get(b"host") == b"example.test"
    assert got.get(b"x-forwarded-for") == b"127.0.0.1"
    assert (got.get(b"x-forwarded-proto"), got.get(b"x-forwarded-host")) == (b"http", b"example.test")
    assert got.get(b"x-dualpath-path") == b"v2"
    assert got.get(b"x-request-id")
    assert b", ".join(got.head.all(b"via")) == b"1.1 before, 1.1 dualpath"


async def test_a_fallback_is_the_same_request_under_the_same_id(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    v2.answer = answers.status("500 Internal Server Error")
    await fetch(proxy.listen, "PUT", "/a?b", (USER,), b"content")
    (first,), (second,) = v2.received, v1.received
    assert first.get(b"x-request-id") == second.get(b"x-request-id")
    assert (first.target, bytes(first.body.kept)) == (second.target, bytes(second.body.kept))
    assert second.get(b"x-dualpath-path") == b"v1"


async def test_hop_by_hop_fields_stay_behind_and_the_others_pass(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    fields = (
        (b"Connection", b"X-Hop, keep-alive"),
        (b"X-Hop", b"1"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Proxy-Connection", b"keep-alive"),
        (b"TE", b"gzip"),
        (b"X-One", b"1"),
        (b"X-One", b"2"),
        (b"Authorization", b"Basic eA=="),
    )
    await fetch(proxy.listen, "GET", "/", fields)
    (got,) = v1.received
    for name in (b"x-hop", b"keep-alive", b"te", b"proxy-connection"):
        assert got.get(name) is None, name
    assert (got.head.all(b"x-one"), got.get(b"authorization")) == ([b"1", b"2"], b"Basic eA==")


async def test_connection_cannot_name_away_what_framing_and_routing_need(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    named = (b"Connection", b"Host, Content-Length, X-Forwarded-For, Authorization")
    await fetch(proxy.listen, "POST", "/", (named, (b"Authorization", b"Basic eA==")), b"content")
    (got,) = v1.received
    assert (got.get(b"host"), bytes(got.body.kept)) == (b"example.test", b"content")
    assert got.get(b"x-forwarded-for") == b"127.0.0.1"
    assert got.get(b"authorization") == b"Basic eA=="


async def test_absolute_form_becomes_origin_form_and_its_host_wins(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    await fetch(proxy.listen, "GET", "http://other.test/a?b", ((b"Host", b"example.test"),))
    (got,) = v1.received
    assert (got.target, got.get(b"host")) == ("/a?b", b"other.test")


# ... towards the client


async def test_the_answers_fields_pass_and_hop_by_hop_ones_do_not(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    v1.answer = answers.status(
        "200 OK", b"ok", (b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"), (b"X-Custom", b"c"),
        (b"Connection", b"X-Hop"), (b"X-Hop", b"1"), (b"Keep-Alive", b"timeout=5"),
    )  # fmt: skip
    answer = await fetch(proxy.listen)
    assert answer.head.all(b"set-cookie") == [b"a=1", b"b=2"]
    assert answer.get(b"x-custom") == b"c"
    assert (answer.get(b"x-hop"), answer.get(b"keep-alive")) == (None, None)
    assert answer.get(b"date")


async def test_the_backends_own_date_is_kept(proxy: ProxyProcess, v1: RawBackend, v2: RawBackend) -> None:
    date = b"Tue, 15 Nov 1994 08:12:31 GMT"
    v1.answer = answers.status("200 OK", b"ok", (b"Date", date))
    assert (await fetch(proxy.listen)).get(b"date") == date


async def test_an_unusual_status_and_reason_pass(proxy: ProxyProcess, v1: RawBackend, v2: RawBackend) -> None:
    v1.answer = answers.status("299 All Right Then", b"ok")
    answer = await fetch(proxy.listen)
    assert (answer.status, answer.body) == (299, b"ok")


# ... refused by us, and nothing upstream

HOST = b"Host: a\r\n"
REFUSED: dict[str, tuple[bytes, int]] = {
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "host with a path": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "both framings": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "not chunked at last": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", 400),
    "transfer-encoding in 1.0": (
        b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "unequal lengths": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        400,
    ),
    "signed length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +1\r\n\r\na", 400),
    "space before the colon": (b"GET / HTTP/1.1\r\n" + HOST + b"X-A : 1\r\n\r\n", 400),
    "folded line": (b"GET / HTTP/1.1\r\n" + HOST + b"X-A: 1\r\n 2\r\n\r\n", 400),
    "nul in a value": (b"GET / HTTP/1.1\r\n" + HOST + b"X-A: a\x00b\r\n\r\n", 400),
    "bare cr in a value": (b"GET / HTTP/1.1\r\n" + HOST + b"X-A: a\rb\r\n\r\n", 400),
    "underscore twin": (b"GET / HTTP/1.1\r\n" + HOST + b"X_Forwarded_For: 6.6.6.6\r\n\r\n", 400),
    "bad chunk size": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "not http": (b"hello there\r\n\r\n", 400),
    "connect": (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
    "another protocol": (b"OPTIONS /a RTSP/1.0\r\n" + HOST + b"\r\n", 400),
    "http/2": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    "long target": (b"GET /" + b"a" * (17 << 10) + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "big head": (b"GET / HTTP/1.1\r\n" + HOST + b"X-A: " + b"a" * (40 << 10) + b"\r\n\r\n", 431),
    "many fields": (b"GET / HTTP/1.1\r\n" + HOST + b"X-A: 1\r\n" * 200 + b"\r\n", 431),
}

ALSO = {"connect": 501, "another protocol": 505}  # as good an answer as the other


@pytest.mark.parametrize("case", REFUSED)
async def test_a_malformed_request_is_refused_and_the_connection_closed(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, case: str
) -> None:
    data, status = REFUSED[case]
    async with connected(proxy.listen) as client:
        await client.send(data)
        answer = await client.response()
        assert answer.status in {status, ALSO.get(case)}, answer
        assert answer.complete
        await client.ended()
    assert [one.complete for one in v1.received] in ([], [False])  # a bad chunk shows after the head has gone
    assert (await fetch(proxy.listen)).status == 200


async def test_a_request_line_of_8000_bytes_passes(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    target = "/" + "a" * 7980
    assert (await fetch(proxy.listen, "GET", target)).status == 200
    assert v1.received[0].target == target


async def test_a_head_that_does_not_come_is_cut_at_its_time_out(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    async with connected(proxy.listen) as client, stopwatch(proxy.tree()) as watch:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        answer = await client.response()
    assert answer.status in {0, 408}
    assert watch.total_s > 0.8, watch
    assert watch.own_s < 2.0, watch
    assert v1.count() == 0


async def test_malformed_requests_are_nobodys_error(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    before = await proxy.settled()
    for data, _ in REFUSED.values():
        async with connected(proxy.listen) as client:
            await client.send(data.replace(HOST, HOST + b"X-User-Id: a\r\n"))
            await client.response()
    async with connected(proxy.listen) as client:
        await client.send(request("GET", "/", (USER,)))
        assert (await client.response()).backend == b"v2"
    after = await proxy.settled()
    assert after["paths"]["v2"]["errors"] == before["paths"]["v2"]["errors"]
    assert after["paths"]["v1"]["errors"] == before["paths"]["v1"]["errors"]
