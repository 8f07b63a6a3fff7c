"""An instance's copy of the shared store: it follows, it refills what was lost, it gives way."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from proxy.core.audit import Head, Verifier
from proxy.core.peers import Identity, Kept, Standing
from proxy.errors import StoreCorrupt, StoreUnavailable
from proxy.model import KeyOverride, Path
from proxy.stores.fleet_copy import FleetCopy
from proxy.stores.opening import storage_of
from proxy.stores.sqlite import SqliteStore
from proxy.stores.sqlite_copy import take_in
from tests.stores.conftest import opened, table_at
from tests.stores.states import NEW, chain, event, step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path as FilePath

    from proxy.model import Transition
    from proxy.stores.redis_store import RedisStore
    from tests.redis_server import RedisServer

ALICE = KeyOverride("default", "alice", Path.V2, "tess", 1.0)


@pytest.fixture
async def copy(shared: RedisStore, tmp_path: FilePath) -> AsyncIterator[FleetCopy]:
    one = FleetCopy(shared, SqliteStore(tmp_path / "copy.db"))
    await one.open()
    yield one
    await one.close()


async def commit(store: RedisStore, *transitions: Transition) -> None:
    for one in transitions:
        await store.commit(one)


async def pages(copy: FleetCopy) -> int:
    """Follow until nothing is left; how often that took."""
    times = 1
    while (await copy.follow()).left:
        times += 1
    return times


async def empty(store: RedisStore) -> None:
    """What a server that kept nothing comes back with."""
    for key in (store.keys.head, store.keys.audit, store.keys.states, store.keys.overrides):
        await store.link.call("DEL", key)


async def lose(store: RedisStore, *transitions: Transition) -> None:
    """As if a replica that did not have the newest had taken over: the store holds these alone."""
    await empty(store)
    await commit(store, *transitions)


async def chain_of(trail: RedisStore | SqliteStore) -> Head:
    """The end of a chain that holds."""
    verifier, after = Verifier(), 0
    while (page := await trail.records(after=after, limit=500)).records:
        verifier.take(page.records)
        after = page.records[-1].seq
    assert verifier.end(page.head) is None
    return replace(page.head, adopted=0)


async def test_a_copy_has_all_that_the_store_has_and_keeps_it(
    shared: RedisStore, copy: FleetCopy, tmp_path: FilePath
) -> None:
    steps = chain("default", [1, 2, 3])
    await commit(shared, *steps, *chain("b", [7]))
    await shared.put(ALICE, event(steps[-1].after, "override:set"))
    followed = await copy.follow()
    assert followed.standing is Standing.SAME
    assert followed.own.head == Head()
    assert followed.shared.head == await chain_of(shared)
    assert {name: one.weight for name, one in followed.shared.states.items()} == {"b": 7, "default": 3}
    assert followed.shared.overrides == (ALICE,)
    await shared.remove("default", "alice", event(steps[-1].after, "override:removed"))
    await copy.follow()
    assert (await copy.follow()).own.overrides == ()
    await copy.close()
    file = SqliteStore(tmp_path / "copy.db")
    again = FleetCopy(shared, file)
    kept = await again.open()
    assert (kept.head, dict(kept.states)) == (await chain_of(shared), dict(await shared.load()))
    assert await chain_of(file) == await chain_of(shared)
    assert [one.transition for one in await file.events()] == [
        one.transition for one in await shared.events()
    ]
    await again.close()


async def test_what_was_written_while_it_is_followed_comes_next_time(
    shared: RedisStore, copy: FleetCopy
) -> None:
    """Pages, with writers in between: what is copied is of one moment, or of the next."""
    steps = chain("default", list(range(1, 260)))
    await commit(shared, *steps[:240])
    writing = asyncio.ensure_future(commit(shared, *steps[240:]))
    while not writing.done():
        followed = await copy.follow()
        assert followed.standing is Standing.SAME
        assert followed.shared.states["default"].revision == followed.shared.head.seq
    await writing
    await copy.follow()
    assert (await copy.follow()).own.head == await chain_of(shared)


@pytest.mark.parametrize("kept", [0, 1, 4])
async def test_a_store_that_has_lost_its_newest_is_refilled_with_an_unbroken_chain(
    shared: RedisStore, copy: FleetCopy, tmp_path: FilePath, kept: int
) -> None:
    steps = chain("default", [1, 2, 3, 4, 5])
    await commit(shared, *steps)
    await shared.put(ALICE, event(steps[-1].after, "override:set"))
    await copy.follow()
    whole = await chain_of(shared)
    await lose(shared, *steps[:kept])
    followed = await copy.follow()
    assert followed.standing is Standing.SHORTER
    assert (followed.lost_count, followed.lost[0].seq) == (6 - kept, kept + 1)
    assert followed.own.head == whole
    after = await copy.refill()
    assert (after.head, after.states["default"], after.overrides) == (whole, steps[-1].after, (ALICE,))
    assert await chain_of(shared) == whole
    assert (await copy.follow()).standing is Standing.SAME
    assert await shared.link.call("PTTL", shared.keys.audit) == -1
    await shared.commit(step(steps[-1].after, 6))
    assert await copy.refill() == await shared.kept()
    assert (await chain_of(shared)).seq == 7


async def test_a_long_audit_is_copied_in_pieces_and_what_is_in_force_is_known_at_once(
    shared: RedisStore, copy: FleetCopy, tmp_path: FilePath
) -> None:
    await commit(shared, *chain("default", list(range(1, 230))))
    first = await copy.follow()
    assert (first.standing, first.left) == (Standing.SAME, 29)
    assert first.shared.states["default"].revision == 229
    again = FleetCopy(shared, SqliteStore(tmp_path / "copy.db"))
    kept = await again.open()
    await again.close()
    assert (kept.head.seq, kept.states["default"].revision) == (200, 229)
    second = await copy.follow()
    assert (second.standing, second.left) == (Standing.SAME, 0)
    assert second.own.head.seq == 200


async def test_a_damaged_copy_is_set_aside_if_the_store_answers(
    shared: RedisStore, tmp_path: FilePath, caplog: pytest.LogCaptureFixture
) -> None:
    await commit(shared, *chain("default", [1, 2]))
    for nth in ("", "1"):
        file = tmp_path / "damaged.db"
        file.write_bytes(b"no database" * 100)
        one = FleetCopy(shared, SqliteStore(file))
        assert (await one.open()).head == Head()
        assert (await one.follow()).standing is Standing.SAME
        await one.close()
        assert (tmp_path / f"damaged.db.damaged{nth}").read_bytes().startswith(b"no database")
    assert caplog.text.count("cannot be used") == 2
    again = FleetCopy(shared, SqliteStore(file))
    assert (await again.open()).head.seq == 2
    await again.close()


async def test_a_damaged_copy_is_left_as_it_is_if_the_store_does_not_answer(
    server: RedisServer, tmp_path: FilePath
) -> None:
    file = tmp_path / "copy.db"
    file.write_bytes(b"no database" * 100)
    storage = storage_of(table_at(server, tmp_path), Identity("one", "e1"))
    server.kill()
    assert storage.shared is not None
    with pytest.raises(StoreCorrupt, match="is not a SQLite file; and the shared store does not help"):
        await storage.shared.copy.open()
    await storage.store.close()
    assert file.read_bytes() == b"no database" * 100


async def test_a_damaged_copy_is_left_as_it_is_if_the_store_holds_nothing(
    shared: RedisStore, tmp_path: FilePath
) -> None:
    file = tmp_path / "copy.db"
    file.write_bytes(b"no database" * 100)
    with pytest.raises(StoreCorrupt, match="is not a SQLite file; and the shared store holds nothing"):
        await FleetCopy(shared, SqliteStore(file)).open()
    assert file.read_bytes() == b"no database" * 100


async def test_a_file_of_another_program_is_nobodys_copy(shared: RedisStore, tmp_path: FilePath) -> None:
    file = tmp_path / "theirs.db"
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA application_id = 7")
        db.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StoreCorrupt, match="belongs to another program"):
        await FleetCopy(shared, SqliteStore(file)).open()
    assert file.exists()
    assert not file.with_name("theirs.db.damaged").exists()


async def test_instances_that_refill_at_once_do_it_once(
    shared: RedisStore, copy: FleetCopy, tmp_path: FilePath
) -> None:
    steps = chain("default", list(range(1, 230)))
    await commit(shared, *steps[:210])
    shorter = FleetCopy(shared, SqliteStore(tmp_path / "shorter.db"))
    await shorter.open()
    assert await pages(shorter) == 2
    await commit(shared, *steps[210:])
    assert await pages(copy) == 2
    whole = await chain_of(shared)
    await empty(shared)
    await asyncio.gather(copy.refill(), shorter.refill(), copy.refill())
    await copy.refill()
    assert await chain_of(shared) == whole
    assert (await shared.load())["default"].revision == 229
    assert (await shorter.follow()).standing is Standing.SAME
    await shorter.close()


async def test_a_store_that_has_gone_another_way_wins_once_that_is_wanted(
    shared: RedisStore, copy: FleetCopy, tmp_path: FilePath
) -> None:
    steps = chain("default", [1, 2, 3, 4, 5, 6])
    await commit(shared, *steps)
    await copy.follow()
    ours = await chain_of(shared)
    await lose(shared, *steps[:3], replace(step(steps[2].after, 9), actor="eve"))
    for _ in range(2):
        followed = await copy.follow()
        assert (followed.standing, followed.lost_count) == (Standing.DIVERGED, 3)
        assert [one.seq for one in followed.lost] == [4, 5, 6]
        assert followed.own.head == ours
        assert followed.own.states["default"].weight == 6
        assert followed.shared.states["default"].weight == 9
    assert (await copy.refill()).head == await chain_of(shared), "nothing is refilled"
    kept = await copy.adopt()
    assert (kept.head, kept.states["default"].weight) == (await chain_of(shared), 9)
    assert (await copy.follow()).standing is Standing.SAME
    await copy.close()
    file = SqliteStore(tmp_path / "copy.db")
    await file.open()
    assert await chain_of(file) == await chain_of(shared)
    assert (await file.load())["default"].weight == 9
    await file.close()


async def test_a_chain_of_somebody_else_is_told_apart_from_the_first_event_on(
    shared: RedisStore, copy: FleetCopy, tmp_path: FilePath
) -> None:
    await commit(shared, *chain("default", list(range(1, 30))))
    await copy.follow()
    await lose(shared, *chain("other", [1, 2]))
    followed = await copy.follow()
    assert (followed.standing, followed.lost_count, len(followed.lost)) == (Standing.DIVERGED, 29, 20)
    await copy.adopt()
    assert dict((await copy.follow()).own.states).keys() == {"other"}


async def test_the_states_are_followed_past_a_fault_of_the_chain(shared: RedisStore, copy: FleetCopy) -> None:
    steps = chain("default", [1, 2, 3, 4])
    await commit(shared, *steps[:2])
    await copy.follow()
    await commit(shared, *steps[2:])
    await shared.link.call("XDEL", shared.keys.audit, "3-0")
    followed = await copy.follow()
    assert (followed.standing, followed.shared.states["default"].weight) == (Standing.SAME, 4)
    assert (await copy.follow()).own.states["default"].weight == 4


async def test_a_single_machine_becomes_the_first_of_a_fleet_with_its_history(
    shared: RedisStore, first_version: FilePath
) -> None:
    copy = FleetCopy(shared, SqliteStore(first_version))
    own = await copy.open()
    assert (await copy.follow()).standing is Standing.SHORTER
    refilled = await copy.refill()
    assert refilled == Kept(own.head, own.states, own.overrides)
    assert (await shared.records()).head.adopted == 6
    assert (await chain_of(shared)).seq == 6
    await copy.close()


async def test_without_the_store_a_copy_tells_what_it_knew_last(
    server: RedisServer, tmp_path: FilePath
) -> None:
    table = table_at(server, tmp_path)
    async with opened(table) as storage:
        assert storage.shared is not None
        await storage.shared.copy.open()
        await storage.store.commit(step(NEW, 5))
        await storage.shared.copy.follow()
        await storage.shared.copy.close()
    server.kill()
    storage = storage_of(table, Identity("one", "e2"))
    assert storage.shared is not None
    copy = storage.shared.copy
    assert (await copy.open()).states["default"].weight == 5
    for call in (copy.follow, copy.refill, copy.adopt):
        with pytest.raises(StoreUnavailable):
            await call()
    await copy.close()
    await storage.store.close()


async def test_a_disk_that_is_full_keeps_nobody_from_following(
    shared: RedisStore, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = SqliteStore(tmp_path / "copy.db")
    copy = FleetCopy(shared, file)
    await copy.open()
    steps = chain("default", [1, 2, 3])
    await commit(shared, steps[0])
    await copy.follow()
    with monkeypatch.context() as full:

        async def in_turn(*_: object) -> Head:
            raise StoreUnavailable("disk is full")

        full.setattr(file, "in_turn", in_turn)
        await commit(shared, steps[1])
        followed = await copy.follow()
        assert (followed.standing, followed.shared.states["default"].weight) == (Standing.SAME, 2)
    await commit(shared, steps[2])
    await copy.follow()
    assert await chain_of(file) == await chain_of(shared)
    assert (await file.load())["default"].weight == 3
    await copy.close()


@pytest.mark.parametrize("audit", ["kept", "gone"])
async def test_states_that_were_evicted_are_given_back_and_never_begun_anew(
    shared: RedisStore, copy: FleetCopy, tmp_path: FilePath, audit: str
) -> None:
    """An instance without a copy would else begin a rollout that has been rolled back."""
    steps = chain("default", [1, 2])
    await commit(shared, *steps)
    await copy.follow()
    await shared.link.call("DEL", shared.keys.states)
    if audit == "gone":
        await shared.link.call("DEL", shared.keys.audit)
    fresh = FleetCopy(shared, SqliteStore(tmp_path / "fresh.db"))
    await fresh.open()
    assert (await fresh.follow()).standing is Standing.SHORTER
    assert not (await fresh.refill()).states, "it has none to give"
    assert (await copy.follow()).standing is Standing.SHORTER
    assert (await copy.refill()).states["default"] == steps[-1].after
    assert (await copy.follow()).standing is (await fresh.follow()).standing is Standing.SAME
    await shared.commit(step(steps[-1].after, 3))
    await fresh.close()


async def test_of_two_processes_on_one_file_the_slower_one_sets_nothing_back(
    shared: RedisStore, copy: FleetCopy, tmp_path: FilePath
) -> None:
    """A process that takes over and the one before it have the same copy for a moment."""
    steps = chain("default", [1, 2])
    await commit(shared, steps[0])
    earlier = await shared.kept()
    await commit(shared, steps[1])
    await copy.follow()
    file = SqliteStore(tmp_path / "copy.db")
    await file.open()
    assert await take_in(file, (await shared.records(limit=1)).records, earlier) == await chain_of(shared)
    assert (await file.load())["default"].weight == 2
    await file.close()
