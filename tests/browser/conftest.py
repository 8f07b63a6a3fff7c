"""One scene for all tests of the browser, which leave it with nothing on v2 and nothing complained about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from proxy.demo.faults import Fault
from tests.browser.scene import scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from tests.browser.scene import Scene


@pytest_asyncio.fixture(scope="session", loop_scope="session", name="stage")
async def _stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with scene(tmp_path_factory.mktemp("board")) as one:
        yield one


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def _nothing_complained_about(stage: Scene) -> AsyncIterator[None]:
    stage.complaints.clear()
    yield
    await stage.turn(Fault.NONE)
    await stage.command("rollback")
    for window in stage.browser.contexts:
        await window.close()
    assert stage.complaints == []
