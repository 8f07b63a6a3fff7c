"""HTTP/1.1 to the letter, written from RFC 9112 alone: the judge of what the proxy reads and writes.

Owns a second opinion. It must never import the proxy, and it is written for reading, not for speed. What the
RFC lets a recipient do is accepted (empty lines before a request, more spaces than one before its target,
white space around a value, unknown chunk extensions); whatever it calls invalid ends the reading.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(%b) +([!-~]+) HTTP/1\.([0-9])" % _TOKEN)
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
_FIELD = re.compile(
    rb"(%b):[ \t]*((?:[!-~\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[!-~\x80-\xff])?)?)[ \t]*" % _TOKEN
)
_CHUNK = re.compile(rb"0*([0-9A-Fa-f]{1,15})[ \t]*(;[\t\x20-\x7e\x80-\xff]*)?")

UNTIL_CLOSE = -2
Fields = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Message:
    """A message whose head was whole: `start` is (method, target) or (status,), names are in lower case.
    `complete`: so was its body."""

    start: tuple[bytes, ...]
    minor: int
    fields: Fields
    body: bytes
    complete: bool

    def values(self, name: bytes) -> list[bytes]:
        """Every value of a field, in order."""
        return [value for known, value in self.fields if known == name]


@dataclass(frozen=True, slots=True)
class Reading:
    """What is in some bytes. `fault` is set where something stands that is no HTTP; what follows a message
    that is not complete is not looked at."""

    messages: list[Message]
    rest: bytes
    fault: str = ""

    @property
    def complete(self) -> list[Message]:
        """Those that are whole."""
        return [message for message in self.messages if message.complete]


def requests(data: bytes) -> Reading:
    """The requests in what a client sent."""
    found: list[Message] = []
    while True:
        while data.startswith(b"\r\n"):
            data = data[2:]
        head, empty, rest = data.partition(b"\r\n\r\n")
        if not empty:
            return Reading(found, data)
        line, fields, fault = _head(head, _REQUEST_LINE)
        if line is None or fault:
            return Reading(found, data, fault or "no request line")
        method, target, minor = line.groups()
        framing, fault = _framing(fields, int(minor))  # a minor version above 1 is read as 1 (RFC 9110 2.5)
        if fault:
            return Reading(found, data, fault)
        body, data, complete, fault = _body(rest, 0 if framing is None else framing)
        found.append(Message((method, target), int(minor), fields, body, complete))
        if not complete:
            return Reading(found, data, fault)


def responses(data: bytes, methods: list[bytes], *, ended: bool) -> Reading:
    """The final responses to requests with those methods, in what a server sent until now; `ended`: it has
    closed the connection. Interim ones are left out."""
    found: list[Message] = []
    for method in methods:
        message, data, fault = _final(data, method, ended=ended)
        if message is None:
            return Reading(found, data, fault)
        found.append(message)
        if not message.complete or fault:
            return Reading(found, data, fault)
    return Reading(found, data)


def _final(data: bytes, method: bytes, *, ended: bool) -> tuple[Message | None, bytes, str]:
    while True:
        head, empty, rest = data.partition(b"\r\n\r\n")
        if not empty:
            return None, data, ""
        line, fields, fault = _head(head, _STATUS_LINE)
        if line is None or fault:
            return None, data, fault or "no status line"
        minor, status = int(line[1]), int(line[2])
        if status < 200:
            if status == 101 or any(name in {b"content-length", b"transfer-encoding"} for name, _ in fields):
                return None, data, "an interim response that is none"
            data = rest
            continue
        framing, fault = _framing(fields, minor)
        if fault and status not in {204, 304}:
            return None, data, fault
        if method == b"HEAD" or status in {204, 304}:
            framing = 0
        if framing is None:
            return Message((line[2],), minor, fields, rest, ended), b"", ""
        body, rest, complete, fault = _body(rest, framing)
        return Message((line[2],), minor, fields, body, complete), rest, fault


def _head(head: bytes, form: re.Pattern[bytes]) -> tuple[re.Match[bytes] | None, Fields, str]:
    start, *lines = head.split(b"\r\n")
    fields = []
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            return None, [], f"no field line: {line!r}"
        fields.append((field[1].lower(), field[2]))
    return form.fullmatch(start), fields, ""


def _framing(fields: Fields, minor: int) -> tuple[int | None, str]:
    """Length of the body, -1 for chunked, None where no field says; and what is wrong (section 6.3)."""
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if codings:
        if lengths:
            return None, "two framings"
        if minor == 0 or len(codings) > 1 or codings[0].lower() != b"chunked":
            return None, "a coding that is not chunked"
        return -1, ""
    if not lengths:
        return None, ""
    if len(lengths) > 1 or not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
        return None, "a length that is none"
    return int(lengths[0]), ""


def _body(data: bytes, framing: int) -> tuple[bytes, bytes, bool, str]:
    """The content, what follows, whether it is whole, and what is wrong with it."""
    if framing >= 0:
        return data[:framing], data[framing:], len(data) >= framing, ""
    return chunked(data)


def chunked(data: bytes) -> tuple[bytes, bytes, bool, str]:
    """The content of a chunked body, what follows, whether it is whole, and what is wrong with it."""
    body = b""
    while True:
        line, crlf, rest = data.partition(b"\r\n")
        if not crlf:
            return body, data, False, ""
        size = _CHUNK.fullmatch(line)
        if size is None:
            return body, data, False, f"no chunk size: {line!r}"
        length = int(size[1], 16)
        if length == 0:
            return _trailers(body, rest)
        piece, after, data = rest[:length], rest[length : length + 2], rest[length + 2 :]
        body += piece
        if len(piece) < length or after != b"\r\n":
            return body, b"", False, "" if b"\r\n".startswith(after) else "a chunk without its end"


def _trailers(body: bytes, data: bytes) -> tuple[bytes, bytes, bool, str]:
    while True:
        line, crlf, data = data.partition(b"\r\n")
        if not crlf:
            return body, line, False, ""
        if not line:
            return body, data, True, ""
        if _FIELD.fullmatch(line) is None:
            return body, line, False, f"no trailer: {line!r}"
