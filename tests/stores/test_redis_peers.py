"""Lease, members, reports and pushes in Redis."""

from __future__ import annotations

import asyncio
import zlib
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from proxy.core.peers import Identity, Presence
from proxy.errors import StoreUnavailable
from proxy.stores.redis_peers import RedisPeers
from proxy.stores.redis_store import RedisStore
from tests.e2e.waiting import HANG_S, eventually, stopwatch
from tests.redis_server import KINDS
from tests.stores.conftest import opened, table_at
from tests.stores.states import NEW, chain, step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from proxy.config.store import Store as StoreTable
    from proxy.stores.storage import Storage
    from tests.redis_server import RedisServer

HERE = Presence(b"{}")


@pytest.fixture(params=KINDS)
def table(request: pytest.FixtureRequest, place_of: Callable[..., StoreTable]) -> StoreTable:
    found: StoreTable = place_of(request.param)
    return found


@asynccontextmanager
async def peer(table: StoreTable, instance: str, epoch: str = "e1") -> AsyncIterator[RedisPeers]:
    async with opened(table, instance, epoch) as storage:
        yield of(storage)


def of(storage: Storage) -> RedisPeers:
    assert storage.shared is not None
    assert isinstance(storage.shared.peers, RedisPeers)
    return storage.shared.peers


async def told(peers: RedisPeers, command: str, key: str, *values: str | bytes) -> object:
    return await peers._link.call(command, key, *values)


# ... the lease


async def test_the_first_that_stands_judges_until_it_leaves(table: StoreTable) -> None:
    async with peer(table, "a b") as one, peer(table, "b") as other:
        assert (await other.exchange(replace(HERE, stands=False))).lease is None
        first = (await one.exchange(HERE)).lease
        assert first is not None
        assert first.holder == Identity("a b", "e1")
        assert 1.5 < first.remaining_s <= 2.0
        seen = (await other.exchange(HERE)).lease
        assert seen is not None
        assert (seen.holder, seen.token) == (first.holder, first.token)
        await other.leave()  # gives up nothing that is not its own
        assert (await other.exchange(HERE)).lease is not None
        await one.leave()
        second = (await other.exchange(HERE)).lease
        assert second is not None
        assert second.holder.instance == "b"
        assert second.token > first.token


async def test_a_lease_runs_out_unless_it_is_renewed(table: StoreTable) -> None:
    async with peer(table, "a") as one, peer(table, "b") as other:
        short = replace(HERE, lease_s=0.8)
        mine = (await one.exchange(short)).lease
        loop = asyncio.get_running_loop()
        until = loop.time() + 1.0
        while loop.time() < until:
            renewed = (await one.exchange(short)).lease
            assert renewed is not None
            assert mine is not None
            assert renewed.token == mine.token
            await asyncio.sleep(0.02)

        async def taken_over() -> bool:
            lease = (await other.exchange(short)).lease
            return lease is not None and lease.holder.instance == "b"

        await eventually(taken_over)


async def test_a_process_of_the_same_name_does_not_inherit_the_lease(table: StoreTable) -> None:
    async with peer(table, "a", "before") as one, peer(table, "a", "after") as other:
        await one.exchange(HERE)
        lease = (await other.exchange(HERE)).lease
        assert lease is not None
        assert lease.holder.epoch == "before"
        assert [one.identity.epoch for one in await other.members()] == ["after", "before"]


async def test_of_many_that_stand_at_once_one_judges(table: StoreTable) -> None:
    async with opened(table) as storage:
        link, keys = of(storage)._link, of(storage)._keys
        many = [RedisPeers(link, keys, Identity(f"i{n}", "e")) for n in range(8)]
        leases = [one.lease for one in await asyncio.gather(*(one.exchange(HERE) for one in many))]
        assert len({lease and (lease.holder, lease.token) for lease in leases}) == 1


@pytest.mark.parametrize("text", ["x", "7", "-1 e i", "\udcff", "9" * 400 + " e i", "1 e " + "i" * 2_000])
async def test_a_lease_that_is_nonsense_is_nobodys(table: StoreTable, text: str) -> None:
    """Nor does a number that nobody has given out stand in the way of the next."""
    async with peer(table, "a") as one:
        await told(one, "SET", one._keys.lease, text.encode(errors="surrogateescape"))
        await told(one, "SET", one._keys.fence, "1e300")
        lease = (await one.exchange(HERE)).lease
        assert lease is not None
        assert lease.holder == one.identity
        assert lease.token < 1e15


async def test_a_lease_that_would_never_end_ends(table: StoreTable) -> None:
    async with peer(table, "a") as one:
        await told(one, "SET", one._keys.lease, "7 gone b")
        lease = (await one.exchange(HERE)).lease
        assert lease is not None
        assert (lease.holder, lease.token) == (Identity("b", "gone"), 7)
        assert 0 < lease.remaining_s <= 2.0


# ... members


async def test_members_are_those_that_were_heard_of_lately(table: StoreTable) -> None:
    async with peer(table, "a") as one, peer(table, "b") as other:
        now = (await one.exchange(replace(HERE, record=b"first \xff"))).now
        await other.exchange(replace(HERE, record=b"second", member_s=0.05))
        found = await one.members()
        assert [(each.identity.instance, each.record) for each in found] == [
            ("a", b"first \xff"),
            ("b", b"second"),
        ]
        assert found[0].seen_at == now

        async def alone() -> bool:
            return len(await one.members()) == 1

        await eventually(alone)
        await one.exchange(HERE)
        assert await told(one, "HLEN", one._keys.members) == 1


async def test_hundreds_of_members_are_all_found(table: StoreTable) -> None:
    async with opened(table) as storage:
        link, keys = of(storage)._link, of(storage)._keys
        many = [RedisPeers(link, keys, Identity(f"i{n:04}", "e")) for n in range(501)]
        for some in range(0, len(many), 50):
            await asyncio.gather(
                *(one.exchange(replace(HERE, member_s=60.0)) for one in many[some : some + 50])
            )
        names = [one.identity.instance for one in await many[0].members()]
        assert names == [one.identity.instance for one in many]


async def test_what_strangers_say_of_themselves_is_neither_believed_nor_taken_in_whole(
    table: StoreTable,
) -> None:
    async with peer(table, "a") as one:
        await one.exchange(HERE)
        for name, record in (("e huge", b"0 " + bytes(200_000)), ("e ages", b"9" * 5_000 + b" {}")):
            await told(one, "HSET", one._keys.members, name, record)
            await told(one, "ZADD", one._keys.seen, "9e15", name)
        found = {each.identity.instance: each.seen_at for each in await one.members()}
        assert found.keys() == {"a", "ages"}
        assert found["ages"] == 0.0


async def test_of_endless_strangers_a_few_are_read(table: StoreTable) -> None:
    async with peer(table, "a") as one:
        for batch in range(5):
            names = [f"e i{batch}-{number}" for number in range(500)]
            await told(one, "ZADD", one._keys.seen, *(part for name in names for part in ("9e15", name)))
            await told(one, "HSET", one._keys.members, *(part for name in names for part in (name, "1 {}")))
        assert len(await one.members()) == 2_000


# ... reports


async def test_reports_are_read_in_their_order_by_id_or_since_when(table: StoreTable) -> None:
    async with peer(table, "a") as one, peer(table, "b") as other:
        before = await one.exchange(replace(HERE, reports=((1, b"a1"), (2, b""))))
        await other.exchange(replace(HERE, reports=((7, b"b7" * 1_000),)))
        await one.exchange(replace(HERE, reports=((2, b"again"), (3, b"a3"))))
        found = await other.dispatches()
        assert [(each.identity.instance, each.number, each.report) for each in found] == [
            ("a", 1, b"a1"),
            ("a", 2, b""),
            ("b", 7, b"b7" * 1_000),
            ("a", 2, b"again"),
            ("a", 3, b"a3"),
        ]
        assert abs(found[0].at - before.now) < 0.01
        assert [each.number for each in await one.dispatches(found[2].id)] == [2, 3]
        assert [each.number for each in await one.dispatches(found[0].id, limit=2)] == [2, 7]
        assert await one.dispatches(found[-1].id) == await one.dispatches(limit=0) == []
        assert len(await one.dispatches(since=found[0].at)) == 5
        assert await one.dispatches(since=found[0].at + 60) == []


async def test_old_reports_are_forgotten_in_time(table: StoreTable) -> None:
    async with peer(table, "a") as one:
        for number in range(1, 400):
            await one.exchange(replace(HERE, reports=((number, b"x"),), window_s=0.05))
        assert len(await one.dispatches()) < 399


async def test_what_no_instance_has_sent_is_passed_over(table: StoreTable) -> None:
    async with peer(table, "a") as one:
        rows: list[tuple[str | bytes, ...]] = [
            ("x", "y"),
            ("epoch", "e", "instance", "i", "number", "1", "report", "not packed"),
            ("epoch", "e", "instance", "i", "number", "many", "report", zlib.compress(b"x")),
            ("epoch", "e", "instance", "i", "number", "1", "report", zlib.compress(b"x" * 100)[:-3]),
            ("epoch", "e", "instance", b"\xff", "number", "1", "report", zlib.compress(b"x")),
            ("epoch", "e", "instance", "i", "number", "1", "report", zlib.compress(bytes(9 << 20))),
            ("epoch", "e", "instance", "i", "number", "9" * 30, "report", zlib.compress(b"x")),
            ("epoch", "e", "instance", "i", "number", "1", "report", bytes(300_000)),
        ]
        for row in rows:
            await told(one, "XADD", one._keys.reports, "*", *row)
        await one.exchange(replace(HERE, reports=((5, b"good"),)))
        assert [each.number for each in await one.dispatches()] == [5]
        assert [each.number for each in await one.dispatches(limit=2)] == [5]


async def test_reports_that_are_huge_once_unpacked_come_a_few_at_a_time(table: StoreTable) -> None:
    async with peer(table, "a") as one:
        await one.exchange(replace(HERE, reports=tuple((n, bytes(3 << 20)) for n in range(1, 10))))
        pages, last = [], ""
        while page := await one.dispatches(last):
            pages.append([each.number for each in page])
            last = page[-1].id
        assert [number for page in pages for number in page] == list(range(1, 10))
        assert max(map(len, pages)) == 6


# ... pushes


async def test_a_change_is_pushed_to_all_at_once(table: StoreTable) -> None:
    async with opened(table) as storage, peer(table, "b") as other, aclosing(other.changes()) as pushed:
        assert await anext(pushed) is None
        async with stopwatch() as watch:
            for one in chain("default", [1, 2]):
                await storage.store.commit(one)
            assert [await anext(pushed), await anext(pushed)] == [1, 2]
        assert watch.own_s < 1.0, watch


async def test_pushes_go_on_after_the_server_was_gone(server: RedisServer, tmp_path: Path) -> None:
    async with opened(table_at(server, tmp_path)) as storage, aclosing(of(storage).changes()) as pushed:
        assert await anext(pushed) is None
        server.kill()
        waiting = asyncio.ensure_future(anext(pushed))
        with pytest.raises(StoreUnavailable):
            await of(storage).exchange(HERE)
        server.start()
        assert await asyncio.wait_for(waiting, HANG_S) is None
        await storage.store.commit(step(NEW, 5))
        assert await asyncio.wait_for(anext(pushed), HANG_S) == 1


async def test_a_server_that_stands_still_holds_nobody_longer_than_the_timeout(
    server: RedisServer, tmp_path: Path
) -> None:
    async with opened(table_at(server, tmp_path, timeout="400ms")) as storage:
        assert isinstance(storage.store, RedisStore)
        await of(storage).exchange(HERE)
        server.pause()
        async with stopwatch() as watch:
            for _ in range(2):
                with pytest.raises(StoreUnavailable, match=r"within 0\.4 s"):
                    await of(storage).exchange(HERE)
        assert watch.own_s < 1.5, watch
        server.resume()

        async def back() -> bool:
            try:
                return (await of(storage).exchange(HERE)).lease is not None
            except StoreUnavailable:
                return False

        await eventually(back)


async def test_a_connection_that_has_fallen_silent_is_made_anew(server: RedisServer, tmp_path: Path) -> None:
    async with opened(table_at(server, tmp_path, timeout="500ms")) as storage:
        found = of(storage)
        peers = RedisPeers(found._link, found._keys, found.identity, silence_s=0.02)
        async with aclosing(peers.changes()) as pushed:
            assert await anext(pushed) is None
            waiting = asyncio.ensure_future(anext(pushed))
            await asyncio.wait([waiting], timeout=0.1)  # asked, and has answered
            assert not waiting.done()
            server.pause()
            await asyncio.wait([waiting], timeout=0.8)
            server.resume()
            assert await asyncio.wait_for(waiting, HANG_S) is None
            await told(peers, "PUBLISH", peers._keys.changes, "nonsense")
            await told(peers, "PUBLISH", peers._keys.changes, "9" * 5_000)
            await told(peers, "PUBLISH", peers._keys.changes, "7")
            assert await asyncio.wait_for(anext(pushed), HANG_S) == 7
