"""Metrics on their way to a collector: gathered every so often, sent by a thread, again if need be.

Owns when it happens, and that it delays nothing: there is one message under way at most, those that would be
due meanwhile are counted as dropped ("metrics.dropped"), and since all sums are cumulative, the next one says
what they would have said. Must never know what is in a message.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from threading import Event
from typing import TYPE_CHECKING, Final, Self

import psutil

from proxy.errors import ConfigError
from proxy.later import later
from proxy.scraping import looked_at
from proxy.telemetry.daemons import in_daemon
from proxy.telemetry.otlp import Collector, ExportError, resource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxy.config.schema import Telemetry
    from proxy.ports import Clock
    from proxy.scraping import Scraping
    from proxy.telemetry.counters import Counters
    from proxy.telemetry.readings import Readings

log = logging.getLogger("dualpath.telemetry")

_LOOK_S: Final = 1.0
"""How often it is looked whether something is configured otherwise."""
_LAST_S: Final = 2.0
"""How long the last message may take."""
_ABORT_S: Final = 0.1


class Pushing:
    """Sends what `scraping` reads, as `telemetry` says now, while it is entered."""

    def __init__(
        self, scraping: Scraping, telemetry: Callable[[], Telemetry], clock: Clock, counters: Counters
    ) -> None:
        self._scraping = scraping
        self._telemetry = telemetry
        self._clock = clock
        self._counters = counters
        self._started_at = psutil.Process(os.getpid()).create_time()
        self._ending = Event()
        self._leaving = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._as: Telemetry | None = None
        self._collector: Collector | None = None
        self._due = 0.0
        self._is_well = True

    def __repr__(self) -> str:
        return f"<Pushing to {self._collector!r}>"

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run(), name="metrics")
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Ends within two seconds. What has been counted since the last message is sent, if it can be."""
        running, self._running = self._running, None
        if running is None:
            return
        self._ending.set()
        self._leaving.set()
        await asyncio.wait([running], timeout=_LAST_S)
        if not running.done() and self._collector is not None:
            self._collector.abort()
            await asyncio.wait([running], timeout=_ABORT_S)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def _run(self) -> None:
        while not self._ending.is_set():
            self._follow()
            now = self._clock.monotonic()
            if self._collector is not None and now >= self._due:
                every_s = self._telemetry().metrics.push_every_s
                await self._push(self._collector)
                self._go_on(now, every_s)
            left_s = self._due - self._clock.monotonic() if self._collector is not None else _LOOK_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(max(left_s, 0.0), _LOOK_S)):
                    await self._leaving.wait()
        self._follow()
        if self._collector is not None:
            self._scraping.look()
            await self._push(self._collector)
            self._collector.close()

    def _follow(self) -> None:
        """Go by another configuration, if there is one."""
        telemetry = self._telemetry()
        if telemetry is self._as:
            return
        before, self._as = self._as, telemetry
        if before is not None and _way(before) == _way(telemetry):
            return
        if self._collector is not None:
            self._collector.close()
        self._collector = None
        self._due = self._clock.monotonic() + telemetry.metrics.push_every_s
        if telemetry.otlp_endpoint is not None and telemetry.metrics.push_every_s:
            try:
                self._collector = Collector(telemetry, "metrics")
            except ConfigError as error:
                log.error("metrics: not sent: %s", error)

    def _go_on(self, began: float, every_s: float) -> None:
        """The next one is due in its turn, counted from when the last one was."""
        missed = int((self._clock.monotonic() - began) / every_s)
        if missed:
            self._counters.count("metrics.dropped", missed)
        self._due = began + (missed + 1) * every_s

    async def _push(self, collector: Collector) -> None:
        telemetry = self._telemetry()
        try:
            readings, pids = await self._scraping.readings(), self._scraping.pids()
            at = self._clock.wall()
            about = resource(telemetry)
            _, sent = in_daemon(lambda: self._send(collector, readings, pids, about, at), "dualpath-metrics")
            trouble = await sent
        except Exception:
            log.exception("metrics: cannot be sent")
            trouble = "cannot be written"
        self._counters.count("metrics.failed" if trouble else "metrics.exported")
        if trouble and self._is_well:
            log.warning("metrics: %s %s; the next message has everything", collector.url, trouble)
        elif not trouble and not self._is_well:
            log.info("metrics: %s takes them again", collector.url)
        self._is_well = not trouble

    def _send(
        self,
        collector: Collector,
        readings: Readings,
        pids: Mapping[str, int],
        about: Mapping[str, str | int],
        at: float,
    ) -> str:
        """In the thread: what went wrong, or nothing. What writes messages is imported with the first."""
        message = later("proxy.telemetry.otlp_metrics:message")
        rejected_points = later("proxy.telemetry.otlp_metrics:rejected_points")
        content = message(looked_at(readings, pids), about, self._started_at, at)
        try:
            rejected = rejected_points(collector.send(content, self._ending))
        except ExportError as error:
            return str(error)
        return f"has rejected {rejected} points" if rejected else ""


def _way(telemetry: Telemetry) -> Telemetry:
    """What of it makes a difference here."""
    return telemetry.model_copy(update={"traces": None})
