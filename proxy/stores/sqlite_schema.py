"""The tables of the SQLite store, and how a file of an earlier version becomes one of this version.

Owns the statements of every version, one step after the other: a new file takes them all, an older one those
that it lacks, within the caller's transaction. Must never know what is read or written later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.stores.sqlite_chain import adopt

if TYPE_CHECKING:
    import aiosqlite

APPLICATION_ID = 0x64756170  # "duap"

_VERSION_1 = (
    """
    CREATE TABLE rollouts (
        name TEXT NOT NULL PRIMARY KEY,
        state TEXT NOT NULL,
        weight INTEGER NOT NULL,
        phase TEXT,
        revision INTEGER NOT NULL,
        since REAL NOT NULL,
        reason TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE TABLE events (seq INTEGER NOT NULL PRIMARY KEY, rollout TEXT NOT NULL, record TEXT NOT NULL)",
    "CREATE INDEX events_of_rollout ON events (rollout, seq)",
    f"PRAGMA application_id = {APPLICATION_ID}",
)
# While a newer version takes over from version 1, that one may still write to the file: it names its columns,
# and those that it does not know have defaults.
_VERSION_2 = (
    "ALTER TABLE rollouts ADD COLUMN retries INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE rollouts ADD COLUMN rolled_back_from TEXT",
    "ALTER TABLE events ADD COLUMN hash TEXT NOT NULL DEFAULT ''",
    """
    CREATE TABLE chain (
        id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
        seq INTEGER NOT NULL,
        hash TEXT NOT NULL,
        adopted INTEGER NOT NULL,
        adopting INTEGER NOT NULL
    )
    """,
    "INSERT INTO chain (id, seq, hash, adopted, adopting) VALUES (1, 0, printf('%064d', 0), 0, 0)",  # GENESIS
    """
    CREATE TABLE overrides (
        rollout TEXT NOT NULL,
        key TEXT NOT NULL,
        path TEXT NOT NULL,
        actor TEXT NOT NULL,
        at REAL NOT NULL,
        expires_at REAL,
        reason TEXT NOT NULL,
        PRIMARY KEY (rollout, key)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE minutes (
        rollout TEXT NOT NULL,
        at REAL NOT NULL,
        record TEXT NOT NULL,
        UNIQUE (rollout, at)
    )
    """,
    "CREATE INDEX minutes_by_time ON minutes (at)",
)
_STEPS = (_VERSION_1, _VERSION_2)

SCHEMA_VERSION = len(_STEPS)

NEEDED = ("rollouts", "events", "chain", "overrides")
"""Tables that have to be whole. Minutes may be many, and a start does not wait until all have been read."""


async def bring_up(db: aiosqlite.Connection, version: int) -> None:
    """From `version` (0: an empty file) to the present one. The events of an older file become the beginning
    of the chain."""
    for step in _STEPS[version:]:
        for statement in step:
            await db.execute(statement)
    await adopt(db, older_may_write=version > 0)
    await db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
