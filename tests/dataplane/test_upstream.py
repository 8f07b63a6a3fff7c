"""One upstream connection: what it takes to be used again, and what ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dataplane.bounded_reads import READ_BYTES, BoundedReads
from proxy.dataplane.endpoint import Endpoint
from proxy.dataplane.resolver import Resolver
from proxy.dataplane.upstream import Upstream
from tests.dataplane.wire import FAILED, GET, OK, FakeTransport, request, settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.core.response_head import ResponseHead
    from proxy.dataplane.exchange import Exchange
    from proxy.model import ErrorClass
    from tests.dataplane.conftest import Opener
    from tests.dataplane.wire import World


# ... one answer is exactly one answer


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"x",
        OK + OK,
        OK + b"HTTP/1.1 2",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + FAILED,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok" + OK,
    ],
)
async def test_rfc9112_9_2_what_follows_an_answer_is_never_the_next_one(world: World, answer: bytes) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(answer)
    assert client.message().body == b"ok"
    assert world.v2.end == "aborted"
    await client.sends(GET)
    await world.v2.sends(OK)
    assert client.message().body == b"ok"
    assert world.ports == [9002, 9002]


async def test_rfc9112_9_5_an_answer_found_after_the_connection_broke_frees_no_connection(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.dataplane.upstream.left_behind", lambda transport: OK)
    client = world.client()
    await client.sends(GET)
    await world.v2.leaves(ConnectionResetError())
    assert client.message().body == b"ok"
    assert world.context.v2.endpoints[0].idle_connections == 0


@pytest.mark.parametrize(
    ("head", "rest", "bounded"),
    [
        (b"Content-Length: 65537\r\n", b"x" * 65_537, True),
        (b"Content-Length: 65536\r\n", b"x" * 65_536, False),
        (b"Transfer-Encoding: chunked\r\n", b"1\r\nx\r\n0\r\n\r\n", True),
    ],
)
async def test_reads_are_bounded_while_an_answer_comes_that_may_be_long(
    world: World, head: bytes, rest: bytes, bounded: bool
) -> None:
    client = world.client()
    for _ in range(2):
        await client.sends(GET)
        assert isinstance(world.v2.transport.protocol, Upstream)
        await world.v2.sends(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
        assert isinstance(world.v2.transport.protocol, BoundedReads) is bounded
        await world.v2.sends(rest)
        assert b"x" in client.message().body
    assert world.ports == [9002]


async def test_what_a_connection_is_told_while_its_reads_are_bounded(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\n\r\nendless")
    protocol = cast("BoundedReads", world.v2.transport.protocol)
    buffer = protocol.get_buffer(-1)
    assert len(buffer) == READ_BYTES
    buffer[:3] = b"!!!"
    protocol.buffer_updated(3)
    protocol.pause_writing()
    protocol.resume_writing()
    assert "BoundedReads <Upstream" in repr(protocol)
    await world.v2.leaves()
    assert client.got().endswith(b"\r\n0\r\n\r\n")


async def test_rfc9112_9_2_surplus_in_a_later_read_ends_the_connection_too(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
    await world.v2.sends(b"defHTTP/1.1 200 OK\r\n\r\n")
    assert client.message().body == b"abcdef"
    assert world.v2.end == "aborted"


async def test_rfc9112_9_2_bytes_on_an_idle_connection_end_it(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(OK)
    await world.v2.sends(OK)
    assert world.v2.end == "aborted"
    assert len(client.messages()) == 1


async def test_rfc9112_9_2_a_body_after_an_answer_to_head_ends_the_connection(world: World) -> None:
    client = world.client()
    await client.sends(request("HEAD"))
    await world.v2.sends(OK)
    assert client.message(bodiless=True).status == 200
    assert world.v2.end == "aborted"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
async def test_rfc9112_9_6_an_upstream_that_says_close_is_not_used_again(world: World, answer: bytes) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(answer)
    assert b"connection" not in client.message().fields
    assert world.v2.end == "aborted"


async def test_rfc9112_9_3_an_upstream_of_http_1_0_may_stay(world: World) -> None:
    client = world.client()
    for _ in range(2):
        await client.sends(GET)
        await world.v2.sends(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
    assert [answer.body for answer in client.messages()] == [b"ok", b"ok"]
    assert world.ports == [9002]


async def test_rfc9110_7_8_an_upgrade_that_is_only_advertised_changes_nothing(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(OK.replace(b"\r\n\r\n", b"\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"))
    answer = client.message()
    assert (answer.body, b"upgrade" in answer.fields) == (b"ok", False)


async def test_an_answer_cut_into_single_bytes_is_the_same_answer(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    for answer in (OK, chunked, b"HTTP/1.1 103 Early\r\n\r\n" + OK):
        for at in range(len(answer)):
            await world.v2.sends(answer[at : at + 1])
        assert client.got().endswith((b"ok", b"o\r\n1\r\nk\r\n0\r\n\r\n"))
        await client.sends(GET)
    await world.v2.sends(OK)
    assert world.ports == [9002]


# ... an answer that another one replaces

LONG = b"HTTP/1.1 503 X\r\nContent-Length: 5000\r\n\r\n" + b"x" * 100


async def replaced(world: World, first: bytes, *rest: bytes) -> None:
    """v2 answers with an error, of which `rest` comes after v1 was asked; v1 answers."""
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(first)
    for data in rest:
        await world.v2.sends(data)
    await world.v1.sends(OK)
    assert client.message().body == b"ok"
    await client.leaves()
    world.v2.got()


async def test_the_short_rest_of_an_unwanted_answer_is_read_to_keep_its_connection(world: World) -> None:
    await replaced(world, LONG, b"x" * 4_000, b"x" * 900)
    assert world.v2.end == ""
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(OK)
    assert client.message().body == b"ok"
    assert world.ports == [9002, 9001]


async def test_the_rest_of_an_unwanted_chunked_answer_is_read_too(world: World) -> None:
    first = b"HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    await replaced(world, first, b"3\r\nabc\r\n", b"0\r\n\r\n")
    assert world.v2.end == ""
    await replaced(world, FAILED)
    assert world.ports == [9002, 9001]


@pytest.mark.parametrize(
    "rest",
    [[b"x" * 4_901], [b"x" * 4_900, b"HTTP/1.1 200 OK\r\n\r\n"]],
    ids=["in one read", "in another read"],
)
async def test_surplus_after_an_unwanted_answer_ends_its_connection(world: World, rest: list[bytes]) -> None:
    await replaced(world, LONG, *rest)
    assert world.v2.end == "aborted"


async def test_an_unwanted_answer_that_breaks_ends_its_connection(world: World) -> None:
    await replaced(world, b"HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\n")
    assert world.v2.end == "aborted"


async def test_an_unwanted_answer_that_is_long_is_not_read(world: World) -> None:
    await replaced(world, LONG.replace(b"5000", b"900000"), b"x" * 60_000, b"x" * 10_000)
    assert world.v2.end == "aborted"


async def test_an_unwanted_answer_has_two_seconds(world: World) -> None:
    await replaced(world, LONG)
    [upstream] = [peer for peer in world.connections if peer.port == 9002]
    assert "emptying" in repr(upstream.transport.protocol)
    await world.passes(1.4)
    assert world.v2.end == ""
    await world.passes(1.2)
    assert world.v2.end == "aborted"


async def test_an_upstream_that_leaves_while_it_is_emptied_is_forgotten(world: World) -> None:
    await replaced(world, LONG)
    await world.v2.leaves()
    await replaced(world, FAILED)
    assert world.ports == [9002, 9001, 9002]


async def test_an_unwanted_answer_that_ends_with_its_connection_is_not_read(world: World) -> None:
    await replaced(world, b"HTTP/1.1 503 X\r\n\r\nabc")
    assert world.v2.end == "aborted"


# ... limits and odds and ends


async def test_a_head_that_a_body_in_the_same_read_makes_large_is_within_the_limit(
    open_world: Opener,
) -> None:
    world = await open_world(v2={"max_head": "1KiB"})
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + b"x" * 9_000)
    assert len(client.message().body) == 9_000


async def test_32_interim_answers_are_relayed(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 103 Early\r\n\r\n" * 32 + OK)
    assert client.got().count(b"HTTP/1.1 103") == 32
    assert world.heard() == ["assigned v2", "attempt v2 good", "outcome good"]


async def test_a_write_to_an_upstream_that_has_just_gone_is_followed_by_its_loss(world: World) -> None:
    client = world.client()
    await client.sends(request("PUT", "/x", "Content-Length: 6") + b"abc")
    world.v2.transport.lost = True
    await client.sends(b"def")
    world.v2.transport.protocol.connection_lost(BrokenPipeError(32, "Broken pipe"))
    await client.sends(b"")
    await world.v1.sends(OK)
    assert client.message().body == b"ok"
    assert world.heard()[1:3] == ["attempt v2 reset", "fallback reset"]


async def test_an_upstream_shows_where_it_stands(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    upstream = world.v2.transport.protocol
    assert repr(upstream) == "<Upstream http://127.0.0.1:9002 busy uses=1>"
    await world.v2.sends(OK)
    assert repr(upstream) == "<Upstream http://127.0.0.1:9002 idle uses=1>"
    world.v2.stalls()
    upstream.pause_writing()
    upstream.resume_writing()
    assert client.is_read()


async def test_an_answer_with_a_connection_field_of_no_standard_spoils_nothing(
    world: World,
) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nProxy-Connection: close\r\nContent-")
    await world.v2.sends(b"Length: 2\r\n\r\nok")
    assert client.message().body == b"ok"
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    assert client.message().body == b"ok"
    assert world.ports == [9002]


async def test_rfc9112_5_1_a_tab_behind_a_coding_is_no_part_of_it(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nTransfer-")
    await world.v2.sends(b"Encoding: chunked\t\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert client.message().body == b"abc"


async def test_rfc9112_9_2_an_answer_to_head_that_came_in_pieces_ends_its_connection(world: World) -> None:
    client = world.client()
    await client.sends(request("HEAD"))
    await world.v2.sends(b"HTTP/1.1 200 OK\r\nTransfer-")
    await world.v2.sends(b"Encoding: chunked\r\n\r\nabc")
    assert client.message(bodiless=True).status == 200
    assert world.v2.end == "aborted"


async def test_rfc9110_8_6_a_304_with_an_absurd_length_is_not_believed(world: World) -> None:
    client = world.client()
    await client.sends(GET)
    await world.v2.sends(b"HTTP/1.1 304 Not Modified\r\nContent-Length: %b\r\n\r\n" % (b"9" * 20))
    assert len(world.v1.messages()) == 1
    await world.v1.sends(OK)
    assert client.message().status == 200


# ... wherever a read ends


class Listener:
    """Stands for the exchange: notes down what it is told."""

    def __init__(self) -> None:
        self.head: tuple[int, int, bytes, bool] | None = None
        self.body = b""
        self.complete = False
        self.failed = False
        self.interims: list[int] = []

    def response(self, head: ResponseHead | None, pieces: list[bytes], complete: bool, skip: int = 0) -> None:
        if head is not None:
            self.head = (head.status, head.length, head.text, head.closes)
        self.body += b"".join(pieces)[skip:]
        self.complete = self.complete or complete

    def interim(self, status: int, lines: list[bytes]) -> None:
        self.interims.append(status)

    def upstream_failed(self, kind: ErrorClass, detail: str) -> None:
        assert detail
        self.failed = True

    def told(self) -> tuple[object, ...]:
        # What came before a fault depends on where reads end.
        return ("failed",) if self.failed else (self.head, self.body, self.complete, self.interims)


def told(reads: Iterable[bytes], *, bodiless: bool) -> tuple[object, ...]:
    """What an exchange is told of some reads, and whether the connection may be used again."""
    listener = Listener()
    upstream = Upstream(Endpoint(0, "http://127.0.0.1:9001", settings().backends.v1, Resolver()))
    upstream.connection_made(FakeTransport(("127.0.0.1", 9001)))
    upstream.begin(cast("Exchange", listener), b"", bodiless=bodiless)
    for data in reads:
        if not listener.failed and not listener.complete:
            upstream.data_received(data)
    reusable = listener.complete and upstream._reusable()
    return (*listener.told(), reusable and not listener.failed)


RESPONSE_LINES = [
    b"Content-Length: 3",
    b"content-length:3 ",
    b"Content-Length: 0",
    b"Content-Length: x",
    b"Transfer-Encoding: chunked",
    b"Connection: close",
    b"Connection: keep-alive",
    b"X-A:1",
    b"X-A : 1",
    b" folded",
    b"X-A: \x01",
    b"Set-Cookie: a=b",
    b"Date: now",
    b"",
]
answers = st.builds(
    lambda start, lines, body: b"\r\n".join([start, *lines, b"", b""]) + body,
    st.sampled_from(
        [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK", b"HTTP/1.1 204 No", b"HTTP/1.0 200 OK", b"HTTP/1.1 100 Go"]
    ),
    st.lists(st.sampled_from(RESPONSE_LINES), max_size=3),
    st.sampled_from([b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\nX: y\r\n\r\n", b"3\r\nabcd"]),
)


@given(st.lists(answers, min_size=1, max_size=2).map(b"".join), st.integers(1, 60), st.booleans())
def test_where_a_read_of_an_answer_ends_changes_nothing(data: bytes, cut: int, bodiless: bool) -> None:
    expected = told((data[at : at + 1] for at in range(len(data))), bodiless=bodiless)
    whole = told([data], bodiless=bodiless)
    halves = told([data[:cut], data[cut:]], bodiless=bodiless)
    if expected[-1]:
        # More may follow a whole answer in the same read; then the connection is not used again.
        assert whole[:-1] == halves[:-1] == expected[:-1]
    else:
        assert whole == halves == expected


PAGE = b"abcdefgh" * 2_000


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 16000\r\n\r\n" + PAGE,
        b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + PAGE,
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + PAGE,
        b"HTTP/1.1 502 No\r\nContent-Length: 16000\r\n\r\n" + PAGE,
        b"HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 16000\r\n\r\n" + PAGE,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e80\r\n" + PAGE + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + PAGE,
        b"HTTP/1.1 200 OK\r\nX-A: " + PAGE + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" + PAGE,
    ],
    ids=[
        "all",
        "some",
        "too much",
        "an error",
        "interim",
        "chunked",
        "until the end",
        "a long head",
        "no head",
    ],
)
@pytest.mark.parametrize("bodiless", [False, True])
def test_a_long_read_tells_what_short_ones_do(data: bytes, bodiless: bool) -> None:
    short = told((data[at : at + 500] for at in range(0, len(data), 500)), bodiless=bodiless)
    assert told([data], bodiless=bodiless)[:-1] == short[:-1]
