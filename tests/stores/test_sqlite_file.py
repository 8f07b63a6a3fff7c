"""A file that cannot be used is named in one line and left exactly as it is."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import tempfile
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy.errors import ControlError, StoreCorrupt, StoreUnavailable
from proxy.stores.opening import storage_at
from proxy.stores.sqlite import SqliteStore
from proxy.stores.sqlite_schema import APPLICATION_ID, SCHEMA_VERSION
from tests.stores.states import chain, event
from tests.stores.test_minutes import MINUTE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOBODY = 65_534


async def used_file(path: Path, rounds: int = 1) -> None:
    """A file as a run leaves it behind."""
    store = SqliteStore(path)
    await store.open()
    for transition in chain("default", [10, 20, 30] * rounds):
        await store.commit(transition)
    await store.close()


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def set_modes(path: Path, file_mode: int | None, folder_mode: int) -> None:
    if file_mode is not None:
        path.chmod(file_mode)
    path.parent.chmod(folder_mode)


async def refusal(path: Path) -> ControlError:
    """The one-line error that opening gives."""
    store = SqliteStore(path, busy_timeout_s=0)
    try:
        with pytest.raises(ControlError) as caught:
            await store.open()
    finally:
        await store.close()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


async def test_a_new_file_is_ours_in_wal_mode_and_full_of_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "new.db")
    await store.open()
    await store.close()
    assert list(contents(tmp_path)) == ["new.db"]
    with closing(sqlite3.connect(tmp_path / "new.db")) as db:
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    await used_file(path)
    assert len(contents(tmp_path)["empty.db"]) > 0


async def test_a_used_file_opens_again_with_all_that_was_in_it(tmp_path: Path) -> None:
    path = tmp_path / "used.db"
    await used_file(path)
    store = SqliteStore(path)
    await store.open()
    assert (await store.load())["default"].weight == 30
    assert [e.seq for e in await store.events()] == [1, 2, 3]
    await store.close()


def text(path: Path) -> None:
    path.write_text("rollouts: none\n" * 100)


def short(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\x00")


def foreign(path: Path) -> None:
    execute(path, "CREATE TABLE customers (name TEXT)", "INSERT INTO customers VALUES ('ada')")


def foreign_in_wal_mode(path: Path) -> None:
    execute(path, "PRAGMA journal_mode = WAL", "CREATE TABLE customers (name TEXT)")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (text, "is not a SQLite file"),
        (short, "is not a SQLite file"),
        (foreign, "belongs to another program"),
        (foreign_in_wal_mode, "belongs to another program"),
    ],
)
async def test_a_file_that_is_not_ours_is_left_alone(
    tmp_path: Path, make: Callable[[Path], None], problem: str
) -> None:
    path = tmp_path / "theirs.db"
    make(path)
    before = contents(tmp_path)
    error = await refusal(path)
    assert isinstance(error, StoreCorrupt)
    assert problem in str(error)
    assert contents(tmp_path) == before


async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "newer.db"
    await used_file(path)
    execute(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    error = await refusal(path)
    assert isinstance(error, StoreCorrupt)
    assert f"schema version {SCHEMA_VERSION + 1}, this dualpath knows {SCHEMA_VERSION}" in str(error)
    assert path.read_bytes() == before


async def test_a_newer_schema_that_appears_after_the_look_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "newer.db"
    await used_file(path)
    execute(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    path.with_name("newer.db-journal").touch()  # a creation that was killed: the look is skipped
    assert "schema version" in str(await refusal(path))


async def test_a_creation_that_was_killed_is_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "killed.db"
    await used_file(path)
    path.with_name("killed.db-journal").touch()
    store = SqliteStore(path)
    await store.open()
    assert (await store.load())["default"].weight == 30
    await store.close()


async def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "damaged.db"
    await used_file(path)
    damaged = bytearray(path.read_bytes())
    damaged[4096:8192] = b"\xa5" * 4096
    path.write_bytes(damaged)
    assert isinstance(await refusal(path), StoreCorrupt)
    assert path.read_bytes() == bytes(damaged)


async def test_a_cut_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "cut.db"
    await used_file(path)
    cut = path.read_bytes()[:5000]
    path.write_bytes(cut)
    assert isinstance(await refusal(path), StoreCorrupt)
    assert path.read_bytes() == cut


async def test_damage_among_the_minutes_keeps_nobody_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "damaged.db"
    await used_file(path)
    storage = storage_at(f"sqlite:///{path}")
    await storage.store.open()
    await storage.minutes.append([replace(MINUTE, at=float(number)) for number in range(100)])
    await storage.store.close()
    damaged = bytearray(path.read_bytes())
    page = damaged.index(b'{"seconds":60.0') // 4096 * 4096
    damaged[page : page + 4096] = b"\xa5" * 4096
    path.write_bytes(damaged)
    await storage.store.open()
    assert (await storage.store.load())["default"].weight == 30
    await storage.store.commit(event((await storage.store.load())["default"]))
    with pytest.raises(StoreCorrupt):
        await storage.minutes.between("default", 0.0, 1e6, 1_000)
    await storage.store.close()


async def test_a_damaged_file_keeps_its_write_ahead_log(tmp_path: Path) -> None:
    """Closing the last connection that may write would move the log into the file, over the evidence."""
    path, crashed = tmp_path / "store.db", tmp_path / "crashed"
    await used_file(path, rounds=20)
    store = SqliteStore(path)
    await store.open()
    await store.commit(event((await store.load())["default"]))
    crashed.mkdir()
    copy, log = crashed / "store.db", crashed / "store.db-wal"
    damaged = bytearray(path.read_bytes())
    oldest = damaged.index(b'"revision":1,') // 4096 * 4096  # a page that the log does not hold
    damaged[oldest : oldest + 4096] = b"\xa5" * 4096
    copy.write_bytes(damaged)
    log.write_bytes(path.with_name(log.name).read_bytes())
    await store.close()
    before = copy.read_bytes(), log.read_bytes()
    assert isinstance(await refusal(copy), StoreCorrupt)
    assert (copy.read_bytes(), log.read_bytes()) == before


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE rollouts SET weight = 'much'", "rollout 'default': weight"),
        ("UPDATE rollouts SET state = 'flying'", "rollout 'default': state"),
        ("UPDATE rollouts SET weight = 100001", "rollout 'default': rollout 'default' has weight 100001"),
    ],
)
async def test_states_that_were_edited_into_nonsense_are_corrupt(
    tmp_path: Path, statement: str, problem: str
) -> None:
    path = tmp_path / "edited.db"
    await used_file(path)
    execute(path, statement)
    store = SqliteStore(path)
    await store.open()
    with pytest.raises(StoreCorrupt) as caught:
        await store.load()
    assert str(caught.value).startswith(f"{path}: {problem}")
    await store.close()


async def test_a_table_that_is_gone_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "edited.db"
    await used_file(path)
    execute(path, "DROP TABLE rollouts")
    error = await refusal(path)
    assert isinstance(error, StoreCorrupt)
    assert "no such table: rollouts" in str(error)


async def test_an_event_that_was_edited_into_nonsense_is_named(tmp_path: Path) -> None:
    path = tmp_path / "edited.db"
    await used_file(path)
    execute(path, "UPDATE events SET record = '{}' WHERE seq = 2")
    store = SqliteStore(path)
    await store.open()
    with pytest.raises(StoreCorrupt, match=r"edited\.db: event 2: before: Field required"):
        await store.events()
    assert [e.seq for e in await store.events(after=2)] == [3]
    await store.close()


async def test_what_is_no_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, problem in (
        (tmp_path, "is not a file"),
        (tmp_path / "missing" / "a.db", "the folder"),
        (tmp_path / "file" / "a.db", "the folder"),
        (tmp_path / ("a" * 300), "File name too long"),
        (Path(os.devnull), "is not a file"),
    ):
        error = await refusal(path)
        assert isinstance(error, StoreUnavailable)
        assert problem in str(error)
    assert contents(tmp_path) == {"file": b"x"}


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that an unprivileged user can reach; the root user gives up its rights for the test."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder
        folder.chmod(0o777)


@pytest.fixture
def unprivileged() -> Iterator[Callable[[], None]]:
    """Calling it drops the root user's rights, if there are any, until the test ends."""
    user = os.geteuid()
    yield lambda: os.seteuid(NOBODY) if user == 0 else None
    os.seteuid(user)


@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "problem"),
    [
        (0o444, 0o777, "attempt to write a readonly database"),
        (0o000, 0o777, "Permission denied"),
        (0o666, 0o555, "attempt to write a readonly database"),
    ],
)
async def test_without_the_rights_it_is_unavailable_and_left_alone(
    open_folder: Path, unprivileged: Callable[[], None], file_mode: int, folder_mode: int, problem: str
) -> None:
    path = open_folder / "store.db"
    await used_file(path)
    before = path.read_bytes()
    set_modes(path, file_mode, folder_mode)
    with path.open("rb") as file:
        unprivileged()
        error = await refusal(path)
        assert file.read() == before
    assert isinstance(error, StoreUnavailable)
    assert problem in str(error)


async def test_no_file_can_be_created_without_the_rights(
    open_folder: Path, unprivileged: Callable[[], None]
) -> None:
    path = open_folder / "new.db"
    set_modes(path, None, 0o555)
    unprivileged()
    error = await refusal(path)
    assert isinstance(error, StoreUnavailable)
    assert "unable to open database file" in str(error)


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
async def test_a_file_that_becomes_read_only_is_unavailable_until_it_can_be_written_again(
    open_folder: Path, unprivileged: Callable[[], None], suffix: str
) -> None:
    path, user = open_folder / "store.db", os.geteuid()
    store = SqliteStore(path)
    await store.open()
    for transition in chain("orders", [10]):
        await store.commit(transition)
    for beside in ("", "-wal", "-shm"):
        path.with_name(path.name + beside).chmod(0o666)
    one = path.with_name(path.name + suffix)
    one.chmod(0o444)
    unprivileged()
    try:
        with pytest.raises(StoreUnavailable, match=f"{one}: is read-only"):
            await store.load()
        os.seteuid(user)
        one.chmod(0o666)
        assert list(await store.load()) == ["orders"]
    finally:
        await store.close()


@pytest.mark.skipif(not hasattr(fcntl, "F_OFD_SETLK"), reason="Linux has locks against oneself")
async def test_a_file_that_has_become_read_only_is_closed_without_a_write_to_it(
    open_folder: Path, unprivileged: Callable[[], None]
) -> None:
    path, user = open_folder / "store.db", os.geteuid()
    store = SqliteStore(path)
    await store.open()
    for transition in chain("orders", [10]):
        await store.commit(transition)
    before = contents(open_folder)
    path.chmod(0o444)
    unprivileged()
    await store.close()
    os.seteuid(user)
    assert contents(open_folder) == before
    path.chmod(0o644)
    again = SqliteStore(path)
    await again.open()
    assert list(await again.load()) == ["orders"]
    await again.close()
    assert list(contents(open_folder)) == ["store.db"]


async def test_a_close_that_is_given_up_leaves_no_thread_behind(tmp_path: Path) -> None:
    store, others = SqliteStore(tmp_path / "store.db"), set(threading.enumerate())
    await store.open()
    (its_own,) = set(threading.enumerate()) - others
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await asyncio.to_thread(its_own.join, 10)
    assert not its_own.is_alive()


def dangling(folder: Path) -> Path:
    path = folder / "link.db"
    path.symlink_to(folder / "missing" / "store.db")
    return path


@pytest.mark.parametrize("make", [dangling, lambda _: Path("/proc/x.db")])
async def test_a_file_that_cannot_be_opened_leaves_no_thread_that_outlives_the_loop(
    tmp_path: Path, make: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[threading.Thread] = []
    monkeypatch.setattr(threading.Thread, "start", started.append)
    error = await refusal(make(tmp_path))
    assert isinstance(error, StoreUnavailable)
    assert "unable to open database file" in str(error)
    assert started == []
