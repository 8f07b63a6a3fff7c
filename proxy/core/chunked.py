"""Bodies in chunked transfer coding, decoded as they come (RFC 9112 section 7.1), in both directions.

Owns the grammar of chunk lines and trailers, and what they may cost: a line has at most 4 KiB, and what is no
content may in all outgrow the content by 16 KiB at most, so that neither extensions nor floods of tiny chunks
are a way to keep us busy. Extensions are checked and dropped, trailers checked and kept. Where a read ends
changes nothing. It knows no connection, and not whose body it is.
"""

from __future__ import annotations

import re
from typing import Final

from proxy.core.field_line import is_field_line
from proxy.errors import ExchangeError

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
_EXTENSION: Final = rb"[ \t]*+;[ \t]*+%b(?:[ \t]*+=[ \t]*+(?:%b|%b))?+" % (_TOKEN, _TOKEN, _QUOTED)
_PLAIN_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,12})\r\n")
_SIZE_LINE: Final = re.compile(rb"0*+([0-9A-Fa-f]{0,15})(?<=[0-9A-Fa-f])(?:%b)*+" % _EXTENSION)
_BEGUN_LINE: Final = re.compile(rb"[0-9A-Fa-f]*+(?:[ \t;\r].*+)?", re.DOTALL)

_MAX_LINE_BYTES: Final = 4 << 10
_MAX_EXCESS_BYTES: Final = 16 << 10
_FREE_BYTES: Final = 16
"""What a chunk may spend on its framing without being looked at, however small it is."""
_MAX_TRAILERS: Final = 100

# What comes next.
_SIZE: Final = 0
_CONTENT: Final = 1
_END_OF_CHUNK: Final = 2
_TRAILER: Final = 3
_NOTHING: Final = 4


class ChunkError(ExchangeError):
    """The coding is broken, or spends too much on what is no content (then `status` is 431, else 400)."""


class ChunkDecoder:
    """One body. `ended` says that all of it was there; `trailers` are then the field lines that followed it,
    without their CRLF."""

    __slots__ = ("_excess", "_left", "_line", "_next", "trailers")

    def __init__(self) -> None:
        self._next = _SIZE
        self._left = 0  # of the present chunk's content
        self._line = b""  # of an unfinished line
        self._excess = 0
        self.trailers: list[bytes] = []

    def __repr__(self) -> str:
        return f"<ChunkDecoder left={self._left} excess={self._excess} ended={self.ended}>"

    @property
    def ended(self) -> bool:
        """Whether the body has come to its end; what follows in the same read is not part of it."""
        return self._next == _NOTHING

    def feed(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Decodes from `at` on and appends the content to `pieces`; returns where it stopped: at the end of
        `data`, or where the body ended.

        Raises `ChunkError`; nothing that follows can then be told apart.
        """
        size = len(data)
        while at < size and self._next != _NOTHING:
            if self._next == _SIZE and not self._line:
                at = self._take_plain(data, at, pieces)
            if self._next == _CONTENT:
                at = self._take_content(data, at, pieces)
            elif at < size:
                at = self._take_line(data, at)
        return at

    def _take_plain(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Takes chunks that are all there and say their size without more ado, as most do."""
        excess = self._excess
        plain = _PLAIN_LINE.match(data, at)
        while plain is not None:
            begin = plain.end()
            size = int(plain[1], 16)
            end = begin + size
            if size == 0 or not data.startswith(b"\r\n", end):
                break
            pieces.append(data[begin:end])
            if excess:
                excess = max(0, excess + begin - at - _FREE_BYTES - 2 * size)
            at = end + 2
            plain = _PLAIN_LINE.match(data, at)
        self._excess = excess
        return at

    def _begin(self, size: int, line_bytes: int) -> None:
        """A chunk of that size, which was told in so many bytes (CVE-2023-39326 is what the sum is for)."""
        self._left = size
        self._next = _CONTENT if size else _TRAILER
        self._excess = max(0, self._excess + line_bytes - _FREE_BYTES - 2 * size)
        if self._excess > _MAX_EXCESS_BYTES:
            raise ChunkError(431, "chunk extensions over the limit")

    def _take_content(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        end = at + self._left
        if end > len(data):
            self._left = end - len(data)
            pieces.append(data[at:])
            return len(data)
        pieces.append(data[at:end])
        self._left = 0
        self._next = _END_OF_CHUNK
        return end

    def _take_line(self, data: bytes, at: int) -> int:
        """Takes in a line, or as much of it as is there."""
        end = data.find(b"\n", at, at + _MAX_LINE_BYTES) + 1
        piece = data[at : end or at + _MAX_LINE_BYTES + 1]
        line = self._line + piece
        if len(line) > _MAX_LINE_BYTES:
            raise ChunkError(431, "chunk extension or trailer over the limit")
        if not end:
            if self._next < _TRAILER and not _BEGUN_LINE.fullmatch(line):
                raise ChunkError(400, "invalid chunk")
            self._line = line
            return at + len(piece)
        if not line.endswith(b"\r\n"):
            raise ChunkError(400, "a chunk line that ends with a bare line feed")  # RFC 9112 section 2.2
        self._line = b""
        self._end_line(line[:-2])
        return end

    def _end_line(self, line: bytes) -> None:
        if self._next == _END_OF_CHUNK:
            if line:
                raise ChunkError(400, "a chunk longer than its size")
            self._next = _SIZE
        elif self._next == _SIZE:
            match = _SIZE_LINE.fullmatch(line)
            if match is None:
                raise ChunkError(400, "invalid chunk size or extension")
            self._begin(int(match[1] or b"0", 16), len(line) + 2)
        elif not line:
            self._next = _NOTHING
        else:
            self._excess += len(line) + 2
            if len(self.trailers) == _MAX_TRAILERS or self._excess > _MAX_EXCESS_BYTES:
                raise ChunkError(431, "trailers over the limit")
            if not is_field_line(line):
                raise ChunkError(400, "invalid trailer")
            self.trailers.append(line)
