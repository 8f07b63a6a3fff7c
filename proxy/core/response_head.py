"""An upstream's response head: read, checked, sorted, ready to be passed on.

Owns what an intermediary does to a response (RFC 9110 section 7.6.1). An upstream is as untrusted as a
client. It knows no connection and no clock.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from proxy.core.field_line import MAX_LINE_BYTES, LineReader, Memory
from proxy.core.fields import connection_options, without_options
from proxy.core.framing import CONTRADICTORY, UNTIL_CLOSE, response_length

if TYPE_CHECKING:
    from proxy.core.field_line import FieldLine

_PASS: Final = 0
_CONTENT_LENGTH: Final = 1
_TRANSFER_ENCODING: Final = 2
_CONNECTION: Final = 3
_DATE: Final = 4
_EVENT_STREAM: Final = 5
_UPGRADE: Final = 6
_DROP: Final = 7

_KINDS: Final[dict[bytes, int]] = {
    b"content-length": _CONTENT_LENGTH,
    b"transfer-encoding": _TRANSFER_ENCODING,
    b"connection": _CONNECTION,
    b"date": _DATE,
    b"upgrade": _UPGRADE,
    b"keep-alive": _DROP,
    b"proxy-connection": _DROP,
    b"te": _DROP,
    b"trailer": _DROP,
    b"x-dualpath-path": _DROP,
}


def _kind_of(name: bytes) -> int:
    return -_EVENT_STREAM if name == b"content-type" else _KINDS.get(name, _PASS)


def _refine(kind: int, value: bytes) -> int:
    return kind if value.startswith(b"text/event-stream") else _PASS  # of Content-Type


_MAX_HEADS: Final = 512
_MAX_HEAD_BYTES: Final = 1024
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
_OLD: Final = b"HTTP/1.0"

_reader: Final = LineReader(_kind_of, _refine)
_statuses: Final[Memory[int]] = Memory(64)
_heads: Final[Memory[ResponseHead]] = Memory(_MAX_HEADS)
"""Heads that came before, byte for byte: a backend sends the same ones all the time."""


class ResponseHead:
    """A finished head. `length`: bytes, `CHUNKED`, `UNTIL_CLOSE` or `CONTRADICTORY`.

    Answers share it: `start`, where the relay keeps what they have in common, is all that changes once it is
    made. `sized`: its own length says how long the body is, and that is all there is to say. `lines` are the
    fields to pass on, each a line with its CRLF; framing is not among them; `text` is all of them. `declared`
    is the Content-Length, which answers to HEAD and 304 pass on too. `closes`: the upstream ends the
    connection. `upgrade` is the protocol that a 101 switches to, or what a 426 asks for.
    """

    __slots__ = (
        "closes",
        "dated",
        "declared",
        "event_stream",
        "length",
        "lines",
        "sized",
        "start",
        "status",
        "text",
        "upgrade",
    )

    def __init__(self, status: int, length: int, lines: list[bytes]) -> None:
        self.status = status
        self.length = length
        self.lines = lines
        self.text = b""
        self.start = b""
        self.declared: bytes | None = None
        self.closes = False
        self.dated = False
        self.event_stream = False
        self.upgrade = b""
        self.sized = length >= 0 and status != 204 and status != 304

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status} length={self.length}>"


def read_head(block: bytes, *, bodiless: bool) -> ResponseHead | None:
    """The head that is written in `block`, without the empty line that ends it; `bodiless`: it answers HEAD.

    None: it is not of HTTP/1 to the letter, and its connection cannot be trusted any further.
    """
    if not bodiless:
        known = _heads.seen.get(block)
        if known is not None:
            return known
    start, crlf, rest = block.partition(b"\r\n")
    status = _statuses.seen.get(start, 0) or _read_status(start)
    fields = _reader.read_all(rest) if crlf else []
    if not status or fields is None:
        return None
    head = _head_of(fields, status, 0 if start.startswith(_OLD) else 1, bodiless=bodiless)
    if not bodiless and len(block) <= _MAX_HEAD_BYTES and _heads.takes() and not _has_secret(fields):
        _heads.keep(block, head)
    return head


def _read_status(start: bytes) -> int:
    match = _STATUS_LINE.fullmatch(start)
    if match is None:
        return 0
    status = int(match[1])
    if len(start) <= MAX_LINE_BYTES:
        _statuses.keep(start, status)
    return status


def _has_secret(fields: list[FieldLine]) -> bool:
    for field in fields:  # noqa: SIM110 - compiled, a generator would cost more than the rest
        if field.secret:
            return True
    return False


def _head_of(fields: list[FieldLine], status: int, minor_version: int, *, bodiless: bool) -> ResponseHead:
    lines: list[bytes] = []
    content_length: list[bytes] = []
    transfer_encoding: list[bytes] = []
    connection: list[bytes] = []
    upgrade: list[bytes] = []
    dated = event_stream = False
    for field in fields:
        kind = field.kind
        if kind == _PASS:
            lines.append(field.text)
        elif kind == _DATE:
            dated = True
            lines.append(field.text)
        elif kind == _CONTENT_LENGTH:
            content_length.append(field.value)
        elif kind == _EVENT_STREAM:
            event_stream = True
            lines.append(field.text)
        elif kind == _CONNECTION:
            connection.append(field.value)
        elif kind == _TRANSFER_ENCODING:
            transfer_encoding.append(field.value)
        elif kind == _UPGRADE:
            upgrade.append(field.value)
    length = response_length(status, content_length, transfer_encoding, minor_version)
    unframed = bodiless and length == UNTIL_CLOSE
    if bodiless and length >= UNTIL_CLOSE:
        length = 0
    head = ResponseHead(status, length, lines)
    if length != CONTRADICTORY and len(content_length) == 1:
        head.declared = b"%d" % int(content_length[0])
    head.dated = dated
    head.event_stream = event_stream
    # A backend that answers HEAD like GET ends its answer by closing: what it sends until then is no answer.
    head.closes = unframed or (
        length == 0 and not bodiless and _may_send_a_body(status, content_length, transfer_encoding)
    )
    if upgrade:
        head.upgrade = b", ".join(upgrade)
        head.sized = head.sized and status != 426
    if connection or minor_version == 0:
        _apply_connection(head, connection, minor_version)
    if head.lines:
        head.text = b"".join(head.lines)
    return head


def _may_send_a_body(status: int, content_length: list[bytes], transfer_encoding: list[bytes]) -> bool:
    """Whether an answer that has none announces one, so that nobody knows what its upstream sends next."""
    return bool(transfer_encoding) or (status == 204 and bool(content_length))


def _apply_connection(head: ResponseHead, values: list[bytes], minor_version: int) -> None:
    listed = b",".join(values).lower()
    if minor_version == 1 and listed == b"keep-alive":
        return
    options = connection_options(listed)
    head.closes |= b"close" in options or (minor_version == 0 and b"keep-alive" not in options)
    if options:
        head.lines = without_options(head.lines, options)
