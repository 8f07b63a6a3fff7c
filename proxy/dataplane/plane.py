"""The data plane as a whole: sweeps deadlines, goes over to another configuration, drains.

Owns the one timer. A sweep every 25 ms looks at all running exchanges; every half second it looks at
connections and pools too. There is no timer per request. Who is taken in is the acceptor's affair.

A reload begins a new context. The one before is swept for as long as a request of it runs, then its pools are
closed, but for those that go on under the new one.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

from proxy.dataplane.acceptor import Acceptor
from proxy.dataplane.context import Context
from proxy.dataplane.ledger import ages
from proxy.dataplane.routes import Routes
from proxy.model import Path

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from proxy.config.schema import Config
    from proxy.dataplane.backend import BackendPool
    from proxy.dataplane.ledger import Ages
    from proxy.dataplane.observing import Watch
    from proxy.model import EndpointStatus, Explanation, RolloutState, Users
    from proxy.ports import Clock, Meter, Random, Recorder

_SWEEP_S: Final = 0.025
_LATE_S: Final = 0.1
"""A sweep that comes this late tells of a busy loop, not of slow backends."""
_SLOW_SWEEP_EVERY: Final = 20
_DRAIN_POLL_S: Final = 0.02
_IDLE_LOOKS: Final = round(1.0 / _DRAIN_POLL_S)
"""How often a draining listener looks in vain before it closes an idle connection: a request may be under way
on it, and an answer with `Connection: close` tells its client what a bare close would leave it to guess.
Looks, not seconds: while the process stands still it hears nobody."""
_SILENT_LOOKS: Final = 5 * _IDLE_LOOKS
"""The same for a connection that has not asked anything yet: its client has just opened it to do so."""


class DataPlane:
    """Listener, exchanges and pools of one process. Implements `ports.Endpoints`, `RolloutSink`,
    `OverrideSink`, `Census` and `Router`: the same object over every reload."""

    def __init__(
        self, config: Config, *, recorder: Recorder, clock: Clock, random: Random, meter: Meter | None = None
    ) -> None:
        self.context = Context(config, Routes(config), recorder, clock, random)
        self.context.meter = meter
        self._clock = clock
        self._random = random
        self._acceptor = Acceptor(self.context)
        self._retiring: list[Context] = []
        self._timer: asyncio.TimerHandle | None = None
        self._sweeps = 0
        self._sweep_due = math.inf
        self._latest_s = 0.0  # how late the latest of the sweeps between two slow ones was
        self.lag_s = 0.0  # the same, of the last half second that is over

    def __repr__(self) -> str:
        return f"<DataPlane {self.context}>"

    @property
    def routes(self) -> Routes:
        """The live routes of the present configuration."""
        return self.context.routes

    # ... start ...

    async def start(self, sock: socket.socket) -> None:
        """Begins to accept on a bound socket. Raises `StartError` if another process listens there."""
        await self.listen(sock)
        self._sweep()

    async def listen(self, sock: socket.socket) -> None:
        """Accepts on this socket too. Raises `StartError`."""
        await self._acceptor.listen(sock)

    def unlisten(self, sock: socket.socket) -> None:
        """Accepts no more on this socket, and closes it; what was accepted stays."""
        self._acceptor.unlisten(sock)

    @property
    def accepting(self) -> bool:
        """Whether new connections are taken."""
        return self._acceptor.listens and not self.context.draining

    def be_watched(self, watch: Watch | None) -> None:
        """From now on the requests of the present configuration are seen by it, or by nobody."""
        self.context.watch = watch

    # ... a reload ...

    def replace(self, config: Config, recorder: Recorder, meter: Meter | None = None) -> None:
        """New settings for every request from now on, also on connections that are there; what is running
        or queued ends under the old ones, and writes to the old recorder and meter. Raises `ConfigError` if a
        file cannot be used, and has then changed nothing."""
        before = self.context
        context = Context(config, Routes(config, before.routes), recorder, self._clock, self._random)
        context.meter = meter
        tls = self._acceptor.prepared(config)
        context.succeed(before)
        self.context = context
        self._acceptor.go_over_to(context, tls)
        self._retiring.append(before)
        self._reconsider_tunnels()

    def _retire(self) -> None:
        """Lets go of contexts that no request needs any more, and of the pools that were theirs alone."""
        needed = [one for one in self._retiring if one.is_needed_by(self.context.connections)]
        kept = {id(pool) for one in (self.context, *needed) for pool in one.pools}
        for context in self._retiring:
            for pool in context.pools:
                if id(pool) not in kept:
                    pool.close()
        self._retiring = needed

    # ... the sweep ...

    def _sweep(self) -> None:
        now = self.context.monotonic()
        loop = asyncio.get_running_loop()
        late_s = now - self._sweep_due
        if late_s > self._latest_s:
            self._latest_s = late_s
        if late_s > _LATE_S:
            # What has arrived meanwhile, and nobody has read yet, is in time: hear it first.
            self._sweep_due = math.inf
            self._timer = loop.call_later(0, self._sweep)
            self._shed_if_late(late_s)
            return
        if late_s > -math.inf:
            self._shed_if_late(late_s)
        for context in (self.context, *self._retiring):
            context.now = now
            for exchange in [e for e in context.active if e.deadline <= now]:
                exchange.expired(now)
        self._sweeps += 1
        if self._sweeps % _SLOW_SWEEP_EVERY == 0:
            self._slow_sweep(now)
        self._sweep_due = now + _SWEEP_S
        self._timer = loop.call_later(_SWEEP_S, self._sweep)

    def _shed_if_late(self, late_s: float) -> None:
        """A loop that comes round late has more to do than it can: new requests would only wait."""
        self.context.shedding = late_s > self.context.listen.max_loop_lag_s

    def _slow_sweep(self, now: float) -> None:
        self.lag_s, self._latest_s = self._latest_s, 0.0
        for context in (self.context, *self._retiring):
            context.tell_time()
            for pool in context.pools:
                for endpoint in pool.endpoints:
                    endpoint.prune(now)
        for connection in [c for c in self.context.connections if c.deadline <= now]:
            connection.expired()
        for tunnel in [t for t in self.context.tunnels if t.deadline <= now]:
            tunnel.expired(now)
        for arrival in [a for a in self.context.arriving if a.deadline <= now]:
            arrival.expired()
        if self._retiring:
            self._retire()

    # ... the end ...

    async def drain(self) -> None:
        """Stops accepting, lets what runs finish, and cuts what is left after `drain_timeout`."""
        context = self.context
        self._announce_the_end()
        await self._acceptor.drain()
        context.tell_time()
        deadline = context.now + context.listen.drain_timeout_s
        looks = 0
        while (context.connections or context.arriving or context.tunnels) and context.monotonic() < deadline:
            self._end_idle(looks)
            await asyncio.sleep(_DRAIN_POLL_S)
            # Timers come first: what has arrived meanwhile is read before the next look.
            await asyncio.sleep(0)
            looks += 1
        # Nothing is under way on these: they need not be cut with the rest, by RST.
        self._end_idle(_SILENT_LOOKS)
        await asyncio.sleep(0)

    def _end_idle(self, looks: int) -> None:
        if looks >= _SILENT_LOOKS:
            for arrival in list(self.context.arriving):
                arrival.abort()
        if looks >= _IDLE_LOOKS:
            for connection in [c for c in self.context.connections if c.idle]:
                if connection.has_asked or looks >= _SILENT_LOOKS:
                    connection.transport.close()

    def _announce_the_end(self) -> None:
        for context in (self.context, *self._retiring):
            context.draining = True

    async def stop(self) -> None:
        """Cuts everything that is still there."""
        self._announce_the_end()
        self._acceptor.close()
        contexts = (self.context, *self._retiring)
        for context in contexts:
            for exchange in list(context.active):
                exchange.client_gone()
        for connection in list(self.context.connections):
            connection.abort()
        for arrival in list(self.context.arriving):
            arrival.abort()
        for tunnel in list(self.context.tunnels):
            tunnel.abort()
        for context in contexts:
            for pool in context.pools:
                pool.close()
        await asyncio.sleep(0)
        if self._timer is not None:
            self._timer.cancel()

    # ... ports.RolloutSink, ports.OverrideSink, ports.Census and ports.Router ...

    def publish(self, state: RolloutState) -> None:
        """Puts a rollout's weight in force."""
        self.routes.publish(state, self.context.monotonic())
        self._reconsider_tunnels()

    def publish_overrides(self, rollout: str, keys: Mapping[str, Path]) -> None:
        """Puts a rollout's overridden keys in force."""
        self.routes.publish_overrides(rollout, keys)
        self._reconsider_tunnels()

    def tunnels(self) -> tuple[int, int]:
        """How many are open, on v1 and v2."""
        tunnels = self.context.tunnels
        on_v2 = sum(tunnel.path is Path.V2 for tunnel in tunnels)
        return len(tunnels) - on_v2, on_v2

    def under_way(self) -> Ages:
        """How long the attempts under way have taken so far, by rollouts of the present configuration. Those
        that began under one before count where their rollout's table is still the same."""
        if not self.routes.judges_latency:
            return {}
        now = self.context.monotonic()
        found = ages(self.context.active, now)
        for before in self._retiring:
            for index, (on_v1, on_v2) in ages(before.active, now).items():
                was = before.routes.rollouts[index]
                present = self.routes.named(was.name)
                if present is None or present.split is not was.split:
                    continue
                if present.index in found:
                    found[present.index][0].add(on_v1)
                    found[present.index][1].add(on_v2)
                else:
                    found[present.index] = (on_v1, on_v2)
        return found

    def _reconsider_tunnels(self) -> None:
        now = self.context.monotonic()
        for tunnel in self.context.tunnels:
            tunnel.reconsider(self.routes, now)

    def users(self, rollout: str) -> Users:
        """About how many users a rollout has split."""
        return self.routes.users(rollout)

    def explain(
        self, *, key: str | None, host: str, path: str, method: str, rollout: str | None = None
    ) -> Explanation:
        """Why a request with this key would go where it would go."""
        return self.routes.explain(key=key, host=host, path=path, method=method, rollout=rollout)

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
