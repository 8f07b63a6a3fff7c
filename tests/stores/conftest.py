"""What the store tests start from: files, and servers that all tests of a kind share.

Each test on a shared server has keys of its own. Tests that stop, flush or configure a server have their own.
"""

from __future__ import annotations

import secrets
import shutil
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy.config.store import Store as StoreTable
from proxy.core.peers import Identity
from proxy.stores.opening import storage_of
from proxy.stores.redis_store import RedisStore
from tests.redis_server import KINDS, RedisServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from proxy.stores.storage import Storage

EVERY_STORE = ("memory", "sqlite", *KINDS)


@pytest.fixture
def first_version(tmp_path: Path) -> Path:
    """A copy of a file that was written by schema version 1."""
    return Path(shutil.copy(Path(__file__).with_name("schema-1.db"), tmp_path / "dualpath.db"))


@pytest.fixture(scope="session")
def shared_servers() -> Iterator[dict[str, RedisServer]]:
    """One server of each kind that a test has asked for."""
    running: dict[str, RedisServer] = {}
    yield running
    for server in running.values():
        server.end()


@pytest.fixture
def place_of(shared_servers: dict[str, RedisServer], tmp_path: Path) -> Callable[..., StoreTable]:
    """The `[store]` of a store of some kind that is empty and this test's own."""

    def place(kind: str) -> StoreTable:
        if kind == "memory":
            return StoreTable(url="memory://")
        if kind == "sqlite":
            return StoreTable(url=f"sqlite:///{tmp_path / 'store.db'}")
        if kind not in shared_servers:
            shared_servers[kind] = RedisServer(kind).start()
        return table_at(shared_servers[kind], tmp_path, prefix=secrets.token_hex(6))

    return place


@pytest.fixture(params=EVERY_STORE)
async def storage(
    request: pytest.FixtureRequest, place_of: Callable[..., StoreTable]
) -> AsyncIterator[Storage]:
    """An empty store of each kind."""
    async with opened(place_of(request.param)) as one:
        yield one


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server of the test's own, of each kind."""
    with running(request.param) as one:
        yield one


@contextmanager
def running(kind: str, *options: str, port: int = 0) -> Iterator[RedisServer]:
    """A server with these options."""
    one = RedisServer(kind, options, port)
    try:
        yield one.start()
    finally:
        one.end()


def table_at(server: RedisServer, folder: Path, **keys: object) -> StoreTable:
    """The `[store]` of a store on `server`, with its copy in `folder`."""
    file = {"url": server.url, "copy_file": str(folder / "copy.db"), "timeout": "2s", **keys}
    return StoreTable.read(file)


@asynccontextmanager
async def opened(table: StoreTable, instance: str = "one", epoch: str = "e1") -> AsyncIterator[Storage]:
    """The store of a `[store]`, open."""
    storage = storage_of(table, Identity(instance, epoch))
    await storage.store.open()
    try:
        yield storage
    finally:
        await storage.store.close()


@pytest.fixture(params=KINDS)
async def shared(
    request: pytest.FixtureRequest, place_of: Callable[..., StoreTable]
) -> AsyncIterator[RedisStore]:
    """A store of its own on a server of each kind."""
    async with opened(place_of(request.param)) as storage:
        assert isinstance(storage.store, RedisStore)
        yield storage.store
