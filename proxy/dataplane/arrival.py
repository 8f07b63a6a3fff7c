"""A connection before it is a client's: its PROXY header is read, its TLS handshake made.

Owns these two steps, in this order, their common deadline, and how a connection ends that does not get
through them. Where neither is configured there is no arrival: a connection is a `Downstream` from the start.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, cast

from proxy.core.addresses import canonical, is_within, parse_address
from proxy.core.proxy_protocol import HeaderError, read_header
from proxy.core.refusals import MALFORMED, PROXY_PROTOCOL, TIMEOUT, TLS
from proxy.dataplane.answers import CLOSE, problem
from proxy.dataplane.downstream import Downstream
from proxy.dataplane.tls_layer import TlsLayer

if TYPE_CHECKING:
    import asyncio
    import ssl

    from proxy.dataplane.acceptor import Acceptor

_SPOKE_HTTP: Final = "HTTP_REQUEST"


class Arrival:
    """The protocol of an accepted socket until a `Downstream` takes over."""

    __slots__ = ("_acceptor", "_begun", "_skip", "_transport", "counted", "deadline", "peer")

    _transport: asyncio.Transport

    def __init__(self, acceptor: Acceptor) -> None:
        self._acceptor = acceptor
        self._begun = b""  # of a PROXY header
        self._skip = 0  # of its end
        self.peer = ""
        self.counted = False  # among the connections of its client
        self.deadline = math.inf

    def __repr__(self) -> str:
        return f"<Arrival {self.peer}>"

    # ... the methods of asyncio.Protocol ...

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        context = self._acceptor.context
        if not context.has_room():
            self._transport.abort()
            return
        context.arriving.add(self)
        self.deadline = context.now + context.listen.header_timeout_s
        address = transport.get_extra_info("peername")
        self.peer = canonical(address[0]) if isinstance(address, tuple) else ""
        if not context.listen.proxy_protocol:
            self._go_on(b"")
        elif not self._may_speak_for_others():
            self._refuse(PROXY_PROTOCOL)

    def data_received(self, data: bytes) -> None:
        if self._skip:
            self._skip_header(data)
            return
        data = self._begun + data
        try:
            header = read_header(data)
        except HeaderError:
            self._refuse(PROXY_PROTOCOL)
            return
        if header is None:
            self._begun = data
            return
        self._begun = b""
        self.peer = header.client or self.peer
        self._skip = header.size
        self._skip_header(data)

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._acceptor.context.arrival_over(self)

    def pause_writing(self) -> None:
        """Nothing is written here."""

    def resume_writing(self) -> None:
        """Nothing is written here."""

    # ... the PROXY header ...

    def _may_speak_for_others(self) -> bool:
        trusted = self._acceptor.context.listen.trusted_proxies
        address = parse_address(self.peer)
        return not trusted or (address is not None and is_within(address, trusted))

    def _skip_header(self, data: bytes) -> None:
        rest = data[self._skip :]
        self._skip -= len(data) - len(rest)
        if not self._skip:
            self._go_on(rest)

    # ... TLS ...

    def _go_on(self, rest: bytes) -> None:
        """Who connects is known, and `rest` has come after."""
        transport = self._transport
        tls = self._acceptor.tls
        if tls is not None:
            if not self._acceptor.context.shakes_hands(self):
                self.abort()
                return
            layer = TlsLayer(tls, transport, self)
            transport.set_protocol(cast("asyncio.Protocol", layer))
            if rest:
                layer.data_received(rest)
            return
        downstream = self._become_client()
        transport.set_protocol(cast("asyncio.Protocol", downstream))
        downstream.connection_made(transport)
        if rest:
            downstream.data_received(rest)

    def secured(self, layer: TlsLayer) -> asyncio.BaseProtocol:
        """The handshake is done: who speaks through the session."""
        downstream = self._become_client()
        downstream.scheme = b"https"
        downstream.client_cert = layer.client_cert()
        return cast("asyncio.Protocol", downstream)

    def failed(self, error: ssl.SSLError) -> None:
        """The handshake has come to nothing; an alert says so to a client that understands one."""
        if error.reason != _SPOKE_HTTP:
            self._refuse(TLS)
            return
        context = self._acceptor.context
        self._transport.write(problem(400, "this port speaks TLS", date=context.date_line, extra=CLOSE))
        self._refuse(MALFORMED)

    def _become_client(self) -> Downstream:
        context = self._acceptor.context
        context.arrival_over(self)
        downstream = Downstream(context)
        downstream.peer = self.peer
        return downstream

    # ... the end ...

    def expired(self) -> None:
        """The sweep found its deadline passed."""
        self._acceptor.context.refused(TIMEOUT)
        self.abort()

    def abort(self) -> None:
        """Ends it at once."""
        self._acceptor.context.arrival_over(self)
        self._transport.abort()

    def _refuse(self, reason: str) -> None:
        context = self._acceptor.context
        context.refused(reason)
        context.arrival_over(self)
        self._transport.close()
