"""What is no HTTP/1.1 to the letter is refused and the connection closed; neither it nor what follows it
reaches a backend. RFC 9112 sections 2 to 7, RFC 9110 sections 5, 7 and 9; whole, and in single bytes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.e2e import answers
from tests.e2e.raw_backend import UNSCRIPTED
from tests.e2e.raw_client import Outcome, connected, fetch

if TYPE_CHECKING:
    from tests.e2e.proxy_process import ProxyProcess, Table
    from tests.e2e.raw_backend import RawBackend

NEXT = b"GET /smuggled HTTP/1.1\r\nHost: smuggled.test\r\n\r\n"
END = b"\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: shop.test"
POST = b"POST /cart HTTP/1.1\r\nHost: shop.test\r\n"
CODED = POST + b"Transfer-Encoding: chunked" + END


@pytest.fixture(scope="module")
def settings() -> dict[str, Table]:
    return {"rollout": {"percentage": 0}}


def start(line: bytes) -> bytes:
    return line + b"\r\nHost: shop.test" + END


def target(written: bytes, method: bytes = b"GET") -> bytes:
    return start(method + b" " + written + b" HTTP/1.1")


def field(line: bytes) -> bytes:
    return GET + b"\r\n" + line + END


def host(value: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: " + value + END


def framed(*lines: bytes, body: bytes = b"abcde") -> bytes:
    return POST + b"\r\n".join(lines) + END + body


LAST = b"0\r\n\r\n"

HEADS: dict[str, bytes] = {
    # RFC 9112 section 2.2
    "2.2 two empty lines before": b"\r\n\r\n" + GET + END,
    "2.2 a bare LF before": b"\n" + GET + END,
    "2.2 a bare CR before": b"\r" + GET + END,
    "2.2 a space before": b" " + GET + END,
    "2.2 LF after the request line": b"GET / HTTP/1.1\nHost: shop.test" + END,
    "2.2 LF after a field": field(b"X-A: 1\nX-B: 2"),
    "2.2 LF at the end of the head": GET + b"\r\n\n",
    "2.2 nothing but LF": (GET + END).replace(b"\r\n", b"\n"),
    "2.2 CR CR LF": b"GET / HTTP/1.1\r\r\nHost: shop.test" + END,
    "2.2 a bare CR in a value": field(b"X-A: 1\r2"),
    "2.2 a bare CR before a field": field(b"\rX-A: 1"),
    "2.2 space before the first field": b"GET / HTTP/1.1\r\n Host: shop.test" + END,
    # RFC 9112 section 3
    "3 two spaces": start(b"GET  / HTTP/1.1"),
    "3 two spaces before the version": start(b"GET /  HTTP/1.1"),
    "3 a space at the end": start(b"GET / HTTP/1.1 "),
    "3 a tab": start(b"GET\t/ HTTP/1.1"),
    "3 a tab before the version": start(b"GET /\tHTTP/1.1"),
    "3 a form feed": start(b"GET /\x0cHTTP/1.1"),
    "3 no version": start(b"GET /"),
    "3 no target": start(b"GET HTTP/1.1"),
    "3 no method": start(b"/ HTTP/1.1"),
    "3 words": start(b"please give me / now"),
    # RFC 9110 section 9.1
    "9110 9.1 a method with a colon": start(b"GET: / HTTP/1.1"),
    "9110 9.1 a method in brackets": start(b"(GET) / HTTP/1.1"),
    "9110 9.1 a method with NUL": start(b"G\0T / HTTP/1.1"),
    "9110 9.1 a method beyond ASCII": start(b"G\xcb\x86T / HTTP/1.1"),
    "9110 9.1 a method of 100 bytes": start(b"A" * 100 + b" / HTTP/1.1"),
    # RFC 9112 section 2.3
    "2.3 lower case": start(b"GET / http/1.1"),
    "2.3 two digits": start(b"GET / HTTP/1.01"),
    "2.3 two digits before": start(b"GET / HTTP/01.1"),
    "2.3 no minor version": start(b"GET / HTTP/1"),
    "2.3 a comma": start(b"GET / HTTP/1,1"),
    "2.3 a space inside": start(b"GET / HTTP/ 1.1"),
    "2.3 something behind": start(b"GET / HTTP/1.1x"),
    "2.3 HTTPS": start(b"GET / HTTPS/1.1"),
    "2.3 RTSP": start(b"DESCRIBE /film RTSP/1.0"),
    "2.3 ICE": start(b"SOURCE /radio ICE/1.0"),
    "2.3 SIP": start(b"INVITE sip:a@shop.test SIP/2.0"),
    "2.3 RTSP with a method of HTTP": start(b"GET /film RTSP/1.0"),
    "2.3 ICE with a method of HTTP": start(b"GET /radio ICE/1.0"),
    # RFC 9112 section 3.2
    "3.2 a space": target(b"/a b"),
    "3.2 NUL": target(b"/a\0"),
    "3.2 DEL": target(b"/a\x7f"),
    "3.2 beyond ASCII": target(b"/caf\xc3\xa9"),
    "3.2 a fragment": target(b"/a#b"),
    "3.2.1 no slash": target(b"a/b"),
    "3.2.1 only a query": target(b"?a=b"),
    "3.2.2 another scheme": target(b"ftp://shop.test/"),
    "3.2.2 user information": target(b"http://user:secret@shop.test/"),
    "3.2.2 no authority": target(b"http:///a"),
    "3.2.2 an invalid port": target(b"http://shop.test:8x/"),
    "3.2.2 a port over 65535": target(b"http://shop.test:65536/"),
    "3.2.2 a backslash in the authority": target(b"http://shop.test\\a/"),
    "3.2.2 one slash": target(b"http:/shop.test/"),
    "3.2.2 without Host": b"GET http://shop.test/ HTTP/1.1" + END,
    "3.2.3 an authority": target(b"shop.test:80"),
    "3.2.4 the asterisk with GET": target(b"*"),
    # RFC 9112 section 3.2, Host
    "3.2 no Host": b"GET / HTTP/1.1\r\nX-A: 1" + END,
    "3.2 an empty Host": host(b""),
    "3.2 equal Hosts": field(b"Host: shop.test"),
    "3.2 unequal Hosts": field(b"hOST: other.test"),
    "3.2 a list": host(b"shop.test, other.test"),
    "3.2 user information in Host": host(b"user@shop.test"),
    "3.2 a path in Host": host(b"shop.test/a"),
    "3.2 a URL in Host": host(b"http://shop.test"),
    "3.2 a backslash in Host": host(b"shop.test\\a"),
    "3.2 letters for a port": host(b"shop.test:http"),
    "3.2 a port over 65535 in Host": host(b"shop.test:70000"),
    "3.2 two ports": host(b"shop.test:1:2"),
    "3.2 an open bracket": host(b"[::1"),
    "3.2 a zone": host(b"[fe80::1%25eth0]"),
    "3.2 no address in brackets": host(b"[shop]"),
    "3.2 quotes": host(b'"shop.test"'),
    # RFC 9112 section 5, RFC 9110 section 5
    "5 no colon": field(b"X-A"),
    "5 an empty name": field(b": 1"),
    "5 a space in a name": field(b"X A: 1"),
    "5 NUL in a name": field(b"X\0A: 1"),
    "5 a vertical tab before a name": field(b"\x0bX-A: 1"),
    "5 a name beyond ASCII": field(b"X-\xc3\xa4: 1"),
    "5.1 a space before the colon": field(b"X-A : 1"),
    "5.1 a tab before the colon": field(b"X-A\t: 1"),
    "5.2 a line folded with a space": field(b"X-A: 1\r\n 2"),
    "5.2 a line folded with a tab": field(b"X-A: 1\r\n\t2"),
    "5.2 a folded Host": b"GET / HTTP/1.1\r\nHost:\r\n shop.test" + END,
    "5.2 a folded framing": framed(b"Transfer-Encoding:\r\n chunked", body=LAST),
    "9110 5.5 NUL in a value": field(b"X-A: 1\x002"),
    "9110 5.5 a control character in a value": field(b"X-A: 1\x0b2"),
    "9110 5.5 DEL in a value": field(b"X-A: 1\x7f2"),
    # RFC 9112 section 6.3, RFC 9110 section 8.6
    "6.3 a plus": framed(b"Content-Length: +5"),
    "6.3 a minus": framed(b"Content-Length: -5"),
    "6.3 hexadecimal": framed(b"Content-Length: 0x5"),
    "6.3 a fraction": framed(b"Content-Length: 5.0"),
    "6.3 an exponent": framed(b"Content-Length: 5e0"),
    "6.3 a separator": framed(b"Content-Length: 0_5"),
    "6.3 a space inside": framed(b"Content-Length: 5 5"),
    "6.3 a length with NUL": framed(b"Content-Length: 5\0"),
    "6.3 a length with a vertical tab": framed(b"Content-Length: \x0b5"),
    "6.3 digits of another script": framed("Content-Length: ٥".encode()),
    "6.3 nothing": framed(b"Content-Length:"),
    "6.3 quotes": framed(b'Content-Length: "5"'),
    "6.3 over 64 bits": framed(b"Content-Length: 18446744073709551621"),
    "6.3 a list of equal ones": framed(b"Content-Length: 5, 5"),
    "6.3 a list of unequal ones": framed(b"Content-Length: 5, 0"),
    "6.3 two equal ones": framed(b"Content-Length: 5", b"Content-Length: 5"),
    "6.3 two unequal ones": framed(b"Content-Length: 0", b"Content-Length: 5"),
    "6.3 two, one of them empty": framed(b"Content-Length: 5", b"Content-Length:"),
    "6.3 a length with a space before the colon": framed(b"Content-Length : 5"),
    # RFC 9112 section 6.1
    "6.1 both": framed(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=LAST),
    "6.1 both, the other way round": framed(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=LAST),
    "6.1 both, the length zero": framed(b"Transfer-Encoding: chunked", b"Content-Length: 0", body=LAST),
    "6.1 identity": framed(b"Transfer-Encoding: identity", body=LAST),
    "6.1 another coding": framed(b"Transfer-Encoding: gzip", body=LAST),
    "6.1 chunked not at last": framed(b"Transfer-Encoding: chunked, identity", body=LAST),
    "6.1 another coding before": framed(b"Transfer-Encoding: gzip, chunked", body=LAST),
    "6.1 chunked twice": framed(b"Transfer-Encoding: chunked, chunked", body=LAST),
    "6.1 chunked in two lines": framed(*[b"Transfer-Encoding: chunked"] * 2, body=LAST),
    "6.1 chunked in two lines, one unknown": framed(
        b"Transfer-Encoding: x", b"Transfer-Encoding: chunked", body=LAST
    ),
    "6.1 a comma behind": framed(b"Transfer-Encoding: chunked,", body=LAST),
    "6.1 a comma before": framed(b"Transfer-Encoding: ,chunked", body=LAST),
    "6.1 a parameter": framed(b"Transfer-Encoding: chunked;q=1", body=LAST),
    "6.1 quotes": framed(b'Transfer-Encoding: "chunked"', body=LAST),
    "6.1 xchunked": framed(b"Transfer-Encoding: xchunked", body=LAST),
    "6.1 two words": framed(b"Transfer-Encoding: x chunked", body=LAST),
    "6.1 no coding": framed(b"Transfer-Encoding:", body=LAST),
    "6.1 a vertical tab": framed(b"Transfer-Encoding: \x0bchunked", body=LAST),
    "6.1 NUL": framed(b"Transfer-Encoding: chunked\0", body=LAST),
    "6.1 a space before the colon": framed(b"Transfer-Encoding : chunked", body=LAST),
    "6.1 hidden behind a bare CR": framed(b"X-A: 1\rTransfer-Encoding: chunked", body=LAST),
    "6.1 in HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked" + END + LAST,
    # section 7 of what CGI makes of names
    "a length with an underscore": framed(b"Content_Length: 5"),
    "a coding with an underscore": framed(b"Transfer_Encoding: chunked", body=LAST),
    "a certificate with an underscore": field(b"X_Forwarded_Client_Cert: Subject=root"),
    # RFC 9110 section 9.3.8
    "9110 9.3.8 TRACE with content": b"TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 5" + END + b"abcde",
    "not HTTP at all": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\0" * 60,
}
OTHERS = {
    "9110 15.6.6 HTTP/2": (start(b"GET / HTTP/2.0"), 505),
    "9110 15.6.6 HTTP/3": (start(b"GET / HTTP/3.0"), 505),
    "9110 15.6.6 HTTP/0.9 with its number": (start(b"GET / HTTP/0.9"), 505),
    "9110 15.6.6 the preface of HTTP/2": (b"PRI * HTTP/2.0" + END + b"SM" + END, 505),
    "9110 9.3.6 CONNECT": (target(b"shop.test:443", b"CONNECT"), 405),
    "9110 10.1.1 another expectation": (field(b"Expect: 200-ok"), 417),
    "9110 10.1.1 two words": (field(b"Expect: x 100-continue"), 417),
    "9110 7.6 a circle": (field(b"Via: " + b", ".join([b"1.1 dualpath"] * 5)), 508),
}


async def converse(proxy: ProxyProcess, data: bytes, *, in_bytes: bool) -> tuple[int, bool]:
    """The status of the first answer, and whether it was the last and the connection ended."""
    async with connected(proxy.listen) as client:
        try:
            if in_bytes:
                for at in range(len(data)):
                    await client.send(data[at : at + 1])
                    await asyncio.sleep(0)
            else:
                await client.send(data)
        except ConnectionError:
            pass  # refused before all of it was there
        answer = await client.response()
        return answer.status, await client.ended() in {Outcome.CLOSED, Outcome.RESET}


@pytest.mark.parametrize("in_bytes", [False, True], ids=["whole", "in bytes"])
@pytest.mark.parametrize("rule", [*HEADS, *OTHERS])
async def test_rfc9112_a_malformed_head_is_refused_and_nothing_reaches_a_backend(
    proxy: ProxyProcess, v1: RawBackend, rule: str, in_bytes: bool
) -> None:
    data, status = OTHERS.get(rule) or (HEADS[rule], 400)
    assert await converse(proxy, data + NEXT, in_bytes=in_bytes) == (status, True)
    assert (await fetch(proxy.listen, "GET", UNSCRIPTED)).body == b"v1 GET " + UNSCRIPTED.encode()
    assert v1.received == []
    assert v1.violations == []


BODIES: dict[str, bytes] = {
    "7.1 no size": b"\r\nabcde\r\n" + LAST,
    "7.1 no digit": b"g\r\nabcde\r\n" + LAST,
    "7.1 a plus": b"+5\r\nabcde\r\n" + LAST,
    "7.1 a minus": b"-5\r\nabcde\r\n" + LAST,
    "7.1 a prefix": b"0x5\r\nabcde\r\n" + LAST,
    "7.1 a separator": b"0_5\r\nabcde\r\n" + LAST,
    "7.1 a space before": b" 5\r\nabcde\r\n" + LAST,
    "7.1 a space after": b"5 \r\nabcde\r\n" + LAST,
    "7.1 NUL": b"5\0\r\nabcde\r\n" + LAST,
    "7.1 over 64 bits": b"10000000000000005\r\nabcde\r\n" + LAST,
    "7.1 a size that is too large": b"7fffffffffffffff\r\nabcde\r\n" + LAST,
    "7.1 a size that is too small": b"4\r\nabcde\r\n" + LAST,
    "7.1 no CRLF after a chunk": b"5\r\nabcde0\r\n\r\n",
    "7.1 something else after a chunk": b"5\r\nabcdeXX" + LAST,
    "7.1 an empty line after a chunk": b"5\r\nabcde\r\n\r\n" + LAST,
    "2.2 LF after a size": b"5\nabcde\r\n" + LAST,
    "2.2 LF after a chunk": b"5\r\nabcde\n" + LAST,
    "2.2 LF after the last size": b"5\r\nabcde\r\n0\n\r\n",
    "2.2 LF at the end": b"5\r\nabcde\r\n0\r\n\n",
    "2.2 CR CR LF": b"5\r\r\nabcde\r\n" + LAST,
    "7.1.1 no semicolon": b"5 a=b\r\nabcde\r\n" + LAST,
    "7.1.1 no name": b"5;=b\r\nabcde\r\n" + LAST,
    "7.1.1 no value": b"5;a=\r\nabcde\r\n" + LAST,
    "7.1.1 an open quoted string": b'5;a="b\r\nabcde\r\n' + LAST,
    "7.1.1 LF in an extension": b"5;a\nabcde\r\n" + LAST,
    "7.1.1 CR in an extension": b"5;a\rX\r\nabcde\r\n" + LAST,
    "7.1.1 a control character in an extension": b"5;a\x01\r\nabcde\r\n" + LAST,
    "7.1.2 a trailer without a colon": b"5\r\nabcde\r\n0\r\nX-A\r\n\r\n",
    "7.1.2 a space before a trailer's colon": b"5\r\nabcde\r\n0\r\nX-A : 1\r\n\r\n",
    "7.1.2 a folded trailer": b"5\r\nabcde\r\n0\r\nX-A: 1\r\n 2\r\n\r\n",
    "7.1.2 a trailer with NUL": b"5\r\nabcde\r\n0\r\nX-A: \0\r\n\r\n",
    "7.1.2 LF after a trailer": b"5\r\nabcde\r\n0\r\nX-A: 1\n\r\n",
}


@pytest.mark.parametrize("in_bytes", [False, True], ids=["whole", "in bytes"])
@pytest.mark.parametrize("rule", BODIES)
async def test_rfc9112_8_a_malformed_body_is_never_passed_on_as_complete(
    proxy: ProxyProcess, v1: RawBackend, rule: str, in_bytes: bool
) -> None:
    status, ended = await converse(proxy, CODED + BODIES[rule] + NEXT, in_bytes=in_bytes)
    assert (status, ended) == (400, True)
    assert (await fetch(proxy.listen, "GET", UNSCRIPTED)).complete
    assert [one.complete for one in v1.received] in ([], [False])
    assert v1.violations == []


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(b"5;a=" + b"b" * 65_536 + b"\r\n", id="one extension"),
        pytest.param(b"1;a=b;c=d;e=f;g=h;i=j;k=l\r\na\r\n" * 5_000, id="many extensions"),
        pytest.param(b"1\r\na\r\n0\r\nX-A: " + b"b" * 65_536, id="one trailer"),
        pytest.param(b"1\r\na\r\n0\r\n" + b"X-A: b\r\n" * 5_000, id="many trailers"),
    ],
)
async def test_rfc9112_7_1_1_extensions_and_trailers_are_bounded(
    proxy: ProxyProcess, v1: RawBackend, flood: bytes
) -> None:
    status, ended = await converse(proxy, CODED + flood, in_bytes=False)
    assert (status, ended) == (431, True)
    assert [one.complete for one in v1.received] in ([], [False])


async def test_rfc9112_7_1_ten_thousand_chunks_of_a_byte_are_one_body(
    proxy: ProxyProcess, v1: RawBackend
) -> None:
    v1.answer = answers.echo
    async with connected(proxy.listen) as client:
        await client.send(CODED + b"1\r\na\r\n" * 10_000 + LAST)
        answer = await client.response("POST")
    assert (answer.status, answer.body) == (200, b"a" * 10_000)


# ... unusual, and sound

SOUND: dict[str, tuple[bytes, bytes, bytes, bytes]] = {
    # what is sent; start line, Host and body that a backend gets
    "2.2 an empty line before": (b"\r\n" + GET + END, b"GET / HTTP/1.1", b"shop.test", b""),
    "9110 2.5 a higher minor version": (start(b"GET / HTTP/1.7"), b"GET / HTTP/1.1", b"shop.test", b""),
    "2.3 HTTP/1.0": (start(b"GET / HTTP/1.0"), b"GET / HTTP/1.1", b"shop.test", b""),
    "2.3 HTTP/1.0 without Host": (b"GET / HTTP/1.0" + END, b"GET / HTTP/1.1", b"", b""),
    "9110 9.1 an unknown method": (target(b"/pot", b"BREW"), b"BREW /pot HTTP/1.1", b"shop.test", b""),
    "9110 9.1 a method in lower case": (target(b"/", b"get"), b"get / HTTP/1.1", b"shop.test", b""),
    "3.2.1 an empty query": (target(b"/?"), b"GET /? HTTP/1.1", b"shop.test", b""),
    "3.2.2 the absolute form": (target(b"http://b.test:81/x?y"), b"GET /x?y HTTP/1.1", b"b.test:81", b""),
    "3.2.2 no path": (target(b"HTTP://b.test"), b"GET / HTTP/1.1", b"b.test", b""),
    "3.2.2 no path but a query": (target(b"http://b.test?y"), b"GET /?y HTTP/1.1", b"b.test", b""),
    "3.2.2 in HTTP/1.0": (b"GET http://b.test/ HTTP/1.0" + END, b"GET / HTTP/1.1", b"b.test", b""),
    "3.2.4 the asterisk": (target(b"*", b"OPTIONS"), b"OPTIONS * HTTP/1.1", b"shop.test", b""),
    "3.2.4 the asterisk of another": (
        target(b"http://b.test", b"OPTIONS"), b"OPTIONS * HTTP/1.1", b"b.test", b"",
    ),
    "3.2 an IPv6 address": (host(b"[2001:db8::1]:8080"), b"GET / HTTP/1.1", b"[2001:db8::1]:8080", b""),
    "3.2 an underscore": (host(b"my_shop.test"), b"GET / HTTP/1.1", b"my_shop.test", b""),
    "3.2 an empty port": (host(b"shop.test:"), b"GET / HTTP/1.1", b"shop.test:", b""),
    "5.1 white space around a value": (host(b"\t shop.test \t"), b"GET / HTTP/1.1", b"shop.test", b""),
    "5.1 no white space": (b"GET / HTTP/1.1\r\nhost:shop.test" + END, b"GET / HTTP/1.1", b"shop.test", b""),
    "6.2 zeros before": (framed(b"Content-Length: 0005"), b"POST /cart HTTP/1.1", b"shop.test", b"abcde"),
    "6.2 a body with GET": (
        GET + b"\r\nContent-Length: 5" + END + b"abcde", b"GET / HTTP/1.1", b"shop.test", b"abcde",
    ),
    "7.1 upper case": (
        framed(b"TRANSFER-ENCODING:\tCHUNKED\t", body=b"A\r\n0123456789\r\n000\r\n\r\n"),
        b"POST /cart HTTP/1.1", b"shop.test", b"0123456789",
    ),
    "7.1.1 extensions": (
        CODED + b'5;a;b=c;d="e\\"f" ; g = h\r\nabcde\r\n0;i\r\n\r\n',
        b"POST /cart HTTP/1.1", b"shop.test", b"abcde",
    ),
    "7.1.2 trailers are dropped": (
        CODED + b"5\r\nabcde\r\n0\r\nX-Sum: 1\r\nHost: evil\r\nContent-Length: 9\r\n\r\n",
        b"POST /cart HTTP/1.1", b"shop.test", b"abcde",
    ),
}  # fmt: skip


@pytest.mark.parametrize("in_bytes", [False, True], ids=["whole", "in bytes"])
@pytest.mark.parametrize("rule", SOUND)
async def test_rfc9112_an_unusual_request_goes_on_in_the_usual_form(
    proxy: ProxyProcess, v1: RawBackend, rule: str, in_bytes: bool
) -> None:
    data, start_line, authority, body = SOUND[rule]
    async with connected(proxy.listen) as client:
        for piece in [data[at : at + 1] for at in range(len(data))] if in_bytes else [data]:
            await client.send(piece)
            await asyncio.sleep(0)
        assert (await client.response(start_line.split(b" ")[0].decode())).status == 200
        if b"HTTP/1.0" not in data:
            await client.send(NEXT)
            assert (await client.response()).status == 200
    got, *following = v1.received
    assert (got.head.start, got.get(b"host"), bytes(got.body.kept)) == (start_line, authority, body)
    assert got.body.trailers == ()
    assert [one.target for one in following] == ([] if b"HTTP/1.0" in data else ["/smuggled"])
    assert v1.violations == []
