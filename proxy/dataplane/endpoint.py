"""One endpoint of a backend and its connection pool.

Owns connecting and keep-alive. It knows neither exchanges nor the other endpoints. Connections that die while
idle are nobody's error.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import ssl
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

from proxy.dataplane.resolver import Addresses
from proxy.dataplane.sockets import is_quiet
from proxy.dataplane.upstream import Upstream

if TYPE_CHECKING:
    from proxy.config.schema import Backend
    from proxy.dataplane.resolver import Resolver

log = logging.getLogger("dualpath.backends")

OUR_OWN: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EAGAIN}
)
"""What a connection fails by when it is this machine that has no more to give: files, memory, ports."""

_EMPTYING_S = 2.0
_TOLD_EVERY_S = 60.0


class Endpoint:
    """One endpoint of a backend with its idle connections, newest last.

    `tls` is for https:// alone, and may be replaced: it is good for the connections to come.
    """

    __slots__ = (
        "_addresses",
        "_connect_timeout_s",
        "_idle",
        "_keepalive_timeout_s",
        "_max_idle",
        "_outdated",
        "_port",
        "_secure",
        "_server_name",
        "_tell_at",
        "connections",
        "emptying",
        "healthy",
        "index",
        "max_head_bytes",
        "outstanding",
        "tls",
        "url",
    )

    def __init__(
        self, index: int, url: str, backend: Backend, resolver: Resolver, tls: ssl.SSLContext | None = None
    ) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        self.index = index
        self.url = url
        self.outstanding = 0
        self.healthy = True  # as the probes see it
        self.max_head_bytes = backend.max_head_bytes
        self.connections: set[Upstream] = set()
        self.emptying: set[Upstream] = set()
        self.tls = tls
        self._secure = parts.scheme == "https"
        self._server_name = (backend.tls.server_name if backend.tls is not None else None) or host
        self._port = parts.port or (443 if self._secure else 80)
        self._addresses = Addresses(host, resolver, self._moved)
        self._connect_timeout_s = backend.connect_timeout_s
        self._max_idle = backend.max_idle_connections
        self._keepalive_timeout_s = backend.keepalive_timeout_s
        self._idle: list[Upstream] = []
        self._outdated: set[Upstream] = set()  # to addresses that the name no longer has
        self._tell_at = -math.inf

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
            if upstream.transport.is_closing():
                continue
            if not_before and not is_quiet(upstream.transport):
                upstream.close()
                continue
            if upstream.idle_since < not_before:
                # The newest is too old, so all are.
                idle.append(upstream)
                return None
            return upstream
        return None

    async def connect(self) -> Upstream:
        """A fresh connection, to the address that served last, or to another one of the name if that fails.
        Raises OSError."""
        addresses = self._addresses
        known = addresses.known or await addresses.found()
        if len(known) == 1:
            return await self._dial(known[0])
        left_s = self._connect_timeout_s
        for address in known[:-1]:
            # Half of what is left: one that swallows everything must not use up the others' time.
            left_s /= 2
            try:
                async with asyncio.timeout(left_s):
                    return await self._dial(address)
            except OSError as error:  # TimeoutError is one too
                if error.errno in OUR_OWN and error.errno != errno.EADDRNOTAVAIL:
                    raise
            addresses.failed(address)
        return await self._dial(known[-1])

    async def _dial(self, address: str) -> Upstream:
        upstream = Upstream(self)
        tls = self.tls if self._secure else None
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: cast("asyncio.Protocol", upstream),
                address,
                self._port,
                ssl=tls,
                server_hostname=self._server_name if tls is not None else None,
            )
        except asyncio.CancelledError:
            # Cut off at the moment of success: the connection would belong to nobody.
            if upstream.connected:
                upstream.close()
            raise
        except (ssl.SSLError, ConnectionResetError, ConnectionAbortedError, ValueError) as error:
            if tls is None:
                raise
            # What exactly is wrong concerns whoever reads the log, not the client.
            self._tell(error)
            raise ConnectionError("the TLS handshake failed") from error
        if upstream.transport.is_closing():
            # It was reset from a queue of connections that nobody served, say. The loop would drop what is
            # written to it, so that no byte of the request can have reached the backend.
            raise ConnectionResetError(errno.ECONNRESET, "closed before anything was sent")
        self.connections.add(upstream)
        return upstream

    def _tell(self, error: Exception) -> None:
        """Says why no handshake succeeds, now and then."""
        now = asyncio.get_running_loop().time()
        if now >= self._tell_at:
            self._tell_at = now + _TOLD_EVERY_S
            known = getattr(error, "verify_message", "") or getattr(error, "reason", "")
            log.warning(
                "%s: the TLS handshake failed: %s",
                self.url,
                known or str(error) or "the connection was closed",
            )

    def _moved(self) -> None:
        """The name has other addresses now: connections to those that it no longer has end with their
        requests."""
        known = self._addresses.known
        for upstream in self.connections:
            peer = upstream.transport.get_extra_info("peername")
            if peer is not None and peer[0] not in known:
                self._outdated.add(upstream)
        for upstream in [one for one in self._idle if one in self._outdated]:
            upstream.close()

    def release(self, upstream: Upstream, now: float) -> None:
        """A clean connection comes back."""
        if len(self._idle) >= self._max_idle or (self._outdated and upstream in self._outdated):
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
        self._outdated.discard(upstream)
        if upstream.exchange is None and upstream in self._idle:
            self._idle.remove(upstream)

    def prune(self, now: float) -> None:
        """Closes connections that idled or were emptied for too long, and looks after the name."""
        self._addresses.refresh()
        limit = now - self._keepalive_timeout_s
        while self._idle and self._idle[0].idle_since < limit:
            self._idle.pop(0).close()
        for upstream in [u for u in self.emptying if u.idle_since + _EMPTYING_S < now]:
            upstream.close()

    def close(self) -> None:
        """Ends every connection."""
        self._addresses.close()
        for upstream in list(self.connections):
            upstream.close()
        self._idle.clear()
