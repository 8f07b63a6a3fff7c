"""Reads of bounded size, for a connection that brings a long body, or that is a tunnel.

uvloop reads up to 256,000 bytes at once, all of which waits in memory when the other side takes no more. Into
a buffer that it is given it reads no more than there is room; but to ask for one costs a small request more
than all its limits do. So a connection is read in this way only while it may bring much. (asyncio's own
loop never asks.)

Owns the buffer. It knows nothing of messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    import asyncio

READ_BYTES: Final = 64 << 10
"""The most that one read brings; what is shorter than this needs no bound."""

_buffer: Final = memoryview(bytearray(READ_BYTES))
"""Where all of them read into: what a read brought is copied out before the next begins."""


def bound_reads(transport: asyncio.Transport, protocol: object) -> None:
    """From now on `protocol` is told in small reads what comes on its `transport`."""
    transport.set_protocol(cast("asyncio.BaseProtocol", BoundedReads(protocol)))


def unbound_reads(transport: asyncio.Transport, protocol: object) -> None:
    """From now on `protocol` is told as the loop likes."""
    transport.set_protocol(cast("asyncio.BaseProtocol", protocol))


class BoundedReads:
    """Stands between a transport and its protocol; of the methods of `asyncio.Protocol`, but not derived from
    it, which would have uvloop read as usual."""

    __slots__ = ("_protocol",)

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def __repr__(self) -> str:
        return f"<BoundedReads {self._protocol!r}>"

    def get_buffer(self, sizehint: int) -> memoryview:
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._protocol.data_received(bytes(_buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        self._protocol.data_received(data)

    def eof_received(self) -> Any:
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
