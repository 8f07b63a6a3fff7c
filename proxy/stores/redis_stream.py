"""Entries of a stream as a script hands them over, and what is packed in them.

Owns how they are taken apart, and the limits: anybody who may write to the Redis may write this. Must never
know what they tell.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

# An honest one has a few KiB.
MOST_PACKED_BYTES: Final = 256 << 10
MOST_UNPACKED_BYTES: Final = 4 << 20
MOST_AT_ONCE_BYTES: Final = 16 << 20  # packed, and unpacked


def entries_of(lengths: bytes, parts: bytes, fields: int) -> Iterator[list[bytes]]:
    """Of each its id and that many fields, as `redis_scripts.ENTRIES` tells them."""
    sizes, at = list(map(int, lengths.split())), 0
    for first in range(0, len(sizes), fields + 1):
        entry = []
        for size in sizes[first : first + fields + 1]:
            entry.append(parts[at : at + size])
            at += size
        yield entry


def unpacked(packed: bytes) -> bytes:
    """What was packed. Raises `ValueError` for what is too long or cut off, and `zlib.error` for what was
    not packed."""
    unpacking = zlib.decompressobj()
    found = unpacking.decompress(packed, MOST_UNPACKED_BYTES)
    if not unpacking.eof:
        raise ValueError("too long, or cut off")
    return found
