"""Sends a load: paces requests by the schedule and sends each over aiohttp, whatever became of the others.

Owns the pace, what is in flight, and the mapping of aiohttp's errors to their kinds. Must never know how
figures are shown.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from benchmarks.load_figures import Figures, Reply
from benchmarks.load_plan import user_name
from proxy.demo.traffic import AnswerBroken, only_once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from benchmarks.load_plan import Mix, Schedule
    from proxy.ports import Random

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, and what is the same in all of them."""

    url: str
    headers: Mapping[str, str]
    user_header: str
    users: int
    body: bytes
    connections: int
    timeout_s: float
    insecure: bool


class OpenLoop:
    """One load. `send(method, user)` is started for each request when it is due, and never waited for."""

    def __init__(
        self,
        schedule: Schedule,
        choose: Callable[[], tuple[str, str]],
        send: Callable[[str, str], Awaitable[Reply]],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.figures = Figures()
        self.sent = 0
        self.ended_early = False
        self._schedule = schedule
        self._choose = choose
        self._send = send
        self._clock = clock
        self._sleep = sleep
        self._began = clock()
        self._pace: asyncio.Task[None] | None = None
        self._in_flight: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<OpenLoop sent {self.sent}/{self._schedule.count}, in flight {self.in_flight}>"

    @property
    def in_flight(self) -> int:
        """Requests sent whose end is not known."""
        return len(self._in_flight)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._began

    @property
    def due(self) -> int:
        """Requests that should have been sent by now."""
        return self._schedule.due_by(self.elapsed_s)

    async def run(self) -> None:
        """Sends all that is due and waits for the last answers, or until `stop`."""
        self._began = self._clock()
        self._pace = asyncio.create_task(self._send_when_due())
        await asyncio.wait([self._pace])
        if self._in_flight:
            await asyncio.wait(self._in_flight)
        self.figures.finish()
        if not self._pace.cancelled():
            self._pace.result()

    def stop(self) -> None:
        """Sends nothing more and gives up what is in flight, which then counts nowhere."""
        self.ended_early = True
        for task in (self._pace, *self._in_flight):
            if task is not None:
                task.cancel()

    async def _send_when_due(self) -> None:
        for number in range(self._schedule.count):
            due = self._began + self._schedule.due_s(number)
            ahead_s = due - self._clock()
            if ahead_s > 0:
                await self._sleep(ahead_s)
            task = asyncio.create_task(self._one(due))
            self.sent += 1
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)

    async def _one(self, due: float) -> None:
        lag_s = self._clock() - due
        reply = await self._send(*self._choose())
        done = self._clock()
        self.figures.record(done - self._began, reply, done - due, lag_s)


def chooser(mix: Mix, users: int, rng: Random) -> Callable[[], tuple[str, str]]:
    """Draws the method and the user of the next request."""
    return lambda: (mix.choose(rng), user_name(rng, users))


@asynccontextmanager
async def sender(target: Target) -> AsyncIterator[Callable[[str, str], Awaitable[Reply]]]:
    """Sends one request over kept connections: `send(method, user)`. Follows no redirect, keeps no cookie."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=target.connections, ssl=not target.insecure),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=target.timeout_s),
        headers=target.headers,
        auto_decompress=False,
        middlewares=(only_once,),
    ) as session:

        async def send(method: str, user: str) -> Reply:
            data = target.body if method in _WITH_BODY else None
            headers = {target.user_header: user}
            try:
                async with session.request(
                    method, target.url, data=data, headers=headers, allow_redirects=False
                ) as answer:
                    async for _ in answer.content.iter_any():
                        pass
                return Reply(answer.status, answer.headers.get("X-Dualpath-Path"))
            except (aiohttp.ClientError, TimeoutError) as error:
                return Reply(error=error_kind(error))

        yield send


def error_kind(error: Exception) -> str:
    """One or two words for what went wrong."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "unknown name"
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        return "tls"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "refused" if isinstance(error.os_error, ConnectionRefusedError) else "no connection"
    if isinstance(error, AnswerBroken | aiohttp.ClientOSError | aiohttp.ServerDisconnectedError):
        return "connection lost"
    return "broken answer" if isinstance(error, aiohttp.ClientPayloadError) else "other"
