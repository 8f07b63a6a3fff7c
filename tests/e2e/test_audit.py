"""The audit of a running proxy: chained, verified from outside, and explained in words; and its minutes."""

from __future__ import annotations

import copy
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from proxy.admin_client import TlsFiles, open_admin
from proxy.verification import verify
from tests.e2e.proxy_process import config, run, running_proxy
from tests.e2e.raw_client import fetch
from tests.e2e.test_reload import refused, reloaded
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.verification import Verification
    from tests.e2e.proxy_process import ProxyProcess, Table
    from tests.e2e.raw_backend import RawBackend

USER = (b"X-User-Id", b"alice")


async def verified(proxy: ProxyProcess, noted: tuple[int, str] | None = None) -> Verification:
    """As `history --verify` has it, without the time that a command line takes to start."""
    async with open_admin(proxy.admin_url, None, TlsFiles()) as admin:
        return await verify(admin, noted)


async def causes(proxy: ProxyProcess) -> list[tuple[str, str]]:
    events: list[Table] = (await proxy.get("/api/v1/events?limit=100"))["events"]
    return [(event["cause"], event["reason"]) for event in events]


@pytest.fixture
def document(v1: RawBackend, v2: RawBackend, tmp_path: Path) -> Table:
    return config(
        v1.url, v2.url, store={"url": f"sqlite:///{tmp_path / 'store.db'}"}, rollout={"percentage": 0}
    )


def execute(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "store.db", isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


async def test_a_chain_is_verified_and_whoever_touches_it_is_found_out(
    document: Table, tmp_path: Path
) -> None:
    async with running_proxy(document, tmp_path) as proxy:
        for percentage in (10, 20, 30):
            await proxy.set(percentage)
        events = (await proxy.get("/api/v1/events"))["events"]
        found = await verified(proxy)
        assert (found.fault, found.events, found.head.hash) == (None, 4, events[-1]["hash"])
        assert len({event["hash"] for event in events}) == 4
        assert len({event["config"] for event in events}) == 1
    async with running_proxy(document, tmp_path) as proxy:
        assert (await verified(proxy, (4, events[-1]["hash"][:16]))).fault is None
        execute(tmp_path, "UPDATE events SET record = replace(record, 'local', 'nobody') WHERE seq = 3")
        await proxy.set(40)
        told = await run("history", "--verify", "--admin", proxy.admin_url, directory=tmp_path)
        assert (told.code, told.stderr) == (1, "")
        assert told.stdout.startswith("NOT verified: event 3 does not carry its hash")
        execute(tmp_path, "DELETE FROM events WHERE seq = 2")
        found = await verified(proxy)
        assert found.fault is not None
        assert (found.fault.kind, found.fault.seq) == ("gap", 2)
        execute(tmp_path, "DROP TABLE chain")
        found = await verified(proxy)
        assert found.fault is not None
        assert (found.fault.kind, found.fault.seq) == ("gap", 2), "the first place counts"
        await proxy.set(45)
        assert (await verified(proxy)).fault == found.fault
        execute(tmp_path, "DELETE FROM events", "UPDATE chain SET seq = 0, hash = printf('%064d', 0)")
        found = await verified(proxy)
        assert found.fault is not None
        assert "default is at revision 6" in found.fault.text


async def test_every_reload_stands_in_the_audit_also_one_that_is_refused(
    document: Table, tmp_path: Path
) -> None:
    async with running_proxy(document, tmp_path) as proxy:

        async def told(reason: str) -> bool:
            return (await causes(proxy))[-1][1].startswith(reason)

        changed = copy.deepcopy(document)
        changed["log"]["level"] = "error"
        await reloaded(proxy, changed)
        await eventually(lambda: told("configuration reloaded: log"))
        await reloaded(proxy, changed)
        await eventually(lambda: told("configuration reloaded: nothing has changed"))
        await refused(proxy, {**changed, "listen": {**changed["listen"], "workers": 3}})
        await eventually(lambda: told("configuration not reloaded: listen.workers: cannot change"))
        events = (await proxy.get("/api/v1/events"))["events"]
        assert [event["cause"] for event in events] == ["config", "config", "config", "config:refused"]
        first, second, third, fourth = (event["config"] for event in events)
        assert first != second == third == fourth
        assert (await verified(proxy)).fault is None


async def test_what_was_counted_is_kept_over_a_restart(
    document: Table, v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    async with running_proxy(document, tmp_path) as proxy:
        for _ in range(5):
            assert (await fetch(proxy.listen, "GET", "/", (USER,))).status == 200
        await proxy.settled()
        await proxy.set(100)
        for _ in range(3):
            assert (await fetch(proxy.listen, "GET", "/", (USER,))).backend == b"v2"
    async with running_proxy(document, tmp_path) as proxy:
        seen = await proxy.get("/api/v1/rollouts/default/minutes")
        before = [minute for minute in seen["minutes"] if minute["percentage"] == 0]
        after = [minute for minute in seen["minutes"] if minute["percentage"] == 100]
        assert sum(minute["paths"]["v1"]["requests"] for minute in before) >= 5
        assert sum(minute["paths"]["v2"]["requests"] for minute in before) == 0
        assert sum(minute["paths"]["v2"]["requests"] for minute in after) == 3
        assert all(minute["paths"]["v2"]["latency_ms"]["p95"] > 0 for minute in after)
        assert (await proxy.get("/api/v1/rollouts/default/minutes?to=2020-01-01T00:00:00Z"))["minutes"] == []
        assert (await proxy.ask_admin("/api/v1/rollouts/other/minutes")).status == 404
        assert (await proxy.ask_admin("/api/v1/rollouts/default/minutes?from=then")).status == 400


async def test_why_and_explain_say_it_in_words(document: Table, tmp_path: Path) -> None:
    plan = {"phases": [{"name": "canary", "percentage": 10, "min_duration": "1h", "min_requests": 500}]}
    document["rollouts"][0] |= plan
    async with running_proxy(document, tmp_path) as proxy:
        assert (await proxy.command("start", reason="first look")).status == 200

        async def judged() -> bool:
            return "no judgment yet" not in (await proxy.status())["judgment"]["reasons"]

        await eventually(judged)
        told = await run("why", "--admin", proxy.admin_url, directory=tmp_path)
        assert told.code == 0, told.stderr
        assert "default: running at 10%" in told.stdout
        assert "first look" in told.stdout
        assert "by local: first look" in told.stdout
        assert "500" in told.stdout
        explained = await proxy.get("/api/v1/explain?key=alice&path=/")
        assert explained["rule"].startswith("bucket")
        assert (explained["weight"], explained["override"]) == (10_000, None)


async def test_an_override_is_explained_by_who_set_it(document: Table, tmp_path: Path) -> None:
    async with running_proxy(document, tmp_path) as proxy:
        await proxy.set(1)
        fields = ((b"Host", b"localhost"), (b"Content-Type", b"application/json"))
        body = b'{"key": "alice", "path": "v2", "reason": "ticket 7"}'
        target = "/api/v1/rollouts/default/overrides"
        assert (await fetch(proxy.admin, "POST", target, fields, body)).status == 200
        told = await proxy.get("/api/v1/explain?key=alice&path=/")
        assert (told["path"], told["rule"]) == ("v2", "override v2")
        assert (told["override"]["actor"], told["override"]["reason"]) == ("local", "ticket 7")
        assert (await causes(proxy))[-1][0] == "override:set"
        assert (await verified(proxy)).fault is None
