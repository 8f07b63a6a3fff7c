"""Minutes in the SQLite store's file.

Owns the table `minutes`. Writes wait their turn with those of state and audit; each is short, and what is
forgotten is forgotten in small pieces, so that nothing waits long for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from proxy.errors import StoreCorrupt
from proxy.stores.minute_records import decode_minute, encode_minute
from proxy.stores.sqlite_file import at_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    import aiosqlite

    from proxy.core.minute import Minute
    from proxy.stores.sqlite import SqliteStore

_ADD = "INSERT OR IGNORE INTO minutes (rollout, at, record) VALUES (?, ?, ?)"
_BETWEEN = """
    SELECT at, record FROM minutes WHERE rollout = ? AND at >= ? AND at < ? ORDER BY at LIMIT ?
"""
_PRUNE = """
    DELETE FROM minutes WHERE rowid IN (SELECT rowid FROM minutes WHERE at < ? ORDER BY at LIMIT ?)
"""
# Before all time, so that one which a kill has left is the first that is forgotten. Larger than a commit of a
# transition: the log may still have room for a page or two when the disk is full.
_TRY = "INSERT OR REPLACE INTO minutes (rollout, at, record) VALUES ('', -2.0, zeroblob(32768))"


class SqliteMinutes:
    """`ports.Minutes` in the file that `store` has open."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def append(self, minutes: Sequence[Minute]) -> None:
        """Keep them all, or none."""
        rows = []
        for minute in minutes:
            rows.append((minute.rollout, minute.at, encode_minute(minute)))
            await asyncio.sleep(0)  # requests have their turn in between

        async def write(db: aiosqlite.Connection) -> None:
            await db.executemany(_ADD, rows)

        await self._store.in_turn(lambda db: at_once(db, lambda: write(db)))

    async def between(self, rollout: str, start: float, end: float, limit: int) -> Sequence[Minute]:
        """Those of one rollout that began then, oldest first."""
        values = (rollout, start, end, max(limit, 0))
        rows = await self._store.in_turn(lambda db: db.execute_fetchall(_BETWEEN, values))
        found = []
        for at, record in rows:
            found.append(self._minute(rollout, at, record))
            await asyncio.sleep(0)
        return found

    async def prune(self, before: float, limit: int) -> int:
        """Forget the oldest. Returns how many. Before all time there is nothing to forget: who asks for that
        wants to know whether the store can be written, which is tried, because to delete nothing is no write
        and succeeds on a disk that is full."""

        async def write(db: aiosqlite.Connection) -> int:
            return (await db.execute(_PRUNE, (before, max(limit, 0)))).rowcount

        if before < 0.0:
            await self._store.in_turn(lambda db: at_once(db, lambda: db.execute(_TRY)))
            await self._store.in_turn(lambda db: at_once(db, lambda: write(db)))
            return 0
        return await self._store.in_turn(lambda db: at_once(db, lambda: write(db)))

    def __repr__(self) -> str:
        return f"SqliteMinutes({self._store!r})"

    def _minute(self, rollout: str, at: float, record: str) -> Minute:
        try:
            return decode_minute(rollout, at, record)
        except StoreCorrupt as error:
            raise StoreCorrupt(f"{self._store.path}: minute {at!r} of {rollout!r}: {error}") from None
