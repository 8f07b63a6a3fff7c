"""A changed configuration is in force for new requests, running ones end as they began, and a bad one changes
nothing."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import answers
from tests.e2e.proxy_process import ProxyProcess, Table, config, running_proxy, toml
from tests.e2e.raw_backend import RawBackend
from tests.e2e.raw_client import connected, fetch
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

USER = (b"X-User-Id", b"u1")


async def test_sighup_puts_a_changed_rollout_in_force_and_keeps_its_weight(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    document = config(v1.url, v2.url, rollout={"percentage": 0})
    async with running_proxy(document, tmp_path) as proxy:
        await proxy.set(25)
        assert (await fetch(proxy.listen, "GET", "/", (USER,))).status == 200
        changed = changed_rollout(document, allow={"v2": ["u1"]})
        await reloaded(proxy, changed)
        assert (await fetch(proxy.listen, "GET", "/", (USER,))).backend == b"v2"
        assert (await proxy.status())["percentage"] == 25
        events = (await proxy.get("/api/v1/events?limit=100"))["events"]
        assert [(e["cause"], e["changes_state"]) for e in events][-1] == ("config", False)


async def test_rollouts_come_and_go(v1: RawBackend, v2: RawBackend, tmp_path: Path) -> None:
    document = config(v1.url, v2.url, rollout={"percentage": 0})
    async with running_proxy(document, tmp_path) as proxy:
        more = copy.deepcopy(document)
        more["rollouts"].insert(
            0, {**document["rollouts"][0], "name": "new", "routes": [{"prefix": "/new"}], "percentage": 100}
        )
        await reloaded(proxy, more)
        assert (await fetch(proxy.listen, "GET", "/new/x", (USER,))).backend == b"v2"
        assert (await fetch(proxy.listen, "GET", "/old", (USER,))).backend == b"v1"
        assert (await counted(proxy, "new"), await counted(proxy, "default")) == (1, 1)
        await reloaded(proxy, document)
        assert (await fetch(proxy.listen, "GET", "/new/x", (USER,))).backend == b"v1"
        assert [r["name"] for r in (await proxy.get("/api/v1/status"))["rollouts"]] == ["default"]
        assert (await proxy.command("set", "new", percentage=1)).status == 404


async def test_a_reload_takes_no_evidence_from_rollouts_that_are_the_same(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    document = config(v1.url, v2.url, rollout={"percentage": 50})
    async with running_proxy(document, tmp_path) as proxy:
        for number in range(20):
            await fetch(proxy.listen, "GET", "/", ((b"X-User-Id", b"%d" % number),))
        await eventually(lambda: requests_are(proxy, 20))
        other = copy.deepcopy(document)
        other["listen"]["expose_path"] = True
        await reloaded(proxy, other)
        assert (await proxy.status())["client"]["requests"] == 20
        assert (await fetch(proxy.listen)).get(b"x-dualpath-path") == b"v1"
        await reloaded(proxy, changed_rollout(other, salt="pepper"))
        assert (await proxy.status())["client"]["requests"] == 0


async def test_running_requests_end_under_the_old_configuration_and_new_ones_go_to_the_new_backend(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    gate = asyncio.Event()
    v1.answer = answers.held(gate)
    third = RawBackend("v3")
    await third.listen()
    document = config(v1.url, v2.url, rollout={"percentage": 0})
    async with running_proxy(document, tmp_path) as proxy, connected(proxy.listen) as kept:
        running = asyncio.create_task(kept.ask("GET", "/slow"))
        await eventually(lambda: v1.count() == 1)
        moved = copy.deepcopy(document)
        moved["backends"]["v1"]["endpoints"] = [third.url]
        await reloaded(proxy, moved)
        assert (await fetch(proxy.listen)).backend == b"v3"
        assert not running.done()
        gate.set()
        answer = await running
        assert (answer.status, answer.backend) == (200, b"v1")
        assert (await kept.ask()).backend == b"v3"  # the same connection, the new configuration
    await third.refuse()


@pytest.mark.parametrize("workers", [1, 2])
async def test_no_request_fails_while_it_is_reloaded_over_and_over(
    v1: RawBackend, v2: RawBackend, tmp_path: Path, workers: int
) -> None:
    v1.answer = v2.answer = answers.slow(0.002)
    document = config(v1.url, v2.url, rollout={"percentage": 50}, listen={"workers": workers})
    failures: list[str] = []
    asked = 0
    async with running_proxy(document, tmp_path) as proxy:
        stop = asyncio.Event()

        async def keep_asking(number: int) -> None:
            nonlocal asked
            user = (b"X-User-Id", b"%d" % number)
            async with connected(proxy.listen) as client:
                while not stop.is_set():
                    answer = await client.ask("GET", "/", (user,))
                    asked += 1
                    if not answer.complete or answer.status != 200:
                        failures.append(f"{answer.status} {answer.outcome}")
                        return

        load = [asyncio.create_task(keep_asking(number)) for number in range(16)]
        for turn in range(10):
            changed = changed_rollout(document, salt=f"s{turn}")
            changed["backends"]["v2"]["response_timeout"] = f"{turn + 1}s"
            before = asked
            await reloaded(proxy, changed)
            await eventually(lambda before=before: asked > before + 50)
        stop.set()
        await asyncio.gather(*load)
    assert failures == []


async def test_a_changed_file_is_noticed(v1: RawBackend, v2: RawBackend, tmp_path: Path) -> None:
    document = config(v1.url, v2.url)
    async with running_proxy(document, tmp_path) as proxy:
        document["listen"]["expose_path"] = True
        (tmp_path / "proxy.toml").write_text(toml(document))

        async def told() -> bool:
            return (await fetch(proxy.listen)).get(b"x-dualpath-path") == b"v1"

        await eventually(told)


async def test_an_invalid_file_changes_nothing_and_every_fault_is_told(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    document = config(v1.url, v2.url, rollout={"percentage": 0})
    async with running_proxy(document, tmp_path) as proxy:
        wrong = changed_rollout(document, colour="red", allow={"v2": ["u1"]})
        wrong["listen"]["header_timeout"] = 10
        error = await refused(proxy, wrong)
        for path in ("rollouts.0.colour", "listen.header_timeout"):
            assert path in error
            await eventually(lambda path=path: path in proxy.log.read_text())  # written by a thread
        assert (await fetch(proxy.listen, "GET", "/", (USER,))).backend == b"v1"
        await reloaded(proxy, document)
        assert (await proxy.get("/api/v1/status"))["config"]["error"] is None


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("listen", "address", "127.0.0.1:1"),
        ("listen", "workers", 2),
        ("listen", "backlog", 7),
        ("admin", "address", "127.0.0.1:1"),
        ("store", "url", "sqlite:///other.db"),
    ],
)
async def test_what_cannot_change_while_running_is_named_and_nothing_changes(
    proxy: ProxyProcess, backends: tuple[RawBackend, RawBackend], table: str, key: str, value: object
) -> None:
    document = config(backends[0].url, backends[1].url)
    document["listen"]["expose_path"] = True
    document[table][key] = value
    assert f"{table}.{key}" in await refused(proxy, document)
    assert (await fetch(proxy.listen)).get(b"x-dualpath-path") is None


async def test_tokens_change_at_once(v1: RawBackend, v2: RawBackend, tmp_path: Path) -> None:
    document = config(v1.url, v2.url)
    async with running_proxy(document, tmp_path) as proxy:
        assert (await proxy.ask_admin("/api/v1/status")).status == 200
        document["admin"]["tokens"] = [token("secret")]
        write_and_signal(proxy, document)

        async def shut() -> bool:
            return (await proxy.ask_admin("/api/v1/status")).status == 401

        await eventually(shut)
        host = (b"Host", f"{proxy.admin[0]}:{proxy.admin[1]}".encode())
        bearer = (b"Authorization", b"Bearer secret")
        assert (await fetch(proxy.admin, "GET", "/api/v1/status", (host, bearer))).status == 200


async def test_probes_follow(v1: RawBackend, v2: RawBackend, tmp_path: Path) -> None:
    document = config(v1.url, v2.url)
    async with running_proxy(document, tmp_path) as proxy:
        v2.answer = answers.status("500 Internal Server Error")
        document["backends"]["v2"]["health"] = {"path": "/health", "interval": "50ms", "unhealthy_after": 1}
        await reloaded(proxy, document)
        await eventually(lambda: healthy(proxy, False))
        document["backends"]["v2"]["health"]["healthy_after"] = 1
        await reloaded(proxy, document)
        v2.forget()
        await eventually(lambda: healthy(proxy, True))
        v2.answer = answers.status("500 Internal Server Error")
        await eventually(lambda: healthy(proxy, False))
        del document["backends"]["v2"]["health"]
        await reloaded(proxy, document)
        await eventually(lambda: healthy(proxy, True))


async def healthy(proxy: ProxyProcess, expected: bool) -> bool:
    endpoints = (await proxy.status())["endpoints"]
    return [e["healthy"] for e in endpoints if e["path"] == "v2"] == [expected]


def changed_rollout(document: Table, **changes: Any) -> Table:
    changed = copy.deepcopy(document)
    changed["rollouts"][0].update(changes)
    return changed


def write_and_signal(proxy: ProxyProcess, document: Table) -> None:
    (proxy.log.parent / "proxy.toml").write_text(toml(document))
    proxy.process.send_signal(signal.SIGHUP)


async def reloaded(proxy: ProxyProcess, document: Table) -> None:
    """Write the file, signal, and wait until it is in force."""
    before = (await proxy.get("/api/v1/status"))["config"]["loaded_at"]
    write_and_signal(proxy, document)

    async def done() -> bool:
        told = (await proxy.get("/api/v1/status"))["config"]
        assert told["error"] is None or told["loaded_at"] == before, told
        return bool(told["loaded_at"] > before)

    await eventually(done)


async def refused(proxy: ProxyProcess, document: Table) -> str:
    """Write the file, signal, and give the reason why it is refused."""
    before = (await proxy.get("/api/v1/status"))["config"]
    write_and_signal(proxy, document)

    async def done() -> bool:
        return bool((await proxy.get("/api/v1/status"))["config"]["error"] != before["error"])

    await eventually(done)
    told = (await proxy.get("/api/v1/status"))["config"]
    assert told["loaded_at"] == before["loaded_at"]
    return str(told["error"])


async def requests_are(proxy: ProxyProcess, number: int) -> bool:
    return bool((await proxy.status())["client"]["requests"] == number)


async def counted(proxy: ProxyProcess, name: str) -> int:
    await eventually(lambda: _some(proxy, name))
    return int((await proxy.status(name))["client"]["requests"])


async def _some(proxy: ProxyProcess, name: str) -> bool:
    return bool((await proxy.status(name))["client"]["requests"])


def token(secret: str) -> dict[str, str]:
    return {"name": "t", "role": "operator", "sha256": hashlib.sha256(secret.encode()).hexdigest()}
