"""The chunked coding: what it carries, what breaks it, and that where a read ends changes nothing."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.chunked import ChunkDecoder, ChunkError


def decoded(*reads: bytes) -> tuple[bytes, list[bytes], bytes]:
    """The content, the trailers, and what is left over after the end."""
    decoder = ChunkDecoder()
    pieces: list[bytes] = []
    rest = b""
    for data in reads:
        rest += data[decoder.feed(data, 0, pieces) :]
    assert decoder.ended
    return b"".join(pieces), decoder.trailers, rest


def refusal(*reads: bytes) -> int:
    """The status of a broken body, which is the same in one read and byte by byte."""
    whole = b"".join(reads)
    found: set[int] = set()
    for split in (list(reads), [whole], [whole[at : at + 1] for at in range(len(whole))]):
        decoder = ChunkDecoder()
        with pytest.raises(ChunkError) as caught:
            feed(decoder, split)
        found.add(caught.value.status)
    [status] = found
    return status


def feed(decoder: ChunkDecoder, reads: list[bytes]) -> None:
    for data in reads:
        decoder.feed(data, 0, [])


# ... what it carries


def test_rfc9112_7_1_chunks_of_any_size_make_one_body() -> None:
    assert decoded(b"1\r\na\r\nA\r\n0123456789\r\n0\r\n\r\n") == (b"a0123456789", [], b"")
    assert decoded(b"0\r\n\r\n") == (b"", [], b"")
    assert decoded(b"000\r\n\r\n") == (b"", [], b"")


def test_rfc9112_7_1_a_size_may_begin_with_zeros_and_have_letters_of_both_cases() -> None:
    assert decoded(b"0000000000000000000a\r\n0123456789\r\n0b\r\n0123456789x\r\n0\r\n\r\n")[0] == (
        b"01234567890123456789x"
    )


def test_rfc9112_6_3_what_follows_the_end_is_not_read() -> None:
    assert decoded(b"1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n") == (b"a", [], b"GET / HTTP/1.1\r\n")
    decoder = ChunkDecoder()
    assert decoder.feed(b"0\r\n\r\nx", 0, []) == 5
    assert decoder.feed(b"x", 0, []) == 0


def test_a_body_may_begin_behind_something_else() -> None:
    pieces: list[bytes] = []
    assert ChunkDecoder().feed(b"head3\r\nabc\r\n0\r\n\r\nnext", 4, pieces) == 17
    assert pieces == [b"abc"]


@pytest.mark.parametrize(
    "extension",
    [
        b";a",
        b";a=b",
        b';a="b c"',
        b';a="\\"\\\\;"',
        b';a=""',
        b" ;\ta = b",
        b" ; a ; b ;c",
        b";a;b=\x22\xe4\x22",
        b";" + b"a" * 4_000,
    ],
)
def test_rfc9112_7_1_1_extensions_are_ignored(extension: bytes) -> None:
    body = b"3%b\r\nabc\r\n0%b\r\n\r\n" % (extension, extension)
    assert decoded(body) == (b"abc", [], b"")
    assert decoded(*(body[at : at + 1] for at in range(len(body)))) == (b"abc", [], b"")


def test_rfc9112_7_1_2_trailers_are_kept_as_lines() -> None:
    assert decoded(b"0\r\nA: b\r\nC:d\r\n\r\n")[1] == [b"A: b", b"C:d"]


# ... what breaks it


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"x\r\n", id="no digit"),
        pytest.param(b"\r\n", id="no size"),
        pytest.param(b";a\r\n", id="only an extension"),
        pytest.param(b"-1\r\n", id="a sign"),
        pytest.param(b"+1\r\n", id="the other sign"),
        pytest.param(b"0x1\r\n", id="a prefix"),
        pytest.param(b"1_0\r\n", id="a separator"),
        pytest.param(b" 1\r\n", id="a space before"),
        pytest.param(b"1 \r\n", id="a space after, and no extension"),
        pytest.param(b"1 a\r\n", id="no semicolon"),
        pytest.param(b"1;\r\n", id="an extension without a name"),
        pytest.param(b"1;a=\r\n", id="an extension without a value"),
        pytest.param(b'1;a="b\r\n', id="an open quoted string"),
        pytest.param(b"1;a\0\r\n", id="NUL in an extension"),
        pytest.param(b"1;a\rb\r\n", id="CR in an extension"),
        pytest.param(b"1\n", id="RFC 9112 section 2.2, bare LF after a size"),
        pytest.param(b"1\r\r\n", id="two CR"),
        pytest.param(b"1;a\nb\r\n", id="RFC 9112 section 2.2, bare LF in an extension"),
        pytest.param(b"1\r\na\n", id="RFC 9112 section 2.2, bare LF after a chunk"),
        pytest.param(b"1\r\naa\r\n", id="a chunk that is longer than its size"),
        pytest.param(b"1\r\naa\r\n0\r\n\r\n", id="a chunk that is longer than its size, and the end"),
        pytest.param(b"3\r\na\r\n0\r\n\r\n", id="a chunk that is shorter than its size"),
        pytest.param(b"1\r\na0\r\n\r\n", id="no CRLF after a chunk"),
        pytest.param(b"ffffffffffffffff\r\n", id="a size beyond 60 bits"),
        pytest.param(b"10000000000000000\r\n", id="a size that wraps to 0 in 64 bits"),
        pytest.param(b"0\r\nA : b\r\n\r\n", id="space before a trailer's colon"),
        pytest.param(b"0\r\n b\r\n\r\n", id="a folded trailer"),
        pytest.param(b"0\r\nnonsense\r\n\r\n", id="a trailer without a colon"),
        pytest.param(b"0\r\nA: \0\r\n\r\n", id="NUL in a trailer"),
        pytest.param(b"0\r\nA: b\n\r\n", id="RFC 9112 section 2.2, bare LF after a trailer"),
        pytest.param(b"0\r\n\n", id="RFC 9112 section 2.2, bare LF at the end"),
    ],
)
def test_rfc9112_7_1_a_broken_body_is_refused(body: bytes) -> None:
    assert refusal(body) == 400


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"1;" + b"a" * 65_536, id="an extension without end"),
        pytest.param(b"1" + b" " * 65_536, id="white space without end"),
        pytest.param(b"0\r\nA: " + b"b" * 65_536, id="a trailer without end"),
        pytest.param(b"0\r\n" + b"A: b\r\n" * 101, id="more trailers than 100"),
        pytest.param(b"0\r\n" + b"A: %b\r\n" % (b"b" * 3_000) * 6, id="longer trailers than 16 KiB"),
        pytest.param(b"1;%b\r\na\r\n" % (b"a" * 3_000) * 6, id="longer extensions than 16 KiB"),
        pytest.param(b"1;a=b;c=d;e=f;g=h;i=j\r\na\r\n" * 6_000, id="many short extensions"),
    ],
)
def test_rfc9112_7_1_1_extensions_and_trailers_are_bounded(body: bytes) -> None:
    assert refusal(body) == 431


def test_what_a_content_pays_for_is_no_excess() -> None:
    line = b"2000;%b\r\n%b\r\n" % (b"a" * 3_000, b"x" * 0x2000)
    assert len(decoded(line * 20 + b"0\r\n\r\n")[0]) == 20 * 0x2000
    tiny = b"1;%b\r\na\r\n" % (b"a" * 1_000)
    plain = b"1000\r\n%b\r\n" % (b"x" * 0x1000)
    assert len(decoded((tiny * 8 + plain) * 10 + b"0\r\n\r\n")[0]) == 10 * (8 + 0x1000)


def test_ten_thousand_chunks_of_a_byte_are_no_excess() -> None:
    assert decoded(b"1\r\na\r\n" * 10_000 + b"0\r\n\r\n")[0] == b"a" * 10_000


def test_a_decoder_shows_where_it_stands() -> None:
    decoder = ChunkDecoder()
    decoder.feed(b"5\r\nab", 0, [])
    assert repr(decoder) == "<ChunkDecoder left=3 excess=0 ended=False>"


# ... wherever a read ends

parts = st.sampled_from(
    [
        b"3\r\nabc\r\n",
        b"3\r\nabc\r\n",
        b"1;a=b\r\nx\r\n",
        b'A ; q = "z"\r\n0123456789\r\n',
        b"0\r\n",
        b"\r\n",
        b"A: b\r\n",
        b"3\r\nabcd\r\n",
        b"3\nabc\r\n",
        b"zz\r\n",
        b"\r",
        b"GET",
    ]
)


def told(reads: list[bytes]) -> object:
    decoder = ChunkDecoder()
    pieces: list[bytes] = []
    rest = b""
    try:
        for data in reads:
            rest += data[decoder.feed(data, 0, pieces) :]
    except ChunkError:
        return "broken"
    return b"".join(pieces), decoder.trailers, decoder.ended, rest


@given(st.lists(parts, max_size=8).map(b"".join), st.lists(st.integers(0, 80), max_size=4))
def test_where_a_read_ends_changes_nothing(body: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(body)]
    reads = [body[begin:end] for begin, end in pairwise(edges)]
    expected = told([body[at : at + 1] for at in range(len(body))])
    assert told([body]) == expected
    assert told(reads) == expected


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.integers(1, 7))
def test_what_is_coded_is_decoded(chunks: list[bytes], step: int) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    reads = [body[at : at + step] for at in range(0, len(body), step)]
    assert decoded(*reads) == (b"".join(chunks), [], b"")
