"""Overrides of keys, asked of every store: kept with their audit record, or not at all."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from proxy.errors import RevisionConflict
from proxy.model import KeyOverride, Path
from proxy.stores.memory import MemoryStore
from proxy.stores.redis_store import RedisStore
from proxy.stores.sqlite import SqliteStore
from tests.stores.states import NEW, event, step

if TYPE_CHECKING:
    from proxy.stores.storage import Storage

ALICE = KeyOverride("default", "alice", Path.V2, "tess", at=1_700_000_000.25)
BOB = KeyOverride("default", "bob ünï\n", Path.V1, "tess", 5.0, expires_at=65.5, reason="ticket 7")
Every = MemoryStore | SqliteStore | RedisStore
STARTED = step(NEW, 500)
SET, REMOVED = event(STARTED.after, "override:set"), event(STARTED.after, "override:removed")


@pytest.fixture
async def store(storage: Storage) -> Any:
    await storage.store.commit(STARTED)
    return storage.store


async def test_an_override_comes_back_as_it_was_with_its_record(store: Every) -> None:
    assert list(await store.overrides()) == []
    committed = await store.put(BOB, SET)
    await store.put(ALICE, SET)
    await store.put(replace(ALICE, rollout="checkout"), SET)
    assert list(await store.overrides()) == [replace(ALICE, rollout="checkout"), ALICE, BOB]
    assert (committed.seq, committed.transition) == (2, SET)
    assert [one.transition.cause for one in await store.events(after=1)] == ["override:set"] * 3


async def test_another_of_the_same_key_takes_its_place(store: Every) -> None:
    await store.put(ALICE, SET)
    await store.put(replace(ALICE, path=Path.V1, expires_at=9.0), SET)
    assert list(await store.overrides()) == [replace(ALICE, path=Path.V1, expires_at=9.0)]


async def test_a_removed_one_is_gone_and_removing_nothing_is_no_error(
    store: MemoryStore | SqliteStore,
) -> None:
    await store.put(ALICE, SET)
    await store.remove("default", "alice", REMOVED)
    await store.remove("default", "alice", REMOVED)
    assert list(await store.overrides()) == []
    assert [one.transition.cause for one in await store.events(after=2)] == ["override:removed"] * 2


async def test_a_stale_record_leaves_the_overrides_alone(store: Every) -> None:
    await store.put(ALICE, SET)
    for stale in (event(NEW, "override:set"), event(replace(NEW, name="other"), "override:set")):
        with pytest.raises(RevisionConflict):
            await store.put(BOB, stale)
        with pytest.raises(RevisionConflict):
            await store.remove("default", "alice", stale)
    assert list(await store.overrides()) == [ALICE]
    assert len(await store.events()) == 2


async def test_many_at_once_are_all_kept(store: Every) -> None:
    keys = [f"user-{number}" for number in range(10)]
    await asyncio.gather(*(store.put(replace(ALICE, key=key), SET) for key in keys))
    assert [one.key for one in await store.overrides()] == sorted(keys)
    assert [one.seq for one in await store.events()] == list(range(1, 12))
