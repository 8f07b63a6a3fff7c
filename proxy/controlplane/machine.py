"""This machine and our own processes on it: how busy they are, for guards and alert rules that ask.

Owns when it is looked, what is counted, and of how much that is a share: in a container, of what the
container may use. It is looked by a thread, and only where somebody asks for it. Must never know what a
figure leads to.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from proxy.controlplane.reports import Machine
from proxy.core.gauges import UNKNOWN, SystemReport, is_of_process

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.config.schema import Config
    from proxy.ports import Clock

log = logging.getLogger("dualpath.health")

_EVERY_S: Final = 2.0
_GOOD_FOR_S: Final = 6.0
_CGROUP: Final = Path("/sys/fs/cgroup")


class MachineWatch:
    """`ports.Machine`. Looks from `follow` on, if the configuration has anything that reads it."""

    def __init__(
        self,
        clock: Clock,
        *,
        look: Callable[[], SystemReport] | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._look = look or Looking(clock)
        self._pause = pause
        self._latest = UNKNOWN
        self._looked_at = 0.0
        self._running: asyncio.Task[None] | None = None

    def system(self) -> SystemReport:
        """What was seen last, if that was of late."""
        return self._latest if self._clock.monotonic() - self._looked_at < _GOOD_FOR_S else UNKNOWN

    def follow(self, config: Config) -> None:
        """Look from now on, or no longer, as `config` asks."""
        if not asks_system(config):
            self._stop()
        elif self._running is None or self._running.done():
            self._running = asyncio.create_task(self._look_on(), name="machine")

    async def close(self) -> None:
        """Look no longer."""
        running = self._running
        self._stop()
        if running is not None:
            await asyncio.gather(running, return_exceptions=True)

    def _stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            self._running = None
        self._latest = UNKNOWN

    async def _look_on(self) -> None:
        while True:
            try:
                self._latest = await asyncio.to_thread(self._look)
                self._looked_at = self._clock.monotonic()
            except Exception as error:  # /proc of some container may hold anything
                log.debug("this machine does not tell how busy it is: %r", error)
            await self._pause(_EVERY_S)

    def __repr__(self) -> str:
        return f"MachineWatch({'looking' if self._running else 'idle'}, {self._latest})"


def asks_system(config: Config) -> bool:
    """Whether any guard or alert rule reads this machine or our own processes."""
    guards = [guard for rollout in config.rollouts for guard in rollout.guards]
    guards += [guard for rollout in config.rollouts for phase in rollout.phases for guard in phase.abort_if]
    metrics = [guard.metric for guard in guards] + [rule.metric for rule in config.alerts.rules]
    return any(map(is_of_process, metrics))


class Looking:
    """One look at a time, in any thread: CPU since the look before, memory now."""

    def __init__(self, clock: Clock, *, group: Path = _CGROUP) -> None:
        self._clock = clock
        self._host = Machine()
        self._group = group
        self._used: dict[tuple[int, float], float] = {}  # CPU seconds, by process
        self._looked_at: float | None = None

    def __call__(self) -> SystemReport:
        host = self._host()
        cpu_s, rss = self._own()
        now, before = self._clock.monotonic(), self._looked_at
        self._looked_at = now
        busy = None
        if before is not None and now > before:
            busy = _share(cpu_s, (now - before) * usable_cores(self._group))
        return SystemReport(host.cpu, host.memory, busy, _share(rss, usable_memory(self._group)))

    def _own(self) -> tuple[float, int]:
        """CPU seconds since the look before, and resident bytes, of us and what we have started."""
        us = psutil.Process()
        used: dict[tuple[int, float], float] = {}
        spent, rss = 0.0, 0
        for process in (us, *us.children(recursive=True)):
            try:
                with process.oneshot():
                    times, name = process.cpu_times(), (process.pid, process.create_time())
                    rss += process.memory_info().rss
            except psutil.Error:  # it has just ended
                continue
            used[name] = times.user + times.system
            spent += used[name] - self._used.get(name, 0.0 if self._used else used[name])
        self._used = used
        return spent, rss

    def __repr__(self) -> str:
        return f"Looking({len(self._used)} processes)"


def usable_cores(group: Path = _CGROUP) -> float:
    """Cores that we may use: those of our affinity, or what the container's quota amounts to."""
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    quota, _, period = _read(group / "cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit() and int(period):
        return min(cores, int(quota) / int(period))
    return cores


def usable_memory(group: Path = _CGROUP) -> int:
    """Bytes that we may use: the machine's, or the container's limit."""
    total = psutil.virtual_memory().total
    limit = _read(group / "memory.max")
    return min(total, int(limit)) if limit.isdigit() and int(limit) else total


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _share(part: float, whole: float) -> float:
    return min(1.0, max(0.0, part / whole)) if whole > 0 else 0.0
