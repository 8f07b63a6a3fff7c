"""Names of endpoints: looked up beside the requests, and again when their time to live is over.

Owns how a name is looked up and how long an answer is good for. What was known stays while nothing better is:
a name server that is down must not take a backend with it. It knows neither endpoints nor connections.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import math
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import aiodns
import pycares

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = logging.getLogger("dualpath.names")

_LEAST_S: Final = 1.0  # the hosts file tells 0, and so do some who steer by name
_MOST_S: Final = 3600.0
_AGAIN_S: Final = 1.0  # after a lookup that failed
_TRY_S: Final = 0.5
_TRIES: Final = 4
_LOCAL: Final = ("127.0.0.1", "::1")  # RFC 6761 section 6.3: never asked for


class Resolver:
    """Looks names up through c-ares, which has a thread of its own and never blocks the loop.

    `nameservers` are "address:port"; without any the system's. It costs nothing until the first lookup.
    """

    def __init__(self, nameservers: Sequence[str] = ()) -> None:
        self._nameservers = nameservers
        self._channel: aiodns.DNSResolver | None = None

    def __repr__(self) -> str:
        return f"<Resolver {', '.join(self._nameservers) or 'of the system'}>"

    async def look_up(self, host: str) -> tuple[tuple[str, ...], float]:
        """The addresses of a name, at least one, and for how many seconds they are good. Raises OSError."""
        try:
            if self._channel is None:
                self._channel = aiodns.DNSResolver(self._nameservers or None, timeout=_TRY_S, tries=_TRIES)
            found = await self._channel.getaddrinfo(host, type=socket.SOCK_STREAM)
        except (aiodns.error.DNSError, pycares.AresError) as error:
            raise OSError(errno.EHOSTUNREACH, str(error.args[-1])) from error
        addresses = tuple(dict.fromkeys(node.addr[0].decode() for node in found.nodes))
        if not addresses:
            raise OSError(errno.EHOSTUNREACH, "the name has no address")
        lives_s = min([node.ttl for node in found.nodes] + [alias.ttl for alias in found.cnames])
        return addresses, float(lives_s)

    def close(self) -> None:
        """Ends what is under way, and the thread."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.cancel()  # the rest ends with the last reference


class Addresses:
    """Where one host can be reached, the best first. Literals and localhost are known from the start.

    `changed` is called when a lookup has brought other addresses than were known.
    """

    def __init__(self, host: str, resolver: Resolver, changed: Callable[[], None]) -> None:
        self._host = host
        self._resolver = resolver
        self._changed = changed
        self._looking: asyncio.Task[None] | None = None
        self._problem = ""
        self.known = _without_lookup(host)
        self._due = math.inf if self.known else -math.inf

    def __repr__(self) -> str:
        return f"<Addresses {self._host} {' '.join(self.known)}>"

    def refresh(self) -> None:
        """Begins another lookup if it is time."""
        loop = asyncio.get_running_loop()
        if self._looking is None and loop.time() >= self._due:
            self._looking = loop.create_task(self._look(loop))

    async def found(self) -> tuple[str, ...]:
        """The addresses, after the first lookup if need be. Raises OSError."""
        if not self.known:
            self.refresh()
            if self._looking is not None:
                await asyncio.shield(self._looking)
            if not self.known:
                raise OSError(errno.EHOSTUNREACH, "the backend's name cannot be looked up")
        return self.known

    def failed(self, address: str) -> None:
        """No connection to that one: it is the last to be tried from now on."""
        if len(self.known) > 1 and self.known[0] == address:
            self.known = (*self.known[1:], address)

    def close(self) -> None:
        """Looks nothing up any more."""
        self._due = math.inf
        if self._looking is not None:
            self._looking.cancel()

    async def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        again_s = _AGAIN_S
        try:
            addresses, lives_s = await self._resolver.look_up(self._host)
        except OSError as error:
            self._report(error.strerror or str(error))
        else:
            again_s = min(max(lives_s, _LEAST_S), _MOST_S)
            self._report("")
            self._take(addresses)
        finally:
            self._looking = None
        self._due = loop.time() + again_s

    def _take(self, addresses: tuple[str, ...]) -> None:
        if set(addresses) == set(self.known):
            return  # in another order: name servers turn them round for clients that do not remember
        best = [address for address in self.known if address in addresses]
        self.known = (*best, *(address for address in addresses if address not in best))
        self._changed()

    def _report(self, problem: str) -> None:
        """Says when lookups begin to fail and when they are well again, not how often."""
        if problem and not self._problem:
            kept = f"going on with {', '.join(self.known)}" if self.known else "no address is known"
            log.warning("%s cannot be looked up: %s; %s", self._host, problem, kept)
        elif self._problem and not problem:
            log.warning("%s can be looked up again", self._host)
        self._problem = problem


def _without_lookup(host: str) -> tuple[str, ...]:
    if host == "localhost":
        return _LOCAL
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return (host,)
    return ()
