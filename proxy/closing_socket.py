"""A listening socket that is about to be closed, while others serve its address.

Owns how that is done without a client noticing: what the kernel has connected, or is connecting, on a
listening socket is reset with it, although others of its group (SO_REUSEPORT) would accept. So it hears no
new client first. A client that asks meanwhile is not refused: its system asks again after a second (RFC 6298
section 2), and reaches one of the others. Must never be used on a socket that somebody else holds too.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket

CONNECTED_WITHIN_S: Final = 0.3
"""How long a handshake that has begun may take until it is there to be accepted."""

_SOL_SOCKET: Final = 1
_SO_ATTACH_FILTER: Final = 26  # socket(7), Linux
_step: Final = struct.Struct("=HBBI").pack  # struct sock_filter: code, where to go if so and if not, operand
_NO_SYN: Final = b"".join(
    (
        _step(0x30, 0, 0, 13),  # the flags of the segment
        _step(0x45, 0, 1, 0x02),  # has it SYN?
        _step(0x06, 0, 0, 0),  # then it is dropped
        _step(0x06, 0, 0, 0xFFFF),
    )
)


def hear_nobody_new(sock: socket.socket) -> None:
    """Begin no connection on this listening socket any more; nothing changes where that cannot be had."""
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(_NO_SYN, len(_NO_SYN))
    told = struct.pack("@HP", len(_NO_SYN) // 8, ctypes.addressof(program))
    with suppress(OSError):
        sock.setsockopt(_SOL_SOCKET, _SO_ATTACH_FILTER, told)
