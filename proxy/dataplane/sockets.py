"""What transports do not tell, asked of the socket itself.

Owns the few system calls below asyncio's interface. A transport without a socket (in tests, or closed) gets
the answer that changes nothing.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import ssl
import struct
import termios
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

_RESET: Final = struct.pack("ii", 1, 0)
_READ_BYTES: Final = 64 << 10
_LOOK_S: Final = 1.0
_ACKNOWLEDGED: Final = struct.Struct("120xQ")
"""Where Linux's tcp_info has the number of bytes that the peer has acknowledged (tcpi_bytes_acked)."""
_VERY_MANY: Final = 1 << 61


def unsent_bytes(transport: asyncio.WriteTransport) -> int:
    """Bytes that were written and that the peer has not acknowledged: the transport's buffer and the
    kernel's. The loops' TLS keeps some where nobody can count them: there any at all are very many, and only
    how many fewer they become while nothing is written tells something."""
    queued = transport.get_write_buffer_size()
    descriptor = _descriptor(transport)
    if descriptor < 0:
        return queued
    try:
        answer = fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0\0\0\0")
    except OSError:
        return queued
    unsent = queued + int(struct.unpack("i", answer)[0])
    if unsent and transport.get_extra_info("ssl_object") is not None:
        return _VERY_MANY - _acknowledged_bytes(transport)
    return unsent


def next_look(now: float, moved_at: float, idle_timeout_s: float) -> float:
    """When to look again at a side that takes no more and last did at `moved_at`; past once that is too long
    ago. Several looks within the time-out: with one at its end, who moved just after it began would have
    twice the time."""
    return min(now + min(_LOOK_S, idle_timeout_s / 4), moved_at + idle_timeout_s)


def is_quiet(transport: asyncio.BaseTransport) -> bool:
    """Whether nothing has arrived that the loop has not seen yet: neither bytes nor the end of the
    connection."""
    descriptor = _descriptor(transport)
    if descriptor < 0:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLRDHUP)
    return not poll.poll(0)


def left_behind(transport: asyncio.BaseTransport) -> bytes:
    """What the peer sent before the connection broke: a failed write ends a transport without a last look."""
    descriptor = _descriptor(transport)
    if descriptor < 0 or transport.get_extra_info("ssl_object") is not None:
        return b""
    try:
        return os.read(descriptor, _READ_BYTES)
    except OSError:
        return b""


def is_said_to_end(transport: asyncio.BaseTransport) -> bool:
    """Whether it was the peer that ended the connection. Over TLS anybody on the way can, but not with the
    closing alert (RFC 9112 section 9.8)."""
    tls = transport.get_extra_info("ssl_object")
    if tls is None:
        return True
    try:
        return not tls.read(1)
    except ssl.SSLError as error:
        return isinstance(error, ssl.SSLZeroReturnError)


def reset(transport: asyncio.WriteTransport) -> None:
    """Ends the connection by RST instead of FIN."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


def _acknowledged_bytes(transport: asyncio.WriteTransport) -> int:
    """All that the peer has acknowledged, of what the connection has carried."""
    info = transport.get_extra_info("socket").getsockopt(
        socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.size
    )
    acknowledged: int = _ACKNOWLEDGED.unpack(info)[0] if len(info) == _ACKNOWLEDGED.size else 0
    return acknowledged


def _descriptor(transport: asyncio.BaseTransport) -> int:
    sock = transport.get_extra_info("socket")
    return sock.fileno() if sock is not None else -1
