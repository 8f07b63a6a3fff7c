"""Answers of our own, as bytes."""

from __future__ import annotations

import orjson
import pytest

from proxy.dataplane.answers import empty, interim, problem, status_line
from tests.dataplane.wire import DATE, read_message


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (200, b"HTTP/1.1 200 OK\r\n"),
        (503, b"HTTP/1.1 503 Service Unavailable\r\n"),
        (299, b"HTTP/1.1 299 \r\n"),
    ],
)
def test_rfc9112_4_a_status_line(status: int, line: bytes) -> None:
    assert status_line(status) == line


def test_rfc9457_3_a_problem_document() -> None:
    whole = problem(502, "no \u20ac", date=DATE, extra=b"Connection: close\r\n")
    answer, rest = read_message(whole)
    assert rest == b""
    assert answer.start == b"HTTP/1.1 502 Bad Gateway"
    assert answer.fields[b"content-type"] == b"application/problem+json"
    assert answer.fields[b"connection"] == b"close"
    assert orjson.loads(answer.body) == {
        "type": "about:blank",
        "title": "Bad Gateway",
        "status": 502,
        "detail": "no \u20ac",
    }


def test_rfc9110_9_3_2_a_problem_for_head_is_the_same_head() -> None:
    whole = problem(502, "x", date=DATE)
    assert problem(502, "x", date=DATE, bodiless=True) == whole[: whole.index(b"{")]


def test_a_problem_with_an_unregistered_status_has_no_title() -> None:
    assert b'"title":""' in problem(599, "x", date=DATE)


def test_an_empty_answer() -> None:
    assert empty(200, date=DATE) == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + DATE + b"\r\n"
    assert empty(200, date=DATE, extra=b"A: b\r\n").endswith(b"A: b\r\n\r\n")


def test_rfc9110_15_2_an_interim_answer() -> None:
    assert interim(103, [b"Link: </a>\r\n"]) == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    assert interim(102, []) == b"HTTP/1.1 102 Processing\r\n\r\n"
