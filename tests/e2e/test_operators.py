"""A rollout as its operators move it: each verb takes effect in the traffic, and all stand in the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.proxy_process import run
from tests.e2e.raw_client import fetch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.proxy_process import ProxyProcess, Table
    from tests.e2e.raw_backend import RawBackend

USER = (b"X-User-Id", b"a")


@pytest.fixture(scope="module")
def settings() -> dict[str, Table]:
    return {"rollout": {"percentage": 30}}


async def test_the_verbs_take_effect_in_the_traffic_and_stand_in_the_history(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    story: list[tuple[str, Table, str, float, bytes]] = [
        ("set", {"percentage": 100, "reason": "first look"}, "running", 100, b"v2"),
        ("pause", {"reason": "lunch"}, "paused", 100, b"v2"),
        ("resume", {}, "running", 100, b"v2"),
        ("rollback", {"percentage": 50, "reason": "half of it"}, "rolled_back", 50, b""),
        ("rollback", {"reason": "enough"}, "rolled_back", 0, b"v1"),
        ("set", {"percentage": 100}, "running", 100, b"v2"),
        ("abort", {"reason": "never again"}, "aborted", 0, b"v1"),
    ]
    for verb, body, state, percentage, path in story:
        answer = await proxy.command(verb, **body)
        assert answer.status == 200, (verb, answer.body)
        status = await proxy.status()
        assert (status["state"], status["percentage"]) == (state, percentage), verb
        served = (await fetch(proxy.listen, "GET", "/", (USER,))).backend
        assert served == path or not path, verb
    history = await run("history", "--json", "--admin", proxy.admin_url, directory=tmp_path)
    for reason in ("first look", "lunch", "half of it", "enough", "never again"):
        assert reason in history.stdout


async def test_an_illegal_verb_changes_nothing(proxy: ProxyProcess, v1: RawBackend, v2: RawBackend) -> None:
    assert (await proxy.command("rollback")).status == 200
    before = await proxy.status()
    for verb in ("resume", "pause", "promote"):
        assert (await proxy.command(verb)).status == 409, verb
    after = await proxy.status()
    assert (after["state"], after["revision"]) == (before["state"], before["revision"])
