"""The proxy's processes: who serves now, its workers, and what is done to them.

Owns signals and kills, and knows which connections a killed worker takes with it. It must never know what
goes over them.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from random import Random

WITHIN_S = 40.0
_LOOK_S = 0.01
_END_WITHIN_S = 12.0
"""Longer than `listen.drain_timeout` of a soak."""


class ProxyLine:
    """The first process and those that take over from it."""

    def __init__(self, first: psutil.Process) -> None:
        self._members = [first]

    def __repr__(self) -> str:
        return f"<ProxyLine {self.present.pid}, {len(self._members) - 1} restarts>"

    @property
    def present(self) -> psutil.Process:
        """Who serves now."""
        return self._members[-1]

    @property
    def generation(self) -> int:
        """How often it was restarted."""
        return len(self._members) - 1

    def workers(self) -> list[psutil.Process]:
        """Its workers; none if it serves by itself."""
        found = []
        for child in self.present.children():
            with contextlib.suppress(psutil.Error):
                if "proxy.worker" in child.cmdline():
                    found.append(child)
        return found

    def tree(self) -> list[psutil.Process]:
        """All its processes."""
        return [self.present, *self.workers()]

    def reload(self) -> None:
        """SIGHUP."""
        self.present.send_signal(signal.SIGHUP)

    def kill_worker(self, rng: Random) -> tuple[int, set[int]]:
        """SIGKILL to one of the workers; its process id, and the client ports of what it held."""
        worker = rng.choice(sorted(self.workers(), key=lambda process: process.pid))
        worker.suspend()  # nothing is accepted between the look and the end
        try:
            ports = {one.raddr.port for one in worker.net_connections("inet") if len(one.raddr)}
        finally:
            worker.kill()
        return worker.pid, ports

    async def restart(self) -> float:
        """SIGUSR2; the seconds until the predecessor is gone. RuntimeError if that comes to nothing."""
        before = self.present
        command = before.cmdline()
        began = time.monotonic()
        before.send_signal(signal.SIGUSR2)
        successor: psutil.Process | None = None
        while not has_ended(before):
            with contextlib.suppress(psutil.Error):
                successor = next((c for c in before.children() if c.cmdline()[1:] == command[1:]), successor)
            if time.monotonic() > began + WITHIN_S:
                raise RuntimeError(f"no successor within {WITHIN_S:g} s")
            await asyncio.sleep(_LOOK_S)
        if successor is None or has_ended(successor):
            raise RuntimeError("the process has ended and left no successor")
        self._members.append(successor)
        return time.monotonic() - began

    def end(self) -> int:
        """SIGTERM to whoever serves, and SIGKILL to what is left after a while: how many had to be killed."""
        alive: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            tree = [*self.present.children(recursive=True), self.present]
            self.present.terminate()
            _, alive = psutil.wait_procs(tree, timeout=_END_WITHIN_S)
            for process in alive:
                process.kill()
        return len(alive)


def has_ended(process: psutil.Process) -> bool:
    """Whether it is gone, or waits only for its parent to notice."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
