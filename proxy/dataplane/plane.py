"""The data plane as a whole: accepts clients, sweeps deadlines, drains.

Owns the listening socket and the one timer. A sweep every 25 ms looks at all running exchanges; every half
second it looks at connections and pools too. There is no timer per request.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from proxy.dataplane.context import Context
from proxy.dataplane.downstream import Downstream
from proxy.dataplane.routes import Routes
from proxy.errors import StartError
from proxy.model import Path

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from proxy.config.schema import Config
    from proxy.dataplane.backend import BackendPool
    from proxy.model import EndpointStatus
    from proxy.ports import Clock, Random, Recorder

_SWEEP_S: Final = 0.025
_SLOW_SWEEP_EVERY: Final = 20
_DRAIN_POLL_S: Final = 0.02
_IDLE_GRACE_S: Final = 1.0
"""How long a draining listener lets an idle connection speak: a request may be under way on it, and an answer
with `Connection: close` tells its client what a bare close would leave it to guess."""


class DataPlane:
    """Listener, exchanges and pools of one process. Implements `ports.Endpoints`."""

    def __init__(self, config: Config, *, recorder: Recorder, clock: Clock, random: Random) -> None:
        self.routes = Routes(config)
        self.context = Context(config, self.routes, recorder, clock, random)
        self._listen = config.listen
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sweeps = 0

    def __repr__(self) -> str:
        return f"<DataPlane {self.context}>"

    # ... start ...

    async def start(self, sock: socket.socket) -> None:
        """Begins to accept on a bound socket. Raises `StartError` if another process listens there."""
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: cast("asyncio.Protocol", Downstream(self.context)),
                sock=sock,
                backlog=self._listen.backlog,
            )
        except OSError as error:
            raise StartError(f"cannot listen on {self._listen.address}: {error.strerror or error}") from error
        self._socket = sock
        self._sweep()

    @property
    def accepting(self) -> bool:
        """Whether new connections are taken."""
        return self._server is not None and not self.context.draining

    # ... the sweep ...

    def _sweep(self) -> None:
        context = self.context
        now = context.now = context.monotonic()
        for exchange in [e for e in context.active if e.deadline <= now]:
            exchange.expired(now)
        self._sweeps += 1
        if self._sweeps % _SLOW_SWEEP_EVERY == 0:
            self._slow_sweep(now)
        self._timer = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)

    def _slow_sweep(self, now: float) -> None:
        context = self.context
        context.tell_time()
        for connection in [c for c in context.connections if c.deadline <= now]:
            connection.expired()
        for pool in context.pools:
            for endpoint in pool.endpoints:
                endpoint.prune(now)

    # ... the end ...

    async def drain(self) -> None:
        """Stops accepting, lets what runs finish, and cuts what is left after `drain_timeout`."""
        context = self.context
        context.draining = True
        await self._accept_the_rest()
        if self._server is not None:
            self._server.close()
        context.tell_time()
        deadline = context.now + context.listen.drain_timeout_s
        idle_until = min(deadline, context.now + _IDLE_GRACE_S)
        while context.connections and context.monotonic() < deadline:
            if context.monotonic() >= idle_until:
                for connection in [c for c in context.connections if c.idle]:
                    connection.transport.close()
            await asyncio.sleep(_DRAIN_POLL_S)

    async def _accept_the_rest(self) -> None:
        """Connections that the kernel has made and nobody has accepted would be reset with the listener."""
        loop = asyncio.get_running_loop()
        while self._socket is not None:
            try:
                accepted, _ = self._socket.accept()
            except OSError:
                return
            await loop.connect_accepted_socket(
                lambda: cast("asyncio.Protocol", Downstream(self.context)), accepted
            )

    async def stop(self) -> None:
        """Cuts everything that is still there."""
        context = self.context
        context.draining = True
        if self._server is not None:
            self._server.close()
        for exchange in list(context.active):
            exchange.client_gone()
        for connection in list(context.connections):
            connection.abort()
        for pool in context.pools:
            for endpoint in pool.endpoints:
                endpoint.close()
        await asyncio.sleep(0)
        if self._timer is not None:
            self._timer.cancel()

    # ... ports.Endpoints ...

    def statuses(self) -> Sequence[EndpointStatus]:
        """Every endpoint of both paths."""
        now = self.context.monotonic()
        return [status for pool in self.context.pools for status in pool.statuses(now)]

    def set_health(self, path: Path, url: str, *, healthy: bool) -> None:
        """What a probe found."""
        self._pool(path).set_health(url, healthy=healthy)

    def health(self, path: Path) -> float:
        """Share of the path's endpoints that may take traffic, 0..1."""
        return self._pool(path).health(self.context.monotonic())

    def _pool(self, path: Path) -> BackendPool:
        return self.context.v1 if path is Path.V1 else self.context.v2

    def breaker(self, rollout: str) -> str:
        """State of a rollout's breaker."""
        return self.routes.breaker(rollout)
