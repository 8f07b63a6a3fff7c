"""The endpoints that serve one path, and which of them gets the next attempt.

Owns choice (power of two choices by outstanding requests), passive ejection and the probes' word on health.
It knows endpoints, not requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.core.balance import Ejector, choose
from proxy.dataplane.endpoint import Endpoint
from proxy.model import EndpointStatus

if TYPE_CHECKING:
    from proxy.config.schema import Backend
    from proxy.model import Path
    from proxy.ports import Random


class BackendPool:
    """One path's endpoints."""

    __slots__ = (
        "_ejector",
        "_lone",
        "_random",
        "connect_timeout_s",
        "endpoints",
        "idle_timeout_s",
        "path",
        "path_line",
        "response_timeout_s",
    )

    def __init__(self, path: Path, settings: Backend, random: Random) -> None:
        self.path = path
        self.path_line = b"X-Dualpath-Path: %b\r\n" % path.encode()
        self.connect_timeout_s = settings.connect_timeout_s
        self.response_timeout_s = settings.response_timeout_s
        self.idle_timeout_s = settings.idle_timeout_s
        self.endpoints = [Endpoint(index, url, settings) for index, url in enumerate(settings.endpoints)]
        self._ejector = Ejector(settings.ejection, len(self.endpoints))
        self._random = random
        self._lone = self.endpoints[0] if len(self.endpoints) == 1 else None

    def __repr__(self) -> str:
        return f"<BackendPool {self.path} {self.endpoints}>"

    def choose(self, now: float, other_than: Endpoint | None = None) -> Endpoint | None:
        """The endpoint for the next attempt, if possible `other_than` one; None when none may take
        traffic."""
        lone = self._lone
        if lone is not None:
            return lone if lone.healthy else None
        available = [e for e in self.endpoints if e.healthy and not self._ejector.ejected(e.index, now)]
        others = [e for e in available if e is not other_than] if other_than is not None else available
        return choose(others or available, self._random) if available else None

    def choose_any(self) -> Endpoint:
        """The endpoint to try when none is believed healthy: for the path that nothing stands behind."""
        return choose(self.endpoints, self._random)

    def succeeded(self, endpoint: Endpoint, now: float) -> None:
        """An attempt on `endpoint` went well."""
        if self._lone is None:
            self._ejector.success(endpoint.index, now)

    def failed(self, endpoint: Endpoint, now: float) -> None:
        """An attempt on `endpoint` failed through no fault of the client."""
        if self._lone is None:
            self._ejector.failure(endpoint.index, now)

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

    def health(self, now: float) -> float:
        """Share of the endpoints that may take traffic, 0..1."""
        statuses = self.statuses(now)
        return sum(status.healthy and not status.ejected for status in statuses) / len(statuses)
