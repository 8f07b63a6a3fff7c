"""The replay buffer: what a second attempt would need, and no more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.framing import CHUNKED
from proxy.dataplane.body import NO_BODY, RequestBody

HEAD = b"HEAD "


def test_no_body_is_complete_from_the_start() -> None:
    assert NO_BODY.complete
    assert NO_BODY.replayable
    assert NO_BODY.opening(HEAD) == HEAD


def test_a_body_that_arrives_before_its_connection_is_kept_and_sent_whole() -> None:
    body = RequestBody(5, 10)
    body.push(b"abc", None)
    body.push(b"de", None)
    body.finish(None)
    assert (body.complete, body.held_bytes) == (True, 5)
    assert body.opening(HEAD) == body.opening(HEAD) == HEAD + b"abcde"


def test_a_chunked_body_is_framed_anew() -> None:
    body = RequestBody(CHUNKED, 10)
    body.push(b"abc", None)
    assert body.opening(HEAD) == HEAD + b"3\r\nabc\r\n"
    written: list[bytes] = []
    body.push(b"de", written.append)
    body.finish(written.append)
    assert written == [b"2\r\nde\r\n", b"0\r\n\r\n"]
    assert body.opening(HEAD) == HEAD + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


def test_an_empty_chunked_body_is_ended() -> None:
    body = RequestBody(CHUNKED, 10)
    body.finish(None)
    assert body.opening(HEAD) == HEAD + b"0\r\n\r\n"


def test_a_declared_length_over_the_limit_is_not_kept_beyond_the_first_attempt() -> None:
    body = RequestBody(6, 5)
    assert not body.replayable
    body.push(b"ab", None)
    assert body.opening(HEAD) == HEAD + b"ab"
    assert body.held_bytes == 0
    written: list[bytes] = []
    body.push(b"cd", written.append)
    assert (written, body.held_bytes) == ([b"cd"], 0)


def test_a_chunked_body_that_outgrows_the_limit_is_dropped() -> None:
    body = RequestBody(CHUNKED, 5)
    written: list[bytes] = []
    body.push(b"abc", written.append)
    assert (body.replayable, body.held_bytes) == (True, 3)
    body.push(b"def", written.append)
    assert (body.replayable, body.held_bytes) == (False, 0)
    assert written == [b"3\r\nabc\r\n", b"3\r\ndef\r\n"]


def test_a_body_that_outgrows_the_limit_before_its_connection_is_there_is_not_lost() -> None:
    body = RequestBody(CHUNKED, 5)
    body.push(b"abcdef", None)
    assert (body.replayable, body.held_bytes) == (False, 6)
    assert repr(body) == "<RequestBody 6 B held complete=False replayable=False>"
    assert body.opening(HEAD) == HEAD + b"6\r\nabcdef\r\n"


@given(st.lists(st.binary(min_size=1, max_size=5), max_size=6), st.integers(0, 12), st.integers(0, 6))
def test_an_upstream_gets_every_byte_once_and_a_second_one_too_if_it_is_replayable(
    pieces: list[bytes], limit: int, connected_after: int
) -> None:
    whole = b"".join(pieces)
    body = RequestBody(len(whole), limit)
    written: list[bytes] = []
    for at, piece in enumerate(pieces):
        if at == connected_after:
            written.append(body.opening(HEAD))
        body.push(piece, written.append if at >= connected_after else None)
    if connected_after >= len(pieces):
        written.append(body.opening(HEAD))
    assert b"".join(written) == HEAD + whole
    assert body.replayable == (len(whole) <= limit)
    if body.replayable:
        assert body.opening(HEAD) == HEAD + whole
    else:
        assert body.held_bytes == 0
