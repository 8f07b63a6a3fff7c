"""A store that is there and does not serve: read-only, or silent. What is known goes on, may be lowered and
read, and is not raised; afterwards all is as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.waiting import eventually
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.proxy_process import ProxyProcess


def read_only(store: RedisServer) -> None:
    """As the replica of a primary that is not there."""
    assert store.tell("REPLICAOF", "127.0.0.1", "1").startswith(b"+OK")


def writable(store: RedisServer) -> None:
    """A primary again."""
    store.tell("REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize(
    ("trouble", "well_again"),
    [(read_only, writable), (RedisServer.pause, RedisServer.resume)],
    ids=["read-only", "silent"],
)
async def test_what_is_known_goes_on_and_comes_back(
    one_instance: ProxyProcess,
    its_store: RedisServer,
    trouble: Callable[[RedisServer], None],
    well_again: Callable[[RedisServer], None],
) -> None:
    proxy = one_instance

    async def role_is(role: str) -> bool:
        return bool((await proxy.get("/api/v1/status"))["fleet"]["role"] == role)

    async def is_copied() -> bool:
        return bool((await proxy.get("/api/v1/status"))["fleet"]["events"]["copied"] == 2)

    assert (await proxy.command("start")).status == 200
    await eventually(is_copied, 10.0)
    trouble(its_store)
    await eventually(lambda: role_is("alone"), 10.0)
    events = await proxy.get("/api/v1/events?limit=10")
    assert (events["local_only"], events["events"][-1]["cause"]) == (True, "command:start")
    records = await proxy.get("/api/v1/events/records?limit=10")
    assert (records["local_only"], records["head"]["seq"]) == (True, len(records["records"]))
    assert (await proxy.command("set", percentage=60)).status == 503
    assert (await proxy.command("rollback")).status == 200
    assert (await proxy.status())["percentage"] == 0
    well_again(its_store)
    await eventually(lambda: role_is("judge"), 15.0)

    async def is_written() -> bool:
        told = await proxy.get("/api/v1/events?limit=10")
        return not told["local_only"] and told["events"][-1]["cause"] == "command:rollback"

    await eventually(is_written, 10.0)
    assert (await proxy.get("/api/v1/events/records"))["local_only"] is False
