"""A listening socket that is a file, for its owner alone.

Owns how such a file comes into being, and what becomes of one that a process before has left behind. It stays
when the process ends: another may have taken it over by then.
"""

from __future__ import annotations

import errno
import os
import socket
import stat

from proxy.config.texts import socket_path
from proxy.errors import StartError

_OURS_ALONE = 0o600


class SocketFile:
    """One configured `unix:` address; the counterpart of what `listening` does for host and port."""

    def __init__(self, address: str, backlog: int, complaint: str) -> None:
        self._address = address
        self._path = socket_path(address) or ""
        self._backlog = backlog
        self._complaint = complaint

    def __repr__(self) -> str:
        return f"<SocketFile {self._path}>"

    def ours(self, sockets: tuple[socket.socket, ...], address: str | None) -> list[socket.socket]:
        """Those of the inherited `sockets` that are for this address."""
        if address is not None:
            return list(sockets) if address == self._address else []
        return [sock for sock in sockets if sock.getsockname() == self._path]

    def first(self) -> socket.socket:
        """A socket at this path, if nobody listens there. Raises `StartError`."""
        try:
            try:
                return self._bound()
            except OSError as error:
                if error.errno != errno.EADDRINUSE or not self._is_left_behind():
                    raise
            os.unlink(self._path)
            return self._bound()
        except OSError as error:
            raise StartError(f"{self._complaint} {self._address}: {error.strerror or error}") from error

    def _bound(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Before there is a file, so that at no moment anybody else may connect to it (unix(7), Linux).
            os.fchmod(sock.fileno(), _OURS_ALONE)
            sock.bind(self._path)
            sock.listen(self._backlog)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        return sock

    def _is_left_behind(self) -> bool:
        """Whether nobody listens at that socket any more. A file of another kind is not ours to take away."""
        if not stat.S_ISSOCK(os.lstat(self._path).st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            return probe.connect_ex(self._path) == errno.ECONNREFUSED
