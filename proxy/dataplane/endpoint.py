"""One address of a backend and its connection pool.

Owns connecting and keep-alive. It knows neither exchanges nor the other endpoints. Connections that die while
idle are nobody's error.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from proxy.dataplane.sockets import is_quiet
from proxy.dataplane.upstream import Upstream

if TYPE_CHECKING:
    from proxy.config.schema import Backend

_EMPTYING_S = 2.0


class Endpoint:
    """One address of a backend with its idle connections, newest last."""

    __slots__ = (
        "_host",
        "_idle",
        "_keepalive_timeout_s",
        "_max_idle",
        "_port",
        "_tls",
        "connections",
        "emptying",
        "healthy",
        "index",
        "max_head_bytes",
        "outstanding",
        "url",
    )

    def __init__(self, index: int, url: str, backend: Backend) -> None:
        parts = urlsplit(url)
        self.index = index
        self.url = url
        self.outstanding = 0
        self.healthy = True  # as the probes see it
        self.max_head_bytes = backend.max_head_bytes
        self.connections: set[Upstream] = set()
        self.emptying: set[Upstream] = set()
        self._host = parts.hostname or ""
        self._port = parts.port or 80
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._max_idle = backend.max_idle_connections
        self._keepalive_timeout_s = backend.keepalive_timeout_s
        self._idle: list[Upstream] = []

    def __repr__(self) -> str:
        return f"<Endpoint {self.url} outstanding={self.outstanding} idle={len(self._idle)}>"

    @property
    def idle_connections(self) -> int:
        """How many pooled connections wait for a request."""
        return len(self._idle)

    def take(self, not_before: float) -> Upstream | None:
        """The most recently used idle connection; with `not_before`, for what must not be sent twice, one
        that came back no earlier and that has nothing to say."""
        idle = self._idle
        while idle:
            upstream = idle.pop()
            if upstream.transport.is_closing() or (not_before and not is_quiet(upstream.transport)):
                continue
            if upstream.idle_since < not_before:
                # The newest is too old, so all are.
                idle.append(upstream)
                return None
            return upstream
        return None

    async def connect(self) -> Upstream:
        """A fresh connection. Raises OSError."""
        upstream = Upstream(self)
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: cast("asyncio.Protocol", upstream),
                self._host,
                self._port,
                ssl=self._tls,
                server_hostname=self._host if self._tls is not None else None,
            )
        except asyncio.CancelledError:
            # Cut off at the moment of success: the connection would belong to nobody.
            if upstream.connected:
                upstream.close()
            raise
        self.connections.add(upstream)
        return upstream

    def release(self, upstream: Upstream, now: float) -> None:
        """A clean connection comes back."""
        if len(self._idle) >= self._max_idle:
            upstream.close()
            return
        upstream.idle_since = now
        self._idle.append(upstream)

    def empty(self, upstream: Upstream, now: float) -> None:
        """A connection still has the rest of an unwanted answer to deliver; it is given a moment for that."""
        upstream.idle_since = now
        self.emptying.add(upstream)

    def forget(self, upstream: Upstream) -> None:
        """A connection is gone."""
        self.connections.discard(upstream)
        self.emptying.discard(upstream)
        if upstream.exchange is None and upstream in self._idle:
            self._idle.remove(upstream)

    def prune(self, now: float) -> None:
        """Closes connections that idled or were emptied for too long."""
        limit = now - self._keepalive_timeout_s
        while self._idle and self._idle[0].idle_since < limit:
            self._idle.pop(0).close()
        for upstream in [u for u in self.emptying if u.idle_since + _EMPTYING_S < now]:
            upstream.close()

    def close(self) -> None:
        """Ends every connection."""
        for upstream in list(self.connections):
            upstream.close()
        self._idle.clear()
