"""Every store forgets its oldest events in one step, and what is kept is still a chain; copies follow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from proxy.core.audit import NOTHING_FORGOTTEN, Begin, Verifier
from proxy.core.peers import Standing
from proxy.stores.fleet_copy import FleetCopy
from proxy.stores.sqlite import SqliteStore
from tests.stores.states import chain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from proxy.stores.redis_store import RedisStore
    from proxy.stores.storage import Storage


@pytest.fixture
def store(storage: Storage) -> Any:
    return storage.trimming


async def fill(store: Any, first: int = 1, last: int = 6) -> None:
    for transition in chain("default", list(range(1, last + 1)))[first - 1 :]:
        await store.commit(transition)


async def trim(store: Any, upto: int) -> bool:
    (record,) = (await store.records(after=upto - 1, limit=1)).records
    forgotten: bool = await store.trim(record)
    return forgotten


async def whole(store: Any) -> tuple[int, int]:
    """The first and the last event of a chain that holds."""
    page = await store.records(limit=1_000)
    verifier = Verifier()
    verifier.behind(page.begin)
    assert verifier.take(page.records) is None
    assert verifier.end(page.head) is None
    return page.records[0].seq, page.records[-1].seq


async def test_what_is_kept_is_a_chain_from_where_it_begins(store: Any) -> None:
    await fill(store)
    assert (await store.records()).begin == NOTHING_FORGOTTEN
    third = (await store.records(after=2, limit=1)).records[0]
    assert await trim(store, 3)
    assert (await store.records()).begin == Begin(3, third.hash)
    assert await whole(store) == (4, 6)
    assert [one.seq for one in await store.events()] == [4, 5, 6]
    await fill(store, 7, 8)
    assert await trim(store, 5)
    assert await whole(store) == (6, 8)
    assert (await store.load())["default"].revision == 8


async def test_only_what_is_there_as_it_was_read_is_forgotten_and_never_the_last(store: Any) -> None:
    await fill(store)
    records = (await store.records()).records
    assert not await store.trim(records[-1])
    assert not await store.trim(replace(records[2], hash="0" * 64))
    assert not await store.trim(replace(records[2], seq=99))
    assert await store.trim(records[2])
    assert not await store.trim(records[1])
    assert await whole(store) == (4, 6)


# ... and its copies


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    one = SqliteStore(tmp_path / "copy.db")
    yield one
    await one.close()


@pytest.fixture
async def copy(shared: RedisStore, file: SqliteStore) -> FleetCopy:
    one = FleetCopy(shared, file)
    await one.open()
    return one


async def empty(store: RedisStore) -> None:
    for key in (store.keys.head, store.keys.audit, store.keys.states, store.keys.overrides):
        await store.link.call("DEL", key)


async def test_a_copy_forgets_what_the_shared_store_has_forgotten(
    shared: RedisStore, copy: FleetCopy, file: SqliteStore
) -> None:
    await fill(shared)
    await copy.follow()
    await trim(shared, 3)
    assert (await copy.follow()).standing is Standing.SAME
    assert await whole(file) == (4, 6)
    await fill(shared, 7, 8)
    assert (await copy.follow()).standing is Standing.SAME
    assert await whole(file) == (4, 8)


@pytest.mark.parametrize("seq", ["99", "6", "5", "-1", "all"])
async def test_nonsense_about_what_is_forgotten_costs_no_copy_anything(
    shared: RedisStore, copy: FleetCopy, file: SqliteStore, seq: str
) -> None:
    await fill(shared)
    await copy.follow()
    await shared.link.call("HSET", shared.keys.head, "trimmed", seq, "trimmed_hash", "a" * 64)
    assert (await copy.follow()).standing is Standing.SAME
    assert await whole(file) == (1, 6)


async def test_a_copy_that_begins_later_begins_there(
    shared: RedisStore, copy: FleetCopy, file: SqliteStore
) -> None:
    await fill(shared)
    await trim(shared, 3)
    assert (await copy.follow()).standing is Standing.SAME
    assert await whole(file) == (4, 6)
    again = FleetCopy(shared, file)
    await file.close()
    assert (await again.open()).begin.seq == 3
    assert (await again.follow()).standing is Standing.SAME


async def test_a_copy_that_was_away_for_too_long_begins_anew(
    shared: RedisStore, copy: FleetCopy, file: SqliteStore
) -> None:
    await fill(shared, 1, 2)
    await copy.follow()
    await fill(shared, 3, 6)
    await trim(shared, 4)
    followed = await copy.follow()
    assert (followed.standing, followed.lost_count) == (Standing.SAME, 0)
    assert await whole(file) == (5, 6)


@pytest.mark.parametrize("last", [5, 6])
async def test_an_emptied_store_is_given_back_what_was_kept_and_where_that_begins(
    shared: RedisStore, copy: FleetCopy, last: int
) -> None:
    await fill(shared, 1, last)
    await trim(shared, 3)
    await copy.follow()
    await empty(shared)
    assert (await copy.follow()).standing is Standing.SHORTER
    await copy.refill()
    assert await whole(shared) == (4, last)
    assert (await shared.load())["default"].revision == last
    assert (await copy.follow()).standing is Standing.SAME


async def test_where_chains_have_parted_is_found_behind_what_both_have_forgotten(
    shared: RedisStore, copy: FleetCopy, file: SqliteStore
) -> None:
    await fill(shared)
    await copy.follow()
    await trim(shared, 3)
    await copy.follow()
    await fill(shared, 7, 9)
    await copy.follow()
    kept = (await shared.records()).records
    await empty(shared)
    await fill(shared, 1, 6)
    await trim(shared, 3)
    for revision in (7, 8):  # others, where ours were
        state = (await shared.load())["default"]
        after = replace(state, revision=revision, reason="another")
        await shared.commit(replace(chain("default", [1])[0], before=state, after=after))
    followed = await copy.follow()
    assert (followed.standing, followed.lost_count) == (Standing.DIVERGED, 3)
    assert followed.lost == kept[3:]
    await copy.adopt()
    assert await whole(file) == (4, 8)
    assert (await copy.follow()).standing is Standing.SAME
