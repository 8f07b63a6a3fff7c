"""What only the store in Redis promises: many writers, one judge; and a server that is slow, full or gone."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from proxy.config.store import Store as StoreTable
from proxy.core.audit import Verifier
from proxy.core.peers import Identity, Presence
from proxy.core.rollout import CONTROLLER
from proxy.errors import RevisionConflict, StaleFence, StoreCorrupt, StoreUnavailable
from proxy.model import State
from proxy.stores.redis_fitness import unfit
from proxy.stores.redis_store import RedisStore
from tests.e2e.waiting import stopwatch
from tests.redis_server import KINDS
from tests.stores.conftest import opened, running, table_at
from tests.stores.states import NEW, chain, event, step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from proxy.stores.storage import Storage
    from tests.redis_server import RedisServer

GOOD = Presence(b"{}")


@pytest.fixture(params=KINDS)
async def table(request: pytest.FixtureRequest, place_of: Callable[..., StoreTable]) -> StoreTable:
    return place_of(request.param)


@pytest.fixture
async def store(table: StoreTable) -> AsyncIterator[RedisStore]:
    async with opened(table) as storage:
        yield of(storage)


def of(storage: Storage) -> RedisStore:
    assert isinstance(storage.store, RedisStore)
    return storage.store


async def holds(store: RedisStore) -> int:
    """How many records an unbroken chain has."""
    verifier = Verifier()
    page = await store.records(limit=10_000)
    verifier.take(page.records)
    assert verifier.end(page.head) is None
    return len(page.records)


async def told(store: RedisStore, command: str, key: str, *values: str) -> object:
    return await store.link.call(command, key, *values)


# ... many writers


async def test_writers_that_race_make_one_chain(table: StoreTable) -> None:
    """Eight instances, each with a rollout of its own and one that all of them want."""
    async with AsyncExitStack() as stack:
        stores = [of(await stack.enter_async_context(opened(table))) for _ in range(8)]

        async def write(number: int, store: RedisStore) -> int:
            won = 0
            for own, common in zip(
                chain(f"own-{number}", [1, 2, 3]), chain("common", [1, 2, 3]), strict=True
            ):
                await persistently(store, own)
                won += isinstance(await persistently(store, common), int)
            return won

        async def persistently(store: RedisStore, transition: object) -> int | RevisionConflict:
            while True:
                try:
                    return (await store.commit(transition)).seq  # type: ignore[arg-type]
                except RevisionConflict as error:
                    return error
                except StoreUnavailable:  # the others did not pause
                    continue

        won = await asyncio.gather(*(write(number, store) for number, store in enumerate(stores)))
        assert sum(won) == 3
        assert await holds(stores[0]) == 8 * 3 + 3
        assert {name: one.revision for name, one in (await stores[1].load()).items()} == {
            "common": 3,
            **{f"own-{number}": 3 for number in range(8)},
        }


async def test_a_revision_of_another_chain_is_not_taken_for_ours(table: StoreTable) -> None:
    """A replica took over that had not seen our revision 1, and somebody has rolled back there."""
    async with opened(table) as storage:
        [ours] = chain("default", [500])
        elsewhere = replace(ours.after, state=State.ROLLED_BACK, weight=0, reason="elsewhere")
        await storage.store.commit(replace(ours, after=elsewhere))
        with pytest.raises(RevisionConflict, match="another revision 1: elsewhere"):
            await storage.store.commit(step(ours.after, 900))
        assert (await storage.store.load())["default"] == elsewhere
        await storage.store.commit(event(ours.after))  # what changes nothing may be told


# ... one judge


async def test_what_a_judge_decides_needs_the_lease_and_what_people_command_does_not(
    table: StoreTable,
) -> None:
    async with opened(table, "a") as one, opened(table, "b") as other:
        judges, follows = of(one), of(other)
        [up] = chain("default", [500])
        by_judge = replace(up, actor=CONTROLLER)
        with pytest.raises(StaleFence, match="does not judge"):
            await judges.commit(by_judge)
        assert one.shared is not None
        lease = (await one.shared.peers.exchange(GOOD)).lease
        assert lease is not None
        judges.fence(lease)
        follows.fence(replace(lease, holder=Identity("b", "e1")))
        with pytest.raises(StaleFence, match="another instance judges"):
            await follows.commit(by_judge)
        await judges.commit(by_judge)
        second = replace(up, before=up.after, after=replace(up.after, weight=900, revision=2))
        await follows.commit(second)  # by a person
        down = replace(second, before=second.after, after=replace(second.after, weight=0, revision=3))
        await follows.commit(replace(down, actor=CONTROLLER))  # to the safe side
        assert await holds(follows) == 3


async def test_a_judge_that_slept_through_its_lease_writes_nothing_that_raises(table: StoreTable) -> None:
    async with opened(table, "a") as one, opened(table, "b") as other:
        assert one.shared is not None
        assert other.shared is not None
        lease = (await one.shared.peers.exchange(replace(GOOD, lease_s=0.02))).lease
        one.shared.fenced.fence(lease)
        up = replace(chain("default", [500])[0], actor=CONTROLLER)
        await asyncio.sleep(0.03)
        with pytest.raises(StaleFence):
            await one.store.commit(up)
        newer = (await other.shared.peers.exchange(GOOD)).lease
        assert lease is not None
        assert newer is not None
        assert newer.token > lease.token
        with pytest.raises(StaleFence):
            await one.store.commit(up)
        other.shared.fenced.fence(newer)
        await other.store.commit(up)
        one.shared.fenced.fence(None)
        assert await holds(of(one)) == 1


async def test_a_token_is_never_given_twice_even_by_a_store_that_was_emptied(
    server: RedisServer, tmp_path: Path
) -> None:
    async with opened(table_at(server, tmp_path), "a") as one:
        assert one.shared is not None
        first = (await one.shared.peers.exchange(GOOD)).lease
        server.tell("FLUSHALL")
        async with opened(table_at(server, tmp_path), "b") as other:
            assert other.shared is not None
            second = (await other.shared.peers.exchange(GOOD)).lease
        assert first is not None
        assert second is not None
        assert second.token > first.token
        one.shared.fenced.fence(first)
        with pytest.raises(StaleFence):
            await one.store.commit(replace(step(NEW, 500), actor=CONTROLLER))


# ... what anybody else has written


@pytest.mark.parametrize(
    ("commands", "problem"),
    [
        ([("SET", "state", "x")], "WRONGTYPE"),
        ([("SET", "head", "x")], "WRONGTYPE"),
        ([("HSET", "state", "default", "{")], "rollout 'default': unexpected end"),
        ([("HSET", "state", "default", "[]")], "is no table"),
        ([("HSET", "state", "default", '{"name": "default"}')], "state: Field required"),
        ([("HSET", "state", "other", '{"name":"a","state":"running","weight":1}')], "is that of 'a'"),
        ([("HSET", "state", "a", '{"name":"a","state":"running","weight":100001}')], "outside 0"),
        ([("HSET", "state", "a", '{"name":"a","state":"flying","weight":1}')], "state: "),
        ([("HSET", "state", "\udcff", "{}")], "rollout"),
        ([("HSET", "overrides", "x", "{}")], "override x"),
        ([("HSET", "head", "format", "2")], "has format '2', this dualpath knows 1"),
    ],
)
async def test_what_is_not_ours_is_named_and_left_alone(
    store: RedisStore, commands: list[tuple[str, ...]], problem: str
) -> None:
    for command, key, *values in commands:
        name = f"{{{store.keys.prefix}}}:{key}"
        await store.link.call(command, name, *(value.encode(errors="surrogateescape") for value in values))
    with pytest.raises(StoreCorrupt, match=problem):
        await store.load()
    with pytest.raises(StoreCorrupt):
        await store.open()


async def test_a_later_format_is_not_written_to(store: RedisStore) -> None:
    await store.commit(step(NEW, 5))
    await told(store, "HSET", store.keys.head, "format", "2")
    with pytest.raises(StoreCorrupt, match="format"):
        await store.commit(event(step(NEW, 5).after))
    with pytest.raises(StoreCorrupt, match="format"):
        await store.records()


async def test_an_audit_of_another_type_keeps_state_and_head_as_they_were(store: RedisStore) -> None:
    await told(store, "SET", store.keys.audit, "x")
    with pytest.raises(StoreCorrupt, match="WRONGTYPE"):
        await store.commit(step(NEW, 5))
    assert await told(store, "EXISTS", store.keys.states) == 0
    assert await told(store, "EXISTS", store.keys.head) == 0


@pytest.mark.parametrize("goes_on", [False, True])
async def test_a_removed_event_is_missed(store: RedisStore, *, goes_on: bool) -> None:
    steps = chain("default", [1, 2, 3, 4])
    for one in steps:
        await store.commit(one)
    await told(store, "XDEL", store.keys.audit, "2-0")
    if goes_on:
        await store.commit(event(steps[-1].after))
    page, verifier = await store.records(), Verifier()
    verifier.take(page.records)
    fault = verifier.end(page.head)
    assert fault is not None
    assert (fault.kind, fault.seq) == ("gap", 2)


@pytest.mark.parametrize("removed", ["DEL", "HSET"])
async def test_without_its_end_a_chain_goes_on_after_the_last_record_and_says_so(
    store: RedisStore, removed: str
) -> None:
    steps = chain("default", [1, 2, 3])
    for one in steps:
        await store.commit(one)
    await told(store, removed, store.keys.head, *(["seq", "many"] if removed == "HSET" else []))
    verifier, page = Verifier(), await store.records()
    verifier.take(page.records)
    fault = verifier.end(page.head)
    assert fault is not None
    assert fault.kind == "truncated"
    await store.commit(event(steps[-1].after))
    assert await holds(store) == 4
    assert (await store.records()).head.adopted == 3


async def test_an_entry_that_another_program_has_added_keeps_nothing_from_being_written(
    store: RedisStore,
) -> None:
    await store.commit(step(NEW, 5))
    await told(store, "XADD", store.keys.audit, "7-0", "x", "y")
    await store.commit(event(step(NEW, 5).after))
    page, verifier = await store.records(), Verifier()
    assert [one.seq for one in page.records] == [1, 7, 8]
    verifier.take(page.records)
    assert verifier.end(page.head) is not None
    with pytest.raises(StoreCorrupt, match="event 7: Invalid JSON"):
        await store.events()


async def test_the_events_of_one_rollout_are_found_among_thousands(store: RedisStore) -> None:
    for one in chain("a", [1, 2]):
        await store.commit(one)
    script = f"for i = 3, 2600 do redis.call('XADD', '{store.keys.audit}', i .. '-0', 'rollout', 'b') end"
    await store.link.ask(store.link._connected().eval(script, 0))
    await told(store, "HSET", store.keys.head, "seq", "2600")
    await store.commit(chain("c", [7])[0])
    for one in chain("a", [1, 2, 3])[2:]:
        await store.commit(one)
    assert [one.seq for one in await store.events(rollout="a")] == [1, 2, 2602]
    assert [one.seq for one in await store.events(rollout="a", after=-1, limit=2)] == [2, 2602]
    assert [one.seq for one in await store.events(rollout="a", after=1, limit=1)] == [2]
    assert await store.events(rollout="none") == []


# ... a server that does not do as it should


async def test_scripts_that_were_flushed_are_sent_again(server: RedisServer, tmp_path: Path) -> None:
    async with opened(table_at(server, tmp_path)) as storage:
        steps = chain("default", [1, 2])
        await storage.store.commit(steps[0])
        server.tell("SCRIPT", "FLUSH")
        await storage.store.commit(steps[1])
        assert (await storage.store.load())["default"].weight == 2


async def test_a_server_that_was_started_anew_is_found_again_and_empty(
    server: RedisServer, tmp_path: Path
) -> None:
    async with opened(table_at(server, tmp_path)) as storage:
        await storage.store.commit(step(NEW, 5))
        server.kill()
        with pytest.raises(StoreUnavailable, match="redis"):
            await storage.store.load()
        with pytest.raises(StoreUnavailable):
            await storage.store.commit(event(step(NEW, 5).after))
        server.start()
        assert dict(await storage.store.load()) == {}
        await storage.store.commit(step(NEW, 7))
        server.tell("FLUSHALL")
        assert dict(await storage.store.load()) == {}
        assert (await storage.trail.records()).head.seq == 0


async def test_a_write_that_was_not_answered_in_time_is_not_done_later(
    server: RedisServer, tmp_path: Path
) -> None:
    async with opened(table_at(server, tmp_path, timeout="500ms")) as storage:
        steps = chain("default", [1, 2])
        await storage.store.commit(steps[0])
        run = of(storage).link.run

        async def stopped_before_the_write(*call: object) -> object:
            if len(call) > 5:  # the commit, behind the look
                server.pause()
            return await run(*call)  # type: ignore[arg-type]

        of(storage).link.run = stopped_before_the_write  # type: ignore[assignment]
        async with stopwatch() as watch:
            with pytest.raises(StoreUnavailable, match=r"within 0\.5 s"):
                await storage.store.commit(steps[1])
        assert watch.own_s < 1.0, watch
        of(storage).link.run = run  # type: ignore[method-assign]
        server.resume()
        assert (await storage.store.load())["default"].weight == 1
        assert (await storage.trail.records()).head.seq == 1
        await storage.store.commit(steps[1])


async def test_a_write_whose_caller_gives_up_is_done_to_its_end_and_seen_by_all_that_follows(
    store: RedisStore,
) -> None:
    writing = asyncio.ensure_future(store.commit(step(NEW, 5)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert [one.transition.after.weight for one in await store.events()] == [5]


async def test_a_full_server_takes_no_half_of_a_commit(server: RedisServer, tmp_path: Path) -> None:
    async with opened(table_at(server, tmp_path)) as storage:
        await storage.store.commit(step(NEW, 5))
        server.tell("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(StoreUnavailable, match="OOM"):
            await storage.store.commit(event(step(NEW, 5).after))
        with pytest.raises(StoreUnavailable, match="OOM"):
            await storage.minutes.prune(-1.0, 1)
        assert (await storage.store.load())["default"].weight == 5
        server.tell("CONFIG", "SET", "maxmemory", "0")
        await storage.store.commit(event(step(NEW, 5).after))
        assert await holds(of(storage)) == 2


async def test_a_replica_and_a_server_without_replicas_take_nothing(tmp_path: Path) -> None:
    with running("redis") as main, running("redis", "--replicaof", "127.0.0.1 1") as replica:
        async with opened(table_at(replica, tmp_path)) as storage:
            with pytest.raises(StoreUnavailable, match="read only replica"):
                await storage.store.commit(step(NEW, 5))
        main.tell("CONFIG", "SET", "min-replicas-to-write", "1")
        async with opened(table_at(main, tmp_path)) as storage:
            with pytest.raises(StoreUnavailable, match="NOREPLICAS"):
                await storage.store.commit(step(NEW, 5))
            assert dict(await storage.store.load()) == {}
            main.tell("CONFIG", "SET", "min-replicas-to-write", "0")
            await storage.store.commit(step(NEW, 5))


async def test_whom_the_server_refuses_is_told_so_without_the_password(
    server: RedisServer, tmp_path: Path
) -> None:
    rights = ["on", ">s3cret-pw", "~{dualpath}:*", "&{dualpath}:*", "+@all", "-@dangerous"]
    server.tell("ACL", "SETUSER", "fleet", *rights)
    server.tell("ACL", "SETUSER", "reader", "on", ">s3cret-pw", "~*", "+@read")
    server.tell("ACL", "SETUSER", "default", "off")
    at = server.url.replace("://", "://{}@")
    for access in ("fleet:wrong-pw", "nobody:s3cret-pw", "reader:s3cret-pw"):
        with pytest.raises(StoreUnavailable, match="refuses us") as caught:
            async with opened(table_at(server, tmp_path, url=at.format(access))):
                pass
        assert "-pw" not in str(caught.value)
    with pytest.raises(StoreUnavailable, match="refuses us"):
        async with opened(table_at(server, tmp_path)):
            pass
    async with opened(table_at(server, tmp_path, url=at.format("fleet:s3cret-pw"))) as storage:
        await storage.store.commit(step(NEW, 5))
        assert storage.shared is not None
        await storage.shared.peers.exchange(GOOD)
        assert "s3cret" not in repr(storage) + repr(of(storage).link) + repr(of(storage).link.place)


async def test_nobody_there_is_told_within_the_timeout(tmp_path: Path) -> None:
    table = StoreTable.read({"url": f"redis+unix://{tmp_path / 'nowhere'}"})
    with pytest.raises(StoreUnavailable, match="nowhere"):
        async with opened(table):
            pass


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ("redis_version:6.0.16\r\n", "is version 6.0; 6.2 or later is needed"),
        ("redis_version:6.2.0\r\n", ""),
        ("redis_version:10.0.1\r\n", ""),
        ("", ""),
    ],
)
def test_a_server_that_is_too_old_is_told_apart(told: str, problem: str) -> None:
    assert unfit(told) == problem


async def test_a_server_that_evicts_is_warned_of(
    server: RedisServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.tell("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    for limit, warned in (("0", False), ("1gb", True)):
        server.tell("CONFIG", "SET", "maxmemory", limit)
        async with opened(table_at(server, tmp_path)):
            assert ("maxmemory-policy is allkeys-lru" in caplog.text) is warned


async def test_who_is_always_slower_than_others_is_told_so(store: RedisStore) -> None:
    run = store.link.run

    async def moved(*call: object) -> object:
        return b"moved" if len(call) > 5 else await run(*call)  # type: ignore[arg-type]

    store.link.run = moved  # type: ignore[assignment]
    with pytest.raises(StoreUnavailable, match="others write without a pause"):
        await store.commit(step(NEW, 5))
    assert await store.events(limit=0) == []


async def test_a_member_of_a_sorted_set_that_is_no_minute_is_named(table: StoreTable) -> None:
    async with opened(table) as storage:
        await storage.minutes.append([])
        key = of(storage).keys.minutes_of("default")
        for member in ("60.0 {}", "x"):
            await told(of(storage), "ZADD", key, "60", member)
            with pytest.raises(StoreCorrupt, match="of 'default': "):
                await storage.minutes.between("default", 0.0, 1e6, 10)
            await told(of(storage), "DEL", key)
        assert await storage.minutes.prune(1e9, 10) == 0
        assert of(storage).keys.prefix in repr(storage.minutes)
