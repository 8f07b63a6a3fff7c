"""The audit's chain, asked of every store; and what happens to it behind SQLite's back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from proxy.core.audit import GENESIS, Head, Tampering, Verifier, link
from proxy.model import KeyOverride, Path
from proxy.stores.memory import MemoryStore
from proxy.stores.records import decode_transition
from proxy.stores.redis_store import RedisStore
from proxy.stores.sqlite import SqliteStore
from tests.stores.states import chain, event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path as FilePath

    from proxy.core.audit import Fault
    from proxy.stores.storage import Storage

Both = MemoryStore | SqliteStore | RedisStore


@pytest.fixture
def store(storage: Storage) -> Any:
    return storage.store


@pytest.fixture
async def file(tmp_path: FilePath) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "store.db")
    await opened.open()
    yield opened
    await opened.close()


async def verified(store: Both, size: int = 1000) -> tuple[int, Fault | None]:
    """How many records there are, and the first fault."""
    verifier, count = Verifier(), 0
    while True:
        page = await store.records(after=verifier.seq, limit=size)
        count += len(page.records)
        verifier.take(page.records)
        if verifier.fault or len(page.records) < size:
            return count, verifier.end(page.head)


async def fill(store: Both, count: int = 6) -> None:
    for transition in chain("default", list(range(1, count + 1))):
        await store.commit(transition)


async def test_an_empty_store_has_an_empty_chain(store: Both) -> None:
    page = await store.records()
    assert (page.records, page.head) == ((), Head())


async def test_every_event_is_a_link_whatever_it_is_about(store: Both) -> None:
    first, second = chain("default", [1, 2])
    committed = [await store.commit(one) for one in (first, event(first.after), *chain("b", [3]), second)]
    set_event = event(second.after, "override:set")
    committed.append(
        await store.put(KeyOverride("default", "alice", Path.V2, "tess", 1.0), replace(set_event, config="c"))
    )
    assert await verified(store, size=2) == (5, None)
    page = await store.records()
    assert [one.hash for one in page.records] == [one.hash for one in committed]
    assert [one.hash for one in await store.events()] == [one.hash for one in committed]
    assert page.head == Head(5, committed[-1].hash)
    previous = GENESIS
    for record, told in zip(page.records, committed, strict=True):
        previous = link(previous, record.seq, record.text)
        assert record.hash == previous
        assert decode_transition(record.text) == told.transition
        assert "\n" not in record.text


async def test_records_come_in_pages_with_the_head_of_the_moment(store: Both) -> None:
    await fill(store)
    page = await store.records(after=2, limit=2)
    assert [one.seq for one in page.records] == [3, 4]
    assert page.head.seq == 6
    assert (await store.records(after=6)).records == ()
    assert (await store.records(limit=-1)).records == ()


async def test_the_configuration_is_part_of_what_is_chained(store: Both) -> None:
    [transition] = chain("default", [1])
    await store.commit(replace(transition, config="abc"))
    [record] = (await store.records()).records
    assert orjson.loads(record.text)["config"] == "abc"
    assert (await store.events())[0].transition.config == "abc"


# ... behind SQLite's back


def execute(path: FilePath, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


def tables(path: FilePath) -> dict[str, list[tuple[object, ...]]]:
    """The columns of what is kept for the chain, and its index."""
    with closing(sqlite3.connect(path)) as db:
        found = {name: db.execute(f"PRAGMA table_info({name})").fetchall() for name in ("events", "chain")}
        return {**found, "index": db.execute("PRAGMA index_list(events)").fetchall()}


SWAP = (
    "UPDATE events SET seq = 100 WHERE seq = 2",
    "UPDATE events SET seq = 2 WHERE seq = 4",
    "UPDATE events SET seq = 4 WHERE seq = 100",
)


@pytest.mark.parametrize(
    ("statements", "kind", "seq"),
    [
        (["UPDATE events SET record = replace(record, 'tess', 'eve') WHERE seq = 3"], Tampering.EDIT, 3),
        (["UPDATE events SET record = '{}' WHERE seq = 3"], Tampering.EDIT, 3),
        (["DELETE FROM events WHERE seq = 3"], Tampering.GAP, 3),
        (["DELETE FROM events WHERE seq = 1"], Tampering.GAP, 1),
        (SWAP, Tampering.REORDER, 2),
        (["DELETE FROM events WHERE seq > 4"], Tampering.TRUNCATED, 5),
        (["DELETE FROM events"], Tampering.TRUNCATED, 1),
        (["UPDATE events SET hash = '' WHERE seq = 5"], Tampering.FOREIGN, 5),
        (["INSERT INTO events (rollout, record) SELECT rollout, record FROM events"], Tampering.FOREIGN, 7),
        (["INSERT INTO events (seq, rollout, record) VALUES (0, 'default', '{}')"], Tampering.FOREIGN, 0),
        (
            ["INSERT INTO events (seq, rollout, record, hash) VALUES (-9, 'a', '', '0')"],
            Tampering.FOREIGN,
            -9,
        ),
        (["UPDATE events SET record = x'00ff' WHERE seq = 3"], Tampering.EDIT, 3),
        (["UPDATE events SET hash = x'00ff' WHERE seq = 3"], Tampering.EDIT, 3),
        (["UPDATE events SET record = CAST(x'ff' AS TEXT) WHERE seq = 3"], Tampering.EDIT, 3),
    ],
)
@pytest.mark.parametrize("goes_on", [False, True])
async def test_what_is_done_to_the_file_shows_and_stays(
    file: SqliteStore, statements: list[str], kind: Tampering, seq: int, *, goes_on: bool
) -> None:
    await fill(file)
    execute(file.path, *statements)
    if goes_on:  # nothing of this may keep a rollback from being stored, or heal what was done
        await file.commit(event((await file.load())["default"]))
    _, fault = await verified(file)
    assert fault is not None
    expected = Tampering.GAP if goes_on and kind is Tampering.TRUNCATED else kind
    assert (fault.kind, fault.seq) == (expected, seq)


@pytest.mark.parametrize(
    "done",
    ["DELETE FROM chain", "UPDATE chain SET seq = 'x'", "UPDATE chain SET hash = x''", "DROP TABLE chain"],
)
async def test_without_its_end_a_chain_goes_on_after_the_last_record_and_says_so(
    file: SqliteStore, done: str
) -> None:
    await fill(file, 3)
    execute(file.path, done)
    count, fault = await verified(file)
    assert fault is not None
    assert (count, fault.kind) == (3, Tampering.TRUNCATED)
    assert fault.text == "the end of the chain is missing: there may have been events after event 3"
    await file.commit(event((await file.load())["default"]))
    assert await verified(file) == (4, None)
    assert (await file.records()).head.adopted == 3, "what was before is not known"
    await file.close()


async def test_events_whose_table_was_dropped_are_missing_and_the_next_is_written(file: SqliteStore) -> None:
    await fill(file, 3)
    as_made = tables(file.path)
    execute(file.path, "DROP TABLE events")
    count, fault = await verified(file)
    assert fault is not None
    assert (count, fault.kind, fault.seq) == (0, Tampering.TRUNCATED, 1)
    assert await file.events() == []
    execute(file.path, "DROP TABLE chain")
    state = (await file.load())["default"]
    assert (await file.commit(event(state))).seq == 1
    assert tables(file.path) == as_made
    await file.close()
    await file.open()
    assert [one.transition.after for one in await file.events()] == [state]
    await file.close()


async def test_a_record_tells_where_it_is_filed(store: Both) -> None:
    await fill(store, 1)
    await store.commit(chain("other", [3])[0])
    assert [one.rollout for one in (await store.records()).records] == ["default", "other"]


async def test_where_a_record_is_filed_is_told_as_somebody_has_left_it(file: SqliteStore) -> None:
    await fill(file, 3)
    execute(file.path, "UPDATE events SET rollout = 'other' WHERE seq = 2")
    execute(file.path, "UPDATE events SET rollout = x'ff' WHERE seq = 3")
    page = await file.records()
    assert [one.rollout for one in page.records] == ["default", "other", "\ufffd"]
    await file.close()


async def test_two_processes_write_one_chain(tmp_path: FilePath) -> None:
    one, other = SqliteStore(tmp_path / "store.db"), SqliteStore(tmp_path / "store.db")
    await one.open()
    await other.open()
    for first, second in zip(chain("a", [1, 2, 3]), chain("b", [4, 5, 6]), strict=True):
        await one.commit(first)
        await other.commit(second)
    assert await verified(one) == await verified(other) == (6, None)
    await one.close()
    await other.close()


# ... a file of the first schema


async def test_a_file_of_the_first_version_is_brought_up_to_date(first_version: FilePath) -> None:
    """Written by the release before the chain: two rollouts, six events, one of them with a judgment."""
    store = SqliteStore(first_version)
    await store.open()
    states = await store.load()
    assert {name: (state.state, state.weight, state.revision) for name, state in states.items()} == {
        "default": ("rolled_back", 0, 4),
        "checkout": ("running", 250, 1),
    }
    assert states["default"].phase == "canary"
    assert (states["default"].retries, states["default"].rolled_back_from) == (0, None)
    events = await store.events()
    assert [one.seq for one in events] == [1, 2, 3, 4, 5, 6]
    assert events[4].transition.judgment is not None
    assert events[4].transition.judgment.readings[0].value == 0.315
    assert await verified(store) == (6, None)
    assert (await store.records()).head.adopted == 6
    assert list(await store.overrides()) == []
    after = replace(states["default"], revision=5, retries=2, rolled_back_from="canary")
    await store.commit(replace(chain("default", [1])[0], before=states["default"], after=after))
    await store.close()
    again = SqliteStore(first_version)
    await again.open()
    assert (await again.load())["default"] == after
    page = await again.records()
    assert (page.head.seq, page.head.adopted) == (7, 6)
    assert await verified(again) == (7, None)
    await again.close()


async def test_what_an_older_process_still_writes_is_taken_into_the_chain(first_version: FilePath) -> None:
    """While a new process takes over, the older one goes on with the file that the new one has migrated."""
    store = SqliteStore(first_version)
    await store.open()
    execute(
        first_version,
        "UPDATE rollouts SET weight = 300, revision = 2 WHERE name = 'checkout' AND revision = 1",
        "INSERT INTO events (rollout, record) SELECT rollout, record FROM events WHERE seq = 6",
    )
    state = (await store.load())["checkout"]
    assert (state.weight, state.retries) == (300, 0)
    await store.commit(event(state))
    page = await store.records()
    assert (page.head.seq, page.head.adopted) == (8, 7)
    assert await verified(store) == (8, None)
    execute(first_version, "INSERT INTO events (rollout, record) SELECT rollout, record FROM events LIMIT 1")
    await store.commit(event(state))
    _, fault = await verified(store)
    assert fault is not None
    assert (fault.kind, fault.seq) == (Tampering.FOREIGN, 9)
    await store.close()


async def test_a_migrated_event_is_as_protected_as_a_new_one(first_version: FilePath) -> None:
    store = SqliteStore(first_version)
    await store.open()
    execute(first_version, "UPDATE events SET record = replace(record, 'tess', 'eve') WHERE seq = 2")
    _, fault = await verified(store)
    await store.close()
    assert fault is not None
    assert (fault.kind, fault.seq) == (Tampering.EDIT, 2)


async def test_a_migration_that_fails_leaves_the_file_as_it_was(first_version: FilePath) -> None:
    execute(first_version, "CREATE TABLE minutes (x)")
    with pytest.raises(Exception, match="already exists"):
        await SqliteStore(first_version).open()
    with closing(sqlite3.connect(first_version)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        columns = [row[1] for row in db.execute("PRAGMA table_info(rollouts)")]
    assert "retries" not in columns
