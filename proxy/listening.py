"""The listening sockets: bound here or inherited, held while the process lives, handed on to the next one.

Owns the rule that nobody shares an address with us by accident. Must never know who accepts.

A group of sockets on one address needs SO_REUSEPORT on each, and with it any program of the same user could
join silently. So the first socket of a group is bound without it, which fails if anybody at all holds the
address, and gets it afterwards; the others then join. Between two processes that start at the same moment
there is no gap in which both succeed. (Linux; elsewhere there is one socket.)
"""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from proxy.config.fields import split_host_port
from proxy.config.texts import socket_path
from proxy.errors import StartError
from proxy.unix_socket import SocketFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from proxy.config.schema import Config

INHERITED: Final = "DUALPATH_INHERITED"
"""The environment variable in which a process tells its successor about the sockets that it passes on."""

_SYSTEMD_FIRST: Final = 3  # sd_listen_fds(3)
_ADMIN_BACKLOG: Final = 128
_PEER: Final = struct.Struct("3i")  # pid, user, group


@dataclass(frozen=True, slots=True)
class Inherited:
    """What the process that started this one has passed on. `listen` and `admin` are the addresses as its
    configuration had them, None where sockets come from systemd and are known by where they are bound.
    `link` is the line to a process that waits to be relieved."""

    serving: tuple[socket.socket, ...] = ()
    administering: tuple[socket.socket, ...] = ()
    listen: str | None = None
    admin: str | None = None
    link: socket.socket | None = None


def inherited(environ: MutableMapping[str, str], *, pid: int, parent: int) -> Inherited:
    """What has been passed on to the process `pid` of `parent`; the variables that say so are taken out.

    Those meant for another process are ignored: descendants of descendants see them too. A parent that has
    died meanwhile is known by the line, whose other end the kernel remembers as its own.
    """
    told = environ.pop(INHERITED, "")
    if told:
        try:
            document = json.loads(told)
            if document["parent"] == parent or _peer_of(document["link"]) == document["parent"]:
                return _passed_on(document)
        except (ValueError, LookupError, TypeError, OSError) as error:
            raise StartError(f"{INHERITED} is for a restart to set, not for people: {error}") from error
    activated = {name: environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
    if activated["LISTEN_PID"] != str(pid):
        return Inherited()
    count = int(activated["LISTEN_FDS"] or 0)
    sockets = tuple(_adopted(fd) for fd in range(_SYSTEMD_FIRST, _SYSTEMD_FIRST + count))
    return Inherited(sockets, sockets)


def _passed_on(document: dict[str, Any]) -> Inherited:
    return Inherited(
        tuple(map(_adopted, document["serving"])),
        tuple(map(_adopted, document["administering"])),
        document["listen"],
        document["admin"],
        _adopted(document["link"]),
    )


def _peer_of(fd: int) -> int:
    """Who made the socket pair of which `fd` is an end; 0 if it is none, or the system does not tell."""
    if not hasattr(socket, "SO_PEERCRED"):
        return 0
    try:
        with socket.socket(fileno=os.dup(fd)) as line:
            pid: int = _PEER.unpack(line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[0]
            return pid
    except OSError:
        return 0


@dataclass(slots=True)
class Listeners:
    """The sockets of one process. The first of each address listens: what connects waits until somebody
    accepts. The others of a group are bound, and listen when their worker does: a client whom the kernel
    deals to a socket that nobody reads yet would wait, while others are served."""

    listen: str
    admin: str
    serving: list[socket.socket] = field(default_factory=list)
    administering: list[socket.socket] = field(default_factory=list)

    def told(self, link: socket.socket, parent: int) -> Mapping[str, str]:
        """The environment variable that makes a child of `parent` the owner of copies of them all."""
        document = {
            "parent": parent,
            "listen": self.listen,
            "admin": self.admin,
            "serving": [sock.fileno() for sock in self.serving],
            "administering": [sock.fileno() for sock in self.administering],
            "link": link.fileno(),
        }
        return {INHERITED: json.dumps(document)}

    def close(self) -> None:
        """Hold them no longer. Copies elsewhere go on."""
        for sock in (*self.serving, *self.administering):
            sock.close()


def listeners(
    config: Config, count: int, came: Inherited, orphaned: Callable[[tuple[str, int]], bool]
) -> Listeners:
    """`count` sockets for clients, or more if more were inherited, and one for the admin.

    `orphaned` says whether an address that is taken is held by workers only whose supervisor is gone; they
    are joined then. Raises `StartError`, with nothing left open.
    """
    found = Listeners(config.listen.address, config.admin.address)
    with ExitStack() as undone:
        undone.callback(found.close)
        binding = _Binding(found.listen, config.listen.backlog, "cannot listen on")
        found.serving = binding.ours(came.serving, came.listen) or [binding.first(orphaned)]
        while len(found.serving) < count:
            found.serving.append(binding.another(found.serving))
        kind = _Binding if socket_path(found.admin) is None else SocketFile
        place = kind(found.admin, _ADMIN_BACKLOG, "admin cannot listen on")
        found.administering = place.ours(came.administering, came.admin) or [place.first()]
        undone.pop_all()
    _close_unused(came, found)
    return found


def bound_at(sock: socket.socket) -> tuple[str, int]:
    """Host and port of a socket, or its address as it is configured, and 0."""
    name = sock.getsockname()
    return (f"unix:{name}", 0) if isinstance(name, str) else name[:2]


def written_address(address: tuple[str, int]) -> str:
    """Host and port as people and URLs have them."""
    host, port = address
    if socket_path(host) is not None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _close_unused(came: Inherited, found: Listeners) -> None:
    """What was passed on for an address that is no longer configured."""
    used = {id(sock) for sock in (*found.serving, *found.administering)}
    for sock in (*came.serving, *came.administering):
        if id(sock) not in used:
            sock.close()


class _Binding:
    """One configured address."""

    _family: socket.AddressFamily
    _target: tuple[str | bytes | int, ...]

    def __init__(self, address: str, backlog: int, complaint: str) -> None:
        self._address = address
        self._backlog = backlog
        self._complaint = complaint
        host, port = split_host_port(address)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        except OSError as error:
            raise self._error(error) from error
        self._family, self._kind, self._protocol = found[:3]
        self._target = tuple(found[4])

    def ours(self, sockets: tuple[socket.socket, ...], address: str | None) -> list[socket.socket]:
        """Those of the inherited `sockets` that are for this address."""
        if address is not None:
            return list(sockets) if address == self._address else []
        return [sock for sock in sockets if sock.getsockname() == self._target]

    def first(self, orphaned: Callable[[tuple[str, int]], bool] = lambda address: False) -> socket.socket:
        """A socket on an address that nobody else has; but orphaned workers may."""
        try:
            return self._bound(self._target, shared=False)
        except OSError as error:
            host, port = self._target[0], self._target[1]
            if error.errno != errno.EADDRINUSE or not orphaned((str(host), int(port))):
                raise self._error(error, _held(host, port)) from error
        try:
            return self._bound(self._target, shared=True)
        except OSError as error:
            raise self._error(error) from error

    def another(self, group: list[socket.socket]) -> socket.socket:
        """One more socket on the address of `group`."""
        try:
            for sock in group:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            return self._bound(group[0].getsockname(), shared=True)
        except OSError as error:
            raise self._error(error) from error

    def _bound(self, target: tuple[str | bytes | int, ...], *, shared: bool) -> socket.socket:
        sock = socket.socket(self._family, self._kind, self._protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(target)
            if not shared:  # else two that share nothing could be bound at once
                sock.listen(self._backlog)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        return sock

    def _error(self, error: OSError, more: str = "") -> StartError:
        return StartError(f"{self._complaint} {self._address}: {error.strerror or error}{more}")


def _held(host: object, port: object) -> str:
    """A hint at workers on this address, whose supervisor may have been killed."""
    ending = f"\0serves {host}:{port}\0".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if entry.read_bytes().endswith(ending):
                found.append(entry.parent.name)
    if not found:
        return ""
    processes = ", ".join(sorted(found, key=int))
    return f"; dualpath workers serve it (processes {processes}): end them if their `serve` was killed"


def _adopted(fd: int) -> socket.socket:
    os.set_inheritable(fd, False)
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    return sock
