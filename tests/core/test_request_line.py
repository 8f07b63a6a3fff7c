"""Request lines: the grammar, and what goes on of one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.request_line import read_start
from proxy.errors import BadRequest


@pytest.mark.parametrize(
    ("line", "minor_version", "text"),
    [
        (b"GET /a?b HTTP/1.1", 1, b"GET /a?b HTTP/1.1\r\nHost: "),
        (b"BREW /pot HTTP/1.1", 1, b"BREW /pot HTTP/1.1\r\nHost: "),
        (b"GET / HTTP/1.0", 0, b"GET / HTTP/1.1\r\nHost: "),
        (b"GET / HTTP/1.9", 1, b"GET / HTTP/1.1\r\nHost: "),
        (b"GET http://a/ HTTP/1.1", 1, b""),
        (b"OPTIONS * HTTP/1.1", 1, b""),
        (b"CONNECT a:443 HTTP/1.1", 1, b""),
    ],
)
def test_rfc9112_3_a_request_line_has_three_parts(line: bytes, minor_version: int, text: bytes) -> None:
    start = read_start(line)
    assert (start.method, start.target) == tuple(line.split(b" ")[:2])
    assert (start.minor_version, start.text) == (minor_version, text)
    assert repr(start) == f"<StartLine {start.method!r} {start.target!r}>"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"", 400),
        (b"GET", 400),
        (b"GET /", 400),
        (b"GET /a#b HTTP/1.1x", 400),
        (b"PRI * HTTP/1.1", 400),
        (b"PRI * HTTP/2.0", 505),
        (b"GET / HTTP/0.9", 505),
    ],
)
def test_rfc9112_3_anything_else_is_refused(line: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as caught:
        read_start(line)
    assert caught.value.status == status


@given(
    st.binary(max_size=20), st.binary(max_size=20), st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"ICE/1.0"])
)
def test_what_passes_has_two_spaces_and_no_line_end(method: bytes, target: bytes, version: bytes) -> None:
    line = b" ".join((method, target, version))
    try:
        start = read_start(line)
    except BadRequest:
        return
    assert (start.method, start.target, line.count(b" ")) == (method, target, 2)
    assert not set(line) & set(b"\r\n\0\t\x7f")
