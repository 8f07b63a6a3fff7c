"""A backend is as untrusted as a client: an answer that is no HTTP/1.1 to the letter is none, and whatever it
sends, the next client gets its own answer. RFC 9112 sections 2 to 9; whole, and in single bytes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.e2e import answers
from tests.e2e.raw_backend import normal
from tests.e2e.raw_client import Outcome, connected, fetch, request
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from tests.e2e.proxy_process import ProxyProcess, Table
    from tests.e2e.raw_backend import Answer, Exchange, RawBackend

END = b"\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n"
SAME = b"HTTP/1.1 304 Not Modified\r\n"
SMUGGLED = b"HTTP/1.1 200 OK\r\nX-Backend: smuggled\r\nContent-Length: 4\r\n\r\nevil"
LAST = b"0\r\n\r\n"
BOTH_WAYS = pytest.mark.parametrize("in_bytes", [False, True], ids=["whole", "in bytes"])


@pytest.fixture(scope="module")
def settings() -> dict[str, Table]:
    return {"rollout": {"percentage": 0}, "v1": {"response_timeout": "2s", "idle_timeout": "2s"}}


def sends(data: bytes, *, in_bytes: bool) -> Answer:
    """These bytes, in one piece or one by one; the connection stays."""
    if not in_bytes:
        return answers.raw(data, end="keep")

    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        for at in range(len(data)):
            await exchange.send(data[at : at + 1])
            await asyncio.sleep(0)

    return answer


def field(line: bytes) -> bytes:
    return OK + b"Content-Length: 2\r\n" + line + END + b"ok"


def framed(*lines: bytes, body: bytes = b"abcde", start: bytes = OK) -> bytes:
    return start + b"\r\n".join(lines) + END + body


HEADS: dict[str, bytes] = {
    "2.2 an empty line before": b"\r\n" + field(b"X-A: 1"),
    "2.2 a bare CR before": b"\r" + field(b"X-A: 1"),
    "2.2 LF after the status line": b"HTTP/1.1 200 OK\nContent-Length: 2" + END + b"ok",
    "2.2 LF after a field": field(b"X-A: 1\nX-B: 2"),
    "2.2 nothing but LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "2.2 a bare CR in a value": field(b"X-A: 1\r2"),
    "2.3 HTTP/2": framed(b"Content-Length: 5", start=b"HTTP/2.0 200 OK\r\n"),
    "2.3 lower case": framed(b"Content-Length: 5", start=b"http/1.1 200 OK\r\n"),
    "2.3 another protocol": framed(b"Content-Length: 5", start=b"ICY 200 OK\r\n"),
    "2.3 a third one": framed(b"Content-Length: 5", start=b"RTSP/1.0 200 OK\r\n"),
    "4 two digits": framed(b"Content-Length: 5", start=b"HTTP/1.1 20 OK\r\n"),
    "4 four digits": framed(b"Content-Length: 5", start=b"HTTP/1.1 2000 OK\r\n"),
    "4 below 100": framed(b"Content-Length: 5", start=b"HTTP/1.1 099 OK\r\n"),
    "4 two spaces": framed(b"Content-Length: 5", start=b"HTTP/1.1  200 OK\r\n"),
    "4 NUL in the reason": framed(b"Content-Length: 5", start=b"HTTP/1.1 200 O\0K\r\n"),
    "5 no colon": field(b"X-A"),
    "5 a space in a name": field(b"X A: 1"),
    "5 no name": field(b": 1"),
    "5.1 a space before the colon": field(b"X-A : 1"),
    "5.2 a folded line": field(b"X-A: 1\r\n 2"),
    "5.2 a folded framing": framed(b"Transfer-Encoding:\r\n chunked", body=LAST),
    "9110 5.5 NUL in a value": field(b"X-A: 1\x002"),
    "6.1 both": framed(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=LAST),
    "6.1 both, without a body": framed(
        b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"", start=SAME
    ),
    "6.1 another coding": framed(b"Transfer-Encoding: gzip"),
    "6.1 chunked not at last": framed(b"Transfer-Encoding: chunked, identity", body=LAST),
    "6.1 chunked twice": framed(*[b"Transfer-Encoding: chunked"] * 2, body=LAST),
    "6.1 a vertical tab": framed(b"Transfer-Encoding: \x0bchunked", body=LAST),
    "6.1 in HTTP/1.0": framed(b"Transfer-Encoding: chunked", body=LAST, start=b"HTTP/1.0 200 OK\r\n"),
    "6.3 a plus": framed(b"Content-Length: +5"),
    "6.3 a minus": framed(b"Content-Length: -5"),
    "6.3 hexadecimal": framed(b"Content-Length: 0x5"),
    "6.3 nothing": framed(b"Content-Length:"),
    "6.3 over 64 bits": framed(b"Content-Length: 18446744073709551621"),
    "6.3 a list": framed(b"Content-Length: 5, 5"),
    "6.3 two equal ones": framed(b"Content-Length: 5", b"Content-Length: 5"),
    "6.3 two unequal ones": framed(b"Content-Length: 5", b"Content-Length: 0"),
    "6.3 no length that is one, without a body": framed(b"Content-Length: x", body=b"", start=SAME),
    "9110 7.8 a switch that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Connection: upgrade\r\nUpgrade: websocket" + END + SMUGGLED,
}


@BOTH_WAYS
@pytest.mark.parametrize("rule", HEADS)
async def test_rfc9112_a_malformed_answer_is_none(
    proxy: ProxyProcess, v1: RawBackend, rule: str, in_bytes: bool
) -> None:
    v1.answer = sends(HEADS[rule] + SMUGGLED, in_bytes=in_bytes)
    answer = await fetch(proxy.listen)
    assert (answer.status, answer.complete, answer.get(b"content-type")) == (
        502,
        True,
        b"application/problem+json",
    )
    await next_client_gets_its_own(proxy, v1)


async def next_client_gets_its_own(proxy: ProxyProcess, v1: RawBackend) -> None:
    v1.forget()
    for number in range(2):
        answer = await fetch(proxy.listen, "GET", f"/{number}")
        assert (answer.status, answer.body) == (200, b"v1 GET /%d" % number)
    assert v1.violations == []


CODED = OK + b"Transfer-Encoding: chunked" + END
BODIES: dict[str, bytes] = {
    "7.1 no digit": b"g\r\nabcde\r\n" + LAST,
    "7.1 a plus": b"+5\r\nabcde\r\n" + LAST,
    "7.1 a prefix": b"0x5\r\nabcde\r\n" + LAST,
    "7.1 a space before": b" 5\r\nabcde\r\n" + LAST,
    "7.1 a space after": b"5 \r\nabcde\r\n" + LAST,
    "7.1 over 64 bits": b"10000000000000005\r\nabcde\r\n" + LAST,
    "7.1 a size that is too small": b"4\r\nabcde\r\n" + LAST,
    "7.1 no CRLF after a chunk": b"5\r\nabcde0\r\n\r\n",
    "2.2 LF after a size": b"5\nabcde\r\n" + LAST,
    "2.2 LF after a chunk": b"5\r\nabcde\n" + LAST,
    "2.2 LF at the end": b"5\r\nabcde\r\n0\n\n",
    "7.1.1 an endless extension": b"5;a=" + b"b" * 8_000 + b"\r\nabcde\r\n" + LAST,
    "7.1.1 LF in an extension": b"5;a\nb\r\nabcde\r\n" + LAST,
    "7.1.2 a trailer without a colon": b"5\r\nabcde\r\n0\r\nX-A\r\n\r\n",
    "7.1.2 an endless trailer": b"5\r\nabcde\r\n0\r\nX-A: " + b"b" * 8_000 + END,
}


@pytest.mark.parametrize("apart", [False, True], ids=["with its head", "behind its head"])
@pytest.mark.parametrize("rule", BODIES)
async def test_rfc9112_8_a_malformed_body_never_looks_complete(
    proxy: ProxyProcess, v1: RawBackend, rule: str, apart: bool
) -> None:
    parts = [CODED, BODIES[rule] + SMUGGLED] if apart else [CODED + BODIES[rule] + SMUGGLED]
    v1.answer = answers.raw(*parts, end="keep")
    answer = await fetch(proxy.listen)
    # With its head nothing has gone out yet, so that the client can still be told.
    assert (answer.status, answer.complete) == ((200, False) if apart else (502, True))
    assert not apart or answer.outcome in {Outcome.SHORT, Outcome.RESET}
    await next_client_gets_its_own(proxy, v1)


# ... unusual, and sound

SOUND: dict[str, tuple[bytes, int, bytes]] = {
    "4 no reason": (framed(b"Content-Length: 5", start=b"HTTP/1.1 200\r\n"), 200, b"abcde"),
    "4 an empty reason": (framed(b"Content-Length: 5", start=b"HTTP/1.1 200 \r\n"), 200, b"abcde"),
    "4 old text": (framed(b"Content-Length: 5", start=b"HTTP/1.1 200 \xe4\t!\r\n"), 200, b"abcde"),
    "2.3 HTTP/1.0": (framed(b"Content-Length: 5", start=b"HTTP/1.0 200 OK\r\n"), 200, b"abcde"),
    "5.1 white space around a value": (framed(b"Content-Length:\t 5 \t"), 200, b"abcde"),
    "5.1 no white space": (framed(b"content-length:5"), 200, b"abcde"),
    "6.1 upper case": (framed(b"TRANSFER-ENCODING: CHUNKED", body=b"5\r\nabcde\r\n" + LAST), 200, b"abcde"),
    "7.1.1 extensions": (CODED + b'5 ; a = "b" ;c\r\nabcde\r\n0;d\r\n\r\n', 200, b"abcde"),
    "7.1.2 trailers": (CODED + b"5\r\nabcde\r\n0\r\nX-Backend: evil\r\nX-Sum: 1\r\n\r\n", 200, b"abcde"),
    "6.3 interim": (b"HTTP/1.1 103 Early\r\nContent-Length: 9" + END + field(b"X-A: 1"),
                    200, b"ok"),
    "6.3 204 with a length": (framed(b"Content-Length: 5", body=b"", start=NO_CONTENT), 204, b""),
    "6.3 204 with a coding": (
        framed(b"Transfer-Encoding: chunked", body=b"", start=NO_CONTENT), 204, b"",
    ),
    "6.3 304 with a length": (framed(b"Content-Length: 5", body=b"", start=SAME), 304, b""),
}  # fmt: skip


@BOTH_WAYS
@pytest.mark.parametrize("rule", SOUND)
async def test_rfc9112_an_unusual_answer_goes_on_in_the_usual_form(
    proxy: ProxyProcess, v1: RawBackend, rule: str, in_bytes: bool
) -> None:
    data, status, body = SOUND[rule]
    v1.answer = sends(data, in_bytes=in_bytes)
    answer = await fetch(proxy.listen)
    assert (answer.status, answer.body, answer.complete, answer.version) == (status, body, True, b"HTTP/1.1")
    assert (answer.backend, answer.trailers) == (None, ())
    await next_client_gets_its_own(proxy, v1)


# ... one answer is one answer


@pytest.mark.parametrize("later", [False, True], ids=["in the same read", "in a later one"])
@pytest.mark.parametrize(
    ("method", "answer"),
    [
        pytest.param("GET", framed(b"Content-Length: 5"), id="a length"),
        pytest.param("GET", CODED + b"5\r\nabcde\r\n" + LAST, id="chunks"),
        pytest.param("HEAD", framed(b"Content-Length: 5"), id="HEAD with a body"),
        pytest.param("HEAD", CODED + b"5\r\nabcde\r\n" + LAST, id="HEAD with chunks"),
        pytest.param("GET", framed(b"Content-Length: 5", start=NO_CONTENT), id="204 with a body"),
        pytest.param("GET", framed(b"Content-Length: 5", start=SAME), id="304 with a body"),
        pytest.param(
            "GET",
            framed(b"Transfer-Encoding: chunked", body=b"5\r\nabcde\r\n" + LAST, start=NO_CONTENT),
            id="204 with chunks",
        ),
    ],
)
async def test_rfc9112_9_2_what_follows_an_answer_is_never_the_next_one(
    proxy: ProxyProcess, v1: RawBackend, method: str, answer: bytes, later: bool
) -> None:
    v1.answer = answers.raw(*([answer, SMUGGLED] if later else [answer + SMUGGLED]), end="keep")
    async with connected(proxy.listen) as client:
        first = await client.ask(method)
        assert first.complete
        assert first.status in {200, 204, 304}
        if later:
            # Were the next request sent before it comes, nobody could tell whose answer it is.
            await eventually(lambda: v1.open_connections == 0)
        v1.answer = normal
        for number in range(3):
            following = await client.ask("GET", f"/{number}")
            assert (following.status, following.body) == (200, b"v1 GET /%d" % number)


async def test_rfc9112_9_2_bytes_that_come_before_the_request_are_no_answer(
    proxy: ProxyProcess, v1: RawBackend
) -> None:
    v1.answer = answers.raw(framed(b"Content-Length: 2", body=b"ok"), SMUGGLED, end="hang")
    assert (await fetch(proxy.listen)).body == b"ok"
    await eventually(lambda: v1.open_connections == 0)
    await next_client_gets_its_own(proxy, v1)


async def test_rfc9110_15_2_interim_answers_are_capped(proxy: ProxyProcess, v1: RawBackend) -> None:

    v1.answer = answers.storm(33)
    answer = await fetch(proxy.listen)
    assert (len(answer.interim), answer.status) == (32, 502)
    v1.answer = answers.storm(32)
    answer = await fetch(proxy.listen)
    assert (len(answer.interim), answer.status) == (32, 200)


async def test_rfc9110_15_2_an_interim_answer_loses_its_hop_by_hop_fields(
    proxy: ProxyProcess, v1: RawBackend
) -> None:
    head = b"103 Early Hints\r\nLink: </a>\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5"
    v1.answer = answers.interim(head)
    [interim] = (await fetch(proxy.listen)).interim
    assert interim.fields == ((b"link", b"</a>"),)


async def test_rfc9112_6_3_a_chunked_answer_without_its_end_is_not_complete_to_http_1_0(
    proxy: ProxyProcess, v1: RawBackend
) -> None:
    v1.answer = answers.raw(CODED + b"5\r\nabcde\r\n", b"5\nabcde\r\n" + LAST, end="keep")
    async with connected(proxy.listen) as client:
        await client.send(request("GET", "/").replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = await client.response()
    assert (answer.status, answer.outcome) == (200, Outcome.RESET)
