"""Backends, and the real things around them, on one event loop."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.e2e.raw_backend import RawBackend
from tests.interop.collector import running_collector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.interop.collector import Collector


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here shares one loop, because fixtures hold servers that belong to it."""
    for item in items:
        if item.path.parent.name == "interop" and inspect.iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(loop_scope="session")
async def collector(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Collector]:
    """A collector of the test's own."""
    async with running_collector(tmp_path_factory.mktemp("collector")) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="session")
async def v1() -> AsyncIterator[RawBackend]:
    """The stable backend."""
    backend = RawBackend("v1")
    await backend.listen()
    yield backend
    await backend.refuse()


@pytest_asyncio.fixture(loop_scope="session")
async def v2() -> AsyncIterator[RawBackend]:
    """The replacement."""
    backend = RawBackend("v2")
    await backend.listen()
    yield backend
    await backend.refuse()
