"""A proxy that is told to start its successor, and the successor as a stranger finds it."""

from __future__ import annotations

import contextlib
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psutil

from tests.e2e.proxy_process import READY_WITHIN_S, ProxyProcess, ended, last_words, ready_line
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.e2e.raw_client import Address


class Dynasty:
    """The first process and those that take over from it; `proxy` speaks to whoever serves."""

    def __init__(self, proxy: ProxyProcess) -> None:
        self.proxy = proxy
        self._members = [psutil.Process(proxy.process.pid)]

    @property
    def present(self) -> psutil.Process:
        """Who serves now."""
        return self._members[-1]

    def signal(self, number: signal.Signals) -> None:
        """Send `number` to whoever serves now."""
        self.present.send_signal(number)

    async def succeed(self) -> None:
        """SIGUSR2, until the successor is ready and its predecessor gone."""
        before = self.present
        self.signal(signal.SIGUSR2)
        successor = await self.heir()
        listen, admin = await self.ready_line()
        assert (self.proxy.listen, self.proxy.admin) == (listen, admin)
        self._members.append(successor)
        await self.gone(before)

    def adopt(self, heir: psutil.Process) -> None:
        """That one serves now."""
        self._members.append(heir)

    async def heir(self) -> psutil.Process:
        """The process that is about to take over: a child with the very same command."""
        found: list[psutil.Process] = []

        def born() -> bool:
            for child in self.present.children():
                with contextlib.suppress(psutil.Error):
                    if child.cmdline()[1:] == self.present.cmdline()[1:]:
                        found.append(child)
            return bool(found)

        await self._within(born, "no successor was started")
        return found[0]

    async def ready_line(self) -> tuple[Address, Address]:
        """The addresses in the next ready line; all members write to one pipe."""
        return await ready_line(self.proxy.process, self.proxy.log)

    async def gone(self, process: psutil.Process) -> None:
        """Until `process` has ended; the first one with 0."""
        await self._within(lambda: _has_ended(process), f"process {process.pid} goes on")
        if process.pid == self.proxy.process.pid:
            await eventually(lambda: self.proxy.process.returncode is not None)
            assert self.proxy.process.returncode == 0

    async def end(self) -> None:
        """SIGTERM to whoever serves; nobody has logged a traceback."""
        if not _has_ended(self.present):
            self.signal(signal.SIGTERM)
        await self.gone(self.present)
        log = self.proxy.log.read_text()
        assert "Traceback" not in log, log[-4000:]

    async def _within(self, holds: Callable[[], bool], else_: str) -> None:
        try:
            await eventually(holds, READY_WITHIN_S)
        except AssertionError:
            said = last_words(self.proxy.log)
            raise AssertionError(f"{else_} after {READY_WITHIN_S:g} s:\n{said}") from None


@asynccontextmanager
async def dynasty(proxy: ProxyProcess) -> AsyncIterator[Dynasty]:
    """For a while; its end must be clean."""
    line = Dynasty(proxy)
    try:
        yield line
        await line.end()
    finally:
        await ended(proxy.mark)


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
