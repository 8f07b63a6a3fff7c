"""The admin's application on a socket.

Owns accepting, TLS, and the limits on a connection, so that whoever reaches an exposed admin can neither
wedge it nor take descriptors or memory from the requests beside it. It must never know what is asked.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from typing import TYPE_CHECKING, Final

from aiohttp import web

from proxy.admin.application import build_admin, follow
from proxy.admin.edge import Caller
from proxy.admin.lobby import MOST, MOST_FROM_ONE_PLACE, Lobby
from proxy.core.addresses import neighbourhood
from proxy.errors import ConfigError, StartError
from proxy.tls import server_context

if TYPE_CHECKING:
    import socket
    import ssl

    from proxy.admin.application import Surroundings
    from proxy.admin.lobby import Visit
    from proxy.config.schema import Config
    from proxy.controlplane.controller import Controller

log = logging.getLogger("dualpath.admin")

HEAD_TIMEOUT_S: Final = 30.0
"""How long a connection may take for a whole request head, from its start or from its last answer."""
ANSWER_TIMEOUT_S: Final = 60.0
"""How long a client may take to read an answer."""
HANDSHAKE_TIMEOUT_S: Final = 5.0
_BACKLOG: Final = 128
_MOST_FIELDS: Final = 64
_MOST_LINE_BYTES: Final = 8190
_LINGER_S: Final = 2.0  # for the rest of a body that nobody wants

_SHUTDOWN_S: Final = 2.0
_LOOK_EVERY_S: Final = 0.01
_LOOKS: Final = 100
_LEAST_LOOKS: Final = 5  # in which a connection that has just been accepted shows up
_LEAST: Final = 8
_FILES_EACH: Final = 32  # one connection for so many files that the process may open
_AT_ONCE: Final = 32  # accepted before anything else has its turn
_BREATH_S: Final = 0.5  # until there may be descriptors again


class AdminSite:
    """One socket, and all that are connected to it."""

    def __init__(self, config: Config, controller: Controller, around: Surroundings) -> None:
        self._config = config
        self._app = build_admin(config, controller, around)
        self._app.on_response_prepare.append(self._announce_the_end)
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
        self._lobby = Lobby(*_room())
        self._tls: ssl.SSLContext | None = None
        self._sock: socket.socket | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self._arriving: set[asyncio.Task[None]] = set()
        self._leaving = False

    def __repr__(self) -> str:
        state = " leaving" if self._leaving else ""
        return f"<AdminSite {self._config.admin.address} {self._lobby!r}{state}>"

    async def start(self, sock: socket.socket) -> None:
        """Accept on a copy of `sock`. Raises `StartError`, and `ConfigError` for certificates."""
        self._tls = _context(self._config)
        await self._runner.setup()
        self._sock = sock = sock.dup()
        sock.setblocking(False)
        try:
            sock.listen(_BACKLOG)
        except OSError as error:
            address = self._config.admin.address
            raise StartError(f"admin cannot listen on {address}: {error.strerror or error}") from error
        self._listen(sock)
        self._sweep()

    def follow(self, config: Config) -> None:
        """Another configuration is in force. Certificates are read again; those that cannot be are not
        taken."""
        try:
            self._tls = _context(config)
        except ConfigError as error:
            log.error("admin.tls stays as it was: %s", error)
        self._config = config
        follow(self._app, config)

    # ... accepting

    def _listen(self, listening: socket.socket) -> None:
        self._pause = None
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                sock, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptors: those who wait stay in the queue
                log.warning("admin: cannot accept: %s", error.strerror)
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                self._pause = loop.call_later(_BREATH_S, self._listen, listening)
                return
            sock.setblocking(False)
            visit = self._lobby.enter(neighbourhood(address[0] if isinstance(address, tuple) else ""))
            visit.arriving = asyncio.create_task(self._admit(sock, visit))
            self._arriving.add(visit.arriving)
            visit.arriving.add_done_callback(self._arriving.discard)

    async def _admit(self, sock: socket.socket, visit: Visit) -> None:
        """Up to the end of the handshake; from then on the connection is the protocol's."""
        loop = asyncio.get_running_loop()
        server = self._runner.server
        if server is None:
            sock.close()
            return
        try:
            await loop.connect_accepted_socket(
                lambda: Caller(
                    server,
                    visit,
                    loop=loop,
                    access_log=None,
                    keepalive_timeout=HEAD_TIMEOUT_S,
                    lingering_time=_LINGER_S,
                    max_line_size=_MOST_LINE_BYTES,
                    max_field_size=_MOST_LINE_BYTES,
                    max_headers=_MOST_FIELDS,
                    auto_decompress=False,
                ),
                sock,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else HANDSHAKE_TIMEOUT_S,
            )
        except OSError as error:
            log.debug("admin: no handshake with %s: %s", visit.place, error)
        finally:
            if visit.transport is None:
                visit.leave()
                sock.close()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._lobby.cut_stalled(loop.time() - ANSWER_TIMEOUT_S)
        self._sweeping = loop.call_later(ANSWER_TIMEOUT_S / 10, self._sweep)

    # ... the end

    async def leave(self) -> None:
        """Accept no more, answer whoever is connected and tells what they want within a second, then stop."""
        self._leaving = True
        self._accept_no_more()
        await self._app.shutdown()  # who listens to the stream tells nothing any more
        for look in range(_LOOKS):
            await asyncio.sleep(_LOOK_EVERY_S)
            if look >= _LEAST_LOOKS and not len(self._lobby):
                break
        await self.stop()

    async def stop(self) -> None:
        """Accept no more and let running handlers finish, for a while."""
        self._accept_no_more()
        if self._sweeping is not None:
            self._sweeping.cancel()
        arriving = list(self._arriving)
        for task in arriving:
            task.cancel()
        await asyncio.gather(*arriving, return_exceptions=True)
        await self._runner.cleanup()

    def _accept_no_more(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()
            self._sock = None

    async def _announce_the_end(self, request: web.Request, response: web.StreamResponse) -> None:
        if self._leaving:
            response.force_close()


def _room() -> tuple[int, int]:
    """How many connections there may be, in all and from one place: clients of the proxy need files too."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if files < 0 else min(MOST, max(_LEAST, files // _FILES_EACH))
    return most, min(MOST_FROM_ONE_PLACE, most // 2)


def _context(config: Config) -> ssl.SSLContext | None:
    tls = config.admin.tls
    return None if tls is None else server_context(tls, "admin.tls")
