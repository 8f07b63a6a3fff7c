"""The world of the data plane's tests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.dataplane.wire import BOUND, World, settings, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Opener(Protocol):
    """Opens a world with a listening data plane; the keywords are those of `wire.settings`."""

    async def __call__(self, **keys: Any) -> World: ...


@pytest.fixture
async def open_world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Opener]:
    """The loop's doors to the outside lead to a `World`."""
    opened: list[World] = []

    async def build(**keys: Any) -> World:
        world = World(settings(**keys))
        loop = asyncio.get_running_loop()
        for door in ("create_server", "create_connection", "call_later"):
            monkeypatch.setattr(loop, door, getattr(world, door))
        await world.plane.start(BOUND)
        opened.append(world)
        return world

    yield build
    for world in opened:
        await world.plane.stop()
        await settle()
        assert world.is_clean()


@pytest.fixture
async def world(open_world: Opener) -> World:
    """A data plane with default settings that gives every user to v2."""
    return await open_world()
