"""The composition root: builds every part, starts them in order, stops them in the opposite one.

Owns which implementation stands behind each port, and the life of the process. It holds no logic of its own:
what a request or a decision goes through is the data plane's and the control plane's affair.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from aiohttp import web

from proxy.admin.application import Surroundings, build_admin
from proxy.config.fields import split_host_port
from proxy.controlplane.controller import Controller
from proxy.controlplane.health import Prober
from proxy.controlplane.ticker import Ticker
from proxy.dataplane.plane import DataPlane
from proxy.errors import StartError
from proxy.stores.opening import store_at
from proxy.telemetry.recorder import TallyRecorder

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from proxy.config.schema import Config
    from proxy.ports import Clock, Random

log = logging.getLogger("dualpath")

_ADMIN_SHUTDOWN_S = 2.0


class SystemClock:
    """The machine's clocks: `monotonic` seconds only go forward, `wall` seconds are since the Unix epoch."""

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)


class Proxy:
    """One running dualpath: data plane, control plane, admin, store.

    `listen_address` and `admin_address` are (host, port) as bound, once `start` has returned. `start` raises
    `DualpathError` and leaves nothing behind; `stop` may be called at any time and more than once.
    """

    def __init__(self, config: Config, *, clock: Clock | None = None, rng: Random | None = None) -> None:
        clock = SystemClock() if clock is None else clock
        # For identifiers and the choice of endpoints, which need to be spread, not secret.
        rng = random.Random() if rng is None else rng  # noqa: S311
        self.config = config
        self.listen_address = ("", 0)
        self.admin_address = ("", 0)
        self._recorder = TallyRecorder(len(config.rollouts))
        self.dataplane = DataPlane(config, recorder=self._recorder, clock=clock, random=rng)
        self.controller = Controller(
            config,
            store=store_at(config.store.url),
            evidence=self._recorder,
            sinks=[self.dataplane.routes],
            endpoints=self.dataplane,
            router=self.dataplane.routes,
            clock=clock,
        )
        self._clock = clock
        self._opened = False
        self._running = AsyncExitStack()

    def __repr__(self) -> str:
        return f"<Proxy listen={self.listen_address} admin={self.admin_address} {self.dataplane}>"

    async def start(self) -> None:
        """Addresses first, because a start that fails must not have written anything; then the store, so that
        the stored weight is in force before the first client; then it listens."""
        try:
            listening = self._bound(self.config.listen.address, "cannot listen on")
            administering = self._bound(self.config.admin.address, "admin cannot listen on")
            await self.controller.open()
            self._running.push_async_callback(self.controller.close)
            self._opened = True
            await self._start_admin(administering)
            self._running.push_async_callback(self.dataplane.stop)
            await self.dataplane.start(listening)
            self.admin_address = administering.getsockname()[:2]
            self.listen_address = listening.getsockname()[:2]
            await self._running.enter_async_context(Prober(self.config.backends, self.dataplane))
            await self._running.enter_async_context(Ticker(self.controller, self.config))
        except BaseException:
            await self.stop()
            raise

    async def drain(self) -> None:
        """Stops accepting and lets running requests finish, within `listen.drain_timeout`."""
        await self.dataplane.drain()

    async def stop(self) -> None:
        """Ends everything that `start` began, last first."""
        self._opened = False
        await self._running.aclose()

    def missing(self) -> list[str]:
        """What readiness still waits for; empty when ready."""
        waits = []
        if not self._opened:
            waits.append("store")
        if not self.dataplane.accepting:
            waits.append("listener")
        return waits

    def _bound(self, address: str, complaint: str) -> socket.socket:
        """A socket that holds the address and does not listen yet. Raises `StartError`."""
        host, port = split_host_port(address)
        try:
            family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            sock = socket.socket(family, kind, protocol)
            self._running.callback(sock.close)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(target)
        except OSError as error:
            raise StartError(f"{complaint} {address}: {error.strerror or error}") from error
        sock.setblocking(False)
        return sock

    async def _start_admin(self, sock: socket.socket) -> None:
        around = Surroundings(instance=socket.gethostname(), ready=self.missing, clock=self._clock)
        runner = web.AppRunner(
            build_admin(self.config, self.controller, around),
            access_log=None,
            shutdown_timeout=_ADMIN_SHUTDOWN_S,
        )
        await runner.setup()
        self._running.push_async_callback(runner.cleanup)
        try:
            await web.SockSite(runner, sock).start()
        except OSError as error:
            raise StartError(
                f"admin cannot listen on {self.config.admin.address}: {error.strerror or error}"
            ) from error


async def serve(config: Config) -> int:
    """Runs until SIGTERM or SIGINT, drains, and returns the exit code. Raises `DualpathError` if it cannot
    start."""
    logging.basicConfig(
        level=config.log.level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, ended.set)
    # A terminal that closes must not cut requests off.
    loop.add_signal_handler(signal.SIGHUP, log.warning, "SIGHUP: the configuration is read at the start only")
    proxy = Proxy(config)
    await proxy.start()
    # What is here now stays: the collector need not look at it again and again while requests come and go.
    gc.collect()
    gc.freeze()
    try:
        sys.stdout.write(
            f"dualpath: ready listen={_text(proxy.listen_address)} admin={_text(proxy.admin_address)}\n"
        )
        sys.stdout.flush()
        await ended.wait()
        log.info("draining: new connections are refused, running requests finish")
        ended.clear()
        await _first_of(proxy.drain(), ended.wait())
    finally:
        await proxy.stop()
    return 0


async def _first_of(*waits: Coroutine[object, object, object]) -> None:
    """Until one of them is over: a second signal cuts a drain short."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _text(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
