"""Backends and proxies for the tests: one proxy process per module, on the session's one event loop.

A module shapes its proxy by a fixture `settings` (module scope): changes to the usual configuration.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.e2e.proxy_process import (
    STARTED,
    ProxyProcess,
    Table,
    config,
    end_those_of_the_dead,
    killed,
    running_proxy,
)
from tests.e2e.raw_backend import RawBackend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here shares one loop, because module fixtures hold servers that belong to it."""
    for item in items:
        if "e2e" in item.path.parts and inspect.iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session", autouse=True)
def none_left_of_the_dead() -> None:
    """Runs that were killed themselves have left theirs."""
    end_those_of_the_dead()


@pytest.fixture(autouse=True)
def none_left_behind() -> Iterator[None]:
    """A test that fails before it has ended its own proxies leaves none running, nor any of their workers."""
    before = len(STARTED)
    yield
    for mark in STARTED[before:]:
        while killed(mark):
            pass


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def backends() -> AsyncIterator[tuple[RawBackend, RawBackend]]:
    """The two raw backends of a module, listening."""
    pair = RawBackend("v1"), RawBackend("v2")
    for backend in pair:
        await backend.listen()
    yield pair
    for backend in pair:
        await backend.refuse()


@pytest.fixture(scope="module")
def settings() -> dict[str, Table]:
    """Changes to `proxy_process.config`; modules override this."""
    return {}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def proxy(
    backends: tuple[RawBackend, RawBackend],
    settings: dict[str, Table],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[ProxyProcess]:
    """The module's proxy in front of them."""
    document = config(backends[0].url, backends[1].url, **settings)
    async with running_proxy(document, tmp_path_factory.mktemp("proxy")) as process:
        yield process


@pytest.fixture
def v1(backends: tuple[RawBackend, RawBackend]) -> Iterator[RawBackend]:
    """The stable backend, back to normal after each test."""
    yield backends[0]
    backends[0].forget()


@pytest.fixture
def v2(backends: tuple[RawBackend, RawBackend]) -> Iterator[RawBackend]:
    """The replacement, back to normal after each test."""
    yield backends[1]
    backends[1].forget()
