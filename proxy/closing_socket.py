"""A listening socket that is about to be closed, while others serve its address.

Owns how that is done without a client noticing: what the kernel has connected, or is connecting, on a
listening socket is reset with it, although others of its group (SO_REUSEPORT) would accept. So it hears no
new client first. A client that asks meanwhile is not refused: its system asks again after a second (RFC 6298
section 2), and reaches one of the others.

Whatever a process does to a socket, it does to all who hold it: one that somebody else goes on with, such as
a successor that has inherited it, would be deaf for ever. A socket is known over processes by its number.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import Collection, Iterable

CONNECTED_WITHIN_S: Final = 0.3
"""How long a handshake that has begun may take until it is there to be accepted."""

_SOL_SOCKET: Final = 1
_SO_ATTACH_FILTER: Final = 26  # socket(7), Linux
_step: Final = struct.Struct("=HBBI").pack  # struct sock_filter: code, where to go if so and if not, operand
_WHOLE: Final = 0xFFFF_FFFF  # any less would shorten what is longer; what is accepted has the filter, too
_NO_SYN: Final = b"".join(
    (
        _step(0x30, 0, 0, 13),  # the flags of the segment, which begins here over IPv4 and IPv6
        _step(0x45, 0, 1, 0x02),  # has it SYN?
        _step(0x06, 0, 0, 0),  # then it is dropped
        _step(0x06, 0, 0, _WHOLE),
    )
)


def numbers_of(sockets: Iterable[socket.socket]) -> list[int]:
    """The numbers by which other processes know these sockets: those of their inodes."""
    return [os.fstat(sock.fileno()).st_ino for sock in sockets]


def hear_nobody_new(sockets: Iterable[socket.socket], kept: Collection[int] | None) -> None:
    """Begin no connection on these listening sockets any more, but for those whose numbers are `kept`: others
    go on with them. None says that this is not known. Nothing changes where that cannot be had."""
    if sys.platform != "linux" or kept is None:
        return
    for sock in sockets:
        with suppress(OSError):
            if numbers_of([sock])[0] not in kept:
                _attach(sock)


def _attach(sock: socket.socket) -> None:
    program = array("B", _NO_SYN)
    address, size = program.buffer_info()
    sock.setsockopt(_SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", size // 8, address))
