"""A SQLite store as the copy of another one: records taken in as they are, and given up again from a fork on.

Owns the statements for that. The chain's own rules are not bent: what is taken in must follow the copy's end.
Must never know where the records come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.core.audit import GENESIS, NO_HEAD, Head, link
from proxy.core.peers import Kept
from proxy.stores.sqlite import STATE_FIELDS
from proxy.stores.sqlite_chain import begin_of, move_begin
from proxy.stores.sqlite_file import at_once
from proxy.stores.sqlite_overrides import PUT_OVERRIDE, override_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import aiosqlite

    from proxy.core.audit import Begin, Record
    from proxy.stores.sqlite import SqliteStore

_ADD: Final = "INSERT INTO events (seq, rollout, record, hash) VALUES (?, ?, ?, ?)"
_CUT: Final = "DELETE FROM events WHERE seq > ?"
_HEAD: Final = "INSERT OR REPLACE INTO chain (id, seq, hash, adopted, adopting) VALUES (1, ?, ?, ?, 0)"
_CHAIN: Final = "SELECT seq, hash, adopted FROM chain"
_HASH_OF: Final = "SELECT hash FROM events WHERE seq = ?"
_STATE: Final = (
    f"INSERT INTO rollouts ({', '.join(STATE_FIELDS)}) VALUES ({', '.join('?' * len(STATE_FIELDS))})"  # noqa: S608 - names of ours
)


async def kept_in(store: SqliteStore) -> Kept:
    """All that the file holds."""
    states, overrides = await store.load(), await store.overrides()
    page = await store.records(after=0, limit=0)
    head = Head() if page.head == NO_HEAD else page.head
    return Kept(head, states, tuple(overrides), page.begin)


async def take_in(store: SqliteStore, records: Sequence[Record], shared: Kept | None = None) -> Head:
    """Add those that follow the file's chain, up to the first that does not; with `shared`, its states and
    overrides in place of those that are there. All of it or nothing. Returns where the file's chain ends."""

    async def write(db: aiosqlite.Connection) -> Head:
        head = await _end(db)
        rows = list(_following(head, records))
        await db.executemany(_ADD, rows)
        if rows:
            adopted = shared.head.adopted if shared is not None else head.adopted
            head = Head(rows[-1][0], rows[-1][3], min(adopted, rows[-1][0]))
            await db.execute(_HEAD, (head.seq, head.hash, head.adopted))
        if shared is not None and head.seq <= shared.head.seq:  # the process that takes over may be further
            await _replace(db, shared)
        return head

    return await store.in_turn(lambda db: at_once(db, lambda: write(db)))


async def cut_behind(store: SqliteStore, seq: int) -> None:
    """Forget the events with higher numbers."""

    async def write(db: aiosqlite.Connection) -> None:
        head = await _end(db)
        await db.execute(_CUT, (seq,))
        rows, begin = list(await db.execute_fetchall(_HASH_OF, (seq,))), await begin_of(db)
        mark = begin.hash if begin.seq == seq else rows[0][0] if rows else GENESIS
        await db.execute(_HEAD, (seq, mark, min(head.adopted, seq)))

    await store.in_turn(lambda db: at_once(db, lambda: write(db)))


async def begin_behind(store: SqliteStore, begin: Begin) -> Head:
    """Forget all events: what is taken in next follows `begin`. Where the file's chain ends then."""

    async def write(db: aiosqlite.Connection) -> Head:
        await db.execute(_CUT, (-1,))
        await move_begin(db, begin)
        await db.execute(_HEAD, (begin.seq, begin.hash, 0))
        return Head(begin.seq, begin.hash)

    return await store.in_turn(lambda db: at_once(db, lambda: write(db)))


async def _end(db: aiosqlite.Connection) -> Head:
    rows = list(await db.execute_fetchall(_CHAIN))
    return Head(*rows[0]) if rows else Head()


def _following(head: Head, records: Sequence[Record]) -> Iterator[tuple[int, str, str, str]]:
    seq, previous = head.seq, head.hash
    for record in records:
        if record.seq != seq + 1 or link(previous, record.seq, record.text) != record.hash:
            return
        seq, previous = record.seq, record.hash
        yield record.seq, record.rollout or "", record.text, record.hash


async def _replace(db: aiosqlite.Connection, shared: Kept) -> None:
    await db.execute("DELETE FROM rollouts")
    for state in shared.states.values():
        await db.execute(_STATE, [getattr(state, name) for name in STATE_FIELDS])
    await db.execute("DELETE FROM overrides")
    for override in shared.overrides:
        await db.execute(PUT_OVERRIDE, override_row(override))
