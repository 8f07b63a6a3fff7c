"""Answers that the proxy gives by itself, as bytes: RFC 9457 problem documents and interim responses."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import orjson

RETRY_SOON: Final = b"Retry-After: 1\r\n"
CLOSE: Final = b"Connection: close\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_RETRY: Final = b"Retry-After: 1\r\n"
_REASONS: Final = {int(status): status.phrase for status in HTTPStatus}
_STATUS_LINES: Final = {
    status: b"HTTP/1.1 %d %b\r\n" % (status, phrase.encode()) for status, phrase in _REASONS.items()
}
"""Start lines of ours for the registered statuses; always our own HTTP version (RFC 9112 section 2.3)."""


def status_line(status: int) -> bytes:
    """The start line for any status; an unregistered one has no reason phrase."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def problem(status: int, detail: str, *, date: bytes, extra: bytes = b"", bodiless: bool = False) -> bytes:
    """A whole response with a problem document. `date` and `extra` are complete lines with their CRLF."""
    body = orjson.dumps(
        {"type": "about:blank", "title": _REASONS.get(status, ""), "status": status, "detail": detail}
    )
    head = b"%bContent-Type: application/problem+json\r\nContent-Length: %d\r\n%b%b\r\n" % (
        status_line(status),
        len(body),
        date,
        extra,
    )
    return head if bodiless else head + body


def overloaded(what: str, *, date: bytes, stays: bool, bodiless: bool = False) -> bytes:
    """There are too many of `what`. A short time later there may be fewer (RFC 9110 section 10.2.3)."""
    extra = _RETRY if stays else _RETRY + CLOSE
    return problem(503, f"too many {what}", date=date, extra=extra, bodiless=bodiless)


def empty(status: int, *, date: bytes, extra: bytes = b"") -> bytes:
    """A whole response without content."""
    return b"%bContent-Length: 0\r\n%b%b\r\n" % (status_line(status), date, extra)


def interim(status: int, lines: list[bytes]) -> bytes:
    """A 1xx response with the given field lines, which end in CRLF (RFC 9110 section 15.2)."""
    return status_line(status) + b"".join(lines) + b"\r\n"
