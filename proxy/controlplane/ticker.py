"""The ticker: calls the controller's tick for as long as it runs.

Owns the rhythm. Must never know what a tick does; one that raises is logged, and the next one comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.config.schema import Config
    from proxy.controlplane.controller import Controller

log = logging.getLogger("dualpath.control")

_LEAST_PAUSE = 0.1  # share of the interval: a tick that takes long leaves time for requests


async def wait_or_end(ending: asyncio.Event, delay_s: float) -> None:
    """Wait for `delay_s`, or until the end."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(delay_s):
            await ending.wait()


class Ticker:
    """Ticks at the shortest `judge.tick` of all rollouts while it is entered.

    Leaving waits for a tick that runs, and never cancels it in the middle of a write.
    """

    def __init__(
        self,
        controller: Controller,
        config: Config,
        *,
        pause: Callable[[asyncio.Event, float], Awaitable[None]] = wait_or_end,
    ) -> None:
        self.interval_s = _shortest(config)
        self._controller = controller
        self._pause = pause
        self._ending = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def follow(self, config: Config) -> None:
        """Tick at the rhythm of `config` after the next tick."""
        self.interval_s = _shortest(config)

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run(), name="ticker")
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._ending.set()
        if self._running is not None:
            await self._running

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        while not self._ending.is_set():
            began = clock()
            try:
                await self._controller.tick()
            except Exception:
                log.exception("a tick failed")
            left_s = self.interval_s - (clock() - began)
            await self._pause(self._ending, max(left_s, self.interval_s * _LEAST_PAUSE))

    def __repr__(self) -> str:
        running = self._running is not None and not self._running.done()
        return f"Ticker({self.interval_s:g} s, {'running' if running else 'stopped'})"


def _shortest(config: Config) -> float:
    return min(rollout.judge.tick_s for rollout in config.rollouts)
