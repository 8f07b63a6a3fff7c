"""One sink's queue, and the task that empties it.

Owns the bounds: how many messages wait, and that they wait here and nowhere else. Whoever puts one in goes on
at once. Must never know what a message says.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy.core.alert_book import SinkReport, SinkTrial
from proxy.errors import DualpathError

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.telemetry.alerts.message import Message
    from proxy.telemetry.alerts.sinks import Sink

log = logging.getLogger("dualpath.alerts")

MOST_WAITING: Final = 256
_GRACE_S: Final = 0.25


class Outbox:
    """Sends what is put in by `sink`, one after the other. `count` is told "sent", "failed" and "dropped"."""

    def __init__(
        self, name: str, kind: str, sink: Sink, count: Callable[[str], None], most: int = MOST_WAITING
    ) -> None:
        self.name = name
        self.kind = kind
        self.sink = sink
        self._tell = count
        self._most = most
        self._waiting: deque[Message] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._counts = {"sent": 0, "failed": 0, "dropped": 0}
        self._trouble = ""

    def put(self, message: Message) -> None:
        """Take it in. If there is no room, the oldest goes: what has happened last matters most."""
        if len(self._waiting) >= self._most:
            self._waiting.popleft()
            self._count("dropped")
        self._waiting.append(message)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all(), name=f"alerts to {self.name}")

    def follow(self, sink: Sink) -> None:
        """Send by `sink` from the next message on; what waits, and what was counted, stays."""
        self.sink = sink

    async def _send_all(self) -> None:
        while self._waiting:
            message = self._waiting.popleft()
            self._note(await self._trouble_with(message))

    async def _trouble_with(self, message: Message) -> str:
        """Why it was not taken; empty if it was."""
        try:
            await self.sink.send(message)
        except DualpathError as error:
            return str(error)
        except Exception as error:
            log.exception("sink %s cannot be used", self.name)
            return f"cannot be used: {type(error).__name__}"
        return ""

    def _note(self, trouble: str) -> None:
        self._count("failed" if trouble else "sent")
        if trouble and not self._trouble:
            log.error("alerts are not taken by %s (%s): %s", self.name, self.kind, trouble)
        elif self._trouble and not trouble:
            log.warning("alerts are taken again by %s (%s)", self.name, self.kind)
        self._trouble = trouble

    def _count(self, outcome: str) -> None:
        self._counts[outcome] += 1
        self._tell(outcome)

    async def trial(self, message: Message, within_s: float) -> SinkTrial:
        """Send it now, past the queue, and say what became of it."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(within_s + _GRACE_S):  # its own limit says more of what was wrong
                trouble = await self._trouble_with(replace(message, within_s=within_s))
        except TimeoutError:
            trouble = f"has not taken it within {within_s:g} s"
        return SinkTrial(self.name, self.kind, trouble, clock() - began)

    def report(self) -> SinkReport:
        """How it fares."""
        return SinkReport(
            self.name, self.kind, **self._counts, waiting=len(self._waiting), trouble=self._trouble
        )

    @property
    def is_busy(self) -> bool:
        """Whether anything waits or is under way."""
        return bool(self._waiting) or (self._sending is not None and not self._sending.done())

    async def close(self, within_s: float) -> None:
        """Send what waits, for so long at most; the rest is dropped."""
        sending = self._sending
        if sending is not None and not sending.done():
            await asyncio.wait([sending], timeout=within_s)
            if not sending.done():
                self._count("dropped")  # the one that was under way
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        while self._waiting:
            self._waiting.popleft()
            self._count("dropped")

    def __repr__(self) -> str:
        return f"Outbox({self.name}, {len(self._waiting)} waiting)"
