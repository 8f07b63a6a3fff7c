"""HTTP/1.1 and 1.0 messages through the proxy, in every framing (RFC 9110, RFC 9112)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.e2e import answers
from tests.e2e.raw_client import Outcome, connected, fetch, request
from tests.e2e.wire import chunk

if TYPE_CHECKING:
    from tests.e2e.proxy_process import ProxyProcess, Table
    from tests.e2e.raw_backend import Exchange, RawBackend

USER = (b"X-User-Id", b"a")


@pytest.fixture(scope="module")
def settings() -> dict[str, Table]:
    return {"rollout": {"percentage": 0}}


# ... connections


async def test_a_connection_is_kept(proxy: ProxyProcess, v1: RawBackend) -> None:
    async with connected(proxy.listen) as client:
        for number in range(5):
            answer = await client.ask("GET", f"/{number}")
            assert (answer.status, answer.body) == (200, b"v1 GET /%d" % number)
    assert v1.connections <= 1


async def test_close_is_honoured(proxy: ProxyProcess, v1: RawBackend) -> None:
    async with connected(proxy.listen) as client:
        answer = await client.ask("GET", "/", ((b"Connection", b"close"),))
        assert (answer.status, (answer.get(b"connection") or b"").lower()) == (200, b"close")
        assert await client.ended() is Outcome.CLOSED


async def test_nothing_after_close_is_processed(proxy: ProxyProcess, v1: RawBackend) -> None:
    async with connected(proxy.listen) as client:
        await client.send(request("GET", "/1", ((b"Connection", b"close"),)) + request("GET", "/2"))
        assert (await client.response()).status == 200
        assert await client.ended() in {Outcome.CLOSED, Outcome.RESET}
    assert [one.target for one in v1.received] == ["/1"]


async def test_an_http_1_0_client_gets_an_answer_it_can_read(proxy: ProxyProcess, v1: RawBackend) -> None:
    v1.answer = answers.chunked([b"one", b"two"])
    async with connected(proxy.listen) as client:
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        answer = await client.response()
        assert (answer.status, answer.body, answer.complete) == (200, b"onetwo", True)
        assert answer.get(b"transfer-encoding") is None
    assert v1.received[0].head.start.endswith(b" HTTP/1.1")


async def test_an_http_1_0_client_is_closed_after_its_answer(proxy: ProxyProcess, v1: RawBackend) -> None:
    async with connected(proxy.listen) as client:
        await client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        assert (await client.response()).status == 200
        assert await client.ended() is Outcome.CLOSED


async def test_an_http_1_0_client_can_keep_its_connection(proxy: ProxyProcess, v1: RawBackend) -> None:
    """Optional for us (RFC 9112 section 9.3), but an answer must never leave such a client in doubt."""
    async with connected(proxy.listen) as client:
        await client.send(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        answer = await client.response()
        assert answer.status == 200
        if (answer.get(b"connection") or b"").lower() == b"keep-alive":
            await client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
            assert (await client.response()).status == 200
        assert await client.ended() is Outcome.CLOSED


async def test_pipelined_answers_keep_their_order(proxy: ProxyProcess, v1: RawBackend) -> None:
    async def the_first_are_slowest(exchange: Exchange) -> None:
        number = int(exchange.request.target[1:])
        await answers.slow(0.005 * (9 - number))(exchange)

    v1.answer = the_first_are_slowest
    async with connected(proxy.listen) as client:
        await client.send(b"".join(request("GET", f"/{number}") for number in range(10)))
        bodies = [(await client.response()).body for _ in range(10)]
    assert bodies == [b"v1 GET /%d" % number for number in range(10)]


async def test_pipelined_requests_with_bodies(proxy: ProxyProcess, v1: RawBackend) -> None:
    v1.answer = answers.echo
    async with connected(proxy.listen) as client:
        chunked = (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"two") + chunk(b"")
        )
        await client.send(request("POST", "/", (), b"one") + chunked + request("PUT", "/", (), b"three"))
        assert [(await client.response("POST")).body for _ in range(3)] == [b"one", b"two", b"three"]


async def test_a_request_in_single_bytes(proxy: ProxyProcess, v1: RawBackend) -> None:
    v1.answer = answers.echo
    async with connected(proxy.listen) as client:
        for byte in request("POST", "/slow", (), b"content"):
            await client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.response("POST")).body == b"content"


async def test_an_empty_line_before_the_request_line_is_skipped(proxy: ProxyProcess, v1: RawBackend) -> None:
    async with connected(proxy.listen) as client:
        await client.send(b"\r\n" + request("GET", "/"))
        assert (await client.response()).status == 200


# ... bodies


@pytest.mark.parametrize("pieces", [[], [b"a"], [b"one", b"two" * 1000, b"three"]])
async def test_a_chunked_upload_arrives_whole(
    proxy: ProxyProcess, v1: RawBackend, pieces: list[bytes]
) -> None:
    v1.answer = answers.echo
    async with connected(proxy.listen) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in [*pieces, b""]:
            await client.send(chunk(piece))
        answer = await client.response("POST")
    assert answer.body == b"".join(pieces)
    assert v1.received[0].complete


@pytest.mark.parametrize(
    "extensions",
    [b';some;parameters=stuff;quoted="a b"', b" ; some ; parameters = stuff"],
    ids=["plain", "spaced"],
)
async def test_chunk_extensions_are_ignored(proxy: ProxyProcess, v1: RawBackend, extensions: bytes) -> None:
    """RFC 9112 section 7.1.1: a recipient must ignore what it does not know, BWS included."""
    v1.answer = answers.echo
    async with connected(proxy.listen) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.send(b"5%b\r\nhello\r\n6%b\r\n world\r\n0\r\n\r\n" % (extensions, extensions))
        assert (await client.response("POST")).body == b"hello world"


async def test_space_around_a_content_length_is_no_part_of_it(proxy: ProxyProcess, v1: RawBackend) -> None:
    """RFC 9110 section 5.5: optional whitespace belongs to no field's value."""
    v1.answer = answers.echo
    async with connected(proxy.listen) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \t 5 \r\n\r\nhello")
        assert (await client.response("POST")).body == b"hello"


async def test_a_chunked_answer_arrives_whole(proxy: ProxyProcess, v1: RawBackend) -> None:
    v1.answer = answers.chunked([b"one", b"two" * 1000, b"three"])
    async with connected(proxy.listen) as client:
        for _ in range(2):
            answer = await client.ask()
            assert (answer.complete, answer.body) == (True, b"one" + b"two" * 1000 + b"three")


async def test_trailers_are_not_merged_into_the_head(proxy: ProxyProcess, v1: RawBackend) -> None:
    v1.answer = answers.chunked([b"one"], b"X-Backend: evil\r\nX-Sum: 1\r\n")
    answer = await fetch(proxy.listen)
    assert (answer.complete, answer.body, answer.backend) == (True, b"one", b"v1")
    assert answer.head.all(b"x-sum") == []


async def test_a_body_that_the_end_of_the_connection_ends(proxy: ProxyProcess, v1: RawBackend) -> None:
    v1.answer = answers.UNTIL_CLOSE
    answer = await fetch(proxy.listen)
    assert (answer.complete, answer.body) == (True, b"to the end")


async def test_head_204_and_304_have_no_body_whatever_their_fields_say(
    proxy: ProxyProcess, v1: RawBackend
) -> None:
    async with connected(proxy.listen) as client:
        head = await client.ask("HEAD", "/head")
        assert (head.status, head.get(b"content-length")) == (200, b"13")
        v1.answer = answers.chunked([b"one"])
        assert (await client.ask("HEAD", "/chunked")).status == 200
        v1.answer = answers.status("204 No Content")
        assert (await client.ask()).status == 204
        v1.answer = answers.status("304 Not Modified", b"", (b"ETag", b'"1"'))
        assert (await client.ask()).status == 304
        v1.answer = answers.raw(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 999\r\n\r\n", end="keep")
        assert (await client.ask()).status == 304
        v1.forget()
        assert (await client.ask("GET", "/after")).body == b"v1 GET /after"


async def test_an_empty_answer_of_length_zero(proxy: ProxyProcess, v1: RawBackend) -> None:
    v1.answer = answers.status("200 OK", b"")
    async with connected(proxy.listen) as client:
        for _ in range(2):
            answer = await client.ask()
            assert (answer.complete, answer.get(b"content-length")) == (True, b"0")


# ... interim answers


async def test_interim_answers_are_relayed(proxy: ProxyProcess, v1: RawBackend) -> None:
    v1.answer = answers.interim(b"103 Early Hints\r\nLink: </a>", b"102 Processing", b"199 Odd")
    answer = await fetch(proxy.listen)
    assert [head.start.split(b" ")[1] for head in answer.interim] == [b"103", b"102", b"199"]
    assert answer.interim[0].get(b"link") == b"</a>"
    assert (answer.status, answer.body) == (200, b"v1 GET /")


async def test_interim_answers_never_go_to_http_1_0_clients(proxy: ProxyProcess, v1: RawBackend) -> None:
    v1.answer = answers.interim(b"103 Early Hints\r\nLink: </a>")
    async with connected(proxy.listen) as client:
        await client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        answer = await client.response()
    assert (answer.interim, answer.status) == ((), 200)


async def test_expect_is_answered_by_100_and_the_body_follows(proxy: ProxyProcess, v1: RawBackend) -> None:
    v1.answer = answers.interim(b"100 Continue", then=answers.echo)
    async with connected(proxy.listen) as client:
        await client.send(expecting(7))
        assert (await client.interim()).start.startswith(b"HTTP/1.1 100")
        await client.send(b"content")
        answer = await client.response("POST")
        assert (answer.status, answer.body) == (200, b"content")
        assert (await client.ask("GET", "/after")).status == 200


async def test_expect_is_not_waited_for_without_end(proxy: ProxyProcess, v1: RawBackend) -> None:
    """A backend that never says 100: the client gets one from us, or sends its body unasked."""
    v1.answer = answers.echo
    async with connected(proxy.listen) as client:
        await client.send(expecting(7))
        with contextlib.suppress(TimeoutError):
            assert (await asyncio.wait_for(client.interim(), 0.3)).start.startswith(b"HTTP/1.1 100")
        await client.send(b"content")
        answer = await client.response("POST")
    assert (answer.status, answer.body) == (200, b"content")


async def test_a_final_answer_to_expect_poisons_no_pooled_connection(
    proxy: ProxyProcess, v1: RawBackend
) -> None:
    """The body that was announced never comes; nothing else may be taken for it (CVE-2024-24791)."""
    v1.answer = answers.unread(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno")
    async with connected(proxy.listen) as client:
        await client.send(expecting(7))
        assert (await client.response("POST")).status == 417
    v1.forget()
    for number in range(3):
        answer = await fetch(proxy.listen, "GET", f"/{number}")
        assert (answer.status, answer.body) == (200, b"v1 GET /%d" % number)
    assert v1.violations == []


async def test_expect_from_an_http_1_0_client_is_ignored(proxy: ProxyProcess, v1: RawBackend) -> None:
    v1.answer = answers.interim(b"100 Continue", then=answers.echo)
    async with connected(proxy.listen) as client:
        await client.send(expecting(7).replace(b"HTTP/1.1", b"HTTP/1.0") + b"content")
        answer = await client.response("POST")
    assert (answer.interim, answer.status, answer.body) == ((), 200, b"content")


def expecting(length: int) -> bytes:
    """The head of a POST that waits for 100."""
    return request("POST", "/", ((b"Expect", b"100-continue"), (b"Content-Length", b"%d" % length)))
