"""The admin API of a running proxy, and the command line as its client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.proxy_process import Finished, ProxyProcess, Table, run
from tests.e2e.raw_client import fetch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.raw_backend import RawBackend


@pytest.fixture(scope="module")
def settings() -> dict[str, Table]:
    guard = {"metric": "error_rate", "above": 0.5, "min_requests": 20}
    return {"rollout": {"percentage": 30, "guards": [guard]}}


async def cli(proxy: ProxyProcess, directory: Path, *arguments: str) -> Finished:
    """One verb against this proxy."""
    return await run(*arguments, "--admin", proxy.admin_url, directory=directory)


async def test_a_ready_proxy_is_healthy_and_ready(proxy: ProxyProcess) -> None:
    assert await proxy.get("/healthz") == {"status": "ok"}
    ready = await proxy.get("/readyz")
    assert (ready["status"], ready["missing"]) == ("ready", [])
    assert ready["backends"]["v2"] == {"endpoints": 1, "healthy": 1}


async def test_status_has_what_is_promised(proxy: ProxyProcess, v1: RawBackend, v2: RawBackend) -> None:
    for user in range(20):
        await fetch(proxy.listen, "GET", "/", ((b"X-User-Id", b"%d" % user),))
    whole = await proxy.get("/api/v1/status")
    assert {"instance", "version", "uptime_s", "workers"} <= set(whole)
    rollout = await proxy.status()
    promised = {"name", "state", "phase", "percentage", "observed_percentage", "revision", "since", "reason"}
    assert promised <= set(rollout)
    assert {"mean", "p50", "p95", "p99"} <= set(rollout["paths"]["v1"]["latency_ms"])
    assert {"requests", "errors", "error_rate", "fallbacks", "fallback_rate"} <= set(rollout["paths"]["v2"])
    assert {"requests", "errors", "error_rate"} <= set(rollout["client"])
    assert {"verdict", "reasons"} <= set(rollout["judgment"])


async def test_a_command_is_in_force_and_in_the_audit_when_it_is_answered(proxy: ProxyProcess) -> None:
    answer = await proxy.command("set", percentage=40, reason="a little more")
    shown = json.loads(answer.body)
    assert (shown["percentage"], shown["state"]) == (40.0, "running")
    newest = (await proxy.get("/api/v1/events?after=-1&limit=1"))["events"][0]
    assert (newest["actor"], newest["reason"]) == ("local", "a little more")
    assert newest["after"]["revision"] == shown["revision"]


async def test_a_stale_revision_is_a_conflict(proxy: ProxyProcess) -> None:
    revision = (await proxy.status())["revision"]
    answer = await proxy.command("set", percentage=50, revision=revision + 7)
    assert answer.status == 409
    assert json.loads(answer.body)["type"] == "urn:dualpath:problem:stale-revision"
    assert (await proxy.status())["revision"] == revision


async def test_an_illegal_move_is_a_conflict(proxy: ProxyProcess, tmp_path: Path) -> None:
    assert (await proxy.command("abort")).status == 200
    assert (await proxy.command("resume")).status == 409
    done = await cli(proxy, tmp_path, "rollout", "resume")
    assert done.code == 1
    assert len(done.complaint) == 1
    await proxy.set(30)


async def test_the_command_line_moves_the_weight(proxy: ProxyProcess, tmp_path: Path) -> None:
    done = await cli(proxy, tmp_path, "rollout", "set", "12.5", "--reason", "by hand")
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.startswith("default: running at 12.5%")
    done = await cli(proxy, tmp_path, "rollout", "rollback")
    assert done.stdout.startswith("default: rolled_back at 0%")
    assert (await proxy.status())["percentage"] == 0
    await proxy.set(30)


async def test_the_command_line_shows_what_the_api_says(proxy: ProxyProcess, tmp_path: Path) -> None:
    done = await cli(proxy, tmp_path, "status", "--json")
    assert json.loads(done.stdout)["rollouts"][0]["revision"] == (await proxy.status())["revision"]
    done = await cli(proxy, tmp_path, "status")
    assert (done.code, done.stderr) == (0, "")
    assert "default: running at 30%" in done.stdout
    assert "\x1b" not in done.stdout
    done = await cli(proxy, tmp_path, "history", "--limit", "2")
    assert done.stdout.count("#") == 2


async def test_explain_agrees_with_the_split(proxy: ProxyProcess, tmp_path: Path) -> None:
    await proxy.set(30)
    for user in range(40):
        explained = await proxy.get(f"/api/v1/explain?key={user}&path=/menu")
        answer = await fetch(proxy.listen, "GET", "/menu", ((b"X-User-Id", b"%d" % user),))
        assert answer.backend == explained["path"].encode()
        assert (explained["bucket"] < 30_000) == (explained["path"] == "v2")
    done = await cli(proxy, tmp_path, "explain", "--key", "7", "--json")
    assert json.loads(done.stdout) == await proxy.get("/api/v1/explain?key=7")


async def test_health_lists_both_backends(proxy: ProxyProcess, tmp_path: Path) -> None:
    done = await cli(proxy, tmp_path, "health")
    assert done.code == 0
    assert [line.split()[2] for line in done.stdout.splitlines()] == ["state", "healthy", "healthy"]


async def test_errors_are_problem_documents(proxy: ProxyProcess) -> None:
    host = (b"Host", b"localhost")
    for method, target, status in (
        ("GET", "/nowhere", 404),
        ("DELETE", "/api/v1/status", 405),
        ("GET", "/api/v1/rollouts/nobody", 404),
        ("GET", "/api/v1/events?limit=0", 400),
    ):
        answer = await fetch(proxy.admin, method, target, (host,))
        assert answer.status == status
        assert answer.get(b"content-type") == b"application/problem+json"
        assert json.loads(answer.body)["status"] == status


async def test_a_huge_body_is_refused_and_the_admin_goes_on(proxy: ProxyProcess) -> None:
    fields = ((b"Host", b"localhost"), (b"Content-Type", b"application/json"))
    answer = await fetch(proxy.admin, "POST", "/api/v1/rollouts/default/set", fields, b" " * (1 << 20))
    assert answer.status == 413
    assert await proxy.get("/healthz") == {"status": "ok"}


async def test_a_rebound_name_is_refused(proxy: ProxyProcess) -> None:
    for target in ("/api/v1/status", "/api/v1/config"):
        answer = await fetch(proxy.admin, "GET", target, ((b"Host", b"evil.example"),))
        assert answer.status == 403
