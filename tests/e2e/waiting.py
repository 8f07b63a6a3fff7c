"""Waiting for what a test cannot be told of: polling, bounded, never a bare sleep."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

STILL_S = 0.25


async def eventually(
    holds: Callable[[], Awaitable[bool]] | Callable[[], bool], within_s: float = 5.0
) -> float:
    """Waits until a condition holds and returns the seconds that took; fails when they run out."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        result = holds()
        if result if isinstance(result, bool) else await result:
            return loop.time() - began
        assert loop.time() - began < within_s, f"not within {within_s} s"
        await asyncio.sleep(0.01)


async def standstill(progress: Callable[[], int], within_s: float = 10.0) -> int:
    """Waits until a figure has begun to move and then stopped for a while, and returns it."""
    loop = asyncio.get_running_loop()
    began = since = loop.time()
    last = progress()
    while last == 0 or loop.time() - since < STILL_S:
        await asyncio.sleep(0.01)
        if (now := progress()) != last:
            last, since = now, loop.time()
        assert loop.time() - began < within_s, f"still moving after {within_s} s, at {last}"
    return last
