"""What all exchanges of one data plane share: settings, clock, the live routes, the backends, where to write
down.

Owns the coarse clock and the set of running exchanges that the sweep looks at. It holds no logic of a
request. A context belongs to one configuration: a reload makes the next one, connections go over to it, and
exchanges stay with the one that they began under.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from proxy.core.addresses import is_within, neighbourhood, parse_address
from proxy.core.forwarding import Identifiers
from proxy.core.keys import client_address
from proxy.core.refusals import CONNECTION_LIMIT, Refusals
from proxy.core.request_head import RequestLines
from proxy.dataplane.backend import BackendPool
from proxy.dataplane.descriptors import room_for
from proxy.model import Path

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.config.fields import IPNetwork
    from proxy.config.schema import Backend, Config, Listen
    from proxy.core.request_head import RequestHead
    from proxy.dataplane.arrival import Arrival
    from proxy.dataplane.downstream import Downstream
    from proxy.dataplane.exchange import Exchange
    from proxy.dataplane.observing import Watch
    from proxy.dataplane.routes import Routes
    from proxy.dataplane.tunnel import Tunnel
    from proxy.ports import Clock, Meter, Random, Recorder

_UNLIMITED: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Limits:
    """What `[listen]` says, for the hot path: reading an attribute of a pydantic model costs ten times as
    much."""

    max_head_bytes: int
    max_fields: int
    max_target_bytes: int
    header_timeout_s: float
    keepalive_timeout_s: float
    body_idle_timeout_s: float
    drain_timeout_s: float
    max_body_bytes: int
    max_connections_per_client: int
    max_requests_per_connection: int
    max_loop_lag_s: float
    proxy_protocol: bool
    trusted_proxies: tuple[IPNetwork, ...]

    @classmethod
    def of(cls, listen: Listen) -> Limits:
        """The limits of a `[listen]` table. What is off there is a limit here that nobody reaches."""
        limits = cls(**{field.name: getattr(listen, field.name) for field in fields(cls)})
        return replace(
            limits,
            max_body_bytes=limits.max_body_bytes or _UNLIMITED,
            max_loop_lag_s=limits.max_loop_lag_s or math.inf,
        )


class Context:
    """Shared by every connection; `now` is monotonic seconds, at most one sweep old."""

    __slots__ = (
        "_clients",
        "_room",
        "active",
        "arriving",
        "config",
        "connections",
        "date_line",
        "draining",
        "expose_path",
        "identifiers",
        "lines",
        "listen",
        "meter",
        "monotonic",
        "now",
        "random",
        "recorder",
        "refusals",
        "routes",
        "shedding",
        "tunnels",
        "v1",
        "v2",
        "via",
        "wall",
        "watch",
    )

    def __init__(
        self, config: Config, routes: Routes, recorder: Recorder, clock: Clock, random: Random
    ) -> None:
        self.config = config
        self.listen = Limits.of(config.listen)
        self.routes = routes
        self.recorder = recorder
        self.meter: Meter | None = None
        self.random = random
        self.monotonic = clock.monotonic
        self.wall = clock.wall
        self.lines = RequestLines(
            rollout.override.header.lower().encode()
            for rollout in config.rollouts
            if rollout.override is not None
        )
        self.identifiers = Identifiers(random)
        self.v1 = BackendPool(Path.V1, config.backends.v1, random)
        self.v2 = BackendPool(Path.V2, config.backends.v2, random)
        self.expose_path = config.listen.expose_path
        self.active: set[Exchange] = set()
        self.connections: set[Downstream] = set()
        self.arriving: set[Arrival] = set()  # no client's yet
        self._clients: dict[str, int] = {}  # connections by neighbourhood, where there is a limit
        self._room = room_for(config.listen.max_connections)
        self.refusals = Refusals()
        self.shedding = False  # whether the loop is too late to take new requests
        self.tunnels: set[Tunnel] = set()  # of every configuration, like the connections
        self.draining = False
        self.via = b"1.1 " + config.listen.server_name.encode()
        self.now = 0.0
        self.date_line = b""
        self.watch: Watch | None = None  # over requests, if anybody wants to see any
        self.tell_time()

    def __repr__(self) -> str:
        return f"<Context {len(self.active)} exchanges draining={self.draining}>"

    def succeed(self, before: Context) -> None:
        """Take over from the context of the configuration before: its connections, and the pools whose
        settings are the same. A new pool knows what the probes said of endpoints that it shares."""
        self.identifiers = before.identifiers
        self.connections = before.connections
        self.arriving = before.arriving
        self.refusals = before.refusals
        self.shedding = before.shedding
        self.tunnels = before.tunnels
        self.draining = before.draining
        was, now = before.config.backends, self.config.backends
        self.v1 = _renewed(before.v1, self.v1) if was.v1 == now.v1 else _informed(self.v1, before.v1, now.v1)
        self.v2 = _renewed(before.v2, self.v2) if was.v2 == now.v2 else _informed(self.v2, before.v2, now.v2)
        for connection in self.connections:
            connection.trusted = False
            self._recognise(connection)
            self._count(connection.peer)
            connection.go_over_to(self)
        for arrival in self.arriving:
            if arrival.counted:
                self._count(arrival.peer)

    def is_needed_by(self, connections: Iterable[Downstream]) -> bool:
        """Whether a request of this configuration runs, or waits for its turn behind another."""
        if self.active:
            return True
        return any(connection.has_waiting(self) for connection in connections)

    @property
    def pools(self) -> tuple[BackendPool, BackendPool]:
        """Both backends."""
        return self.v1, self.v2

    # ... connections ...

    def has_room(self) -> bool:
        """Whether one more connection may be there; it is counted as refused if not."""
        if len(self.connections) + len(self.arriving) < self._room:
            return True
        self.refused(CONNECTION_LIMIT)
        return False

    def shakes_hands(self, arrival: Arrival) -> bool:
        """Who connects is known, and there is a handshake to come: it counts from now on, because it holds
        a connection. Is there room for it?"""
        if not self._has_share(arrival.peer, trusted=self._is_trusted(arrival.peer)):
            return False
        arrival.counted = True
        self._count(arrival.peer)
        return True

    def arrival_over(self, arrival: Arrival) -> None:
        """It has become a client, or come to nothing."""
        if arrival in self.arriving:
            self.arriving.discard(arrival)
            if arrival.counted:
                self._uncount(arrival.peer)

    def arrived(self, connection: Downstream) -> bool:
        """A client has connected: is it one of our own proxies, and is there room for it? They share a few
        addresses among all clients, so that no limit per client is for them."""
        if not self.has_room():
            return False
        self._recognise(connection)
        if not self._has_share(connection.peer, trusted=connection.trusted):
            return False
        self.connections.add(connection)
        self._count(connection.peer)
        return True

    def left(self, connection: Downstream) -> None:
        """The connection is over; one that was turned away is not known here."""
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        self._uncount(connection.peer)

    def _has_share(self, peer: str, *, trusted: bool) -> bool:
        limit = self.listen.max_connections_per_client
        if limit and not trusted and self._clients.get(neighbourhood(peer), 0) >= limit:
            self.refused(CONNECTION_LIMIT)
            return False
        return True

    def _count(self, peer: str) -> None:
        if self.listen.max_connections_per_client:
            place = neighbourhood(peer)
            self._clients[place] = self._clients.get(place, 0) + 1

    def _uncount(self, peer: str) -> None:
        if self._clients:
            place = neighbourhood(peer)
            others = self._clients.get(place, 0) - 1
            if others > 0:
                self._clients[place] = others
            else:
                self._clients.pop(place, None)

    def refused(self, reason: str) -> None:
        """Somebody was turned away: `reason` is one of `core.refusals`."""
        self.refusals.count(reason)

    def _recognise(self, connection: Downstream) -> None:
        if self.listen.trusted_proxies:
            connection.trusted = self._is_trusted(connection.peer)

    def _is_trusted(self, peer: str) -> bool:
        address = parse_address(peer)
        return address is not None and is_within(address, self.listen.trusted_proxies)

    def client_ip(self, connection: Downstream, head: RequestHead) -> str:
        """The address of the client of a request, as our own proxies tell it or as it connects."""
        if not connection.trusted:
            return connection.peer
        lines = [field.value for field in head.forwarding if field.name == b"x-forwarded-for"]
        forwarded = [field.value for field in head.forwarding if field.name == b"forwarded"]
        return client_address(connection.peer, lines, self.listen.trusted_proxies, forwarded)

    def tell_time(self) -> None:
        """Brings the coarse clock and the Date line up to date (RFC 9110 section 6.6.1)."""
        self.now = self.monotonic()
        self.date_line = b"Date: %b\r\n" % formatdate(self.wall(), usegmt=True).encode()


def _renewed(pool: BackendPool, other: BackendPool) -> BackendPool:
    """The pool itself, with the files of its TLS as they are now."""
    pool.renew(other)
    return pool


def _informed(pool: BackendPool, before: BackendPool, settings: Backend) -> BackendPool:
    """A pool that knows which endpoints the probes found ill; without probes nobody would ever call them well
    again."""
    if settings.health is not None:
        for endpoint in before.endpoints:
            if not endpoint.healthy:
                pool.set_health(endpoint.url, healthy=False)
    return pool
