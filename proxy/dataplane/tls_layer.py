"""TLS between the socket and a connection: a protocol to the socket's transport, a transport to the protocol
above.

Owns the handshake and the end of a session. What it encrypts goes to the socket's transport at once, which is
the only one to keep anything: so its back-pressure, and what it tells of bytes not yet sent, hold for the
whole. (The loops' own TLS keeps a second buffer that nobody can look into, and a task and a timer for each
handshake.) It must never know what is said in a session.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from proxy.core.client_cert import client_cert_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.dataplane.arrival import Arrival

_RECORD_BYTES: Final = 16 << 10
"""The most that one record may hold (RFC 8446 section 5.1). A `MemoryBIO` never gives back the memory that it
has once needed. So no more than a record is put into one at a time: else thousands of idle sessions would
keep as much as the largest piece that each has carried."""
_ARRIVING: Final = memoryview(bytearray(_RECORD_BYTES))

_SILENT: Final = 0  # nothing has come yet, or a part of the first record
_SHAKING: Final = 1
_OPEN: Final = 2
_CLOSED: Final = 3

_HEADER_BYTES: Final = 5
_HANDSHAKE: Final = 22


class TlsLayer:
    """One session. `arrival` is told how the handshake ends, and says who speaks through the session then."""

    __slots__ = (
        "_arrival",
        "_context",
        "_hello",
        "_incoming",
        "_mode",
        "_outgoing",
        "_paused",
        "_protocol",
        "_raw",
        "_session",
    )

    _session: ssl.SSLObject
    _incoming: ssl.MemoryBIO
    _outgoing: ssl.MemoryBIO

    def __init__(self, context: ssl.SSLContext, raw: asyncio.Transport, arrival: Arrival) -> None:
        self._raw = raw
        self._arrival = arrival
        self._context = context
        self._protocol: Any = None  # an `asyncio.Protocol`, but for its base class
        self._hello = b""
        self._mode = _SILENT
        self._paused = False

    def __repr__(self) -> str:
        return f"<TlsLayer mode={self._mode} {self._protocol}>"

    def client_cert(self) -> bytes:
        """What upstreams are told of the client's certificate; empty without a verified one."""
        certificate = self._session.getpeercert(True)
        if certificate is None:
            return b""
        return client_cert_value(hashlib.sha256(certificate).hexdigest(), self._session.getpeercert() or {})

    # ... the protocol of the socket's transport ...

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing: the layer is put on a transport that is there."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where uvloop puts what arrives: shared by all, because it is taken out at once. Without it, uvloop
        reads much more, which would wait here while the protocol above takes nothing."""
        return _ARRIVING

    def buffer_updated(self, size: int) -> None:
        self.data_received(_ARRIVING[:size])

    def data_received(self, data: bytes | memoryview) -> None:
        if self._mode == _SILENT:
            data = self._hello + bytes(data)
            if _is_begun(data):
                self._hello = data
                return
            self._begin()
        self._incoming.write(data)
        if self._mode == _SHAKING and not self._shake():
            return
        self._read()

    def eof_received(self) -> bool | None:
        if self._mode != _OPEN:
            return None
        keeps_open: bool | None = self._protocol.eof_received()
        return keeps_open

    def connection_lost(self, exc: Exception | None) -> None:
        self._mode = _CLOSED
        if self._protocol is None:
            self._arrival.connection_lost(exc)
        else:
            self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.resume_writing()

    def _begin(self) -> None:
        """A session takes 45 KiB while its handshake is under way: not for who has yet to say a word."""
        self._hello = b""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._session = self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._mode = _SHAKING

    def _shake(self) -> bool:
        """Whether the session is open."""
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self._mode = _CLOSED
            self._flush()  # the alert
            self._arrival.failed(error)
            return False
        self._flush()
        self._mode = _OPEN
        self._protocol = self._arrival.secured(self)
        self._protocol.connection_made(self)
        return True

    def _read(self) -> None:
        while self._mode == _OPEN and not self._paused:
            try:
                piece = self._session.read(_RECORD_BYTES)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError:  # a record that was tampered with, or no record
                self._flush()
                self.abort()
                return
            if not piece:
                if not self._protocol.eof_received():
                    self.close()
                return
            self._protocol.data_received(piece)
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending and not self._raw.is_closing():
            self._raw.write(self._outgoing.read())

    # ... the transport of the protocol above ...

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the socket's transport has to tell."""
        return self._raw.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """From now on, `protocol` hears what arrives."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who hears what arrives."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """In bytes as they go over the wire."""
        self._raw.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Bytes, encrypted, that the socket has not taken yet."""
        return self._raw.get_write_buffer_size()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypts, and sends: record by record, so that no more than one is ever in `_outgoing`."""
        if self._mode != _OPEN or not data:
            return
        try:
            if len(data) <= _RECORD_BYTES:
                self._session.write(data)
                self._raw.write(self._outgoing.read())
                return
            whole = memoryview(data)
            records = []
            for at in range(0, len(whole), _RECORD_BYTES):
                self._session.write(whole[at : at + _RECORD_BYTES])
                records.append(self._outgoing.read())
        except ssl.SSLError:
            self.abort()
            return
        self._raw.writelines(records)

    def writelines(self, pieces: Iterable[bytes | bytearray | memoryview]) -> None:
        """All of them, in order."""
        self.write(b"".join(pieces))

    def can_write_eof(self) -> bool:
        """TLS has a half-close of its own: close_notify."""
        return True

    def write_eof(self) -> None:
        """Says that nothing more will be sent, and goes on reading (RFC 8446 section 6.1)."""
        if self._mode == _OPEN:
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        with suppress(ssl.SSLError):  # it wants to read the other side's, which nobody waits for
            self._session.unwrap()
        self._flush()

    def pause_reading(self) -> None:
        """Hear nothing for now; what has been read and not yet decrypted waits."""
        self._paused = True
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Hear again, first what waits here."""
        if self._paused:
            self._paused = False
            self._raw.resume_reading()
            asyncio.get_running_loop().call_soon(self._read)

    def is_reading(self) -> bool:
        """Whether anything is heard."""
        return not self._paused and self._mode == _OPEN

    def is_closing(self) -> bool:
        """Whether the end has begun."""
        return self._mode == _CLOSED or self._raw.is_closing()

    def close(self) -> None:
        """Ends the session, and then the connection, once everything is sent."""
        if self._mode == _OPEN and not self._raw.is_closing():
            self._say_goodbye()
        self._mode = _CLOSED
        self._raw.close()

    def abort(self) -> None:
        """Ends the connection at once; without close_notify nobody takes what came for the whole."""
        self._mode = _CLOSED
        self._raw.abort()


def _is_begun(data: bytes) -> bool:
    """Whether this is the beginning of a first record, and not the whole of it. What is none is for the
    session to refuse."""
    if len(data) < _HEADER_BYTES:
        return data[:1] == bytes((_HANDSHAKE,)) or not data
    length = int.from_bytes(data[3:_HEADER_BYTES], "big")
    return data[0] == _HANDSHAKE and length <= _RECORD_BYTES and len(data) < _HEADER_BYTES + length
