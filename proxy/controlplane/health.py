"""Active probes: ask every endpoint regularly whether it is well, and tell the data plane when that changes.

Owns the probes' rhythm and the counting that keeps one lost packet from taking an endpoint out. Must never
know what traffic an endpoint gets.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Self

import aiohttp

from proxy.model import Path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.config.schema import Backends, Probe
    from proxy.ports import Endpoints, Random

    Ask = Callable[[str, float], Awaitable[int]]
    """Status of the answer to a GET of a URL within so many seconds; raises if there is none."""

log = logging.getLogger("dualpath.health")

_JITTER = 0.2  # of the interval, so that many proxies do not probe at the same moment
_FIRST_WITHIN_S = 1.0


class HealthCount:
    """Counts one endpoint's probes. Healthy until `unhealthy_after` failures in a row, and vice versa."""

    __slots__ = ("_against", "_probe", "healthy")

    def __init__(self, probe: Probe, *, healthy: bool = True) -> None:
        self.healthy = healthy
        self._probe = probe
        self._against = 0  # outcomes in a row that speak against the present state

    def count(self, *, well: bool) -> bool:
        """Take in one outcome. Returns whether `healthy` has changed."""
        if well is self.healthy:
            self._against = 0
            return False
        self._against += 1
        needed = self._probe.unhealthy_after if self.healthy else self._probe.healthy_after
        if self._against < needed:
            return False
        self.healthy, self._against = well, 0
        return True

    def __repr__(self) -> str:
        return f"HealthCount({'healthy' if self.healthy else 'unhealthy'}, {self._against} against)"


class Prober:
    """Probes every endpoint of a backend with a `health` table while it is entered. A 2xx or 3xx is well."""

    def __init__(
        self,
        backends: Backends,
        endpoints: Endpoints,
        *,
        ask: Ask | None = None,
        rng: Random | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._backends = backends
        self._endpoints = endpoints
        self._ask: Ask = self._get if ask is None else ask
        self._rng: Random = random.SystemRandom() if rng is None else rng
        self._pause = pause
        self._session: aiohttp.ClientSession | None = None
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        known = {(status.path, status.url): status.healthy for status in self._endpoints.statuses()}
        for path in Path:
            backend = self._backends.of(path)
            if backend.health is not None:
                for url in backend.endpoints:
                    count = HealthCount(backend.health, healthy=known.get((path, url), True))
                    watching = self._watch(path, url, backend.health, count)
                    self._running.append(asyncio.create_task(watching, name=f"probe {url}"))
        return self

    async def __aexit__(self, *exception: object) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _watch(self, path: Path, url: str, probe: Probe, count: HealthCount) -> None:
        await self._pause(self._rng.random() * min(probe.interval_s, _FIRST_WITHIN_S))
        while True:
            problem = await self._problem(url + probe.path, probe.timeout_s)
            if count.count(well=not problem):
                log.warning("%s %s is %s", path, url, "healthy" if count.healthy else f"unhealthy: {problem}")
                self._endpoints.set_health(path, url, healthy=count.healthy)
            await self._pause(probe.interval_s * (1 + _JITTER * (self._rng.random() - 0.5)))

    async def _problem(self, url: str, timeout_s: float) -> str:
        """What is wrong, in words; empty if the endpoint is well."""
        try:
            status = await self._ask(url, timeout_s)
        except TimeoutError:
            return f"no answer within {timeout_s:g} s"
        except Exception as error:  # whatever it is, there was no good answer, and probing goes on
            return str(error) or repr(error)
        return "" if 200 <= status < 400 else f"status {status}"

    async def _get(self, url: str, timeout_s: float) -> int:
        if self._session is None:
            # a new connection for each probe: whether the endpoint still accepts is part of the question
            connector = aiohttp.TCPConnector(force_close=True, limit=0)
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            )
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        headers = {"User-Agent": "dualpath-probe"}
        async with self._session.get(url, timeout=timeout, headers=headers, allow_redirects=False) as answer:
            return answer.status

    def __repr__(self) -> str:
        return f"Prober({len(self._running)} endpoints)"
