"""A data plane in the tests' own process, on asyncio's own loop: real sockets, no process to start.

The production loop is uvloop; the tests that start `serve` are on it. Owns building and ending.
"""

from __future__ import annotations

import random
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from proxy.clock import SystemClock
from proxy.config.schema import Config
from proxy.model import RolloutState, State
from proxy.traffic import LocalTraffic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.core.tally import Tally
    from tests.e2e.proxy_process import Table
    from tests.e2e.raw_client import Address


class Here:
    """A data plane that listens."""

    def __init__(self, traffic: LocalTraffic, listen: Address) -> None:
        self.traffic = traffic
        self.listen = listen

    @property
    def refused(self) -> dict[str, int]:
        """What was turned away, without the reasons that did not occur."""
        return {reason: count for reason, count in self.traffic.refused.items() if count}

    @property
    def connections(self) -> int:
        """How many there are, clients' or not yet."""
        context = self.traffic.plane.context
        return len(context.connections) + len(context.arriving)

    def tally(self) -> Tally:
        """What the only rollout has counted since the last call."""
        [tally] = self.traffic.evidence.drain()
        return tally


@asynccontextmanager
async def serving(document: Table, *, weight: int = 0) -> AsyncIterator[Here]:
    """For a while, with so many of the 100,000 buckets on v2."""
    traffic = LocalTraffic(Config.read(document), clock=SystemClock(), rng=random.Random())
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    listen = sock.getsockname()
    await traffic.start([sock])
    for sink in traffic.sinks:
        sink.publish(RolloutState("default", State.RUNNING, weight))
    try:
        yield Here(traffic, listen)
    finally:
        await traffic.stop()
