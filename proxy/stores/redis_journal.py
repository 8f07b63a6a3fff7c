"""The judge's journal in Redis: a stream of entries, and beside it who had told what at its end.

Owns that only the present judge writes it, and how much of it is read. Must never know what is in an entry.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from proxy.core.peers import Journalled
from proxy.stores.redis_records import entry_number
from proxy.stores.redis_scripts import ENTRIES, KEEP_JOURNAL
from proxy.stores.redis_stream import MOST_AT_ONCE_BYTES, MOST_UNPACKED_BYTES, entries_of, unpacked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.core.peers import Lease
    from proxy.stores.redis_keys import Keys
    from proxy.stores.redis_link import RedisLink

_FASTEST: Final = 1


class RedisJournal:
    """`ports.Journal`."""

    def __init__(self, link: RedisLink, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    async def keep(
        self, lease: Lease, entries: Sequence[tuple[int, bytes]], heard: bytes, *, window_s: float, anew: bool
    ) -> bool:
        """Keep them as the holder of `lease`."""
        keys, holder = self._keys, lease.holder
        values: list[str | bytes | float] = []
        for until, entry in entries:
            values += [until * 1000, zlib.compress(entry, _FASTEST)]
        done = await self._link.run(
            KEEP_JOURNAL,
            (keys.lease, keys.journal, keys.heard),
            *(f"{lease.token} {holder.epoch} {holder.instance}", round(window_s * 1000), int(anew)),
            *(zlib.compress(heard, _FASTEST), *values),
        )
        return bool(done)

    async def kept(self, since: int, after: int, limit: int) -> Journalled:
        """Entries in their order; what cannot be unpacked is empty."""
        keys = (self._keys.journal, self._keys.heard)
        limits = (limit, MOST_UNPACKED_BYTES, MOST_AT_ONCE_BYTES)
        first = f"({max(since, after) * 1000}-18446744073709551615"
        lengths, parts, heard = await self._link.run(ENTRIES, keys, first, *limits, "entry")
        found: list[tuple[int, bytes]] = []
        size = 0
        for name, packed in entries_of(lengths, parts, 1):
            entry = _unpacked(packed)
            found.append((-(-entry_number(name) // 1000), entry))
            size += len(entry)
            if size > MOST_AT_ONCE_BYTES:
                break
        return Journalled(found, _unpacked(heard) if not found else b"")

    def __repr__(self) -> str:
        return f"RedisJournal({str(self._link.place)!r}, {self._keys.prefix!r})"


def _unpacked(packed: bytes) -> bytes:
    try:
        return unpacked(packed)
    except (ValueError, zlib.error):
        return b""
