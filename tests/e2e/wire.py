"""HTTP/1.1 off the wire, read as strictly as a suspicious peer would.

Owns heads, framing and bodies for both ends of the harness. It must never know the proxy: what it accepts is
what RFC 9112 allows, so that a sloppy byte from the proxy is a failed test and not a tolerated one.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from dataclasses import dataclass, field

KEEP_BYTES = 1 << 20
"""How much of a body is kept; of longer ones only the length and the checksum are."""

PIECE_BYTES = 1 << 16

_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t \x21-\x7e\x80-\xff]*?)[ \t]*")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t \x21-\x7e\x80-\xff]*)?")

Fields = tuple[tuple[bytes, bytes], ...]


class ViolationError(Exception):
    """Bytes that cannot be part of a well-formed message."""


class IncompleteError(Exception):
    """The peer ended the connection: `reset` by RST, else by FIN; `started` if inside a message."""

    def __init__(self, *, reset: bool, started: bool) -> None:
        self.reset = reset
        self.started = started
        super().__init__(f"{'reset' if reset else 'end'} {'inside' if started else 'before'} a message")


@dataclass(frozen=True, slots=True)
class Head:
    """A start line and its fields, names in lower case, order and repetition kept."""

    start: bytes
    fields: Fields

    def all(self, name: bytes) -> list[bytes]:
        """The values of every line of that name, in order."""
        return [value for key, value in self.fields if key == name]

    def get(self, name: bytes) -> bytes | None:
        """The value of the only line of that name; a repeated one is a `ViolationError`."""
        values = self.all(name)
        if len(values) > 1:
            raise ViolationError(f"{name!r} occurs {len(values)} times")
        return values[0] if values else None


@dataclass(slots=True)
class Body:
    """A body as it came: its beginning, its length, its checksum, and the trailers after it."""

    kept: bytearray = field(default_factory=bytearray)
    length: int = 0
    crc: int = 0
    trailers: Fields = ()
    chunks: int = 0

    def add(self, piece: bytes) -> None:
        """Takes the next piece."""
        if self.length < KEEP_BYTES:
            self.kept += piece[: KEEP_BYTES - self.length]
        self.length += len(piece)
        self.crc = zlib.crc32(piece, self.crc)


async def read_head(reader: asyncio.StreamReader, *, started: bool = False) -> Head:
    """The next head. Raises `ViolationError`, or `IncompleteError` when the connection ends first."""
    block = await _until(reader, b"\r\n\r\n", started=started)
    lines = block[:-4].split(b"\r\n")
    if b"\n" in block[:-4].replace(b"\r\n", b"") or b"\r" in block[:-4].replace(b"\r\n", b""):
        raise ViolationError(f"bare CR or LF in a head: {block[:200]!r}")
    return Head(lines[0], _fields(lines[1:]))


async def read_sized(reader: asyncio.StreamReader, length: int, body: Body) -> None:
    """A body of `length` bytes (RFC 9112 section 6.2)."""
    while body.length < length:
        body.add(await _some(reader, min(PIECE_BYTES, length - body.length)))


async def read_chunked(reader: asyncio.StreamReader, body: Body) -> None:
    """A chunked body with its trailers (RFC 9112 section 7.1)."""
    while True:
        line = (await _until(reader, b"\r\n", started=True))[:-2]
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise ViolationError(f"not a chunk size: {line[:100]!r}")
        left = int(match[1], 16)
        if left == 0:
            break
        body.chunks += 1
        while left:
            piece = await _some(reader, min(PIECE_BYTES, left))
            body.add(piece)
            left -= len(piece)
        if await _until(reader, b"\r\n", started=True) != b"\r\n":
            raise ViolationError("no CRLF after a chunk")
    trailers: list[bytes] = []
    while (line := await _until(reader, b"\r\n", started=True)) != b"\r\n":
        trailers.append(line[:-2])
    body.trailers = _fields(trailers)


async def read_until_close(reader: asyncio.StreamReader, body: Body) -> None:
    """A body that the end of the connection ends (RFC 9112 section 6.3, item 8)."""
    while piece := await _read(reader, PIECE_BYTES):
        body.add(piece)


def content_length(head: Head) -> int | None:
    """Content-Length as a number; `ViolationError` if it is repeated or is none."""
    value = head.get(b"content-length")
    if value is None:
        return None
    if not value.isdigit():
        raise ViolationError(f"content-length {value!r}")
    return int(value)


def is_chunked(head: Head) -> bool:
    """Whether the message is chunked; `ViolationError` for another coding, or a Content-Length beside it."""
    coding = head.get(b"transfer-encoding")
    if coding is None:
        return False
    if coding.lower() != b"chunked" or head.all(b"content-length"):
        raise ViolationError(f"transfer-encoding {coding!r}, content-length {head.all(b'content-length')!r}")
    return True


def render(start: bytes, fields: Fields, body: bytes = b"") -> bytes:
    """A message, byte for byte."""
    return b"\r\n".join([start, *(name + b": " + value for name, value in fields), b"", body])


def chunk(piece: bytes) -> bytes:
    """One chunk; of nothing, the last chunk without trailers."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def _fields(lines: list[bytes]) -> Fields:
    fields: list[tuple[bytes, bytes]] = []
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise ViolationError(f"not a field line: {line[:200]!r}")
        fields.append((match[1].lower(), match[2]))
    return tuple(fields)


async def _until(reader: asyncio.StreamReader, separator: bytes, *, started: bool) -> bytes:
    try:
        return await reader.readuntil(separator)
    except asyncio.IncompleteReadError as error:
        raise IncompleteError(reset=False, started=started or bool(error.partial)) from error
    except asyncio.LimitOverrunError as error:
        raise ViolationError(f"no {separator!r} in {error.consumed} bytes") from error
    except OSError as error:
        raise IncompleteError(reset=True, started=started) from error


async def _some(reader: asyncio.StreamReader, limit: int) -> bytes:
    piece = await _read(reader, limit)
    if not piece:
        raise IncompleteError(reset=False, started=True)
    return piece


async def _read(reader: asyncio.StreamReader, limit: int) -> bytes:
    try:
        return await reader.read(limit)
    except OSError as error:
        raise IncompleteError(reset=True, started=True) from error
