"""Active probes: ask every endpoint regularly whether it is well, and tell the data plane when that changes.

Owns the probes' rhythm, the counting that keeps one lost packet from taking an endpoint out, and how probes
connect. Must never know what traffic an endpoint gets.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from typing import TYPE_CHECKING, Self

import aiohttp
from aiohttp.abc import AbstractResolver

from proxy.config.tls import ClientTls
from proxy.core.expectation import unexpected
from proxy.model import Path
from proxy.tls import client_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from aiohttp.abc import ResolveResult

    from proxy.config.schema import Backend, Backends, Probe
    from proxy.ports import Endpoints, Random

    Ask = Callable[[str, float], Awaitable[tuple[int, bytes]]]
    """Status and body of the answer to a GET of a URL within so many seconds; raises if there is none."""

log = logging.getLogger("dualpath.health")

_JITTER = 0.2  # of the interval, so that many proxies do not probe at the same moment
_FIRST_WITHIN_S = 1.0
_MOST_BYTES = 16 << 10  # of an answer that is read
_NAME_LIVES_S = 1  # here; c-ares itself knows how long an answer is good for


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
    """Probes every endpoint of a backend with a `health` table while it is entered, with the name servers and
    the TLS of its traffic. What is well, `core.expectation` says."""

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
        self._ask = ask
        self._rng: Random = random.SystemRandom() if rng is None else rng
        self._pause = pause
        self._line: dict[Path, Line] = {}
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        known = {(status.path, status.url): status.healthy for status in self._endpoints.statuses()}
        for path in Path:
            backend = self._backends.of(path)
            if backend.health is not None:
                if self._ask is None:
                    self._line[path] = Line(backend, f"backends.{path}.tls")
                ask = self._ask_of(path, backend.health)
                for url in backend.endpoints:
                    count = HealthCount(backend.health, healthy=known.get((path, url), True))
                    watching = self._watch(path, url, backend.health, count, ask)
                    self._running.append(asyncio.create_task(watching, name=f"probe {url}"))
        return self

    async def __aexit__(self, *exception: object) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()
        for line in self._line.values():
            await line.close()
        self._line.clear()

    def _ask_of(self, path: Path, probe: Probe) -> Ask:
        if self._ask is not None:
            return self._ask
        line = self._line[path]
        return line.ask if probe.expect_json is None else line.ask_for_body

    async def _watch(self, path: Path, url: str, probe: Probe, count: HealthCount, ask: Ask) -> None:
        await self._pause(self._rng.random() * min(probe.interval_s, _FIRST_WITHIN_S))
        while True:
            problem = await _problem(ask, url, probe)
            if count.count(well=not problem):
                log.warning("%s %s is %s", path, url, "healthy" if count.healthy else f"unhealthy: {problem}")
                self._endpoints.set_health(path, url, healthy=count.healthy)
            await self._pause(probe.interval_s * (1 + _JITTER * (self._rng.random() - 0.5)))

    def __repr__(self) -> str:
        return f"Prober({len(self._running)} endpoints)"


async def _problem(ask: Ask, url: str, probe: Probe) -> str:
    """What is wrong, in words; empty if the endpoint is well."""
    try:
        return unexpected(probe, *await ask(url + probe.path, probe.timeout_s))
    except TimeoutError:
        return f"no answer within {probe.timeout_s:g} s"
    except Exception as error:  # whatever it is, there was no good answer, and probing goes on
        return str(error) or repr(error)


class Line:
    """How one backend is asked. Raises `ConfigError` if a file of its TLS cannot be used."""

    def __init__(self, backend: Backend, at: str) -> None:
        tls = backend.tls or ClientTls()
        self._names = Names(backend.nameservers)
        is_secure = any(url.startswith("https:") for url in backend.endpoints)
        # A new connection for each probe: whether the endpoint still accepts is part of the question.
        connector = aiohttp.TCPConnector(
            force_close=True,
            limit=0,
            ssl=client_context(tls, at) if is_secure else True,
            resolver=self._names,
            ttl_dns_cache=_NAME_LIVES_S,
        )
        self._server_name = tls.server_name
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )

    async def ask(self, url: str, timeout_s: float) -> tuple[int, bytes]:
        """Status of the answer to a GET; its body is left alone."""
        async with self._get(url, timeout_s) as answer:
            return answer.status, b""

    async def ask_for_body(self, url: str, timeout_s: float) -> tuple[int, bytes]:
        """Status and body of the answer to a GET. Raises ValueError unless it is a short one."""
        async with self._get(url, timeout_s) as answer:
            return answer.status, await _short(answer)

    def _get(self, url: str, timeout_s: float) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._session.get(
            url,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            headers={"User-Agent": "dualpath-probe", "Accept-Encoding": "identity"},
            allow_redirects=False,
            server_hostname=self._server_name,
        )

    async def read(self, url: str, timeout_s: float) -> bytes:
        """The body of the answer to a GET. Raises ValueError unless it is a short one with status 200."""
        async with self._get(url, timeout_s) as answer:
            if answer.status != 200:
                raise ValueError(f"status {answer.status}")
            return await _short(answer)

    async def close(self) -> None:
        """Ends what is under way."""
        await self._session.close()
        await self._names.close()


async def _short(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > _MOST_BYTES:
            raise ValueError(f"an answer of over {_MOST_BYTES} bytes")
    return bytes(body)


class Names(AbstractResolver):
    """Names of endpoints, looked up where the traffic looks them up. What was known stays while a lookup
    fails: the endpoint is not ill because a name server is. Literals are never asked for."""

    def __init__(self, nameservers: Sequence[str]) -> None:
        self._nameservers = list(nameservers)
        self._resolver: aiohttp.AsyncResolver | None = None
        self._known: dict[tuple[str, int, socket.AddressFamily], list[ResolveResult]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of `host`. Raises OSError if none was ever known."""
        if self._resolver is None:
            self._resolver = aiohttp.AsyncResolver(nameservers=self._nameservers or None)
        asked = (host, port, family)
        try:
            self._known[asked] = await self._resolver.resolve(host, port, family)
        except OSError:
            if asked not in self._known:
                raise
        return self._known[asked]

    async def close(self) -> None:
        """Looks nothing up any more."""
        if self._resolver is not None:
            await self._resolver.close()
