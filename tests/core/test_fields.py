"""Connection and what it names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.fields import connection_options, without_options


def lines(*fields: tuple[bytes, bytes]) -> list[bytes]:
    return [b"%b: %b\r\n" % field for field in fields]


def test_rfc9110_7_6_1_the_options_of_a_connection_field() -> None:
    assert connection_options(b"X-Hop,\tx-two ,, close,Keep-Alive") == {
        b"x-hop",
        b"x-two",
        b"close",
        b"keep-alive",
    }


@pytest.mark.parametrize(
    "name",
    [b"Host", b"content-length", b"Transfer-Encoding", b"X-Forwarded-For", b"AUTHORIZATION", b"Set-Cookie"],
)
def test_rfc9110_7_6_1_a_connection_field_cannot_make_us_drop_what_matters_end_to_end(name: bytes) -> None:
    assert connection_options(b"x, " + name) == {b"x"}


def test_rfc9110_7_6_1_the_named_fields_go_and_the_others_keep_their_order() -> None:
    before = lines((b"A", b"1"), (b"X-Hop", b"2"), (b"B", b"3"), (b"x-hop", b"4"), (b"A", b"5"))
    assert without_options(before, {b"x-hop"}) == lines((b"A", b"1"), (b"B", b"3"), (b"A", b"5"))


names = st.sampled_from([b"A", b"b", b"X-Hop", b"x-HOP"])


@given(st.lists(st.tuples(names, st.binary(max_size=3))), st.sets(st.sampled_from([b"a", b"b", b"x-hop"])))
def test_what_is_left_is_what_was_not_named(fields: list[tuple[bytes, bytes]], options: set[bytes]) -> None:
    expected = [(name, value) for name, value in fields if name.lower() not in options]
    assert without_options(lines(*fields), options) == lines(*expected)
