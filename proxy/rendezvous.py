"""The place where processes that serve one address find whoever is in charge of it: a Unix socket.

A supervisor that is killed leaves its workers behind, and they go on serving under their last table. They
must not do so for ever: its successor on the same address opens the same place, and sends home whoever comes
there, once its own workers accept. It tells them the numbers of the sockets that it goes on with: after a
restart that was cut short some are theirs, too. A second one that is started by mistake finds the first one
alive.

Owns the path, which follows from address and user alone, and who may come: processes of the same user. The
last to open it has it. It must never know what a worker serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import socket
import stat
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from proxy.channel import Channel, framed
from proxy.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

log = logging.getLogger("dualpath")

_ASK_S: Final = 1.0
_LOOK_S: Final = 2.0
_QUEUE: Final = 64
_PEER: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid
GO: Final = {"kind": "drain"}
"""What an orphan is told; another frame follows, which says what is `kept`."""


class Rendezvous:
    """The place of one bound address, for as long as it is open."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self._path: Path | None = None
        self._mark = (0, 0)
        self._server: asyncio.Server | None = None
        self._staying: asyncio.Task[None] | None = None
        self._going: bytes | None = None  # what sends home, once we do
        self._guests: set[asyncio.Transport] = set()

    def __repr__(self) -> str:
        return f"<Rendezvous {self.address} {'open' if self._server else 'closed'}>"

    @property
    def place(self) -> str:
        """Where others look for us; empty if that could not be had."""
        return "" if self._path is None else str(self._path)

    async def open(self) -> None:
        """Take the place, also from whoever has it. What keeps us from it is logged: nobody needs it to
        serve."""
        try:
            await self._take()
        except OSError as error:
            log.warning("%s:%s: workers of a killed supervisor will not find us: %s", *self.address, error)
            return
        self._staying = asyncio.create_task(self._stay())

    def release(self, kept: Collection[int] = ()) -> None:
        """Our own workers accept, on sockets of these numbers: send home those who come, and those who
        wait."""
        self._going = framed(GO) + framed({"kept": list(kept)})
        for guest in self._guests:
            _send_home(guest, self._going)

    async def close(self) -> None:
        """Leave; the path goes with us unless a successor has it."""
        if self._staying is not None:
            self._staying.cancel()
            await asyncio.gather(self._staying, return_exceptions=True)
        self._leave()
        for guest in self._guests:
            guest.abort()  # they go on looking

    async def _take(self) -> None:
        sock, self._path = _bound(path_of(self.address))
        self._mark = _mark(self._path)
        loop = asyncio.get_running_loop()
        # In two steps: cancelled in the second, it is already ours to close.
        self._server = await loop.create_unix_server(lambda: _Guest(self), sock=sock, start_serving=False)
        await self._server.start_serving()

    def _leave(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._path is not None and _mark(self._path) == self._mark:
            with contextlib.suppress(OSError):
                self._path.unlink()

    async def _stay(self) -> None:
        """The place may fall empty under us: a successor took it and came to nothing, or somebody tidied up
        where temporary files are."""
        while True:
            await asyncio.sleep(_LOOK_S)
            with contextlib.suppress(OSError):
                if self._path is None or (_mark(self._path) != self._mark and not supervised(self.address)):
                    self._leave()
                    await self._take()

    def arrived(self, guest: asyncio.Transport) -> None:
        """Somebody has come: they wait here until it is decided what becomes of them."""
        if self._server is None or not is_ours(guest.get_extra_info("socket")):
            guest.abort()
        elif self._going is not None:
            _send_home(guest, self._going)
        else:
            self._guests.add(guest)

    def left(self, guest: asyncio.Transport) -> None:
        """They have gone."""
        self._guests.discard(guest)


class _Guest(asyncio.Protocol):
    """One connection to a place."""

    def __init__(self, host: Rendezvous) -> None:
        self._host = host

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._host.arrived(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._host.left(self._transport)


def _send_home(guest: asyncio.Transport, going: bytes) -> None:
    guest.write(going)
    guest.close()


def supervised(address: tuple[str, int]) -> bool:
    """Whether a live process of ours is in charge of this bound address. It waits for nobody."""
    try:
        sock = _connected(path_of(address))
    except OSError:
        return False
    with sock:
        return is_ours(sock)


async def sent_home(path: Path, pause: Callable[[], float]) -> Collection[int] | None:
    """Until somebody is in charge at `path` and sends us home; `pause` gives seconds between two looks.
    Returns the numbers of the sockets that they go on with, or None if they do not tell."""
    while True:
        await asyncio.sleep(pause())
        with contextlib.suppress(OSError, WireError):  # whoever talks nonsense is not in charge
            sock = _connected(path)
            if not is_ours(sock):
                sock.close()
                continue
            channel = await Channel.over(sock)
            try:
                if await channel.receive() == GO:
                    return await _kept(channel)
            finally:
                await channel.close()


async def _kept(channel: Channel) -> Collection[int] | None:
    """An older version says nothing after its order, and of nonsense nothing is known."""
    with contextlib.suppress(WireError, TimeoutError):
        async with asyncio.timeout(_ASK_S):
            told = await channel.receive()
            kept = None if told is None else told.get("kept")
            if isinstance(kept, list):
                return frozenset(one for one in kept if isinstance(one, int))
    return None


def path_of(address: tuple[str, int]) -> Path:
    """Where the place of a bound address is: host as the system writes it, and port. Raises OSError if its
    directory cannot be made or belongs to somebody else."""
    name = hashlib.sha256(f"{address[0]} {address[1]}".encode()).hexdigest()[:16]
    return _directory() / f"{name}.sock"


def is_ours(sock: socket.socket) -> bool:
    """Whether the peer runs under our user; True where the system does not tell, as the directory is ours."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    _, uid, _ = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return bool(uid == os.geteuid())


def _directory() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    base = Path(runtime) / "dualpath" if runtime else Path(tempfile.gettempdir()) / f"dualpath-{os.geteuid()}"
    with contextlib.suppress(FileExistsError):
        base.mkdir(mode=0o700)
    found = base.lstat()
    # In a directory for everybody, somebody else may have made it first.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(f"{base} is not a directory of ours alone")
    return base


def _mark(path: Path) -> tuple[int, int]:
    """Which file stands at `path`; (0, 0) for none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def _bound(path: Path) -> tuple[socket.socket, Path]:
    """A listening socket at `path`: made beside it and moved there, so that the place is never empty."""
    beside = path.with_suffix(f".{os.getpid()}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        sock.bind(str(beside))
        sock.listen(_QUEUE)
        beside.rename(path)
    except BaseException:
        sock.close()
        raise
    sock.setblocking(False)
    return sock, path


def _connected(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(_ASK_S)  # the kernel answers at once, unless the place is crowded
    try:
        sock.connect(str(path))
    except BaseException:
        sock.close()
        raise
    sock.setblocking(False)
    return sock
