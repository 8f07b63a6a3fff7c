"""The sample backends as child processes.

Owns their start, their fault switch over HTTP, and their end. A child holds the reading end of a pipe from
this process and ends with it, so that none is left behind even if this process is killed.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Self

import aiohttp
import orjson

from proxy.demo.backend import CONTROL_PATH
from proxy.errors import DualpathError

if TYPE_CHECKING:
    from types import TracebackType

    from proxy.demo.faults import Fault

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 3.0


class BackendFailed(DualpathError):
    """A sample backend did not start or does not obey."""


class BackendProcess:
    """One version of the sample service in a process of its own; an async context manager."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.url = ""
        self._process: asyncio.subprocess.Process | None = None

    def __repr__(self) -> str:
        return f"<BackendProcess {self.version} {self.url or 'not started'}>"

    @property
    def pid(self) -> int | None:
        """The process id, None before the start."""
        return self._process.pid if self._process else None

    async def __aenter__(self) -> Self:
        """Start it and wait until it listens. Raises `BackendFailed`."""
        arguments = ("-m", "proxy.demo.backend", "--version", self.version, "--port", "0", "--lifeline")
        pipe = asyncio.subprocess.PIPE
        # A session of its own: Ctrl-C reaches this process alone, which then ends the children in order.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdin=pipe, stdout=pipe, start_new_session=True
        )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                port = await self._first_line(self._process)
        except BaseException:
            await self._stop(self._process)
            raise
        if not port.isdigit():
            await self._stop(self._process)
            raise BackendFailed(f"the sample backend {self.version} did not start")
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            await self._stop(self._process)

    async def turn(self, fault: Fault, session: aiohttp.ClientSession) -> None:
        """Switch the fault. Raises `BackendFailed`."""
        await self._control(session, "PUT", str(fault))

    async def struck(self, session: aiohttp.ClientSession) -> int:
        """How many requests have reached it since the fault was last switched. Raises `BackendFailed`."""
        answer = orjson.loads(await self._control(session, "GET"))
        return int(answer["requests"])

    async def _control(self, session: aiohttp.ClientSession, method: str, body: str = "") -> bytes:
        try:
            async with session.request(method, self.url + CONTROL_PATH, data=body) as answer:
                answer.raise_for_status()
                return await answer.read()
        except aiohttp.ClientError as error:
            raise BackendFailed(f"the sample backend {self.version} does not obey: {error}") from error

    async def _first_line(self, process: asyncio.subprocess.Process) -> str:
        return (await process.stdout.readline()).decode().strip() if process.stdout else ""

    async def _stop(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
