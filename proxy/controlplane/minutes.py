"""Minutes on their way into the store, in the background.

Owns when they are written and forgotten, and how often that is tried. Must never be in the way of a decision:
a store that does not answer loses minutes, once too many wait, and delays nothing.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Self, TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential

from proxy.controlplane.ticker import wait_or_end
from proxy.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from proxy.controlplane.minute_book import MinuteBook
    from proxy.controlplane.watch import RolloutWatch
    from proxy.core.minute import Minute
    from proxy.ports import Clock, Minutes

T = TypeVar("T")

log = logging.getLogger("dualpath.control")

MINUTE_S: Final = 60.0
_AT_ONCE = 200  # minutes in one write
_PRUNE_EVERY_S = 600.0
_PRUNE_AT_ONCE = 500
_TIMEOUT_S = 5.0
_LAST_TIMEOUT_S = 1.0  # at the end nobody waits longer for minutes
_ATTEMPTS = 3


class MinuteKeeper:
    """Writes a book into `minutes` while it is entered, and forgets what is older than `retention_s`; 0 keeps
    nothing. `also` is done whenever it has looked for that. Leaving writes what there is, once."""

    def __init__(
        self,
        minutes: Minutes,
        book: MinuteBook,
        watches: Callable[[], Sequence[RolloutWatch]],
        clock: Clock,
        retention_s: float,
        *,
        pause: Callable[[asyncio.Event, float], Awaitable[None]] = wait_or_end,
        timeout_s: float = _TIMEOUT_S,
        first_wait_s: float = 0.5,
        also: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.retention_s = retention_s
        self._minutes = minutes
        self._book = book
        self._watches = watches
        self._clock = clock
        self._pause = pause
        self._timeout_s = timeout_s
        self._first_wait_s = first_wait_s
        self._also = also
        self._pruned_at = float("-inf")
        self._trouble = ""
        self._ending = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run(), name="minutes")
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._ending.set()
        self._timeout_s = min(self._timeout_s, _LAST_TIMEOUT_S)
        if self._running is not None:
            await asyncio.wait([self._running], timeout=self._timeout_s)
            self._running.cancel()
            await asyncio.wait([self._running])
        await self._book.turn(self._watches())
        await self._write()

    async def _run(self) -> None:
        while not self._ending.is_set():
            await self._pause(self._ending, MINUTE_S - self._clock.wall() % MINUTE_S)
            if self._ending.is_set():
                return
            try:
                await self._book.turn(self._watches())
                await self._write()
                await self._prune()
            except Exception:
                log.exception("minutes were not kept")

    async def _write(self) -> None:
        while batch := self._book.take(_AT_ONCE):
            if self.retention_s > 0 and not await self._append(batch):
                self._book.put_back(batch)
                return
        self._note("")

    async def _append(self, batch: Sequence[Minute]) -> bool:
        try:
            await self._persistently(lambda: self._minutes.append(batch), _ATTEMPTS)
        except (ControlError, TimeoutError) as error:
            self._note(str(error) or "the store does not answer")
            return False
        return True

    async def _prune(self) -> None:
        now = self._clock.monotonic()
        if now - self._pruned_at < _PRUNE_EVERY_S:
            return
        self._pruned_at = now
        before = self._clock.wall() - self.retention_s
        try:
            while not self._ending.is_set():
                gone = await self._persistently(lambda: self._minutes.prune(before, _PRUNE_AT_ONCE), 1)
                if gone < _PRUNE_AT_ONCE:
                    break
                await self._pause(self._ending, 0.01)  # others write too
            if self._also is not None and not self._ending.is_set():
                await self._persistently(self._also, 1)
        except (ControlError, TimeoutError) as error:
            self._note(str(error) or "the store does not answer")

    async def _persistently(self, ask: Callable[[], Awaitable[T]], attempts: int) -> T:
        async def once() -> T:
            async with asyncio.timeout(self._timeout_s):
                return await ask()

        retrying = AsyncRetrying(
            stop=lambda tried: self._ending.is_set() or tried.attempt_number >= attempts,
            wait=wait_exponential(self._first_wait_s, max=self._timeout_s),
            retry=retry_if_exception_type((ControlError, TimeoutError)),
            reraise=True,
            sleep=lambda delay_s: self._pause(self._ending, delay_s),
        )
        return await retrying(once)

    def _note(self, trouble: str) -> None:
        """Log when trouble begins and ends, not every minute."""
        if trouble and not self._trouble:
            log.warning("minutes: not written: %s", trouble)
        elif self._trouble and not trouble:
            log.info("minutes: written again")
        self._trouble = trouble

    def __repr__(self) -> str:
        return f"MinuteKeeper({self._book!r}, {self.retention_s:g} s)"
