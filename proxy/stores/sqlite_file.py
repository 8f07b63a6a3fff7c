"""The file behind the SQLite store: is it ours, can it be used, and how it is created or brought up to date.

Owns every check before the first write. Must never know the tables, nor what a rollout may do.

A file that is not ours is left exactly as it is. What it is shows in SQLite's header, the first 100 bytes
(sqlite.org/fileformat.html section 1.3), read as bytes; only a file with our application id is opened, first
read-only, so that not even a checkpoint writes to a damaged one. The schema, the id and the version are
written in one transaction *before* the switch to WAL: no moment exists at which a file of ours lacks the id.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import struct
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING, TypeVar

import aiosqlite

from proxy.errors import ForeignFile, StoreCorrupt, StoreUnavailable
from proxy.stores.sqlite_schema import APPLICATION_ID, NEEDED, SCHEMA_VERSION, bring_up

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

T = TypeVar("T")

_MAGIC = b"SQLite format 3\x00"
_HEADER_BYTES = 100
_APPLICATION_ID_AT = slice(68, 72)
# SQLITE_ERROR is what a missing table or column gives
_UNREADABLE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_PRIMARY = 0xFF  # extended result codes keep the primary one in their low byte

_AS_WE_ARE = os.access in os.supports_effective_ids
_WRITTEN = ("-wal", "-shm")
_BESIDE = (*_WRITTEN, "-journal")

# struct flock: a read lock of the bytes that all who read have locked (SQLite, os.h: SHARED_FIRST and _SIZE).
_SHARED = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0x4000_0002, 510, 0)

_NO_CHANGE = "UPDATE rollouts SET weight = weight WHERE false"  # what a connection that may only read refuses


async def inspect(path: Path) -> None:
    """Look at the file without writing. Raises `StoreCorrupt` or `StoreUnavailable` if it is unusable."""
    header = _header(path)
    if not header:
        return
    _require_ours(path, header)
    if _is_half_created(path):
        return
    with translated(path):
        async with aiosqlite.connect(_read_only(path), uri=True) as db:
            version = await _version(db)
            damage = [one for table in NEEDED if (one := await _damage(db, table)) != "ok"]
    _require_version(path, version)
    if damage:
        raise StoreCorrupt(f"{path}: is damaged: {damage[0]}")


async def prepare(path: Path, db: aiosqlite.Connection) -> None:
    """Create the schema in an empty file, bring an older one up to date, and prove that it can be written.

    A kill in the middle leaves the file as it was. Raises sqlite3.Error too.
    """
    await db.execute("PRAGMA synchronous = FULL")
    await at_once(db, lambda: _bring_up(path, db))
    await _pragma(db, "journal_mode = WAL")


async def _bring_up(path: Path, db: aiosqlite.Connection) -> None:
    version = await _version(db)
    if version:
        _require_version(path, version)
        await db.execute(_NO_CHANGE)
    if version < SCHEMA_VERSION:
        await bring_up(db, version)


def require_openable(path: Path) -> None:
    """Open the file once and close it, touching nothing. Raises sqlite3.Error if SQLite cannot open it.

    aiosqlite would leave a thread behind whose last words find the event loop closed.
    """
    with closing(sqlite3.connect(path, isolation_level=None)):
        pass


def set_aside(path: Path) -> Path:
    """Give a file that cannot be used, with what SQLite keeps beside it, another name: its new one. Raises
    `StoreUnavailable`."""
    names = (path.with_name(f"{path.name}.damaged{nth or ''}") for nth in count())
    free = next(name for name in names if not name.exists())
    try:
        for suffix in ("", *_BESIDE):
            if (one := path.with_name(path.name + suffix)).exists():
                one.rename(free.with_name(free.name + suffix))
    except OSError as error:
        raise StoreUnavailable(f"{path}: cannot be set aside: {error.strerror}") from None
    return free


def identity(path: Path) -> tuple[int, int]:
    """Which file stands at `path`: its device and inode. Raises `StoreUnavailable` if there is none."""
    try:
        found = path.stat()
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror}") from None
    return found.st_dev, found.st_ino


def require_usable(path: Path, opened: tuple[int, int]) -> None:
    """Raise `StoreUnavailable` unless the opened file still stands at `path` and can be written.

    SQLite goes on in a file that nobody will find again (sqlite.org/howtocorrupt.html section 2.4). And it
    keeps what it shares with other processes in a mapped file, even to read: to change that where a file
    system has become read-only, as Linux makes one that has failed, ends the process by SIGBUS.
    """
    try:
        same = identity(path) == opened
    except StoreUnavailable:
        same = False
    if not same:
        raise StoreUnavailable(f"{path}: has been removed or replaced")
    for one in [path, *(path.with_name(path.name + suffix) for suffix in _WRITTEN)]:
        if not os.access(one, os.W_OK, effective_ids=_AS_WE_ARE) and one.exists():
            raise StoreUnavailable(f"{one}: is read-only")


@contextmanager
def left_beside(path: Path) -> Iterator[None]:
    """Meanwhile no connection that is closed writes its log into the file: SQLite does so if it can lock the
    file for itself alone, and where that is read-only the process would end by it (`require_usable`). The
    lock here stands against those of this process, too (fcntl_locking(2), open file description locks)."""
    with ExitStack() as held:
        with suppress(OSError, AttributeError):  # only Linux has them
            file = held.enter_context(path.open("rb"))
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, _SHARED)
        yield


async def at_once(db: aiosqlite.Connection, write: Callable[[], Awaitable[T]]) -> T:
    """All that `write` writes, or nothing of it."""
    await db.execute("BEGIN IMMEDIATE")
    try:
        written = await write()
        await db.execute("COMMIT")
    except BaseException:
        await roll_back(db)
        raise
    return written


async def roll_back(db: aiosqlite.Connection) -> None:
    """End the open transaction, if SQLite has not ended it itself (a full disk does)."""
    if db.in_transaction:
        await db.execute("ROLLBACK")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Map SQLite's errors to ours, once, each as one line that names the file."""
    try:
        yield
    except sqlite3.Error as error:
        code = _primary_code(error)
        if code in _UNREADABLE:
            raise StoreCorrupt(f"{path}: {error}") from error
        if code == sqlite3.SQLITE_OK and isinstance(error, sqlite3.OperationalError):
            # What SQLite has no fault to find with: the library cannot decode it, and would repeat it.
            raise StoreCorrupt(f"{path}: holds text that is not UTF-8") from None
        if code in _BUSY:
            raise StoreUnavailable(f"{path}: is locked by another process") from error
        raise StoreUnavailable(f"{path}: {error}") from error


def is_busy(error: BaseException) -> bool:
    """Whether another connection holds the lock, so that trying again makes sense."""
    return isinstance(error, sqlite3.OperationalError) and _primary_code(error) in _BUSY


def _header(path: Path) -> bytes:
    """The file's first bytes; empty if there is no file yet, or nothing in it."""
    try:
        if not path.exists():
            if not path.parent.is_dir():
                raise StoreUnavailable(f"{path}: the folder {path.parent} does not exist")
            return b""
        if not path.is_file():
            raise StoreUnavailable(f"{path}: is not a file")
        with path.open("rb") as file:
            return file.read(_HEADER_BYTES)
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror}") from None


def _require_ours(path: Path, header: bytes) -> None:
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise StoreCorrupt(f"{path}: is not a SQLite file")
    if int.from_bytes(header[_APPLICATION_ID_AT], "big") != APPLICATION_ID:
        raise ForeignFile(f"{path}: belongs to another program")


def _is_half_created(path: Path) -> bool:
    """Whether its creator was killed: the first connection that may write then takes the creation back."""
    return path.with_name(path.name + "-journal").exists()


def _read_only(path: Path) -> str:
    return f"{path.absolute().as_uri()}?mode=ro"


def _require_version(path: Path, version: int) -> None:
    if not 1 <= version <= SCHEMA_VERSION:
        raise StoreCorrupt(f"{path}: has schema version {version}, this dualpath knows {SCHEMA_VERSION}")


async def _damage(db: aiosqlite.Connection, table: str) -> str:
    """What is wrong with a table; "ok" for nothing, and for a table that a file of an older version lacks."""
    known = await db.execute_fetchall("SELECT 1 FROM sqlite_master WHERE name = ?", (table,))
    return " ".join(str(await _pragma(db, f"quick_check({table})")).split()) if list(known) else "ok"


async def _version(db: aiosqlite.Connection) -> int:
    return int(str(await _pragma(db, "user_version")))


async def _pragma(db: aiosqlite.Connection, name: str) -> object:
    # read to the end: a half-read statement keeps its transaction, and with it the lock
    rows = list(await db.execute_fetchall(f"PRAGMA {name}"))
    return rows[0][0] if rows else None


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & _PRIMARY
