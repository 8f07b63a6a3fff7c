"""Steady traffic: sends what `plan` says at a fixed rate, whatever the answers take.

Owns the pace and the sending. Must never know the proxy's insides: like any client, it judges an answer by
its status alone.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import aiohttp

from proxy.demo.plan import plan

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

    from proxy.demo.clients import ClientTally
    from proxy.demo.plan import Planned, User
    from proxy.ports import Clock, Random

GIVE_UP_S = 5.0
MAX_IN_FLIGHT = 256


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: a status, or None with an `error` in words. `path` is `X-Dualpath-Path`."""

    status: int | None
    path: str | None = None
    location: str = ""
    error: str = ""


class Traffic:
    """Requests from `users`, `rate` a second, each from one of them at random, through `send`."""

    def __init__(
        self,
        users: Sequence[User],
        rate: float,
        send: Callable[[User, Planned], Awaitable[Reply]],
        *,
        tally: ClientTally,
        clock: Clock,
        rng: Random,
    ) -> None:
        self._users = users
        self._interval_s = 1 / rate
        self._send = send
        self._tally = tally
        self._clock = clock
        self._rng = rng
        self._stopping = False
        self._in_flight = 0

    def __repr__(self) -> str:
        return (
            f"<Traffic every {self._interval_s:g} s, in flight {self._in_flight}, stopping {self._stopping}>"
        )

    async def run(self) -> None:
        """Send until `stop`, then wait for the last answers."""
        due = self._clock.monotonic()
        async with asyncio.TaskGroup() as group:
            while not self._stopping:
                if self._in_flight < MAX_IN_FLIGHT:
                    self._in_flight += 1
                    group.create_task(self.exchange(self._next_user()))
                now = self._clock.monotonic()
                # A loop that was late does not catch up in a burst: the traffic is to be steady.
                due = max(due + self._interval_s, now)
                await asyncio.sleep(due - now)

    def stop(self) -> None:
        """Send nothing more."""
        self._stopping = True

    async def exchange(self, user: User) -> None:
        """One request of the user's, from plan to tally."""
        planned = plan(user, self._rng)
        began = self._clock.monotonic()
        reply = await self._send(user, planned)
        self._in_flight -= 1
        if reply.status == 201 and planned.path == "/restaurants":
            user.owned.append(int(reply.location.rpartition("/")[2]))
        self._tally.record(began, self._clock.monotonic(), reply.path, _failure(planned, reply))

    def _next_user(self) -> User:
        return self._users[int(self._rng.random() * len(self._users))]


def _failure(planned: Planned, reply: Reply) -> str | None:
    if reply.status in planned.expects:
        return None
    return f"{planned.method} {planned.path}: {reply.error or f'status {reply.status}'}"


class HttpSender:
    """Sends over HTTP with kept connections; an async context manager."""

    def __init__(self, base_url: str) -> None:
        self._session = aiohttp.ClientSession(
            base_url,
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=GIVE_UP_S),
            middlewares=(only_once,),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def send(self, user: User, planned: Planned) -> Reply:
        """The reply; a broken or missing answer is a reply too."""
        headers = {"X-User-Id": user.name}
        if planned.body is not None:
            headers["Content-Type"] = "application/json"
        if planned.idempotency_key is not None:
            headers["Idempotency-Key"] = planned.idempotency_key
        request = self._session.request(planned.method, planned.path, data=planned.body, headers=headers)
        try:
            async with request as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            return Reply(None, error=f"{type(error).__name__} {error}".rstrip())
        fields = answer.headers
        return Reply(answer.status, fields.get("X-Dualpath-Path"), fields.get("Location", ""))


class AnswerBroken(aiohttp.ClientError):
    """The connection ended before the answer did."""


async def only_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """aiohttp repeats idempotent requests after these two by itself, which would hide failures."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise AnswerBroken(str(error)) from error
