"""The summary of the log: when it is due, and where its figures come from.

Owns the rhythm of it. Rollouts are asked one after the other, with time for requests in between. Must never
know what the line says.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import psutil

from proxy.errors import UnknownRollout
from proxy.telemetry.summary import Standing, Summary

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.config.schema import Config
    from proxy.controlplane.controller import Controller
    from proxy.model import RolloutReport
    from proxy.ports import Clock
    from proxy.traffic import Traffic

log = logging.getLogger("dualpath.summary")


class SummingUp:
    """Says the summary every `log.summary_every`, while it is entered."""

    def __init__(self, config: Config, controller: Controller, traffic: Traffic, clock: Clock) -> None:
        self._config = config
        self._controller = controller
        self._traffic = traffic
        self._clock = clock
        self._summary = Summary()
        self._began = clock.monotonic()
        self._stirred = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"SummingUp({self._config.log.summary_every_s:g} s)"

    def follow(self, config: Config) -> None:
        """By `config` from now on."""
        changed = config.log.summary_every_s != self._config.log.summary_every_s
        self._config = config
        if changed:
            self._stirred.set()

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run(), name="summary")
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._stirred.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.log.summary_every_s or None):
                    await self._stirred.wait()
                    continue
            try:
                self._summary.say(await self._standing())
            except Exception:
                log.exception("a summary failed")

    async def _standing(self) -> Standing:
        reports: list[RolloutReport] = []
        for rollout in self._config.rollouts:
            try:
                reports.append(self._controller.report(rollout.name))
            except UnknownRollout:  # a reload, meanwhile
                continue
            await asyncio.sleep(0)
        pids = {os.getpid(), *(pid for pid, _ in self._traffic.processes.values())}
        now = self._clock.monotonic()
        return Standing(
            reports,
            now,
            now - self._began,
            await asyncio.to_thread(_resident_bytes, pids),
            self._traffic.workers_alive,
        )


def _resident_bytes(pids: Iterable[int]) -> int:
    """What these processes occupy of the machine's memory."""
    total = 0
    for pid in pids:
        try:
            total += psutil.Process(pid).memory_info().rss
        except psutil.Error:  # it has just ended
            continue
    return total
