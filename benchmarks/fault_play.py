"""Plays faults of backends through a proxy, so and so often, and checks every answer.

Owns the backends, the clients, and what an answer is called. The faults and what is to come of them stand in
`tests.e2e.faults`, because the tests hold the proxy to the same table.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.e2e.faults import CONNECTING, FAULTS, STATES, Fault, at_target
from tests.e2e.raw_backend import RawBackend, normal
from tests.e2e.raw_client import RawClient, Response, request
from tests.e2e.waiting import eventually
from tests.e2e.wire import ViolationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.raw_backend import Exchange
    from tests.e2e.raw_client import Address

USER = (b"X-User-Id", b"a")
BODY = b"content"
KINDS = (("GET", "v2"), ("POST", "v2"), ("GET", "v1"), ("POST", "v1"))
"""In turn: by method, and by the version that is asked first."""
WHOLE = {**CONNECTING, "reset-on-accept": Fault(at_target, "reset")}
"""Faults of a whole backend."""
LEAVING = ("client-leaves-before-the-head", "client-leaves-in-its-upload", "client-leaves-in-the-body")
NAMES = (*FAULTS, *WHOLE, *LEAVING)
WAITING = tuple(
    name for name, fault in (FAULTS | WHOLE).items() if fault.error == "timeout" or fault.status == 504
)
"""Those that end by a time-out of the proxy: the others have to end long before."""
LEAVING_AT_ONCE = 50
"""More of them, and what is timed is how long clients and backends, all on one core here, wait for each
other."""

_UPLOAD = request("POST", "/", (USER, (b"Content-Length", b"100"))) + b"some"
_HALF_A_BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nsome"


class Play:
    """Both backends, and `at_once` clients of the proxy at `listen`."""

    def __init__(self, at_once: int) -> None:
        self.v1 = RawBackend("v1")
        self.v2 = RawBackend("v2")
        self.listen: Address = ("", 0)
        self.longest_cancel_s = 0.0
        self._at_once = at_once
        self._arrived: dict[str, asyncio.Event] = {}
        self._ended: dict[str, asyncio.Event] = {}

    def __repr__(self) -> str:
        return f"<Play {self._at_once} at once at {self.listen}>"

    async def repeat(self, name: str, times: int) -> Counter[str]:
        """The fault of that name, in all kinds; how often each answer came, wrong ones marked."""
        if name in LEAVING:
            return await self._leave(name, times)
        self.v1.answer, self.v2.answer = _unless_it_stands_in, at_target
        if name not in WHOLE:
            return await self._ask(name, FAULTS[name], times, KINDS)
        came: Counter[str] = Counter()
        for path, backend in (("v2", self.v2), ("v1", self.v1)):
            async with _STATES[name](backend):
                kinds = tuple(kind for kind in KINDS if kind[1] == path)
                came += await self._ask(name, WHOLE[name], times // 2, kinds)
        return came

    async def rest(self) -> None:
        """Until the proxy keeps no connection to a backend."""
        await eventually(lambda: not self.v1.open_connections and not self.v2.open_connections, 30)
        for backend in (self.v1, self.v2):
            backend.forget()

    # ... answers

    async def _ask(
        self, name: str, fault: Fault, times: int, kinds: tuple[tuple[str, str], ...]
    ) -> Counter[str]:
        came: Counter[str] = Counter()
        left = iter(range(times))

        async def client() -> None:
            async with contextlib.AsyncExitStack() as stack:
                connection: RawClient | None = None
                for number in left:
                    method, path = kinds[number % len(kinds)]
                    if connection is None:
                        connection = await stack.enter_async_context(_connected(self.listen))
                    try:
                        answer = await _answer(connection, name, fault, method, path)
                    except (OSError, ViolationError) as error:
                        came[f"WRONG: {type(error).__name__}"] += 1
                        stays = False
                    else:
                        came[_called(answer, name, fault, method, path)] += 1
                        closes = answer.get(b"connection") is not None
                        stays = answer.complete and not closes and not fault.unfinished
                    if not stays:
                        await stack.aclose()
                        connection = None

        await asyncio.gather(*(client() for _ in range(min(self._at_once, times))))
        return came

    # ... clients that leave

    async def _leave(self, name: str, times: int) -> Counter[str]:
        """`longest_cancel_s` is the longest that a backend was kept waiting for a client that had left."""
        self.v2.answer = self._until_it_is_cancelled
        came: Counter[str] = Counter()
        left = iter(range(times))

        async def client() -> None:
            for number in left:
                target = f"/{'body' if name == LEAVING[2] else 'more'}/{number}"
                arrived = self._arrived[target] = asyncio.Event()
                ended = self._ended[target] = asyncio.Event()
                async with _connected(self.listen) as connection:
                    await connection.send(_opening(name, target))
                    if name == LEAVING[2]:
                        await connection.interim()
                    else:
                        await arrived.wait()
                    connection.reset()
                    left_at = time.perf_counter()
                try:
                    await asyncio.wait_for(ended.wait(), 5)
                except TimeoutError:
                    came["WRONG: never cancelled"] += 1
                else:
                    took_s = time.perf_counter() - left_at
                    self.longest_cancel_s = max(self.longest_cancel_s, took_s)
                    came["cancelled" if took_s < 0.5 else "WRONG: cancelled late"] += 1
                del self._arrived[target], self._ended[target]

        await asyncio.gather(*(client() for _ in range(min(self._at_once, LEAVING_AT_ONCE, times))))
        return came

    async def _until_it_is_cancelled(self, exchange: Exchange) -> None:
        target = exchange.request.target
        self._arrived[target].set()
        exchange.backend.received.clear()
        if target.startswith("/body"):
            await exchange.send(_HALF_A_BODY)
        await exchange.gone()
        self._ended[target].set()


async def _unless_it_stands_in(exchange: Exchange) -> None:
    await (at_target if exchange.request.get(USER[0].lower()) is None else normal)(exchange)


def _opening(name: str, target: str) -> bytes:
    if name == LEAVING[1]:
        return _UPLOAD.replace(b"POST / ", f"POST {target} ".encode())
    return request("GET", target, (USER,))


async def _answer(client: RawClient, name: str, fault: Fault, method: str, path: str) -> Response:
    fields = (USER,) if path == "v2" else ()
    if method == "GET" or not fault.unfinished:
        return await client.ask(method, f"/{name}", fields, BODY if method == "POST" else None)
    declared = (b"Content-Length", b"%d" % (2 * len(BODY)))
    await client.send(request(method, f"/{name}", (*fields, declared)) + BODY)
    return await client.response(method)


def _called(answer: Response, name: str, fault: Fault, method: str, path: str) -> str:
    """What came, in a word or two; "WRONG" before what should not have come."""
    known = answer.status if answer.complete else "broken"
    by_v1 = path == "v2" and answer.backend == b"v1"
    covered = path == "v2" and fault.hides and (method == "GET" or fault.error == "connect")
    right: bool = (answer.status, answer.complete) == (fault.status, fault.whole) and not by_v1
    if covered:
        right = (answer.status, answer.complete, by_v1) == (200, True, True)
    if name == "reset-on-accept" and by_v1:
        right = answer.complete  # whether it was connected at all when the reset came is a race
    if name == "end-without-a-word" and method == "POST" and answer.status == 502:
        right = answer.complete  # as is whether its end was seen before something was written
    return ("" if right else "WRONG: ") + (f"{known} by v1" if by_v1 else str(known))


@contextlib.asynccontextmanager
async def _connected(address: Address) -> AsyncIterator[RawClient]:
    """A connection that ends by RST: tens of thousands would use up the ports of the machine otherwise."""
    client = RawClient(*await asyncio.open_connection(*address, limit=1 << 18))
    try:
        yield client
    finally:
        client.reset()


# ... backends as a whole


@contextlib.asynccontextmanager
async def _resetting(backend: RawBackend) -> AsyncIterator[None]:
    backend.drop()
    backend.reset_on_accept = True
    yield
    backend.reset_on_accept = False


_STATES = {**STATES, "reset-on-accept": _resetting}
