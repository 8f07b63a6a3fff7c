"""The judge itself: what it takes for a message, and what for none."""

from __future__ import annotations

import pytest

from tests.fuzz import llhttp, strict

HEAD = b"POST /x HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    ("data", "bodies", "rest"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", [b""], b""),
        (b"\r\n\r\nGET / HTTP/1.0\r\n\r\nGET", [b""], b"GET"),
        (HEAD + b"Content-Length: 3\r\n\r\nabcd", [b"abc"], b"d"),
        (
            HEAD + b'transfer-encoding:\tchunked\r\n\r\n2;x="y"\r\nab\r\n01\r\nc\r\n0\r\nT: 1\r\n\r\nX',
            [b"abc"],
            b"X",
        ),
    ],
)
def test_sound_requests(data: bytes, bodies: list[bytes], rest: bytes) -> None:
    reading = strict.requests(data)
    assert (reading.fault, reading.rest) == ("", rest)
    assert [message.body for message in reading.complete] == bodies == llhttp.request_bodies(data)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/2.0\r\n\r\n",
        b"\rGET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        HEAD + b"Content-Length: +3\r\n\r\nabc",
        HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nT : 1\r\n\r\n",
    ],
)
def test_unsound_requests(data: bytes) -> None:
    reading = strict.requests(data)
    assert reading.fault
    assert not reading.complete


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"Content-Length: 3\r\n\r\nab",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        HEAD,
    ],
)
def test_requests_that_are_not_whole(data: bytes) -> None:
    reading = strict.requests(data)
    assert not reading.fault
    assert not reading.complete


@pytest.mark.parametrize(
    ("data", "method", "ended", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"GET", False, b"ok"),
        (b"HTTP/1.1 103 E\r\n\r\nHTTP/1.1 204\r\n\r\n", b"GET", False, b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"HEAD", False, b""),
        (b"HTTP/1.0 200 OK\r\n\r\nall of it", b"GET", True, b"all of it"),
    ],
)
def test_sound_responses(data: bytes, method: bytes, ended: bool, body: bytes) -> None:
    reading = strict.responses(data, [method], ended=ended)
    assert (reading.fault, [message.body for message in reading.complete]) == ("", [body])


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 \x00\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 100 C\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    ],
)
def test_unsound_responses(data: bytes) -> None:
    reading = strict.responses(data, [b"GET"], ended=True)
    assert reading.fault
    assert not reading.complete
