"""The store in one SQLite file: nothing to install, survives kill -9 at any moment.

Owns the statements that keep state and audit in step. Must never know what a rollout may do.

WAL with synchronous=FULL: a commit that has returned is on the disk (sqlite.org/wal.html). State and audit
are one transaction, guarded by the revision in the WHERE of the UPDATE, so that a second process on the same
file gets a `RevisionConflict` and never overwrites.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

import aiosqlite
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random

from proxy.core.audit import Begin
from proxy.errors import RevisionConflict, StoreCorrupt, StoreUnavailable
from proxy.model import Event
from proxy.stores.records import decode_state, decode_transition, encode_transition, require_successor
from proxy.stores.sqlite_chain import chain, page, rows_of, trim
from proxy.stores.sqlite_file import (
    at_once,
    identity,
    inspect,
    is_busy,
    left_beside,
    prepare,
    require_openable,
    require_usable,
    translated,
)
from proxy.stores.sqlite_overrides import (
    LOAD_OVERRIDES,
    PUT_OVERRIDE,
    REMOVE_OVERRIDE,
    override_row,
    read_override,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from proxy.core.audit import Record, TrailPage
    from proxy.model import KeyOverride, RolloutState, Transition

    _Statement = tuple[str, tuple[object, ...]]

T = TypeVar("T")

_ATTEMPTS = 3
_PAUSE_S = 0.05
_BUSY_TIMEOUT_S = 0.2  # three of these and two pauses stay under a second

STATE_FIELDS = (
    *("name", "state", "weight", "phase", "revision"),
    *("since", "reason", "retries", "rolled_back_from"),
)
_LOAD = """
    SELECT name, state, weight, phase, revision, since, reason, retries, rolled_back_from
    FROM rollouts ORDER BY name
"""
_FIRST = """
    INSERT INTO rollouts (state, weight, phase, revision, since, reason, retries, rolled_back_from, name)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (name) DO NOTHING
"""
_NEXT = """
    UPDATE rollouts SET state = ?, weight = ?, phase = ?, revision = ?, since = ?, reason = ?, retries = ?,
        rolled_back_from = ?
    WHERE name = ? AND revision = ?
"""
_OLDEST = "SELECT seq, record, hash FROM events WHERE seq > :after ORDER BY seq LIMIT :limit"
_OLDEST_OF = """
    SELECT seq, record, hash FROM events WHERE rollout = :rollout AND seq > :after ORDER BY seq LIMIT :limit
"""
_NEWEST = "SELECT seq, record, hash FROM events ORDER BY seq DESC LIMIT :limit"
_NEWEST_OF = "SELECT seq, record, hash FROM events WHERE rollout = :rollout ORDER BY seq DESC LIMIT :limit"


class SqliteStore:
    """`ports.Store`, `OverrideStore` and `Trail` in the file `path`. Usable by several processes at once.

    A caller that gives up waiting does not tear a transaction apart: it runs to its end, and every later call
    sees its outcome. Raises `StoreUnavailable` (cannot be reached, locked, full, read-only, removed or
    replaced), `StoreCorrupt` (not ours, damaged) and `RevisionConflict`.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float = _BUSY_TIMEOUT_S) -> None:
        self.path = path
        self._busy_timeout_s = busy_timeout_s
        self._db: aiosqlite.Connection | None = None
        self._opened = (0, 0)  # the file's device and inode
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Open the file, or create it. A file that is not ours is left untouched."""
        await inspect(self.path)
        with translated(self.path):
            require_openable(self.path)
            db = await aiosqlite.connect(self.path, isolation_level=None, timeout=self._busy_timeout_s)
            try:
                await _persistently(lambda: prepare(self.path, db))
                self._opened = identity(self.path)
            except BaseException:
                await db.close()
                raise
        self._db = db

    async def load(self) -> Mapping[str, RolloutState]:
        """The present state of every rollout, by name."""
        rows = await self.in_turn(lambda db: db.execute_fetchall(_LOAD))
        states = [self._state(dict(zip(STATE_FIELDS, row, strict=True))) for row in rows]
        return {state.name: state for state in states}

    async def commit(self, transition: Transition) -> Event:
        """Write state and event in one transaction, if `before.revision` is still the stored one."""
        return await self._commit(transition)

    async def events(
        self, *, after: int = 0, limit: int = 100, rollout: str | None = None
    ) -> Sequence[Event]:
        """Events with `seq` > `after`, oldest first, at most `limit`; `after=-1` gives the newest `limit`."""
        newest, oldest = (_NEWEST, _OLDEST) if rollout is None else (_NEWEST_OF, _OLDEST_OF)
        values = {"after": after, "limit": max(limit, 0), "rollout": rollout}
        query = newest if after < 0 else oldest
        rows = await self.in_turn(lambda db: rows_of(db, query, values))
        events = [self._event(seq, record, mark) for seq, record, mark in rows]
        return events[::-1] if after < 0 else events

    async def records(self, *, after: int = 0, limit: int = 100) -> TrailPage:
        """Records as they were written, and where the chain ends."""
        return await self.in_turn(lambda db: page(db, after, max(limit, 0)))

    async def trim(self, upto: Record) -> bool:
        """Forget the oldest events."""
        begin = Begin(upto.seq, upto.hash)
        return await self.in_turn(lambda db: at_once(db, lambda: trim(db, begin)))

    async def overrides(self) -> Sequence[KeyOverride]:
        """All overrides, by rollout and key."""
        rows = await self.in_turn(lambda db: db.execute_fetchall(LOAD_OVERRIDES))
        return [self._override(row) for row in rows]

    async def put(self, override: KeyOverride, event: Transition) -> Event:
        """Keep `override` and write `event`, in one transaction."""
        return await self._commit(event, (PUT_OVERRIDE, override_row(override)))

    async def remove(self, rollout: str, key: str, event: Transition) -> Event:
        """Keep the override no longer and write `event`, in one transaction."""
        return await self._commit(event, (REMOVE_OVERRIDE, (rollout, key)))

    async def close(self) -> None:
        """Wait for what runs, then close; the write-ahead log goes into the file. Closing twice is fine."""
        async with self._turn:
            db, self._db = self._db, None
            if db is not None:
                with translated(self.path), ExitStack() as meanwhile:
                    try:
                        require_usable(self.path, self._opened)  # nothing may be awaited before it is closed
                    except StoreUnavailable:
                        meanwhile.enter_context(left_beside(self.path))
                    await db.close()

    def __repr__(self) -> str:
        return f"SqliteStore({str(self.path)!r}, {'closed' if self._db is None else 'open'})"

    # ... one at a time, to the end, again if another process is writing

    async def in_turn(self, work: Callable[[aiosqlite.Connection], Awaitable[T]]) -> T:
        """Do `work` with the open file, alone. For what else is kept in it; raises as the store does."""
        return await asyncio.shield(asyncio.ensure_future(self._run(work)))

    async def _run(self, work: Callable[[aiosqlite.Connection], Awaitable[T]]) -> T:
        async with self._turn:
            db = self._db
            if db is None:
                raise StoreUnavailable(f"{self.path}: is not open")
            await asyncio.to_thread(require_usable, self.path, self._opened)
            with translated(self.path):
                return await _persistently(lambda: work(db))

    # ... one transaction

    async def _commit(self, transition: Transition, more: _Statement | None = None) -> Event:
        require_successor(transition)
        record = encode_transition(transition)

        async def write(db: aiosqlite.Connection) -> Event:
            await self._swap(db, transition)
            if more is not None:
                await db.execute(*more)
            seq, mark = await chain(db, transition.after.name, record)
            return Event(seq, transition, mark)

        return await self.in_turn(lambda db: at_once(db, lambda: write(db)))

    async def _swap(self, db: aiosqlite.Connection, transition: Transition) -> None:
        expected, new = transition.before.revision, transition.after
        values = [new.state, new.weight, new.phase, new.revision, new.since, new.reason]
        values += [new.retries, new.rolled_back_from, new.name]
        first = expected == 0 and transition.changes_state
        cursor = await (db.execute(_FIRST, values) if first else db.execute(_NEXT, [*values, expected]))
        if cursor.rowcount != 1:
            raise RevisionConflict(f"rollout {new.name!r} is no longer at revision {expected}")

    # ... what was read

    def _state(self, fields: Mapping[str, object]) -> RolloutState:
        try:
            return decode_state(fields)
        except StoreCorrupt as error:
            raise StoreCorrupt(f"{self.path}: rollout {fields['name']!r}: {error}") from None

    def _override(self, row: Sequence[object]) -> KeyOverride:
        try:
            return read_override(row)
        except StoreCorrupt as error:
            raise StoreCorrupt(f"{self.path}: override {row[1]!r} of {row[0]!r}: {error}") from None

    def _event(self, seq: int, record: str | bytes, mark: str) -> Event:
        try:
            return Event(seq, decode_transition(record), mark)
        except StoreCorrupt as error:
            raise StoreCorrupt(f"{self.path}: event {seq}: {error}") from None


@retry(
    retry=retry_if_exception(is_busy),
    stop=stop_after_attempt(_ATTEMPTS),
    wait=wait_random(0, _PAUSE_S),
    reraise=True,
)
async def _persistently(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
