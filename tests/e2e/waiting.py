"""Waiting for what a test cannot be told of: polling, bounded, never a bare sleep. And measuring how long
something takes, on a machine that has other things to do."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    import psutil

HANG_S = 60.0
"""Whatever takes so long hangs, however busy the machine. What has to be in time has a stopwatch."""

STILL_S = 0.25
_TICK_S = 0.01


async def eventually(
    holds: Callable[[], Awaitable[bool]] | Callable[[], bool], within_s: float = HANG_S
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


async def standstill(progress: Callable[[], int], within_s: float = HANG_S) -> int:
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


class Stopwatch:
    """How long something has taken: in all, and without what the machine has taken from it."""

    def __init__(self) -> None:
        self.total_s = 0.0
        self.held_up_s = 0.0

    def __repr__(self) -> str:
        return f"<Stopwatch {self.total_s:.3f} s, of which the machine took {self.held_up_s:.3f} s>"

    @property
    def own_s(self) -> float:
        """What is left without the time in which whoever was to act had no processor. On a machine that is
        idle that is all of it; on a busy one it may be less than it took, and is never more."""
        return self.total_s - self.held_up_s


@asynccontextmanager
async def stopwatch(processes: Iterable[psutil.Process] = ()) -> AsyncIterator[Stopwatch]:
    """Measures what is done meanwhile by this process and by those; the figures are there at the end."""
    watch, loop = Stopwatch(), asyncio.get_running_loop()
    waited_s = {process.pid: _waited_s(process.pid) for process in processes}
    began = due = loop.time()

    async def tick() -> None:
        """By as much as a tick is late this loop stood still, or had too much to do."""
        nonlocal due
        while True:
            due = loop.time() + _TICK_S
            await asyncio.sleep(_TICK_S)
            watch.held_up_s += max(0.0, loop.time() - due)

    ticking = asyncio.ensure_future(tick())
    try:
        yield watch
    finally:
        ticking.cancel()
        ended = loop.time()
        watch.total_s = ended - began
        watch.held_up_s += max(0.0, ended - due)
        watch.held_up_s += sum(max(0.0, _waited_s(pid) - before) for pid, before in waited_s.items())


def _waited_s(pid: int) -> float:
    """How long a process was ready to run and was not let to, in all (sched-stats)."""
    waited_ns = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):
            waited_ns += int(task.read_text().split()[1])
    return waited_ns / 1e9
