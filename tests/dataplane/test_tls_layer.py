"""TLS between a transport and a connection, byte for byte: what it passes on, when it waits, how it ends."""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import pytest

from proxy.config.tls import ServerTls
from proxy.dataplane.tls_layer import TlsLayer
from proxy.tls import server_context
from tests.certificates import Authority
from tests.dataplane.wire import FakeTransport, settle

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from proxy.dataplane.arrival import Arrival


class Above:
    """Stands for the arrival and for the protocol above, and notes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.heard = b""
        self.stays_open = False
        self.pauses = False
        self.layer: TlsLayer | None = None

    def secured(self, layer: TlsLayer) -> Above:
        self.layer = layer
        return self

    def failed(self, error: ssl.SSLError) -> None:
        self.told.append(f"failed {error.reason}")

    def connection_made(self, transport: object) -> None:
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.heard += data
        if self.pauses and self.layer is not None:
            self.layer.pause_reading()

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.stays_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")


class Session:
    """A client's end of a session over a fake transport, and the layer at the other."""

    def __init__(self, directory: Path, version: str = "1.3") -> None:
        authority = Authority(directory)
        table = ServerTls.read({"certificates": [authority.signs(["localhost"]).table]})
        self.above = Above()
        self.raw = FakeTransport(("192.0.2.7", 1))
        self.layer = TlsLayer(server_context(table), self.raw, cast("Arrival", self.above))
        self.raw.protocol = cast("asyncio.Protocol", self.layer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(authority.file)
        if version == "1.2":
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        self._in, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = context.wrap_bio(self._in, self.outgoing, server_hostname="localhost")

    def opened(self) -> Session:
        while True:
            with suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
                self.pass_on()
                return self
            self.pass_on()

    def pass_on(self) -> None:
        """What the client has to send arrives, and what the layer has sent."""
        if self.outgoing.pending:
            self.layer.data_received(self.outgoing.read())
        self._in.write(bytes(self.raw.written))
        self.raw.written.clear()

    def says(self, data: bytes) -> None:
        self.client.write(data)
        self.pass_on()

    def hears(self) -> bytes:
        self.pass_on()
        heard = b""
        with suppress(ssl.SSLWantReadError):
            while piece := self.client.read(1 << 16):
                heard += piece
        return heard

    def is_told_the_end(self) -> bool:
        """Whether a close_notify has come."""
        self.pass_on()
        try:
            return self.client.read(1) == b""
        except ssl.SSLZeroReturnError:
            return True
        except ssl.SSLWantReadError:
            return False


@pytest.fixture(params=["1.2", "1.3"])
def session(tmp_path: Path, request: pytest.FixtureRequest) -> Session:
    return Session(tmp_path, request.param).opened()


async def test_what_is_said_is_heard_on_both_sides(session: Session) -> None:
    session.says(b"question")
    assert session.above.heard == b"question"
    session.layer.write(b"answer ")
    session.layer.writelines([b"in ", b"pieces"])
    session.layer.write(b"")
    assert session.hears() == b"answer in pieces"
    assert session.above.told == ["made"]


async def test_any_amount_is_sent_in_records(session: Session) -> None:
    data = bytes(range(256)) * 1000
    session.layer.write(memoryview(data))
    assert session.hears() == data


async def test_bytes_may_arrive_one_by_one(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.opened()
    session.client.write(b"slowly")
    for byte in session.outgoing.read():
        view = session.layer.get_buffer(-1)
        view[0] = byte
        session.layer.buffer_updated(1)
    assert session.above.heard == b"slowly"


async def test_nothing_is_passed_on_while_reading_is_paused(session: Session) -> None:
    session.above.pauses = True
    session.client.write(b"first")
    session.client.write(b"second")
    session.pass_on()
    assert session.above.heard == b"first"
    assert not session.layer.is_reading()
    assert not session.raw.reading
    session.above.pauses = False
    session.layer.resume_reading()
    session.layer.resume_reading()
    await settle()
    assert session.above.heard == b"firstsecond"
    assert session.layer.is_reading()


async def test_back_pressure_of_the_socket_is_that_of_the_session(session: Session) -> None:
    session.layer.set_write_buffer_limits(high=1000)
    session.raw.stalled = True
    session.layer.write(b"x" * 2000)
    assert session.above.told == ["made", "pause"]
    assert session.layer.get_write_buffer_size() > 2000
    session.raw.catch_up()
    assert session.above.told == ["made", "pause", "resume"]
    assert session.layer.get_write_buffer_size() == 0


async def test_before_the_session_is_open_nobody_is_told_of_back_pressure(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.layer.connection_made(session.raw)
    session.layer.pause_writing()
    session.layer.resume_writing()
    assert session.layer.eof_received() is None
    session.layer.connection_lost(None)
    assert session.above.told == ["lost"]


async def test_the_end_of_the_session_is_said_before_that_of_the_connection(session: Session) -> None:
    session.layer.write(b"all")
    session.layer.close()
    assert (session.hears(), session.raw.end) == (b"all", "closed")
    assert session.is_told_the_end()
    session.layer.close()
    session.layer.write(b"more")
    assert session.layer.is_closing()


async def test_an_abort_says_nothing(session: Session) -> None:
    session.layer.write(b"half")
    session.layer.abort()
    assert (session.hears(), session.is_told_the_end(), session.raw.end) == (b"half", False, "aborted")


async def test_half_a_close_goes_on_reading(session: Session) -> None:
    assert session.layer.can_write_eof()
    session.layer.write_eof()
    assert session.is_told_the_end()
    session.says(b"still here")
    assert session.above.heard == b"still here"
    assert session.raw.end == ""


async def test_a_client_that_ends_the_session_is_gone(session: Session) -> None:
    with suppress(ssl.SSLWantReadError):
        session.client.unwrap()
    session.pass_on()
    assert session.above.told == ["made", "eof"]
    assert session.raw.end == "closed"


async def test_a_protocol_may_go_on_after_the_client_has_ended(session: Session) -> None:
    session.above.stays_open = True
    with suppress(ssl.SSLWantReadError):
        session.client.unwrap()
    session.pass_on()
    assert session.raw.end == ""
    assert session.layer.eof_received() is True


async def test_a_record_that_was_tampered_with_breaks_the_connection(session: Session) -> None:
    session.client.write(b"good")
    record = bytearray(session.outgoing.read())
    record[-1] ^= 1
    session.layer.data_received(bytes(record))
    assert (session.above.heard, session.raw.end) == (b"", "aborted")


async def test_a_handshake_that_fails_is_told_with_an_alert(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.layer.data_received(b"\x16\x03\x01\x00\x05abcde")
    assert session.raw.written[:1] == b"\x15"
    [told] = session.above.told
    assert told.startswith("failed ")


async def test_another_protocol_may_take_over(session: Session) -> None:
    other = Above()
    session.layer.set_protocol(cast("asyncio.Protocol", other))
    assert session.layer.get_protocol() is cast("asyncio.Protocol", other)
    session.says(b"for the other")
    session.raw.lose(None)
    assert (other.heard, other.told, session.above.heard) == (b"for the other", ["lost"], b"")


async def test_a_session_without_a_client_s_certificate_has_nothing_to_tell(session: Session) -> None:
    assert session.layer.client_cert() == b""
    assert session.layer.get_extra_info("peername") == ("192.0.2.7", 1)
    assert repr(session.layer).startswith("<TlsLayer mode=2 ")
