"""A proxy that is told to start its successor, and the successor as a stranger finds it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psutil

from tests.e2e.proxy_process import READY, ProxyProcess
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.raw_client import Address

WITHIN_S = 20.0


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

        await eventually(born, WITHIN_S)
        return found[0]

    async def ready_line(self) -> tuple[Address, Address]:
        """The addresses in the next ready line; all members write to one pipe."""
        stdout = self.proxy.process.stdout
        assert stdout is not None
        line = await asyncio.wait_for(stdout.readline(), WITHIN_S)
        assert line.startswith(READY), (line, self.proxy.log.read_text()[-4000:])
        told = dict(part.split("=", 1) for part in line[len(READY) :].decode().split())
        return _address(told["listen"]), _address(told["admin"])

    async def gone(self, process: psutil.Process) -> None:
        """Until `process` has ended; the first one with 0."""
        await eventually(lambda: _has_ended(process), WITHIN_S)
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

    def kill(self) -> None:
        """Leave nobody behind."""
        for member in self._members:
            with contextlib.suppress(psutil.Error):
                for process in (*member.children(recursive=True), member):
                    process.kill()


@asynccontextmanager
async def dynasty(proxy: ProxyProcess) -> AsyncIterator[Dynasty]:
    """For a while; its end must be clean."""
    line = Dynasty(proxy)
    try:
        yield line
        await line.end()
    finally:
        line.kill()


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _address(value: str) -> Address:
    host, _, port = value.rpartition(":")
    return host.strip("[]"), int(port)
