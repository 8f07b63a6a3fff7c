"""An open loop over raw connections: requests leave when they are due, whatever became of those before.

Owns the pace and the count of answers. Must never know what is measured, or why an answer is bad.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import suppress
from itertools import cycle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.asking import Connection

PACE_S = 0.002


class OpenLoop:
    """`rate` requests a second over kept connections; one that finds none idle leaves as soon as one is."""

    def __init__(self, connections: Sequence[Connection], requests: Sequence[bytes], rate: float) -> None:
        self.sent = 0
        self.late = 0  # that found no idle connection when they were due: the load is not what it should be
        self.statuses: Counter[int] = Counter()
        self._idle = deque(connections)
        self._requests = cycle(requests)
        self._rate = rate
        self._due = 0
        self._settled = asyncio.Event()

    def __repr__(self) -> str:
        return f"<OpenLoop {self._rate:g}/s, {self.sent} sent, {dict(self.statuses)}>"

    async def run(self, seconds: float) -> None:
        """Sends for so long; what is under way then is answered later."""
        clock = asyncio.get_running_loop().time
        began, sent_before = clock(), self.sent + self._due
        while (passed := clock() - began) < seconds:
            new = due(passed, self._rate) - (self.sent + self._due - sent_before)
            self._due += new
            self._send()
            await asyncio.sleep(PACE_S)

    async def settle(self, seconds: float) -> int:
        """Waits for what is under way, so long at most; how many are still without an answer."""
        if self._under_way:
            self._settled.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._settled.wait(), seconds)
        return self._under_way

    @property
    def _under_way(self) -> int:
        return self.sent + self._due - self.statuses.total()

    def _send(self) -> None:
        while self._due and self._idle:
            connection = self._idle.pop()
            if connection.alive:
                self._due -= 1
                self.sent += 1
                connection.ask(next(self._requests), self._on_answer)

    def _on_answer(self, connection: Connection, status: int, _: bytes) -> None:
        self.statuses[status] += 1
        if connection.alive:
            self._idle.append(connection)
        sent = self.sent
        self._send()
        self.late += self.sent - sent
        if not self._under_way:
            self._settled.set()


def due(passed_s: float, rate: float) -> int:
    """How many requests are due so long after the beginning; the first one at once."""
    return int(passed_s * rate) + 1
