"""The judge's journal in Redis: only the present judge writes it, and what strangers write is bounded."""

from __future__ import annotations

import zlib
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from proxy.core.peers import Presence
from proxy.errors import StoreCorrupt
from proxy.stores.redis_journal import RedisJournal
from proxy.stores.redis_peers import RedisPeers
from tests.redis_server import KINDS
from tests.stores.conftest import opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from proxy.config.store import Store as StoreTable
    from proxy.core.peers import Lease

HERE = Presence(b"{}", lease_s=60.0)


@pytest.fixture(params=KINDS)
def table(request: pytest.FixtureRequest, place_of: Callable[..., StoreTable]) -> StoreTable:
    found: StoreTable = place_of(request.param)
    return found


@asynccontextmanager
async def judge(
    table: StoreTable, instance: str = "a"
) -> AsyncIterator[tuple[RedisJournal, RedisPeers, Lease]]:
    async with opened(table, instance) as storage:
        assert storage.shared is not None
        journal, peers = storage.shared.journal, storage.shared.peers
        assert isinstance(journal, RedisJournal)
        assert isinstance(peers, RedisPeers)
        lease = (await peers.exchange(HERE)).lease
        assert lease is not None
        yield journal, peers, lease


async def second(peers: RedisPeers) -> int:
    return int((await peers.exchange(HERE)).now)


async def test_what_is_kept_is_read_in_its_order_and_who_told_what_at_its_end(table: StoreTable) -> None:
    async with judge(table) as (one, peers, lease):
        now = await second(peers)
        entries = [(now + number, b"%d" % number * 100) for number in range(5)]
        assert await one.keep(lease, entries[:3], b"first", window_s=60.0, anew=True)
        assert await one.keep(lease, entries[3:], b"last", window_s=60.0, anew=False)
        assert (await one.kept(0, 0, 10)).entries == entries
        assert (await one.kept(now + 1, 0, 10)).entries == entries[2:]
        assert (await one.kept(0, 0, 2)).entries == entries[:2]
        assert (await one.kept(now, now + 2, 2)).entries == entries[3:]
        assert await one.kept(now, now + 4, 10) == ([], b"last"), "there alone"
        assert (await one.kept(0, 0, 10)).heard == b""
        for key in (one._keys.journal, one._keys.heard):
            assert 0 < int(await one._link.call("PTTL", key)) <= 60_000


async def test_what_was_written_though_nobody_heard_so_is_not_written_twice(table: StoreTable) -> None:
    async with judge(table) as (one, peers, lease):
        now = await second(peers)
        for count in (2, 4):
            entries = [(now + number, b"%d" % number) for number in range(count)]
            assert await one.keep(lease, entries, b"x", window_s=60.0, anew=False)
        assert (await one.kept(0, 0, 10)).entries == entries


async def test_whoever_is_no_longer_the_judge_writes_nothing(table: StoreTable) -> None:
    async with judge(table) as (one, peers, lease), judge(table, "b") as (other, next_peers, same):
        now = await second(peers)
        assert same == replace(lease, remaining_s=same.remaining_s)
        assert await one.keep(lease, [(now, b"good")], b"good", window_s=60.0, anew=True)
        await peers.leave()
        assert not await one.keep(lease, [(now + 1, b"late")], b"late", window_s=60.0, anew=True)
        newer = (await next_peers.exchange(HERE)).lease
        assert newer is not None
        assert not await one.keep(lease, [(now + 1, b"late")], b"late", window_s=60.0, anew=True)
        assert not await other.keep(
            replace(lease, holder=newer.holder), [(now + 1, b"late")], b"", window_s=60.0, anew=True
        )
        assert (await other.kept(0, 0, 10)).entries == [(now, b"good")]
        assert await other.keep(newer, [(now + 1, b"next")], b"", window_s=60.0, anew=False)
        assert (await other.kept(0, 0, 10)).entries == [(now, b"good"), (now + 1, b"next")]


async def test_what_is_older_than_the_window_is_forgotten(table: StoreTable) -> None:
    async with judge(table) as (one, peers, lease):
        now = await second(peers)
        entries = [(now - 900 + number, bytes(5_000)) for number in range(900)]
        assert await one.keep(lease, entries, b"", window_s=60.0, anew=True)
        left = (await one.kept(0, 0, 1_000)).entries
        assert 50 <= len(left) < 300, "whole nodes of the stream go"
        assert left[-1][0] == now - 1


async def test_what_strangers_have_put_there_gives_way(table: StoreTable) -> None:
    async with judge(table) as (one, peers, lease):
        now = await second(peers)
        await one._link.call("XADD", one._keys.journal, f"{2**63}-5", "entry", "x")
        assert await one.keep(lease, [(now, b"good")], b"good", window_s=60.0, anew=False)
        assert (await one.kept(0, 0, 10)).entries == [(now, b"good")]
        await one._link.call("SET", one._keys.journal, "no stream")
        with pytest.raises(StoreCorrupt):
            await one.kept(0, 0, 10)
        with pytest.raises(StoreCorrupt):
            await one.keep(lease, [(now + 1, b"good")], b"good", window_s=60.0, anew=False)
        assert await one.keep(lease, [(now + 1, b"good")], b"good", window_s=60.0, anew=True)
        assert (await one.kept(0, 0, 10)).entries == [(now + 1, b"good")]


async def test_what_cannot_be_unpacked_is_empty_and_huge_ones_come_a_few_at_a_time(table: StoreTable) -> None:
    async with judge(table) as (one, _, _):
        bad = [b"not packed", zlib.compress(bytes(9 << 20)), zlib.compress(b"x" * 100)[:-3], bytes(5 << 20)]
        for place, text in enumerate(bad):
            await one._link.call("XADD", one._keys.journal, f"{place + 1}000-0", "entry", text)
        await one._link.call("XADD", one._keys.journal, "9000-1", "other", "x")
        assert (await one.kept(0, 0, 10)).entries == [(n, b"") for n in (1, 2, 3, 4, 9)]
        for place in range(10, 20):
            huge = zlib.compress(bytes(3 << 20))
            await one._link.call("XADD", one._keys.journal, f"{place}000-0", "entry", huge)
        assert len((await one.kept(9, 0, 100)).entries) == 6
        await one._link.call("SET", one._keys.heard, bytes(5 << 20))
        assert await one.kept(20, 0, 100) == ([], b"")


async def test_the_keys_lie_where_the_others_do(table: StoreTable) -> None:
    async with judge(table) as (one, _, _):
        tag = one._keys.lease.partition("}")[0]
        assert one._keys.journal.startswith(tag + "}")
        assert one._keys.heard.startswith(tag + "}")
        assert table.prefix in repr(one)
