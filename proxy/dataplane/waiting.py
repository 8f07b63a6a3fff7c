"""Requests that wait for their turn, where a backend is to have only so many at once.

Owns the order in which they wait, and when the next one's turn has come. It must never know how a request is
sent, nor what becomes of one that waits too long: that is `recovery`'s and the sweep's affair.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.config.schema import Backend
    from proxy.dataplane.endpoint import Endpoint
    from proxy.dataplane.exchange import Exchange


class Waiting:
    """The requests that wait for one backend of this process, first come, first served."""

    __slots__ = ("_endpoints", "_is_woken", "_limit", "_most", "_queue", "timeout_s")

    def __init__(self, settings: Backend, endpoints: Sequence[Endpoint]) -> None:
        self.timeout_s = settings.pending_timeout_s
        self._limit = settings.max_requests
        self._most = settings.max_pending
        self._endpoints = endpoints
        self._queue: OrderedDict[Exchange, None] = OrderedDict()
        self._is_woken = False

    def __repr__(self) -> str:
        return f"<Waiting {len(self._queue)} behind {self._running} of {self._limit}>"

    @property
    def _running(self) -> int:
        running = 0
        for endpoint in self._endpoints:
            running += endpoint.outstanding
        return running

    @property
    def has_room(self) -> bool:
        """Whether a request may start at once: nobody is before it, and the backend takes one more."""
        return not self._queue and self._running < self._limit

    def join(self, exchange: Exchange) -> bool:
        """Waits at the end, if there is room for that."""
        if len(self._queue) >= self._most:
            return False
        self._queue[exchange] = None
        return True

    def leave(self, exchange: Exchange) -> None:
        """Waits no longer."""
        self._queue.pop(exchange, None)

    def freed(self) -> None:
        """The backend has one request less: the next one's turn comes once its connection is free as well."""
        if self._queue and not self._is_woken:
            self._is_woken = True
            asyncio.get_running_loop().call_soon(self._admit)

    def _admit(self) -> None:
        self._is_woken = False
        while self._queue and self._running < self._limit:
            exchange, _ = self._queue.popitem(last=False)
            exchange.admitted()
