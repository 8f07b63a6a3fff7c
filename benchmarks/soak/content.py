"""Bodies that say whose they are: another's answer, a mixture or a part never passes for the right one.

Owns the form of a body and its check. It knows no connection.
"""

from __future__ import annotations

from zlib import crc32


def body_of(number: int, version: str, size: int, asked_crc: int) -> bytes:
    """The only right answer to request `number` that had that checksum, by one of the versions."""
    begin = b"%d %b %d %d\n" % (number, version.encode(), size, asked_crc)
    filling = b"%d-%b;" % (number, version.encode())
    text = (begin + filling * (size // len(filling) + 1))[: max(size, len(begin))]
    return text + b"\n%08x" % crc32(text)


def version_in(body: bytes, number: int, size: int, asked_crc: int) -> str | None:
    """Which version has given this answer; None if it is not the right one."""
    for version in ("v1", "v2"):
        if body == body_of(number, version, size, asked_crc):
            return version
    return None


def checksum(method: bytes, host: bytes, user: bytes, body: bytes) -> int:
    """Of a request: of what was asked, by whom, and with which body."""
    return crc32(body, crc32(b"%b %b %b\n" % (method, host, user)))


def asked_body(number: int, size: int) -> bytes:
    """What request `number` carries."""
    return (b"%d." % number * (size // 2 + 1))[:size]
