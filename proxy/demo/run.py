"""`dualpath demo`: starts the backends, the proxy and the traffic, plays the script, ends what it started."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

import aiohttp

from proxy.app import Proxy
from proxy.clock import SystemClock
from proxy.config.units import weight_of
from proxy.demo.backend import CONTROL_PATH
from proxy.demo.clients import ClientTally
from proxy.demo.configuration import ROLLOUT, SECOND_PERCENTAGE, demo_config
from proxy.demo.plan import users
from proxy.demo.play import DemoOptions, Play
from proxy.demo.processes import BackendProcess
from proxy.demo.screen import screen_for
from proxy.demo.traffic import HttpSender, Traffic
from proxy.errors import DualpathError, StartError
from proxy.model import Command, Verb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from proxy.demo.faults import Fault
    from proxy.demo.screen import Screen
    from proxy.model import Event, RolloutReport

__all__ = ["DemoOptions", "run_demo"]

USERS = 200
INTERRUPTED = 130
USUAL_ADDRESSES = "127.0.0.1:8080", "127.0.0.1:9900"
FREE_ADDRESSES = "127.0.0.1:0", "127.0.0.1:0"


async def run_demo(options: DemoOptions) -> int:
    """Run the demo: 0 if all went as it should, 1 if not, 130 if it was interrupted before it could tell."""
    screen = screen_for(sys.stdout)
    try:
        with _interruptible() as interrupted:
            async with AsyncExitStack() as stack:
                stage = await LiveStage.open(stack)
                return await _perform(stage, options, screen, _pause_with(interrupted))
    except (DualpathError, OSError) as error:
        sys.stderr.write(f"the demo cannot run: {error}\n")
        return 1
    finally:
        screen.close()


class LiveStage:
    """Two backend processes and the proxy in this process; see `play.Stage`."""

    def __init__(self, v2: BackendProcess, proxy: Proxy, session: aiohttp.ClientSession) -> None:
        self._v2 = v2
        self._proxy = proxy
        self._session = session

    @classmethod
    async def open(cls, stack: AsyncExitStack) -> LiveStage:
        """Start all of it; `stack` ends it, last started first ended. Raises `DualpathError`, OSError."""
        v1, v2 = BackendProcess("v1"), BackendProcess("v2")
        await stack.enter_async_context(v1)
        await stack.enter_async_context(v2)
        proxy = await _proxy_between(v1, v2)
        stack.push_async_callback(proxy.stop)
        return cls(v2, proxy, await stack.enter_async_context(aiohttp.ClientSession()))

    def __repr__(self) -> str:
        return f"<LiveStage {self.front} {self._v2!r}>"

    @property
    def front(self) -> str:
        """Where clients go."""
        return "http://{}:{}".format(*self._proxy.listen_address)

    def report(self) -> RolloutReport:
        return self._proxy.controller.report(ROLLOUT)

    async def events(self, after: int) -> Sequence[Event]:
        return await self._proxy.controller.events(after=after)

    async def raise_weight(self) -> None:
        reason = "v2 has done well so far"
        command = Command(ROLLOUT, Verb.SET, "demo", reason, weight=weight_of(SECOND_PERCENTAGE))
        await self._proxy.controller.command(command)

    async def turn(self, fault: Fault) -> None:
        await self._v2.turn(fault, self._session)

    async def struck(self) -> int:
        return await self._v2.struck(self._session)

    def addresses(self) -> Iterator[str]:
        """Where everything is, and what to try there."""
        front, admin = self.front, "http://{}:{}".format(*self._proxy.admin_address)
        yield "Everything stays up until Ctrl-C. To try:"
        yield f"  curl -i -H 'X-User-Id: user-001' '{front}/restaurants?city=Lyon&limit=2'"
        yield f"  {admin}/  # the dashboard, in a browser"
        yield f"  curl {admin}/api/v1/status"
        yield f"  curl -X PUT -d errors {self._v2.url}{CONTROL_PATH}  # or none, slow, hang, flaky"
        yield f"  dualpath rollout set 30 --name {ROLLOUT} --admin {admin}"
        yield f"  dualpath history --admin {admin}"


async def _proxy_between(v1: BackendProcess, v2: BackendProcess) -> Proxy:
    """A started proxy, at the usual addresses unless one of them is taken."""
    config = demo_config(v1.url, v2.url, *USUAL_ADDRESSES)
    # The rollback is a warning in the log; here the screen tells it.
    logging.getLogger("dualpath").setLevel(config.log.level.upper())
    logging.getLogger("dualpath.alerts").disabled = True  # the screen says all of it already
    proxy = Proxy(config)
    try:
        await proxy.start()
    except StartError:
        proxy = Proxy(demo_config(v1.url, v2.url, *FREE_ADDRESSES))
        await proxy.start()
    return proxy


async def _perform(
    stage: LiveStage, options: DemoOptions, screen: Screen, pause: Callable[[float], Awaitable[bool]]
) -> int:
    clock, tally = SystemClock(), ClientTally()
    async with HttpSender(stage.front) as sender:
        rng = random.Random(2026)  # noqa: S311
        traffic = Traffic(users(USERS), options.rate, sender.send, tally=tally, clock=clock, rng=rng)
        async with _flowing(traffic):
            play = Play(stage, options, screen=screen, tally=tally, clock=clock, pause=pause)
            if not await play.perform():
                return INTERRUPTED
            summary = await play.conclude()
            screen.say(("", *summary.lines))
            if options.stay:
                screen.say(("", *stage.addresses()))
                await play.linger()
    return summary.exit_code


@asynccontextmanager
async def _flowing(traffic: Traffic) -> AsyncIterator[None]:
    task = asyncio.create_task(traffic.run())
    try:
        yield
    finally:
        traffic.stop()
        await task


# ... Ctrl-C ...


@contextmanager
def _interruptible() -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set, so that what has been started can be ended in order.

    Only the first of them is caught: the second one ends the process as usual, and the backends end with it.
    """
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()

    def interrupt() -> None:
        interrupted.set()
        release()

    def release() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        yield interrupted
    finally:
        release()


def _pause_with(interrupted: asyncio.Event) -> Callable[[float], Awaitable[bool]]:
    async def pause(seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await interrupted.wait()
        return interrupted.is_set()

    return pause
