"""How long a body is, and which heads are not believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.framing import (
    CHUNKED,
    CONTRADICTORY,
    UNTIL_CLOSE,
    check_host,
    is_origin_form,
    request_length,
    resolve_target,
    response_length,
)
from proxy.errors import BadRequest, Source

BAD_LENGTHS = [b"", b"-1", b"+1", b"1, 1", b"0x10", b"1 0", b"9" * 19, b"\xb2", b"1.0"]


def refused(call: object, *arguments: object) -> int:
    """The status with which `call` refuses; fails if it does not."""
    assert callable(call)
    with pytest.raises(BadRequest) as caught:
        call(*arguments)
    assert caught.value.source is Source.DOWNSTREAM
    return caught.value.status


# ... requests


@pytest.mark.parametrize(("value", "length"), [(b"0", 0), (b"12", 12), (b"007", 7), (b"9" * 18, 10**18 - 1)])
def test_rfc9112_6_2_a_request_is_as_long_as_its_content_length(value: bytes, length: int) -> None:
    assert request_length([value], [], 1) == length


@pytest.mark.parametrize("value", BAD_LENGTHS)
def test_rfc9112_6_3_an_invalid_content_length_is_refused(value: bytes) -> None:
    assert refused(request_length, [value], [], 1) == 400


@pytest.mark.parametrize("values", [[b"5", b"6"], [b"5", b"5"]])
def test_rfc9112_6_3_repeated_content_lengths_are_refused(values: list[bytes]) -> None:
    assert refused(request_length, values, [], 1) == 400


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"CHUNKED"])
def test_rfc9112_6_1_a_chunked_request_in_any_case(coding: bytes) -> None:
    assert request_length([], [coding], 1) == CHUNKED


@pytest.mark.parametrize(
    "codings",
    [[b"gzip"], [b"gzip, chunked"], [b"chunked, gzip"], [b"chunked", b"chunked"], [b"xchunked"], [b""]],
)
def test_rfc9112_6_3_a_request_whose_final_coding_is_not_chunked_alone_is_refused(
    codings: list[bytes],
) -> None:
    assert refused(request_length, [], codings, 1) == 400


def test_rfc9112_6_3_content_length_with_transfer_encoding_is_refused() -> None:
    assert refused(request_length, [b"3"], [b"chunked"], 1) == 400


def test_rfc9112_6_1_transfer_encoding_in_http_1_0_is_refused() -> None:
    assert refused(request_length, [], [b"chunked"], 0) == 400


# ... responses


@pytest.mark.parametrize("status", [100, 103, 204, 304])
def test_rfc9112_6_3_1xx_204_and_304_have_no_body_whatever_the_fields_say(status: int) -> None:
    assert response_length(status, [b"5"], [], 1) == 0
    assert response_length(status, [], [b"gzip"], 1) == 0
    assert response_length(status, [], [], 1) == 0


@pytest.mark.parametrize("lengths", [[b"5", b"6"], [b"x"], [b"9" * 20]])
@pytest.mark.parametrize("status", [103, 204, 304])
def test_rfc9110_8_6_a_length_that_is_none_is_not_believed_without_a_body_either(
    status: int, lengths: list[bytes]
) -> None:
    assert response_length(status, lengths, [], 1) == CONTRADICTORY
    assert response_length(status, [b"5"], [b"chunked"], 1) == CONTRADICTORY


def test_rfc9112_6_3_a_response_is_as_long_as_its_content_length() -> None:
    assert response_length(200, [b"5"], [], 1) == 5


def test_rfc9112_6_3_a_chunked_response() -> None:
    assert response_length(200, [], [b"Chunked"], 1) == CHUNKED


def test_rfc9112_6_3_a_response_without_framing_ends_with_its_connection() -> None:
    assert response_length(200, [], [], 1) == UNTIL_CLOSE


@pytest.mark.parametrize(
    ("lengths", "codings", "minor_version"),
    [
        ([b"5"], [b"chunked"], 1),
        ([], [b"chunked"], 0),
        ([], [b"gzip"], 1),
        ([], [b"chunked", b"chunked"], 1),
        ([b"5", b"5"], [], 1),
        *(([value], [], 1) for value in BAD_LENGTHS),
    ],
)
def test_rfc9112_6_3_a_response_with_contradictory_framing_is_not_believed(
    lengths: list[bytes], codings: list[bytes], minor_version: int
) -> None:
    assert response_length(200, lengths, codings, minor_version) == CONTRADICTORY


fields = st.lists(st.sampled_from([b"0", b"5", b"x", b"", b"chunked", b"gzip"]), max_size=3)


@given(fields, fields, st.sampled_from([0, 1]))
def test_two_framings_are_never_believed_in_either_direction(
    lengths: list[bytes], codings: list[bytes], minor_version: int
) -> None:
    if len(lengths) + len(codings) < 2:
        return
    assert refused(request_length, lengths, codings, minor_version) == 400
    assert response_length(200, lengths, codings, minor_version) == CONTRADICTORY


# ... Host and target


@pytest.mark.parametrize(
    "host",
    [
        b"a",
        b"example.com",
        b"example.com:8080",
        b"example.com:",
        b"127.0.0.1:1",
        b"[::1]",
        b"[::1]:80",
        b"%41b",
    ],
)
def test_rfc9112_3_2_a_valid_host(host: bytes) -> None:
    check_host(host)


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"a b",
        b"a,b c",
        b"a/b",
        b"a?b",
        b"a#b",
        b"u@a",
        b"a:b",
        b"a:1:2",
        b"a:123456",
        b"[::1",
        b"::1",
        b"a\x00",
        b"a\r\n",
        b"a\n",
        b"%4",
        b"\xff",
        b'a"b',
        b"a\\b",
        b":80",
        b"a:65536",
        b"[::1]:99999",
        b"[:::]",
        b"[1.2.3.4]",
        b"[fe80::1%25eth0]",
    ],
)
def test_rfc9112_3_2_an_invalid_host_is_refused(host: bytes) -> None:
    assert refused(check_host, host) == 400


@given(st.binary(max_size=12))
def test_a_host_that_passes_cannot_end_its_line_or_quoted_string(host: bytes) -> None:
    try:
        check_host(host)
    except BadRequest:
        return
    assert not set(host) & set(b'\r\n\x00 \t"\\/?#@')


@pytest.mark.parametrize(
    "target", [b"/", b"/a/b", b"/%2F", b"//a//", b"/a?", b"/a?b=c?/&", b"/../a/.", b"/[|]"]
)
def test_rfc9110_7_7_a_path_with_any_query_is_left_as_it_is(target: bytes) -> None:
    assert is_origin_form(target)


@pytest.mark.parametrize(
    "target", [b"", b"a", b"*", b"/a#b", b"/a b", b"/\x7f", b"/\xc3\xa9", b"/a\n", b"http://a/"]
)
def test_rfc9112_3_2_1_other_targets_are_not_in_origin_form(target: bytes) -> None:
    assert not is_origin_form(target)


@pytest.mark.parametrize(
    ("target", "origin"),
    [
        (b"http://a", b"/"),
        (b"http://a/", b"/"),
        (b"HTTP://a//x/%2f/../y?", b"//x/%2f/../y?"),
        (b"https://a?q", b"/?q"),
    ],
)
def test_rfc9112_3_2_2_the_absolute_form_gives_path_and_authority(target: bytes, origin: bytes) -> None:
    assert resolve_target(b"GET", target) == (origin, b"a")


def test_rfc9112_3_2_2_the_authority_keeps_its_port() -> None:
    assert resolve_target(b"GET", b"http://[::1]:81/x") == (b"/x", b"[::1]:81")


@pytest.mark.parametrize(
    "target",
    [
        b"",
        b"a",
        b"a:80",
        b"ftp://a/",
        b"http:/a",
        b"http://",
        b"http:///x",
        b"http://u:p@a/",
        b"http://a/#b",
        b"http://a/ b",
    ],
)
def test_rfc9112_3_2_targets_of_no_form_are_refused(target: bytes) -> None:
    assert refused(resolve_target, b"GET", target) == 400


def test_rfc9112_3_2_4_the_asterisk_is_for_options_alone() -> None:
    assert resolve_target(b"OPTIONS", b"*") == (b"*", None)
    assert refused(resolve_target, b"GET", b"*") == 400


def test_rfc9112_3_2_4_options_of_an_authority_without_path_becomes_the_asterisk() -> None:
    assert resolve_target(b"OPTIONS", b"http://a:1") == (b"*", b"a:1")
    assert resolve_target(b"OPTIONS", b"http://a/") == (b"/", b"a")


def test_a_long_authority_is_refused_in_linear_time() -> None:
    # With a pattern that can share the bytes out in more than one way this takes minutes.
    with pytest.raises(BadRequest):
        resolve_target(b"GET", b"http://" + b"a" * 1_000_000 + b"/?#")
