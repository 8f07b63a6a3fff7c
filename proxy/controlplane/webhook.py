"""Webhooks: a POST of JSON to an address that the configuration names, and whether it was answered 2xx.

Owns how that is done without harm: no redirect is followed, an answer is hardly read, and the address that is
dialled, whatever name led there, is none at which machines keep their secrets. Must never know what a webhook
is asked for.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential, wait_random

from proxy import __version__
from proxy.core.addresses import is_within, parse_address
from proxy.errors import DualpathError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aiohttp.abc import AbstractResolver

    from proxy.config.fields import IPNetwork

    Post = Callable[[str, bytes, float], Awaitable[None]]
    """POST a body to a URL within so many seconds. Returns once answered 2xx, else raises `WebhookError`."""

MOST_ANSWER_BYTES: Final = 64 << 10

_FIELDS: Final = {"Content-Type": "application/json", "User-Agent": f"dualpath/{__version__}"}

_FORBIDDEN: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "169.254.0.0/16", "100.100.100.200/32", "224.0.0.0/4", "255.255.255.255/32"),
        *("168.63.129.16/32", "192.0.0.192/32", "::/128", "fe80::/10", "fd00:ec2::/32", "ff00::/8"),
        # The same in IPv6's other clothes: IPv4-compatible, 6to4, NAT64.
        *("::a9fe:0/112", "::6464:64c8/128", "2002:a9fe::/32", "2002:6464:64c8::/48"),
        *("64:ff9b::a9fe:0/112", "64:ff9b::6464:64c8/128", "64:ff9b:1::/48"),
    )
)
"""Nobody's own service: unspecified, link-local and the other addresses of clouds' metadata, multicast."""
_FIRST_WAIT_S: Final = 0.2
_LONGEST_WAIT_S: Final = 5.0


class WebhookError(DualpathError):
    """No 2xx; the message says why, and holds nothing of the answer but its status."""


class _PassingError(WebhookError):
    """It may be otherwise in a moment."""


class Webhooks:
    """Asks webhooks. `allowed` are networks that are dialled although nobody's service is expected there."""

    def __init__(
        self,
        allowed: Sequence[IPNetwork] = (),
        *,
        resolver: Callable[[], AbstractResolver] = aiohttp.AsyncResolver,  # takes no thread while it waits
    ) -> None:
        self._allowed = tuple(allowed)
        self._resolver = resolver

    async def post(
        self, url: str, body: bytes, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> None:
        """POST `body` with these header fields besides, again while there is no answer or one that says
        "later" (429, 5xx), `timeout_s` in all. Raises `WebhookError` unless it is answered 2xx."""
        if urlsplit(url).scheme not in {"http", "https"}:
            raise WebhookError("is neither http:// nor https://")
        trouble = f"did not answer within {timeout_s:g} s"
        waits = wait_exponential(_FIRST_WAIT_S, max=_LONGEST_WAIT_S) + wait_random(0, _FIRST_WAIT_S)
        try:
            async with asyncio.timeout(timeout_s):
                async for attempt in AsyncRetrying(
                    retry=retry_if_exception_type(_PassingError), wait=waits, reraise=True
                ):
                    with attempt:
                        try:
                            await self._post_once(url, body, headers or {})
                        except _PassingError as error:
                            trouble = str(error)
                            raise
        except TimeoutError:
            raise WebhookError(trouble) from None

    async def _post_once(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        # In a thread: it reads all the authorities that the system believes.
        tls = await asyncio.to_thread(_context) if urlsplit(url).scheme == "https" else True
        resolver = self._resolver()
        connector = aiohttp.TCPConnector(
            force_close=True, resolver=resolver, socket_factory=self._socket, ssl=tls
        )
        try:
            async with (
                aiohttp.ClientSession(
                    connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
                ) as session,
                session.post(
                    url,
                    data=body,
                    headers={**_FIELDS, **headers},
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None),
                ) as answer,
            ):
                with suppress(aiohttp.ClientError):  # so that its sender is done; what it says is not wanted
                    await answer.content.read(MOST_ANSWER_BYTES)
                status = answer.status
        except aiohttp.ClientError as error:
            raise _trouble(error) from None
        finally:
            await resolver.close()
        if status == 429 or status >= 500:
            raise _PassingError(f"answered {status}")
        if not 200 <= status < 300:
            raise WebhookError(f"answered {status}")

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        """A socket for the address that is about to be dialled. Raises OSError for a forbidden one."""
        family, kind, protocol, _, place = address
        found = parse_address(str(place[0]).partition("%")[0])
        if found is None or (is_within(found, _FORBIDDEN) and not is_within(found, self._allowed)):
            raise _ForbiddenError(f"{place[0]} is not in webhooks.allow_networks")
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        return sock


class _ForbiddenError(OSError):
    """This address is not dialled."""


@cache
def _context() -> ssl.SSLContext:
    """Made for the first https://, and kept: Python's own idea of whom and what to trust."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def shown(url: str) -> str:
    """A URL as people may read it: path and query may be secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _trouble(error: aiohttp.ClientError) -> WebhookError:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, _ForbiddenError) or isinstance(cause.__cause__, _ForbiddenError):
        return WebhookError(f"may not be asked: {cause}")
    if isinstance(error, aiohttp.InvalidURL):
        return WebhookError("is no URL")
    if isinstance(error, aiohttp.ClientConnectorError):
        return _PassingError("cannot be reached")
    return _PassingError("broke off its answer")
