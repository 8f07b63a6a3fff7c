"""The audit's chain in the SQLite store: how a record is added to it, and how records are read for a check.

Owns the tables `events`, `chain` and `forgotten`. The one row of `chain` tells where it ends; it is a row of
its own, so that newest events that are removed are missed, and their numbers are not used again. The one row
of `forgotten` tells what the oldest record follows. Everything here runs within a transaction of the caller.
Must never know what a record tells.

A table that somebody has dropped reads as one whose rows were deleted, and is there again after the next
write: a rollback has to be stored in such a file, too, and a check has to find a broken chain and no broken
store.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from proxy.core.audit import GENESIS, NO_HEAD, NOTHING_FORGOTTEN, Begin, Head, Record, TrailPage, link

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import aiosqlite

CHAIN_TABLES: Final = (
    """
    CREATE TABLE IF NOT EXISTS events (
        seq INTEGER NOT NULL PRIMARY KEY, rollout TEXT NOT NULL, record TEXT NOT NULL,
        hash TEXT NOT NULL DEFAULT ''
    )
    """,
    "CREATE INDEX IF NOT EXISTS events_of_rollout ON events (rollout, seq)",
    """
    CREATE TABLE IF NOT EXISTS chain (
        id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
        seq INTEGER NOT NULL,
        hash TEXT NOT NULL,
        adopted INTEGER NOT NULL,
        adopting INTEGER NOT NULL
    )
    """,
)
"""The two tables as they are by now."""

_KNOWN = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('events', 'chain')"
_HEAD = "SELECT seq, hash, adopted, adopting FROM chain"
_LAST = "SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1"
_MOVE_HEAD = "INSERT OR REPLACE INTO chain (id, seq, hash, adopted, adopting) VALUES (1, ?, ?, ?, ?)"
_ADD = "INSERT INTO events (seq, rollout, record, hash) VALUES (?, ?, ?, ?)"
_SIGN = "UPDATE events SET hash = ? WHERE seq = ?"
_RECORDS = "SELECT seq, record, hash FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
# Bytes, because whatever somebody has put there is to be read, and to be found wrong.
_PAGE = """
    SELECT seq, CAST(record AS BLOB), CAST(hash AS BLOB), CAST(rollout AS BLOB)
    FROM events WHERE seq > ? ORDER BY seq LIMIT ?
"""
_BEGIN = "SELECT seq, hash FROM forgotten"
_IS_TRIMMED = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'forgotten'"
# Comes with the first trimming: a file that is kept whole is as an older version knows it.
_FORGOTTEN = """
    CREATE TABLE IF NOT EXISTS forgotten (
        id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL, hash TEXT NOT NULL
    )
"""
_MOVE_BEGIN = "INSERT OR REPLACE INTO forgotten (id, seq, hash) VALUES (1, ?, ?)"
_IS_THERE = "SELECT 1 FROM events WHERE seq = ? AND hash = ? AND seq < (SELECT max(seq) FROM events)"
_FORGET = "DELETE FROM events WHERE seq <= ?"
_ALL = -1
_BEFORE_ALL = -(1 << 63)


async def adopt(db: aiosqlite.Connection, *, older_may_write: bool) -> Head:
    """Chain the events behind the head that an older version has written, and say whether there may be more.

    There may be until this version writes for the first time: an older process that is being replaced goes on
    with the migrated file, for good if the replacement fails.
    """
    head, _ = await _head(db)
    seq, previous, signed = head.seq, head.hash, []
    for number, text, _ in await db.execute_fetchall(_RECORDS, (seq, _ALL)):
        seq, previous = number, link(previous, number, text)
        signed.append((previous, seq))
    await db.executemany(_SIGN, signed)
    head = Head(seq, previous, adopted=seq)
    await db.execute(_MOVE_HEAD, (head.seq, head.hash, head.adopted, older_may_write))
    return head


async def chain(db: aiosqlite.Connection, rollout: str, text: str) -> tuple[int, str]:
    """Add the record `text`; its number and its hash."""
    if await _is_dropped(db):
        for statement in CHAIN_TABLES:
            await db.execute(statement)
    head, adopting = await _head(db)
    if adopting:
        head = await adopt(db, older_may_write=False)
    last, _ = await _last(db)
    seq = max(head.seq, last) + 1
    mark = link(head.hash, seq, text)
    await db.execute(_ADD, (seq, rollout, text, mark))
    await db.execute(_MOVE_HEAD, (seq, mark, head.adopted, False))
    return seq, mark


async def page(db: aiosqlite.Connection, after: int, limit: int) -> TrailPage:
    """Up to `limit` records after the number `after`, oldest first, and the head of the same moment. Numbers
    below 1, which no dualpath gives, come first of all."""
    await db.execute("BEGIN")
    try:
        head, _ = await _kept_head(db) or (NO_HEAD, False)
        rows = await rows_of(db, _PAGE, (after or _BEFORE_ALL, limit))
        begin = await begin_of(db)
    finally:
        await db.execute("COMMIT")
    records = (Record(seq, _text(record), _text(mark), _text(rollout)) for seq, record, mark, rollout in rows)
    return TrailPage(tuple(records), head, begin)


async def begin_of(db: aiosqlite.Connection) -> Begin:
    """What the first record that is kept follows."""
    if list(await db.execute_fetchall(_IS_TRIMMED)):
        for seq, mark in await db.execute_fetchall(_BEGIN):
            if isinstance(seq, int) and isinstance(mark, str):
                return Begin(seq, mark)
    return NOTHING_FORGOTTEN


async def move_begin(db: aiosqlite.Connection, begin: Begin) -> None:
    """Forget all events up to this one, whether they are there or not."""
    await db.execute(_FORGOTTEN)
    await db.execute(_FORGET, (begin.seq,))
    await db.execute(_MOVE_BEGIN, (begin.seq, begin.hash))


async def trim(db: aiosqlite.Connection, begin: Begin) -> bool:
    """The same if that event is there, and not the last one."""
    if not list(await db.execute_fetchall(_IS_THERE, (begin.seq, begin.hash))):
        return False
    await move_begin(db, begin)
    return True


async def rows_of(
    db: aiosqlite.Connection, query: str, values: Sequence[object] | Mapping[str, object] = ()
) -> Iterable[sqlite3.Row]:
    """What the query of one of the two tables gives; nothing if it was dropped."""
    try:
        return await db.execute_fetchall(query, values)
    except sqlite3.OperationalError:
        if await _is_dropped(db):
            return ()
        raise


async def _is_dropped(db: aiosqlite.Connection) -> bool:
    [[known]] = await db.execute_fetchall(_KNOWN)
    return bool(known < len(("events", "chain")))


def _text(content: bytes) -> str:
    return content.decode(errors="replace")


async def _head(db: aiosqlite.Connection) -> tuple[Head, bool]:
    kept = await _kept_head(db)
    if kept is not None:
        return kept
    # Somebody has removed the row: a change must find its place all the same, and what was before is unknown.
    seq, mark = await _last(db)
    return Head(seq, str(mark), adopted=seq), False


async def _kept_head(db: aiosqlite.Connection) -> tuple[Head, bool] | None:
    for seq, mark, adopted, adopting in await rows_of(db, _HEAD):
        if isinstance(seq, int) and isinstance(adopted, int) and isinstance(mark, str):
            return Head(seq, mark, adopted), bool(adopting)
    return None


async def _last(db: aiosqlite.Connection) -> tuple[int, str]:
    rows = list(await db.execute_fetchall(_LAST))
    return (rows[0][0], rows[0][1]) if rows else (0, GENESIS)
