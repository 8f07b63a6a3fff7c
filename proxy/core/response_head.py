"""An upstream's response head: sorted as it is parsed, checked, ready to be passed on.

Owns what an intermediary does to a response (RFC 9110 section 7.6.1). An upstream is as untrusted as a
client. It knows no connection and no clock.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from proxy.core.field_line import MAX_LINE_BYTES, LineReader, Memory
from proxy.core.fields import connection_options, without_options
from proxy.core.framing import CONTRADICTORY, UNTIL_CLOSE, is_number, response_length

if TYPE_CHECKING:
    from proxy.core.field_line import FieldLine

_PASS: Final = 0
_CONTENT_LENGTH: Final = 1
_TRANSFER_ENCODING: Final = 2
_CONNECTION: Final = 3
_DATE: Final = 4
_EVENT_STREAM: Final = 5
_DROP: Final = 6

_KINDS: Final[dict[bytes, int]] = {
    b"content-length": _CONTENT_LENGTH,
    b"transfer-encoding": _TRANSFER_ENCODING,
    b"connection": _CONNECTION,
    b"date": _DATE,
    b"upgrade": _DROP,
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
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")

_reader: Final = LineReader(_kind_of, _refine)
_statuses: Final[Memory[int]] = Memory(64)
_heads: Final[Memory[ResponseHead]] = Memory(_MAX_HEADS)
"""Heads that came before, byte for byte: a backend sends the same ones all the time."""


class ResponseHead:
    """A finished head. `length`: bytes, `CHUNKED`, `UNTIL_CLOSE` or `CONTRADICTORY`.

    Answers share it: `start`, where the relay keeps what they have in common, is all that changes once it is
    made. `sized`: its own length says how long the body is. `lines` are the fields to pass on, each a line
    with its CRLF; framing is not among them; `text` is all of them. `declared` is
    the Content-Length as sent, which answers to HEAD and 304 pass on. `closes`: the upstream ends the
    connection.
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
        self.sized = length >= 0 and status != 204 and status != 304

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status} length={self.length}>"


class ResponseFields:
    """Collects the fields of one response after the other; `add` is the parser's callback."""

    __slots__ = ("_doubtful", "fields")

    def __init__(self) -> None:
        self.fields: list[FieldLine] = []
        self._doubtful = False

    def clear(self) -> None:
        """Ready for the next response; also forgets trailers, which are dropped (RFC 9110 section 6.5.1)."""
        if self.fields:
            self.fields = []

    def add(self, name: bytes, value: bytes) -> None:
        """The next field as parsed."""
        field = _reader.field(name, value)
        self.fields.append(field)
        if field.kind == _TRANSFER_ENCODING and b"\t" in value:
            self._doubtful = True  # a tab after the coding belongs to it for the parser, not for RFC 9110

    def finish(self, status: int, minor_version: int, *, bodiless: bool) -> ResponseHead:
        """The head of the response whose fields have been added. `bodiless`: it answers HEAD."""
        fields, self.fields = self.fields, []
        head = _head_of(fields, status, minor_version, bodiless=bodiless)
        if self._doubtful:
            self._doubtful = False
            head.length = CONTRADICTORY
        return head


def read_head(block: bytes, *, bodiless: bool) -> ResponseHead | None:
    """The final head that is written in `block`, without the empty line that ends it, if it is one to the
    letter in HTTP/1.1; None leaves it to the parser. `bodiless`: it answers HEAD."""
    if not bodiless:
        known = _heads.seen.get(block)
        if known is not None:
            return known
    start, crlf, rest = block.partition(b"\r\n")
    status = _statuses.seen.get(start, 0) or _read_status(start)
    if not status:
        return None
    fields = _reader.read_all(rest) if crlf else []
    if fields is None or not _frames_plainly(fields):
        return None
    head = _head_of(fields, status, 1, bodiless=bodiless)
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


def _frames_plainly(fields: list[FieldLine]) -> bool:
    """Whether at most one field speaks of the length, and says a number or "chunked"."""
    framing = [field for field in fields if _CONTENT_LENGTH <= field.kind <= _TRANSFER_ENCODING]
    if not framing:
        return True
    value = framing[0].value
    return len(framing) == 1 and (
        is_number(value) if framing[0].kind == _CONTENT_LENGTH else value == b"chunked"
    )


def _head_of(fields: list[FieldLine], status: int, minor_version: int, *, bodiless: bool) -> ResponseHead:
    lines: list[bytes] = []
    content_length: list[bytes] = []
    transfer_encoding: list[bytes] = []
    connection: list[bytes] = []
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
    length = response_length(status, content_length, transfer_encoding, minor_version)
    if bodiless and length >= UNTIL_CLOSE:
        length = 0
    head = ResponseHead(status, length, lines)
    if len(content_length) == 1:
        head.declared = content_length[0]
    head.dated = dated
    head.event_stream = event_stream
    if connection or minor_version == 0:
        _apply_connection(head, connection, minor_version)
    if head.lines:
        head.text = b"".join(head.lines)
    return head


def _apply_connection(head: ResponseHead, values: list[bytes], minor_version: int) -> None:
    listed = b",".join(values).lower()
    if minor_version == 1 and listed == b"keep-alive":
        return
    named = {option.strip(b" \t") for option in listed.split(b",")}
    head.closes = b"close" in named or (minor_version == 0 and b"keep-alive" not in named)
    options = connection_options(listed)
    if options:
        head.lines = without_options(head.lines, options)
