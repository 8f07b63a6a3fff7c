"""An upstream's head: sorted, checked, without what is between it and us alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import response_head
from proxy.core.field_line import Memory
from proxy.core.framing import CHUNKED, CONTRADICTORY, UNTIL_CLOSE
from proxy.core.response_head import ResponseHead, read_head


def finished(
    *fields: tuple[bytes, bytes], status: int = 200, minor_version: int = 1, bodiless: bool = False
) -> ResponseHead:
    start = b"HTTP/1.%d %d X" % (minor_version, status)
    head = read_head(b"\r\n".join([start, *map(b": ".join, fields)]), bodiless=bodiless)
    assert head is not None
    return head


def passed_on(head: ResponseHead) -> list[tuple[bytes, bytes]]:
    assert all(line.count(b"\r\n") == 1 and line.endswith(b"\r\n") for line in head.lines)
    assert head.text == b"".join(head.lines)
    return [(name, value[:-2]) for name, _, value in (line.partition(b": ") for line in head.lines)]


# ... fields


def test_rfc9110_5_3_fields_pass_in_order_and_set_cookie_is_never_merged() -> None:
    fields = [(b"Set-Cookie", b"a=1"), (b"X-A", b""), (b"set-cookie", b"b=2"), (b"Set-Cookie", b"c=3")]
    assert passed_on(finished(*fields)) == fields


@pytest.mark.parametrize(
    "name",
    [b"Connection", b"Keep-Alive", b"Proxy-Connection", b"TE", b"Transfer-Encoding", b"Upgrade", b"Trailer"],
)
def test_rfc9110_7_6_1_hop_by_hop_fields_stay_here(name: bytes) -> None:
    for spelt in (name, name.lower(), name.upper()):
        assert passed_on(finished((spelt, b"x"), (b"X-A", b"1"))) == [(b"X-A", b"1")]


def test_rfc9110_7_6_1_what_connection_names_stays_here_too() -> None:
    head = finished((b"X-Hop", b"1"), (b"Connection", b"X-Hop, set-cookie"), (b"Set-Cookie", b"a=1"))
    assert passed_on(head) == [(b"Set-Cookie", b"a=1")]
    assert not head.closes


def test_a_backend_cannot_say_who_answered() -> None:
    assert passed_on(finished((b"X-Dualpath-Path", b"v2"))) == []


def test_rfc9110_6_6_1_a_date_is_noticed() -> None:
    head = finished((b"date", b"Tue, 14 Nov 2023 22:13:20 GMT"))
    assert head.dated
    assert passed_on(head) == [(b"date", b"Tue, 14 Nov 2023 22:13:20 GMT")]
    assert not finished((b"X-A", b"1")).dated


@pytest.mark.parametrize(
    ("value", "streams"), [(b"text/event-stream; charset=utf-8", True), (b"text/html", False)]
)
def test_an_event_stream_is_noticed(value: bytes, streams: bool) -> None:
    head = finished((b"Content-Type", value))
    assert head.event_stream is streams
    assert passed_on(head) == [(b"Content-Type", value)]


# ... framing


def test_rfc9112_6_3_the_length_of_each_kind_of_answer() -> None:
    assert finished((b"Content-Length", b"5")).length == 5
    assert finished((b"content-length", b"5 ")).length == 5
    assert finished((b"Transfer-Encoding", b"chunked")).length == CHUNKED
    assert finished().length == UNTIL_CLOSE
    assert finished((b"Content-Length", b"5"), (b"Content-Length", b"6")).length == CONTRADICTORY
    assert finished((b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")).length == CONTRADICTORY


@pytest.mark.parametrize("fields", [[], [(b"Content-Length", b"5")], [(b"Transfer-Encoding", b"chunked")]])
def test_rfc9112_6_3_an_answer_to_head_has_no_body(fields: list[tuple[bytes, bytes]]) -> None:
    assert finished(*fields, bodiless=True).length == 0


def test_rfc9112_6_3_a_contradictory_answer_to_head_is_not_believed() -> None:
    head = finished((b"Content-Length", b"x"), bodiless=True)
    assert head.length == CONTRADICTORY


def test_rfc9112_9_2_an_unframed_answer_to_head_ends_its_connection() -> None:
    assert finished(bodiless=True).closes
    assert not finished((b"Content-Length", b"3"), bodiless=True).closes
    assert not finished((b"Transfer-Encoding", b"chunked"), bodiless=True).closes


@pytest.mark.parametrize(("status", "bodiless"), [(200, False), (200, True), (304, False)])
def test_rfc9110_8_6_a_length_is_passed_on_in_one_spelling(status: int, bodiless: bool) -> None:
    assert finished((b"Content-Length", b"0012"), status=status, bodiless=bodiless).declared == b"12"


def test_rfc9110_8_6_the_declared_length_of_a_304_is_kept() -> None:
    head = finished((b"Content-Length", b"5"), status=304)
    assert (head.length, head.declared) == (0, b"5")
    assert passed_on(head) == []
    assert finished(status=304).declared is None
    assert finished((b"Content-Length", b"5"), (b"Content-Length", b"5"), status=304).declared is None


# ... persistence


@pytest.mark.parametrize(
    ("connection", "minor_version", "closes"),
    [
        ([], 1, False),
        ([b"keep-alive"], 1, False),
        ([b"Close"], 1, True),
        ([b"x", b"foo, CLOSE "], 1, True),
        ([], 0, True),
        ([b"Keep-Alive"], 0, False),
        ([b"keep-alive, close"], 0, True),
    ],
)
def test_rfc9112_9_3_whether_the_upstream_keeps_its_connection(
    connection: list[bytes], minor_version: int, closes: bool
) -> None:
    head = finished(*((b"Connection", value) for value in connection), minor_version=minor_version)
    assert head.closes is closes


@pytest.mark.parametrize(
    ("status", "field", "closes"),
    [
        (204, (b"Content-Length", b"5"), True),
        (204, (b"Transfer-Encoding", b"chunked"), True),
        (304, (b"Transfer-Encoding", b"chunked"), True),
        (304, (b"Content-Length", b"5"), False),
        (204, (b"X-A", b"5"), False),
        (200, (b"Content-Length", b"0"), False),
    ],
)
def test_rfc9112_6_3_after_an_answer_that_announces_a_body_it_cannot_have_nothing_is_expected(
    status: int, field: tuple[bytes, bytes], closes: bool
) -> None:
    head = finished(field, (b"Connection", b"x"), status=status)
    assert (head.length, head.closes) == (0, closes)


# ... another protocol


def test_rfc9110_7_8_the_protocol_that_is_switched_to_is_kept_apart() -> None:
    head = finished((b"Upgrade", b"websocket"), (b"Connection", b"upgrade"), (b"X-A", b"1"), status=101)
    assert (head.status, head.length, head.upgrade) == (101, 0, b"websocket")
    assert passed_on(head) == [(b"X-A", b"1")]
    assert finished((b"Upgrade", b"a"), (b"upgrade", b"b"), status=101).upgrade == b"a, b"
    assert finished(status=101).upgrade == b""


def test_a_head_shows_its_status() -> None:
    assert repr(finished((b"Content-Length", b"5"), status=503)) == "<ResponseHead 503 length=5>"


NAMES = [
    b"Connection",
    b"Keep-Alive",
    b"TE",
    b"Upgrade",
    b"Transfer-Encoding",
    b"Content-Length",
    b"X-Hop",
    b"X-A",
]
VALUES = [b"", b"1", b"x", b"chunked", b"close", b"X-Hop, te", b"keep-alive"]


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=8),
    st.sampled_from([200, 204, 304, 500]),
    st.sampled_from([0, 1]),
    st.booleans(),
)
def test_no_head_is_passed_on_with_framing_or_a_hop_by_hop_field(
    fields: list[tuple[bytes, bytes]], status: int, minor_version: int, bodiless: bool
) -> None:
    head = finished(*fields, status=status, minor_version=minor_version, bodiless=bodiless)
    named = any(name == b"Connection" and b"X-Hop" in value for name, value in fields)
    passing = {b"X-A"} if named else {b"X-Hop", b"X-A"}
    assert passed_on(head) == [(name, value) for name, value in fields if name in passing]


# ... the lines of a head


def test_a_head_is_read_as_it_is_spelt() -> None:
    block = b"HTTP/1.1 404 Not Found\r\nDate: now\r\nContent-Length: 5\r\nX-A:1 \r\nConnection: keep-alive"
    head = read_head(block, bodiless=False)
    assert head is not None
    assert (head.status, head.length, head.dated, head.closes, head.sized) == (404, 5, True, False, True)
    assert passed_on(head) == [(b"Date", b"now"), (b"X-A", b"1")]


def test_a_head_that_came_before_is_not_read_again_unless_it_answers_head() -> None:
    block = b"HTTP/1.1 200 OK\r\nContent-Length: 5"
    head = read_head(block, bodiless=False)
    assert read_head(block, bodiless=False) is head
    bodiless = read_head(block, bodiless=True)
    assert bodiless is not None
    assert (bodiless.length, bodiless.declared) == (0, b"5")


def test_a_head_may_have_no_fields() -> None:
    head = read_head(b"HTTP/1.1 204", bodiless=False)
    assert head is not None
    assert (head.status, head.length, head.sized, head.text) == (204, 0, False, b"")


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"HTTP/2.0 200 OK", id="RFC 9112 section 2.3, another version"),
        pytest.param(b"HTTP/1.2 200 OK", id="RFC 9112 section 2.3, a version that we do not speak"),
        pytest.param(b"ICY 200 OK", id="RFC 9112 section 2.3, another protocol"),
        pytest.param(b"HTTP/1.1 099 What", id="RFC 9110 section 15, no status"),
        pytest.param(b"HTTP/1.1 20 OK", id="RFC 9112 section 4, two digits"),
        pytest.param(b"HTTP/1.1 2000 OK", id="RFC 9112 section 4, four digits"),
        pytest.param(b"HTTP/1.1 200\tOK", id="RFC 9112 section 4, a tab"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: 1\r\n 2", id="RFC 9112 section 5.2, a folded line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: 1\r2", id="RFC 9112 section 2.2, bare CR"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: \0", id="RFC 9110 section 5.5, NUL"),
        pytest.param(b"HTTP/1.1  200 OK", id="RFC 9112 section 4, two spaces"),
        pytest.param(b"HTTP/1.1 200 O\nK", id="RFC 9112 section 2.2, bare LF"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX : 1", id="RFC 9112 section 5.1, space before the colon"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", id="an empty line too early"),
        pytest.param(b"\r\nHTTP/1.1 200 OK", id="RFC 9112 section 2.2, an empty line before"),
    ],
)
def test_what_is_not_http_to_the_letter_is_no_head(block: bytes) -> None:
    assert read_head(block, bodiless=False) is None


def test_heads_are_remembered_within_bounds_and_without_cookies(monkeypatch: pytest.MonkeyPatch) -> None:
    heads: Memory[ResponseHead] = Memory(512)
    monkeypatch.setattr(response_head, "_heads", heads)
    assert read_head(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=secret", bodiless=False) is not None
    assert read_head(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 2_000, bodiless=False) is not None
    assert read_head(b"HTTP/1.1 200 " + b"y" * 2_000, bodiless=False) is not None
    assert not heads.seen
    most = 0
    for number in range(3_000):
        assert read_head(b"HTTP/1.1 200 OK\r\nX: %d" % number, bodiless=False) is not None
        most = max(most, len(heads.seen))
    assert most == 512
