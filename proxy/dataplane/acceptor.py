"""The listening sockets of one data plane: who is taken in, and as what.

Owns the sockets, and the TLS context that new connections meet. Over a reload that leaves its files and
settings as they are it is the same one, so that sessions can still be resumed. What becomes of a connection
is not its affair.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, cast

from proxy.config.tls_files import stamps
from proxy.dataplane.arrival import Arrival
from proxy.dataplane.downstream import Downstream
from proxy.errors import StartError
from proxy.tls import server_context

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterator

    from proxy.config.schema import Config
    from proxy.dataplane.context import Context


class Acceptor:
    """`context` and `tls` are those that a new connection begins under. Raises `ConfigError` if a certificate
    cannot be used."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._address = context.config.listen.address
        self._backlog = context.config.listen.backlog
        self._servers: dict[socket.socket, asyncio.Server] = {}
        self._stamps = stamps(context.config.listen)
        self.tls = _tls_of(context.config)

    def __repr__(self) -> str:
        return f"<Acceptor {len(self._servers)} sockets tls={self.tls is not None}>"

    # ... sockets ...

    async def listen(self, sock: socket.socket) -> None:
        """Accepts on this socket too. Raises `StartError`."""
        try:
            self._servers[sock] = await asyncio.get_running_loop().create_server(
                self._meet, sock=sock, backlog=self._backlog
            )
        except OSError as error:
            raise StartError(f"cannot listen on {self._address}: {error.strerror or error}") from error

    def unlisten(self, sock: socket.socket) -> None:
        """Accepts no more on this socket, and closes it; what was accepted stays."""
        self._servers.pop(sock).close()

    @property
    def listens(self) -> bool:
        """Whether there is a socket."""
        return bool(self._servers)

    async def drain(self) -> None:
        """Accepts no more but those that the kernel has connected already: they would be reset with their
        listener. It is closed with nothing between, for others come all the time."""
        accepted: list[socket.socket] = []
        for sock, server in self._servers.items():
            accepted += _waiting(sock)
            server.close()
        loop = asyncio.get_running_loop()
        for connection in accepted:
            await loop.connect_accepted_socket(self._meet, connection)

    def close(self) -> None:
        """Accepts no more."""
        for server in self._servers.values():
            server.close()

    def _meet(self) -> asyncio.Protocol:
        context = self.context
        if self.tls is None and not context.listen.proxy_protocol:
            return cast("asyncio.Protocol", Downstream(context))
        return cast("asyncio.Protocol", Arrival(self))

    # ... a reload ...

    def prepared(self, config: Config) -> ssl.SSLContext | None:
        """The TLS context for `config`: the present one if nothing of it has changed. Raises
        `ConfigError`."""
        found = stamps(config.listen)
        if found == self._stamps and config.listen.tls == self.context.config.listen.tls:
            return self.tls
        tls = _tls_of(config)
        self._stamps = found
        return tls

    def go_over_to(self, context: Context, tls: ssl.SSLContext | None) -> None:
        """New connections begin under another configuration."""
        self.context = context
        self.tls = tls


def _waiting(sock: socket.socket) -> Iterator[socket.socket]:
    with contextlib.suppress(OSError):
        while True:
            yield sock.accept()[0]


def _tls_of(config: Config) -> ssl.SSLContext | None:
    table = config.listen.tls
    return None if table is None else server_context(table, "listen.tls")
