"""An instance beside one of the version before, and one of a newer version, on a real store: what the older
one counts is evidence, what the newer one says is passed over in one clear line, and nothing else is lost.

One instance is real; the others are what such a one writes, put into the store as it would.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

from proxy.config.store import Store as StoreTable
from proxy.core import members
from proxy.core.delta import VERSION, Delta, RolloutDelta, written
from proxy.core.fleet import Role
from proxy.core.members import MemberRecord
from proxy.core.peers import Identity, Presence
from proxy.core.tally import Tally
from proxy.stores.opening import storage_of
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.stores.storage import Storage
    from tests.e2e.proxy_process import ProxyProcess
    from tests.redis_server import RedisServer


class Other:
    """An instance that only tells."""

    def __init__(self, storage: Storage, reports: int) -> None:
        assert storage.shared is not None
        self._peers = storage.shared.peers
        self._reports = reports
        self._told = 0

    async def tell(self, *reports: dict[str, Any], record: dict[str, Any] | None = None) -> None:
        """That it is there, and these."""
        numbered = []
        for report in reports:
            self._told += 1
            numbered.append((self._told, orjson.dumps({**report, "number": self._told})))
        own = members.written(MemberRecord("0.0.9", Role.FOLLOWER, 0.0, reports=self._reports))
        record = own | (record or {})
        await self._peers.exchange(
            Presence(orjson.dumps(record), tuple(numbered), stands=False, member_s=30.0)
        )


def failing(revision: int, requests: int) -> dict[str, Any]:
    """A report of the version before on a v2 that fails."""
    tally = Tally(client_requests=requests, assigned_v2=requests)
    tally.v2.requests = tally.v2.errors[-1] = requests
    for _ in range(requests):
        tally.v2.latency.record(0.02)
    delta = Delta("older/1", 1, (RolloutDelta("default", revision, "disabled", tally),))
    return written(delta, VERSION - 1)


async def test_evidence_of_the_version_before_counts_and_that_of_a_newer_one_is_passed_over(
    one_instance: ProxyProcess, its_store: RedisServer, tmp_path: Path
) -> None:
    proxy, store = one_instance, its_store
    assert (await proxy.command("start")).status == 200
    table = StoreTable.read({"url": store.url, "copy_file": str(tmp_path / "o.db"), "timeout": "2s"})
    storages = [storage_of(table, Identity(name, "1")) for name in ("older", "newer")]
    older, newer = Other(storages[0], VERSION - 1), Other(storages[1], VERSION + 1)
    try:
        strange = {"version": VERSION + 1, "source": "newer/1", "anything": "else"}
        await newer.tell(strange, strange, record={"v": members.VERSION + 1})
        revision = (await proxy.status())["revision"]
        await older.tell(failing(revision, 60))

        async def taken_back() -> bool:
            return bool((await proxy.status())["state"] == "rolled_back")

        await eventually(taken_back, 10.0)
        told = {one["instance"]: one for one in (await proxy.get("/api/v1/status"))["fleet"]["members"]}
        assert told["older"]["version"] == "0.0.9"
        assert told["newer"]["unread"].startswith(f"member: is of version {members.VERSION + 1}")
        metrics = (await proxy.ask_admin("/metrics")).body
        assert b'dualpath_fleet_reports_total{outcome="unread"} 2.0\n' in metrics
    finally:
        for one in storages:
            await one.store.close()
    log = await asyncio.to_thread(proxy.log.read_text)
    assert log.count("newer: its reports are passed over: report: is of version 3") == 1
