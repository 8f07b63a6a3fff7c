"""Tokens and roles of a running proxy."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from tests.e2e.proxy_process import ProxyProcess, Table, run
from tests.e2e.raw_client import Response, fetch

if TYPE_CHECKING:
    from pathlib import Path

VIEWER, OPERATOR = "viewer-token", "operator-token"
ROLLBACK = "/api/v1/rollouts/default/rollback"


@pytest.fixture(scope="module")
def settings() -> dict[str, Table]:
    tokens = [
        {"name": name, "role": role, "sha256": hashlib.sha256(token.encode()).hexdigest()}
        for name, role, token in (("eve", "viewer", VIEWER), ("bob", "operator", OPERATOR))
    ]
    return {"admin": {"tokens": tokens}}


async def ask(proxy: ProxyProcess, method: str, target: str, token: str | None) -> Response:
    credentials = () if token is None else ((b"Authorization", f"Bearer {token}".encode()),)
    return await fetch(proxy.admin, method, target, ((b"Host", b"localhost"), *credentials))


async def test_without_a_token_only_the_probes_answer(proxy: ProxyProcess) -> None:
    assert (await ask(proxy, "GET", "/api/v1/status", None)).status == 401
    assert (await ask(proxy, "POST", ROLLBACK, None)).status == 401
    for probe in ("/healthz", "/readyz"):
        assert (await ask(proxy, "GET", probe, None)).status == 200


async def test_a_viewer_looks_and_an_operator_acts(proxy: ProxyProcess) -> None:
    assert (await ask(proxy, "GET", "/api/v1/status", VIEWER)).status == 200
    assert (await ask(proxy, "POST", ROLLBACK, VIEWER)).status == 403
    assert (await ask(proxy, "POST", ROLLBACK, OPERATOR)).status == 200
    events = await ask(proxy, "GET", "/api/v1/events?after=-1&limit=1", VIEWER)
    assert b'"actor":"bob"' in events.body


async def test_the_configuration_shows_no_digest(proxy: ProxyProcess) -> None:
    shown = (await ask(proxy, "GET", "/api/v1/config", VIEWER)).body
    assert hashlib.sha256(OPERATOR.encode()).hexdigest().encode() not in shown


async def test_the_command_line_gives_its_token(proxy: ProxyProcess, tmp_path: Path) -> None:
    admin = ("--admin", proxy.admin_url)
    assert (await run("status", *admin, "--token", VIEWER, directory=tmp_path)).code == 0
    assert (await run(*admin, "status", directory=tmp_path, DUALPATH_TOKEN=VIEWER)).code == 0


@pytest.mark.parametrize("token", ["none", "wrong", VIEWER])
async def test_a_refused_token_is_one_line(proxy: ProxyProcess, tmp_path: Path, token: str) -> None:
    given = () if token == "none" else ("--token", token)
    done = await run(
        "rollout", "pause", "--name", "default", "--admin", proxy.admin_url, *given, directory=tmp_path
    )
    assert done.code == 1
    assert len(done.complaint) == 1
    assert "token" in done.stderr or "viewer" in done.stderr
    assert "Traceback" not in done.stderr


async def test_the_log_holds_no_token(proxy: ProxyProcess) -> None:
    await ask(proxy, "GET", "/api/v1/status", "a-guess-of-mine")
    log = proxy.log.read_text()
    assert all(token not in log for token in (VIEWER, OPERATOR, "a-guess-of-mine"))
