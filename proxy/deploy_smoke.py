"""Asking both backends directly, past the proxy: is somebody there, and do they answer equally?

Owns how an endpoint is asked, with the names and the TLS of its traffic, and what counts as equal. Must never
know a rollout's state. What the HTTP library raises is mapped to `NoAnswerError` here.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

import aiohttp
from yarl import URL

from proxy import __version__
from proxy.config.schema import Smoke
from proxy.config.tls import ClientTls
from proxy.controlplane.health import Names
from proxy.errors import DualpathError
from proxy.model import Path
from proxy.tls import client_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from proxy.config.schema import Backend, Backends, Rollout

_CHUNK = 1 << 16


class NoAnswerError(DualpathError):
    """An endpoint gave no whole answer; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is compared of an answer: of the body, whatever its size, a hash."""

    status: int
    length: int = 0
    digest: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One endpoint of one path."""

    path: Path
    url: str

    def __str__(self) -> str:
        return f"{self.path} {self.url}"


class Asker(Protocol):
    """Asks one endpoint. Raises `NoAnswerError`."""

    async def ask(self, place: Place, smoke: Smoke, timeout_s: float) -> Answer: ...


Found = Answer | NoAnswerError


@asynccontextmanager
async def asking(backends: Backends) -> AsyncIterator[Asker]:
    """Something that asks the endpoints of both backends. Raises `ConfigError` if a file of their TLS cannot
    be used."""
    lines: dict[Path, _Line] = {}
    try:
        for path in Path:
            lines[path] = _Line(backends.of(path), f"backends.{path}.tls")
        yield _Direct(lines)
    finally:
        for line in lines.values():
            await line.close()


async def missing_endpoints(asker: Asker, backends: Backends) -> dict[Place, str]:
    """The endpoints that do not answer well, and why: their probe, where there is one, asks for 2xx or 3xx;
    without one any answer will do."""

    async def ill(place: Place) -> str:
        probe = backends.of(place.path).health
        target = Smoke(path="/" if probe is None else probe.path)
        timeout_s = backends.of(place.path).response_timeout_s if probe is None else probe.timeout_s
        try:
            answer = await asker.ask(place, target, timeout_s)
        except NoAnswerError as error:
            return str(error)
        well = probe is None or 200 <= answer.status < 400
        return "" if well else f"answers {answer.status} to its probe {target.path}"

    places = places_of(backends)
    found = await asyncio.gather(*map(ill, places))
    return {place: problem for place, problem in zip(places, found, strict=True) if problem}


async def smoke(asker: Asker, backends: Backends, rollout: Rollout) -> list[tuple[Smoke, list[str]]]:
    """Every request of the rollout's list, one after the other to all endpoints at once, with what is wrong
    with the answers."""
    told = []
    for request in rollout.smoke:

        async def one(place: Place, request: Smoke = request) -> Found:
            try:
                return await asker.ask(place, request, rollout.timeout_s)
            except NoAnswerError as error:
                return error

        places = places_of(backends)
        answers = await asyncio.gather(*map(one, places))
        told.append((request, differences(request, dict(zip(places, answers, strict=True)))))
    return told


def places_of(backends: Backends) -> list[Place]:
    """Every endpoint, v1's first."""
    return [Place(path, url) for path in Path for url in backends.of(path).endpoints]


def differences(request: Smoke, answers: Mapping[Place, Found]) -> list[str]:
    """What is wrong with the answers to `request`, in words; empty if they are equal and as expected."""
    failed = [f"{place}: {answer}" for place, answer in answers.items() if isinstance(answer, NoAnswerError)]
    whole = {place: answer for place, answer in answers.items() if isinstance(answer, Answer)}
    expected = request.expect_status
    if expected is not None:
        failed += [
            f"{place} answers {answer.status}, expected {expected}"
            for place, answer in whole.items()
            if answer.status != expected
        ]
    model = next((place for place in whole if place.path is Path.V1), None)
    if failed or model is None:
        return failed
    return [
        f"{place} {words}"
        for place, answer in whole.items()
        for words in _unlike(request, whole[model], answer)
    ]


def _unlike(request: Smoke, first: Answer, other: Answer) -> Sequence[str]:
    if first.status != other.status:
        return [f"answers {other.status}, v1 {first.status}"]
    if request.compare == "body" and (first.length, first.digest) != (other.length, other.digest):
        sizes = f"{other.length:,} bytes, sha256 {other.digest[:12]}"
        return [f"answers another body ({sizes}) than v1 ({first.length:,} bytes, {first.digest[:12]})"]
    return []


class _Direct:
    """`Asker` over the lines of both backends."""

    def __init__(self, lines: Mapping[Path, _Line]) -> None:
        self._lines = lines

    async def ask(self, place: Place, smoke: Smoke, timeout_s: float) -> Answer:
        """Sends it once; no redirect is followed."""
        try:
            return await self._lines[place.path].ask(place.url, smoke, timeout_s)
        except TimeoutError:
            raise NoAnswerError(f"no whole answer within {timeout_s:g} s") from None
        except aiohttp.ClientConnectorError as error:
            raise NoAnswerError(f"cannot be reached: {error.os_error.strerror or error.os_error}") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswerError(f"no sound answer: {str(error) or type(error).__name__}") from error


class _Line:
    """How one backend is asked."""

    def __init__(self, backend: Backend, at: str) -> None:
        tls = backend.tls or ClientTls()
        is_secure = any(url.startswith("https:") for url in backend.endpoints)
        self._names = Names(backend.nameservers)
        self._server_name = tls.server_name
        self._backend = backend
        connector = aiohttp.TCPConnector(
            force_close=True, ssl=client_context(tls, at) if is_secure else True, resolver=self._names
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": f"dualpath-deploy/{__version__}", "Accept-Encoding": "identity"},
        )

    async def ask(self, url: str, smoke: Smoke, timeout_s: float) -> Answer:
        """The answer to one request, read to its end."""
        connect_s = self._backend.connect_timeout_s
        async with self._session.request(
            smoke.method,
            URL(f"{url}{smoke.path}", encoded=True),
            data=smoke.body.encode() or None,
            headers=smoke.headers,
            timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=connect_s),
            allow_redirects=False,
            server_hostname=self._server_name,
        ) as answer:
            digest, length = sha256(), 0
            async for chunk in answer.content.iter_chunked(_CHUNK):
                digest.update(chunk)
                length += len(chunk)
            return Answer(answer.status, length, digest.hexdigest())

    async def close(self) -> None:
        """Ends what is under way."""
        await self._session.close()
        await self._names.close()
