"""The ways to a Redis: TLS, sentinels, a cluster; each with a real one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import MovedError

from proxy.config.store import redis_place
from proxy.core.peers import Presence
from proxy.errors import StoreUnavailable
from proxy.model import KeyOverride, Path
from proxy.stores.redis_link import RedisLink
from tests.certificates import Authority
from tests.e2e.waiting import eventually
from tests.redis_server import KINDS, RedisServer, binary, free_port, sentinel_binary
from tests.stores.conftest import opened, running, table_at
from tests.stores.states import chain, event

if TYPE_CHECKING:
    from pathlib import Path as FilePath

    from proxy.stores.storage import Storage


async def works(storage: Storage) -> None:
    """Every part of it does something."""
    assert storage.shared is not None
    steps = chain("default", [1, 2])
    for one in steps:
        await storage.store.commit(one)
    override = KeyOverride("default", "alice", Path.V2, "tess", 1.0)
    await storage.overrides.put(override, event(steps[-1].after, "override:set"))
    assert [one.seq for one in await storage.store.events(rollout="default")] == [1, 2, 3]
    assert (await storage.trail.records()).head.seq == 3
    assert await storage.minutes.prune(1.0, 10) == 0
    peers, copy = storage.shared.peers, storage.shared.copy
    told = await peers.exchange(Presence(b"{}", ((1, b"report"),)))
    assert told.lease is not None
    assert [one.report for one in await peers.dispatches()] == [b"report"]
    assert [one.record for one in await peers.members()] == [b"{}"]
    await copy.open()
    assert (await copy.follow()).shared.overrides == (override,)
    await copy.close()
    pushed = peers.changes()
    assert await anext(pushed) is None
    committed = asyncio.ensure_future(storage.store.commit(event(steps[-1].after)))
    assert await asyncio.wait_for(anext(pushed), 5) == 4
    await committed
    await pushed.aclose()
    await peers.leave()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_cluster_keeps_all_keys_of_a_fleet_together(kind: str, tmp_path: FilePath) -> None:
    port = free_port()
    options = ("--cluster-enabled", "yes", "--databases", "1", "--cluster-announce-ip", "127.0.0.1")
    with running(kind, *options, "--cluster-port", str(free_port()), port=port) as server:
        table = table_at(server, tmp_path, url=f"redis+cluster://127.0.0.1:{port}")
        with pytest.raises(StoreUnavailable):
            async with opened(table):
                pass
        server.tell("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        await eventually(lambda: b"cluster_state:ok" in server.tell("CLUSTER", "INFO"))
        async with opened(table) as storage:
            await works(storage)


async def test_of_a_cluster_that_is_taken_for_one_server_the_right_url_is_told() -> None:
    async def answer() -> None:
        """For a key that another node has."""
        raise MovedError("1234 127.0.0.1:7001")

    with pytest.raises(StoreUnavailable, match=r'its URL begins with "redis\+cluster"'):
        await RedisLink(redis_place("redis://h"), 2.0).ask(answer())


async def test_sentinels_say_where_the_main_server_is(tmp_path: FilePath) -> None:
    with running("redis", port=free_port()) as server:
        file = tmp_path / "sentinel.conf"
        port = free_port()
        file.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor fleet 127.0.0.1 {server.port} 1\n")
        sentinel = RedisServer(port=port, program=[sentinel_binary(), str(file)])
        try:
            sentinel.start()
            url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{port}/fleet/1"
            async with opened(table_at(server, tmp_path, url=url)) as storage:
                await works(storage)
            with pytest.raises(StoreUnavailable, match="other"):
                async with opened(table_at(server, tmp_path, url=f"redis+sentinel://127.0.0.1:{port}/other")):
                    pass
        finally:
            sentinel.end()


@pytest.mark.parametrize("kind", KINDS)
async def test_tls_with_certificates_of_both_sides(kind: str, tmp_path: FilePath) -> None:
    authority = Authority(tmp_path)
    ours, theirs = authority.signs(subject="client"), authority.signs(["127.0.0.1"])
    port = free_port()
    options = ["--tls-port", str(port), "--tls-ca-cert-file", str(authority.file)]
    options += ["--tls-cert-file", str(theirs.certificate), "--tls-key-file", str(theirs.key)]
    server = RedisServer(kind, options)
    try:
        try:
            server.start()
        except AssertionError as error:
            if "tls" not in str(error).lower():
                raise
            pytest.skip(f"{binary(kind)} was built without TLS")
        url = f"rediss://127.0.0.1:{port}"
        tls = {"ca_file": str(authority.file), **ours.table}
        async with opened(table_at(server, tmp_path, url=url, tls=tls)) as storage:
            await works(storage)
        for wrong in ({"ca_file": str(authority.file)}, {**ours.table}, None):
            table = table_at(server, tmp_path, url=url, **({"tls": wrong} if wrong else {}))
            with pytest.raises(StoreUnavailable):
                async with opened(table):
                    pass
    finally:
        server.end()
