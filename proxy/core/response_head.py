"""An upstream's response head: sorted as it is parsed, checked, ready to be passed on.

Owns what an intermediary does to a response (RFC 9110 section 7.6.1). An upstream is as untrusted as a
client. It knows no connection and no clock.
"""

from __future__ import annotations

from typing import Final

from proxy.core.fields import connection_options
from proxy.core.framing import UNTIL_CLOSE, response_length

_PASS: Final = 0
_CONTENT_LENGTH: Final = 1
_TRANSFER_ENCODING: Final = 2
_CONNECTION: Final = 3
_DATE: Final = 4
_CONTENT_TYPE: Final = 5
_DROP: Final = 6

_KINDS: Final[dict[bytes, int]] = {
    b"content-length": _CONTENT_LENGTH,
    b"transfer-encoding": _TRANSFER_ENCODING,
    b"connection": _CONNECTION,
    b"date": _DATE,
    b"content-type": _CONTENT_TYPE,
    b"upgrade": _DROP,
    b"keep-alive": _DROP,
    b"proxy-connection": _DROP,
    b"te": _DROP,
    b"trailer": _DROP,
    b"x-dualpath-path": _DROP,
}
_MAX_SPELLINGS: Final = 4096

_by_spelling: dict[bytes, int] = {}
"""Kinds by the name as it was spelt: backends spell few names in few ways, and lower-casing each costs more
than this look-up. Bounded, because backends are not trusted either."""


def _learn(name: bytes) -> int:
    kind = _KINDS.get(name.lower(), _PASS)
    if len(_by_spelling) < _MAX_SPELLINGS:
        _by_spelling[name] = kind
    return kind


class ResponseHead:
    """A finished head. `length`: bytes, `CHUNKED`, `UNTIL_CLOSE` or `CONTRADICTORY`.

    `lines` are the fields to pass on, each a line without its CRLF; framing is not among them. `declared` is
    the Content-Length as sent, which answers to HEAD and 304 pass on. `closes`: the upstream ends the
    connection.
    """

    __slots__ = ("closes", "dated", "declared", "event_stream", "length", "lines", "status")

    def __init__(self, status: int, length: int, lines: list[bytes]) -> None:
        self.status = status
        self.length = length
        self.lines = lines
        self.declared: bytes | None = None
        self.closes = False
        self.dated = False
        self.event_stream = False

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status} length={self.length}>"


class ResponseFields:
    """Collects the fields of one response after the other; `add` is the parser's callback."""

    __slots__ = (
        "_closes",
        "_connection",
        "_content_length",
        "_dated",
        "_event_stream",
        "_transfer_encoding",
        "lines",
    )

    def __init__(self) -> None:
        self._connection: list[bytes] = []
        self._content_length: list[bytes] = []
        self._transfer_encoding: list[bytes] = []
        self.clear()

    def clear(self) -> None:
        """Ready for the next response; also forgets trailers, which are dropped (RFC 9110 section 6.5.1)."""
        self.lines: list[bytes] = []
        self._dated = False
        self._event_stream = False
        if self._connection:
            self._connection = []
        if self._content_length:
            self._content_length = []
        if self._transfer_encoding:
            self._transfer_encoding = []

    def add(self, name: bytes, value: bytes) -> None:
        """The next field as parsed."""
        kind = _by_spelling.get(name, -1)
        if kind < 0:
            kind = _learn(name)
        if kind == _PASS:
            self.lines.append(name + b": " + value)
        elif kind == _DATE:
            self._dated = True
            self.lines.append(name + b": " + value)
        elif kind == _CONTENT_LENGTH:
            self._content_length.append(value)
        elif kind == _CONTENT_TYPE:
            self._event_stream = value.startswith(b"text/event-stream")
            self.lines.append(name + b": " + value)
        elif kind == _CONNECTION:
            self._connection.append(value)
        elif kind == _TRANSFER_ENCODING:
            self._transfer_encoding.append(value)

    def finish(self, status: int, minor_version: int, *, bodiless: bool) -> ResponseHead:
        """The head of the response whose fields have been added. `bodiless`: it answers HEAD."""
        lines = self.lines
        self.lines = []
        length = response_length(status, self._content_length, self._transfer_encoding, minor_version)
        if bodiless and length >= UNTIL_CLOSE:
            length = 0
        head = ResponseHead(status, length, lines)
        if len(self._content_length) == 1:
            head.declared = self._content_length[0].rstrip(b" \t")
        head.dated = self._dated
        head.event_stream = self._event_stream
        if self._connection or minor_version == 0:
            self._apply_connection(head, minor_version)
        return head

    def _apply_connection(self, head: ResponseHead, minor_version: int) -> None:
        listed = b",".join(self._connection).lower()
        if minor_version == 1 and listed == b"keep-alive":
            return
        named = {option.strip(b" \t") for option in listed.split(b",")}
        head.closes = b"close" in named or (minor_version == 0 and b"keep-alive" not in named)
        options = connection_options(listed)
        if options:
            head.lines = [line for line in head.lines if line.partition(b":")[0].lower() not in options]
