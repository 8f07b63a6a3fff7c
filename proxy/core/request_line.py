"""A request line: method, target and version (RFC 9112 section 3).

Owns its grammar. What a target means is `core.framing`'s affair, what becomes of the request that of
`core.request_head`.
"""

from __future__ import annotations

import re
from typing import Final

from proxy.core.framing import is_origin_form
from proxy.errors import BadRequest

_METHODS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
_VERSION: Final = b" HTTP/1.1"
_REQUEST_LINE: Final = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])"
)


class StartLine:
    """A request line; `text` is what goes on, up to the value of Host, if the target is in origin form."""

    __slots__ = ("method", "minor_version", "target", "text")

    def __init__(self, method: bytes, target: bytes, minor_version: int, text: bytes) -> None:
        self.method = method
        self.target = target
        self.minor_version = minor_version
        self.text = text

    def __repr__(self) -> str:
        return f"<StartLine {self.method!r} {self.target!r}>"


def read_start(line: bytes) -> StartLine:
    """The request line without its CRLF. Raises `BadRequest` (400, 505)."""
    method, _, target = line.partition(b" ")
    if method in _METHODS and target.endswith(_VERSION):
        target = target[: -len(_VERSION)]
        if is_origin_form(target):
            return StartLine(method, target, 1, start_text(method, target))
    return _read_unusual(line)


def _read_unusual(line: bytes) -> StartLine:
    """One with another method, form of target or version than most."""
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise BadRequest(400, "this is not a request of HTTP/1.1")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise BadRequest(505, "HTTP version is not supported")  # RFC 9110 section 15.6.6
    if method == b"PRI":
        raise BadRequest(400, "this is the beginning of HTTP/2")  # RFC 9113 section 11.7
    text = start_text(method, target) if is_origin_form(target) else b""
    # A higher minor version is to be taken for the highest that is known here (RFC 9110 section 2.5).
    return StartLine(method, target, 0 if minor == b"0" else 1, text)


def start_text(method: bytes, target: bytes) -> bytes:
    """A head up to the value of Host."""
    return b"".join((method, b" ", target, b" HTTP/1.1\r\nHost: "))
