"""Messages that are nearly right, as hypothesis strategies: random bytes would take for ever to get there.

Owns the vocabulary of trouble: lines that stand on the edge of the grammar, and how a message is spoilt.
"""

from __future__ import annotations

from hypothesis import strategies as st

from tests.fuzz.plane import bytewise, cut

STARTS = [
    *(b"GET / HTTP/1.1", b"POST /x?y HTTP/1.1", b"HEAD / HTTP/1.1", b"PUT /a HTTP/1.1", b"GET / HTTP/1.0"),
    *(b"OPTIONS * HTTP/1.1", b"OPTIONS http://b HTTP/1.1", b"TRACE / HTTP/1.1", b"DELETE / HTTP/1.1"),
    *(b"GET http://b/x HTTP/1.1", b"GET //a/../%2f HTTP/1.1", b"GET /a#b HTTP/1.1", b"GET /\x80 HTTP/1.1"),
    *(b'GET /"<>`{|}\\^ HTTP/1.1', b"CONNECT a:1 HTTP/1.1", b"GET /? HTTP/1.1", b"PRI * HTTP/2.0"),
    *(b"GET / HTTP/1.2", b"GET / HTTP/2.0", b"GET / HTTP/0.9", b"get / HTTP/1.1", b"GET  / HTTP/1.1"),
    *(
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET / RTSP/1.0",
        b"GET /\t HTTP/1.1",
        b"GET /",
        b"QUERY / HTTP/1.1",
    ),
]
LINES = [
    *(
        b"Host: a",
        b"host:b ",
        b"Host:",
        b"Host: a, b",
        b"Host:\ta\t ",
        b"X-User: u",
        b"X-A : 1",
        b"X-A: \x80",
    ),
    *(
        b"X-A: \x01",
        b"X-A: \x7f",
        b"X-A: \x0b",
        b" folded",
        b"\tfold",
        b"",
        b"X-A: a\nContent-Length: 3",
        b"X",
    ),
    *(
        b"Content-Length: 3",
        b"content-length:3\t",
        b"Content-Length: 0",
        b"Content-Length: 03",
        b"X: 1\r",
        b": x",
    ),
    *(
        b"Content-Length: +3",
        b"Content-Length: 3, 3",
        b"Content-Length:",
        b"Content-Length: 0x3",
        b"X\x80: 1",
    ),
    *(
        b"Content-Length: 99999999999999999999",
        b"Content_Length: 3",
        b"Content-Length : 3",
        b"X: a: b",
        b"\nX: 1",
    ),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: Chunked", b"Transfer-Encoding: chunked, chunked"),
    *(b"transfer_encoding: chunked", b"Transfer-Encoding:\x0bchunked", b"Transfer-Encoding: xchunked"),
    *(b"Transfer-Encoding : chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: gzip, chunked"),
    *(
        b"Connection: close",
        b"Connection: keep-alive",
        b"Connection: keep-alive, close",
        b"Connection: x-user",
    ),
    *(b"Connection: x-a, upgrade", b"Connection: upgrade", b"Connection:", b"Connection: host, close"),
    *(
        b"Expect: 100-continue",
        b"Expect: x",
        b"Upgrade: h2c",
        b"Upgrade: websocket",
        b"Proxy-Connection: close",
    ),
    *(
        b"X-Forwarded-For: 1.2.3.4",
        b"X_Forwarded_For: 1",
        b"Via: 1.0 x",
        b"Max-Forwards: 0",
        b"Max-Forwards: x",
    ),
    *(b"traceparent: 00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01", b"Cookie: a=b", b"X\x00: 1", b"X-A:\r1"),
    *(b"X-L: " + b"a" * 300, b"Keep-Alive: 5", b"TE: trailers", b"Trailer: X", b'"X": 1', b"X-A: a\rb"),
]
BODIES = [
    *(
        b"",
        b"",
        b"",
        b"abc",
        b"3\r\nabc\r\n0\r\n\r\n",
        b"3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n",
        b"\r\n",
        b"\n",
        b"\r",
    ),
    *(
        b"abcX",
        b"0\r\n\r\n",
        b"ab",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
    ),
    *(b"3\r\nabcX\r\n0\r\n\r\n", b'3;a="\r\n"\r\nabc\r\n0\r\n\r\n', b"ffffffffffffffff\r\nabc", b"-1\r\nabc"),
    *(
        b"3\r\nabc\r\n0\r\nT : 1\r\n\r\n",
        b"3\r\nabc\r\n0\r\n\n",
        b"3;\n\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\r\n00\r\n\r\n",
    ),
]
_SIZED, _CHUNKED = b"Content-Length: 3", b"Transfer-Encoding: chunked"
FRAMINGS = [
    *([_SIZED], [_CHUNKED], [_SIZED, _CHUNKED], [_CHUNKED, _SIZED], [_SIZED, _SIZED], [_CHUNKED, _CHUNKED]),
    *([_SIZED, b"Content-Length: 4"], [b"Content-Length: 4", _SIZED], [_SIZED, b"Content_Length: 4"]),
    *([_SIZED, b"Transfer-Encoding: identity"], [_SIZED, b"Transfer-Encoding : chunked"]),
    *([_CHUNKED, b"Transfer-Encoding: identity"], [b"Transfer-Encoding: gzip", _CHUNKED]),
    *([_SIZED, b"X-A: a\nTransfer-Encoding: chunked"], [_SIZED, b" folded", _CHUNKED]),
]
"""Ways to say how long a body is, of which a message is to have one."""
STATUS_LINES = [
    *(
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 200",
    ),
    *(b"HTTP/1.1 304 X", b"HTTP/1.1 503 X", b"HTTP/1.1 103 Early", b"HTTP/1.1 100 C", b"HTTP/1.1 101 S"),
    *(b"HTTP/2.0 200 OK", b"HTTP/1.2 200 OK", b"http/1.1 200 OK", b"HTTP/1.1 999 X", b"HTTP/1.1 20 X"),
    *(
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 200 \x80",
        b"HTTP/1.1 099 X",
        b"HTTP/1.1 600 X",
        b"ICY 200 OK",
        b"HTTP/1.1 2000 X",
    ),
]
SPOILERS = [
    *(
        b"\r\n",
        b"\r",
        b"\n",
        b" ",
        b"\t",
        b":",
        b"\x00",
        b"\r\n\r\n",
        b"\x80",
        b"HTTP/1.1",
        b",",
        b"0",
        b"\x7f",
    ),
    *(
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"1",
    ),
]


def messages(starts: list[bytes], always: list[bytes]) -> st.SearchStrategy[bytes]:
    """Messages whose start is one of those, most of them with the fields that belong to every one."""
    return st.builds(
        lambda start, given, lines, framing, body: (
            b"\r\n".join([start, *(always if given else []), *lines, *framing, b"", b""]) + body
        ),
        st.sampled_from(starts[:5]) | st.sampled_from(starts),
        st.sampled_from([True, True, True, True, False]),
        st.lists(st.sampled_from(LINES), max_size=4),
        st.just([]) | st.sampled_from(FRAMINGS),
        st.sampled_from(BODIES),
    )


spoilt_requests = st.deferred(
    lambda: _spoilt(st.lists(messages(STARTS, [b"Host: a"]), max_size=4).map(b"".join))
)
"""Up to four requests, often with something wrong in them."""
spoilt_answers = st.deferred(lambda: _spoilt(st.lists(messages(STATUS_LINES, []), max_size=3).map(b"".join)))
"""The same of answers."""


def _spoilt(sound: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    change = st.tuples(st.integers(0, 2000), st.integers(0, 3), st.sampled_from(SPOILERS))
    return st.builds(_spoil, sound, st.lists(change, max_size=2))


def _spoil(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for place, gone, put in changes:
        at = place % (len(data) + 1)
        data = data[:at] + put + data[at + gone :]
    return data


def in_reads(payloads: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Inputs for `plane.split`."""
    places = st.lists(st.integers(0, 255), max_size=4)
    return st.builds(lambda payload, at: cut(payload, *at), payloads, places) | payloads.map(bytewise)
