"""Requests out of bytes: the same ones wherever a read ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.dataplane.plane import DataPlane
from proxy.dataplane.request_reader import RequestReader
from tests.dataplane.wire import SteadyRandom, TranscriptRecorder, settings
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from proxy.dataplane.context import Context
    from proxy.dataplane.downstream import Downstream
    from proxy.dataplane.exchange import Exchange
    from proxy.errors import BadRequest


class Listener:
    """Stands for the connection: notes down what the reader tells, and lets every request have its turn."""

    peer = "192.0.2.7"
    scheme = b"http"
    client_cert = b""
    trusted = False
    waiting = 0
    forwarding_cache = (b"", b"")

    def __init__(self, context: Context) -> None:
        self.reader = RequestReader(context, cast("Downstream", self))
        self.exchanges: list[Exchange] = []
        self.refused: list[int] = []
        self.bounded: list[bool] = []

    def admitted(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)

    def head_begun(self) -> None:
        assert self.reader.head_bytes

    def refuse_input(self, error: BadRequest) -> None:
        self.refused.append(error.status)
        self.reader.stop()

    def pause_reading(self) -> None:
        pass

    def bound_reads(self) -> None:
        self.bounded.append(True)

    def unbound_reads(self) -> None:
        self.bounded.append(False)

    def told(self) -> list[object]:
        """Everything that goes on of each request, whether it is whole, and the refusal at the end; nothing
        that follows the last request of a connection (RFC 9112 section 9.6)."""
        found: list[object] = []
        for exchange in self.exchanges:
            # The content without its framing: a chunk goes on for every read, whatever they were before.
            opening = b"".join([*exchange.head_parts, *exchange.body._pieces])
            found.append((opening, exchange.body.complete, exchange.keep_alive))
            if exchange.body.complete and not exchange.keep_alive:
                return found
        return [*found, *self.refused]


def told(*reads: bytes) -> list[object]:
    """What the reader makes of some reads."""
    plane = DataPlane(settings(), recorder=TranscriptRecorder(), clock=FakeClock(), random=SteadyRandom())
    listener = Listener(plane.context)
    for data in reads:
        if listener.reader.consume(data) < len(data):
            break  # nothing is read behind a last request
    return listener.told()


STARTS = [
    b"GET / HTTP/1.1",
    b"POST /x?y HTTP/1.1",
    b"HEAD / HTTP/1.1",
    b"GET / HTTP/1.0",
    b"GET /a b HTTP/1.1",
]
LINES = [
    b"Host: a",
    b"host:b ",
    b"X-User: u",
    b"X-A : 1",
    b"X-A: \x80",
    b"X-A: \x01",
    b" folded",
    b"",
    b"Content-Length: 3",
    b"content-length:3\t",
    b"Content-Length: 3, 3",
    b"Transfer-Encoding: chunked",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Connection: x-a, upgrade",
    b"Expect: 100-continue",
    b"Upgrade: h2c",
    b"X-Forwarded-For: 1.2.3.4",
    b"Via: 1.0 x",
]
BODIES = [b"", b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"\r\n", b"\n"]
messages = st.builds(
    lambda start, lines, body: b"\r\n".join([start, *lines, b"", b""]) + body,
    st.sampled_from(STARTS),
    st.lists(st.sampled_from(LINES), max_size=3).map(lambda lines: [b"Host: a", *lines]),
    st.sampled_from(BODIES),
)


@given(st.lists(messages, min_size=1, max_size=3).map(b"".join), st.integers(1, 60))
@example(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2, 28)
@example(b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 1)
def test_where_a_read_ends_changes_nothing(data: bytes, cut: int) -> None:
    expected = told(*(data[at : at + 1] for at in range(len(data))))
    assert told(data) == expected
    assert told(data[:cut], data[cut:]) == expected


def test_rfc9112_11_2_a_head_that_begins_in_its_predecessor_s_read_goes_on() -> None:
    # What comes next is a field of it, not a request.
    first = b"GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nX-A: "
    requests = told(first, b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    assert requests[-1] == 400
    assert b"smuggled" not in b"".join(cast("tuple[bytes]", one)[0] for one in requests[:-1])


@pytest.mark.parametrize("length", [1, 16 << 10, 100_000])
def test_a_body_of_known_length_is_counted(length: int) -> None:
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length
    get = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
    [(opening, complete, _), (following, _, _)] = cast(
        "list[tuple[bytes, bool, bool]]", told(post, b"x" * (length - 1), b"x" + get)
    )
    assert complete
    assert following.startswith(b"GET /next ")
    if length <= 65536:
        assert opening.endswith(b"\r\n\r\n" + b"x" * length)


def test_nothing_is_read_after_a_refusal() -> None:
    bad = b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"
    assert told(bad + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == [400]


def test_a_reader_shows_where_it_stands() -> None:
    plane = DataPlane(settings(), recorder=TranscriptRecorder(), clock=FakeClock(), random=SteadyRandom())
    reader = Listener(plane.context).reader
    reader.consume(b"GET / HT")
    assert repr(reader) == "<RequestReader head_bytes=8 left=0 refused=False>"


@pytest.mark.parametrize(
    ("head", "bodies", "bounded"),
    [
        (b"Content-Length: 65537", [b"", b"x" * 65_537], [True, False]),
        (b"Content-Length: 65537", [b"x", b"x" * 65_536], []),
        (b"Content-Length: 65536", [b"", b"x" * 65_536], []),
        (b"Transfer-Encoding: chunked", [b"", b"1\r\nx\r\n0\r\n\r\n"], [True, False]),
        (b"Transfer-Encoding: chunked", [b"1\r\nx\r\n0\r\n\r\n"], []),
    ],
)
def test_reads_are_bounded_while_a_body_comes_that_may_be_long(
    head: bytes, bodies: list[bytes], bounded: list[bool]
) -> None:
    plane = DataPlane(settings(), recorder=TranscriptRecorder(), clock=FakeClock(), random=SteadyRandom())
    listener = Listener(plane.context)
    listener.reader.consume(b"POST / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n" + bodies[0])
    for body in bodies[1:]:
        listener.reader.consume(body)
    assert listener.exchanges[0].body.complete
    assert listener.bounded == bounded
