"""The endpoints that serve one path, and which of them gets the next attempt.

Owns choice (power of two choices by outstanding requests), passive ejection and the probes' word on health.
It knows endpoints, not requests.

Who may take traffic is looked up only after it has changed: a choice costs the same among a hundred endpoints
as among two, however many of them are out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from proxy.config.tls import ClientTls
from proxy.core.balance import Ejector, available_share, choose
from proxy.core.cache_hits import CacheCount
from proxy.dataplane.endpoint import Endpoint
from proxy.dataplane.resolver import Resolver
from proxy.dataplane.waiting import Waiting
from proxy.model import EndpointStatus, Path
from proxy.tls import client_context

if TYPE_CHECKING:
    import ssl

    from proxy.config.schema import Backend
    from proxy.ports import Random


class BackendPool:
    """One path's endpoints. Making one raises `ConfigError` if a file of its TLS cannot be used."""

    __slots__ = (
        "_ejector",
        "_lone",
        "_random",
        "_ready",
        "_ready_until",
        "caches",
        "connect_timeout_s",
        "endpoints",
        "idle_timeout_s",
        "path",
        "path_line",
        "resolver",
        "response_timeout_s",
        "waiting",
    )

    def __init__(self, path: Path, settings: Backend, random: Random) -> None:
        self.path = path
        self.path_line = b"X-Dualpath-Path: %b\r\n" % path.encode()
        self.connect_timeout_s = settings.connect_timeout_s
        self.response_timeout_s = settings.response_timeout_s
        self.idle_timeout_s = settings.idle_timeout_s
        self.resolver = Resolver(settings.nameservers)
        tls = _client_context(path, settings)
        self.endpoints = [
            Endpoint(index, url, settings, self.resolver, tls) for index, url in enumerate(settings.endpoints)
        ]
        self.waiting = Waiting(settings, self.endpoints) if settings.max_requests else None
        named = settings.cache_header
        self.caches = None if named is None or path is Path.V1 else CacheCount(named)
        self._ejector = Ejector(settings.ejection, len(self.endpoints))
        self._random = random
        self._lone = self.endpoints[0] if len(self.endpoints) == 1 else None
        self._ready: list[Endpoint] = []
        self._ready_until = -math.inf  # when `_ready` is to be made anew

    def __repr__(self) -> str:
        return f"<BackendPool {self.path} {self.endpoints}>"

    def choose(self, now: float, other_than: Endpoint | None = None) -> Endpoint | None:
        """The endpoint for the next attempt, if possible `other_than` one; None when none may take
        traffic."""
        lone = self._lone
        if lone is not None:
            return lone if lone.healthy else None
        if now >= self._ready_until:
            self._look_again(now)
        ready = self._ready
        if other_than is not None:
            ready = [endpoint for endpoint in ready if endpoint is not other_than] or ready
        return choose(ready, self._random) if ready else None

    def _look_again(self, now: float) -> None:
        """Who may take traffic, until the next of the ejected comes back or something else changes."""
        ejected = self._ejector.ejected
        self._ready = [e for e in self.endpoints if e.healthy and not ejected(e.index, now)]
        self._ready_until = self._ejector.next_return(now)

    def choose_any(self) -> Endpoint:
        """The endpoint to try when none is believed healthy: for the path that nothing stands behind."""
        return choose(self.endpoints, self._random)

    def succeeded(self, endpoint: Endpoint, now: float) -> None:
        """An attempt on `endpoint` went well."""
        if self._lone is None:
            self._ejector.success(endpoint.index, now)

    def failed(self, endpoint: Endpoint, now: float) -> None:
        """An attempt on `endpoint` failed through no fault of the client."""
        if self._lone is None and self._ejector.failure(endpoint.index, now):
            self._ready_until = -math.inf

    def statuses(self, now: float) -> list[EndpointStatus]:
        """Every endpoint as it stands."""
        return [
            EndpointStatus(
                self.path,
                endpoint.url,
                endpoint.healthy,
                self._ejector.ejected(endpoint.index, now),
                endpoint.outstanding,
                endpoint.idle_connections,
            )
            for endpoint in self.endpoints
        ]

    def set_health(self, url: str, *, healthy: bool) -> None:
        """What a probe found."""
        for endpoint in self.endpoints:
            if endpoint.url == url:
                endpoint.healthy = healthy
                self._ready_until = -math.inf

    def renew(self, other: BackendPool) -> None:
        """A pool with the same settings takes this one's place no longer, but has read the files anew: its
        TLS is good for the connections to come."""
        for endpoint, renewed in zip(self.endpoints, other.endpoints, strict=True):
            endpoint.tls = renewed.tls

    def close(self) -> None:
        """Ends every connection."""
        for endpoint in self.endpoints:
            endpoint.close()
        self.resolver.close()

    def health(self, now: float) -> float:
        """Share of the endpoints that may take traffic, 0..1."""
        return available_share(self.statuses(now))


def _client_context(path: Path, settings: Backend) -> ssl.SSLContext | None:
    if not any(url.startswith("https:") for url in settings.endpoints):
        return None
    return client_context(settings.tls or ClientTls(), f"backends.{path}.tls")
