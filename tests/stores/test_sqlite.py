"""What only the file can do: other writers, callers that give up, a disk that is full."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from proxy.errors import RevisionConflict, StoreCorrupt, StoreUnavailable
from proxy.stores.sqlite import SqliteStore
from tests.stores.states import NEW, chain, step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path, busy_timeout_s=0)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def test_what_was_committed_is_there_after_opening_again(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    transitions = chain("default", [1, 2, 3])
    async with opened(path) as store:
        events = [await store.commit(transition) for transition in transitions]
    async with opened(path) as store:
        assert list(await store.events()) == events
        assert dict(await store.load()) == {"default": transitions[-1].after}


async def test_a_second_connection_sees_commits_at_once_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as ours, opened(path) as theirs:
        first, second = chain("default", [10, 20])
        await ours.commit(first)
        with pytest.raises(RevisionConflict):
            await theirs.commit(step(NEW, 99_000))
        await theirs.commit(second)
        assert dict(await ours.load()) == {"default": second.after}


async def test_two_writers_that_reload_on_conflict_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.db"

    async def write(store: SqliteStore, times: int) -> None:
        while times:
            before = (await store.load()).get("default", NEW)
            try:
                await store.commit(step(before, before.weight + 1))
            except (RevisionConflict, StoreUnavailable):
                continue
            times -= 1

    async with opened(path) as ours, opened(path) as theirs:
        await asyncio.gather(write(ours, 10), write(theirs, 10))
        state = (await ours.load())["default"]
        assert (state.weight, state.revision) == (20, 20)
        assert [e.transition.after.weight for e in await ours.events()] == list(range(1, 21))


async def test_a_file_that_stays_locked_is_unavailable_and_usable_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match=r"store\.db: is locked by another process"):
                await store.commit(step(NEW, 10))
            assert dict(await store.load()) == {}, "reading goes on"
        await store.commit(step(NEW, 10))
        assert [e.seq for e in await store.events()] == [1]


async def test_a_lock_that_ends_soon_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            asyncio.get_running_loop().call_later(0.001, other.rollback)
            assert (await store.commit(step(NEW, 10))).seq == 1


async def test_opening_a_locked_file_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path):
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="is locked"):
            await SqliteStore(path, busy_timeout_s=0).open()


async def test_a_caller_that_gives_up_does_not_tear_the_transaction(tmp_path: Path) -> None:
    first, second = chain("default", [10, 20])
    async with opened(tmp_path / "store.db") as store:
        for turns in range(1, 12):  # give up at every point on the way
            transition = replace(first, before=replace(NEW, name=str(turns)))
            transition = replace(transition, after=replace(first.after, name=str(turns)))
            given_up = asyncio.ensure_future(store.commit(transition))
            for _ in range(turns):
                await asyncio.sleep(0)
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
        await store.commit(first)
        await store.commit(second)
        events = await store.events()
        assert [e.seq for e in events] == list(range(1, 14))
        assert {e.transition.after.name: e.transition.after for e in events} == dict(await store.load())


async def test_a_full_disk_is_unavailable_and_nothing_is_half_written(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    first, second = chain("default", [10, 20])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with opened(path) as store:
        await store.commit(first)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name("store.db-wal").stat().st_size, hard))
        try:
            with pytest.raises(StoreUnavailable, match=r"store\.db: "):
                await store.commit(second)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert dict(await store.load()) == {"default": first.after}
        assert (await store.commit(second)).seq == 2


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_that_is_gone_or_another_is_unavailable(tmp_path: Path, *, replaced: bool) -> None:
    path, other = tmp_path / "store.db", tmp_path / "other.db"
    first, second = chain("default", [10, 20])
    async with opened(path) as store, opened(other) as elsewhere:
        await store.commit(first)
        await elsewhere.commit(first)
        path.unlink()
        if replaced:
            other.rename(path)
        for ask in (store.load, store.events, lambda: store.commit(second)):
            with pytest.raises(StoreUnavailable, match=r"store\.db: has been removed or replaced"):
                await ask()


async def test_a_store_that_is_not_open_is_unavailable(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    with pytest.raises(StoreUnavailable, match="is not open"):
        await store.load()
    await store.open()
    assert "open" in repr(store)
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable, match="is not open"):
        await store.commit(step(NEW, 1))


@pytest.mark.parametrize(("table", "column"), [("rollouts", "reason"), ("events", "record")])
async def test_text_that_is_not_utf_8_is_damage(tmp_path: Path, table: str, column: str) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        await store.commit(step(NEW, 10))
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"UPDATE {table} SET {column} = CAST(x'ff80' AS TEXT)")  # noqa: S608
        db.commit()
    async with opened(path) as store:
        with pytest.raises(StoreCorrupt, match="not UTF-8"):
            await (store.load() if table == "rollouts" else store.events())
