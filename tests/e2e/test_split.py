"""A 30 % split as 2,000 users see it: the share, stickiness, and what a change of the weight does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.e2e.proxy_process import ProxyProcess, Table, run
from tests.e2e.raw_client import Address, connected, fetch
from tests.e2e.waiting import eventually, stopwatch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.raw_backend import RawBackend

USERS = [f"user-{number}" for number in range(2000)]
SOME = USERS[:500]


@pytest.fixture(scope="module")
def settings() -> dict[str, Table]:
    return {"rollout": {"percentage": 30}, "listen": {"expose_path": True}}


async def test_the_share_is_right_and_users_keep_their_path(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    await proxy.set(30)
    first = await paths(proxy.listen, USERS)
    assert 0.27 <= share(first) <= 0.33
    assert await paths(proxy.listen, USERS) == first
    assert v1.count() + v2.count() == 2 * len(USERS)


async def test_raising_takes_effect_at_once_and_moves_nobody_back(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    await proxy.set(30)
    before = await paths(proxy.listen, SOME)
    await proxy.set(60)
    after = await paths(proxy.listen, SOME)
    assert 0.55 <= share(after) <= 0.65
    assert [user for user in SOME if before[user] == b"v2" and after[user] != b"v2"] == []


async def test_the_command_line_sets_within_half_a_second(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    await proxy.set(30)
    before = await paths(proxy.listen, USERS[:500])
    settled = next(user for user in USERS[:500] if before[user] == b"v1")
    done = await run("rollout", "set", "100", "--admin", proxy.admin_url, directory=tmp_path)
    assert done.code == 0, done.stderr

    async def moved() -> bool:
        return (await paths(proxy.listen, [settled]))[settled] == b"v2"

    async with stopwatch(proxy.tree()) as watch:
        await eventually(moved)
    assert watch.own_s < 0.5, watch


async def test_lowering_and_raising_again_restores_the_same_users(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    await proxy.set(30)
    before = await paths(proxy.listen, SOME)
    await proxy.set(5)
    lowered = await paths(proxy.listen, SOME)
    assert {user for user in SOME if lowered[user] == b"v2"} < {u for u in SOME if before[u] == b"v2"}
    await proxy.set(30)
    assert await paths(proxy.listen, SOME) == before


async def test_the_weight_moves_under_load_without_a_failed_request(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    asking = asyncio.create_task(paths(proxy.listen, SOME))
    for percentage in (0, 100, 12.345, 99.999, 30):
        await proxy.set(percentage)
    assert set(await asking) == set(SOME)


async def test_status_shows_the_weight_and_the_observed_share(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    await proxy.set(100)
    status = await proxy.status()
    assert (status["state"], status["percentage"]) == ("running", 100)
    await proxy.set(0)
    status = await proxy.status()
    assert (status["state"], status["percentage"]) == ("disabled", 0)


async def test_a_request_without_a_key_goes_to_v1_until_all_go_to_v2(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    await proxy.set(99.999)
    assert (await fetch(proxy.listen)).backend == b"v1"
    await proxy.set(100)
    assert (await fetch(proxy.listen)).backend == b"v2"


async def test_the_exposed_path_is_the_one_that_answered(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    await proxy.set(100)
    answer = await fetch(proxy.listen, "GET", "/", ((b"X-User-Id", b"a"),))
    assert (answer.backend, answer.get(b"x-dualpath-path")) == (b"v2", b"v2")


async def paths(address: Address, users: list[str]) -> dict[str, bytes]:
    """Which backend answers each user, asked over 16 kept connections; every answer must be a 200."""
    left = iter(users)
    seen: dict[str, bytes] = {}

    async def ask() -> None:
        async with connected(address) as client:
            for user in left:
                answer = await client.ask("GET", "/", ((b"X-User-Id", user.encode()),))
                assert (answer.status, answer.complete) == (200, True), answer
                seen[user] = answer.backend or b""

    async with asyncio.TaskGroup() as group:
        for _ in range(min(16, len(users))):
            group.create_task(ask())
    return seen


def share(seen: dict[str, bytes]) -> float:
    """The share of v2, 0..1."""
    return sum(path == b"v2" for path in seen.values()) / len(seen)
