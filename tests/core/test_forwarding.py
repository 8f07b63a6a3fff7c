"""What an upstream is told of the client, and fresh identifiers."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.field_line import FieldLine, LineReader
from proxy.core.forwarding import Identifiers, forwarded_lines


class CountingRandom:
    """Gives the same small number for ever and counts the calls."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.calls = 0

    def getrandbits(self, k: int, /) -> int:
        self.calls += 1
        return self.bits

    def random(self) -> float:
        return 0.0


# ... identifiers


def test_identifiers_are_32_hex_digits_and_do_not_come_twice() -> None:
    identifiers = Identifiers(random.Random(1))
    drawn = [identifiers.next() for _ in range(1_000)]
    assert len(set(drawn)) == 1_000
    assert all(len(one) == 32 and set(one) <= set(b"0123456789abcdef") for one in drawn)


def test_a_batch_with_leading_zeros_keeps_its_length() -> None:
    identifiers = Identifiers(CountingRandom(0xF))
    drawn = [identifiers.next() for _ in range(256)]
    assert drawn[0] == b"0" * 32
    assert drawn[-1] == b"0" * 31 + b"f"


def test_the_generator_is_asked_once_for_256() -> None:
    source = CountingRandom(1)
    identifiers = Identifiers(source)
    assert repr(identifiers) == "<Identifiers 0 ready>"
    for _ in range(256):
        identifiers.next()
    assert source.calls == 1
    identifiers.next()
    assert source.calls == 2
    assert repr(identifiers) == "<Identifiers 255 ready>"


# ... Forwarded and X-Forwarded-*


def fields(*pairs: tuple[bytes, bytes]) -> list[FieldLine]:
    reader = LineReader(lambda name: 0, lambda kind, value: kind)
    return [reader.field(name, value) for name, value in pairs]


def test_rfc7239_4_a_client_of_ours_is_told_in_both_notations() -> None:
    assert forwarded_lines("192.0.2.7", b"http", b"shop.test:8080") == (
        b"X-Forwarded-For: 192.0.2.7\r\n"
        b"X-Forwarded-Proto: http\r\n"
        b"X-Forwarded-Host: shop.test:8080\r\n"
        b'Forwarded: for=192.0.2.7;proto=http;host="shop.test:8080"\r\n'
    )


def test_rfc7239_6_an_ipv6_address_is_bracketed_and_quoted() -> None:
    told = forwarded_lines("2001:db8::1", b"http", b"a")
    assert b"X-Forwarded-For: 2001:db8::1\r\n" in told
    assert b'Forwarded: for="[2001:db8::1]";proto=http;host="a"\r\n' in told


def test_rfc7239_6_2_a_peer_without_address_is_unknown() -> None:
    told = forwarded_lines("", b"http", b"a")
    assert b"X-Forwarded-For: unknown\r\n" in told
    assert b"Forwarded: for=unknown;" in told


def test_without_a_host_none_is_told() -> None:
    assert forwarded_lines("192.0.2.7", b"http", b"") == (
        b"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nForwarded: for=192.0.2.7;proto=http\r\n"
    )


def test_rfc7239_4_to_a_trusted_peer_s_lists_our_element_is_appended() -> None:
    believed = [
        (b"x-forwarded-for", b"203.0.113.1"),
        (b"forwarded", b"for=203.0.113.1"),
        (b"x-forwarded-for", b"198.51.100.2"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"www.test"),
    ]
    assert forwarded_lines("10.0.0.1", b"http", b"inner", fields(*believed)) == (
        b"X-Forwarded-For: 203.0.113.1, 198.51.100.2, 10.0.0.1\r\n"
        b"X-Forwarded-Proto: https\r\n"
        b"X-Forwarded-Host: www.test\r\n"
        b'Forwarded: for=203.0.113.1, for=10.0.0.1;proto=http;host="inner"\r\n'
    )


def test_rfc7239_4_a_list_that_leaves_a_quote_open_is_not_believed() -> None:
    believed = fields((b"forwarded", b'for="203.0.113.1'), (b"x-forwarded-for", b"203.0.113.1"))
    lines = forwarded_lines("10.0.0.1", b"http", b"", believed)
    assert b"Forwarded: for=10.0.0.1;proto=http\r\n" in lines.splitlines(keepends=True)
    assert b"X-Forwarded-For: 203.0.113.1, 10.0.0.1\r\n" in lines


@given(
    st.text(max_size=20).filter(lambda text: "\r" not in text and "\n" not in text),
    st.sampled_from([b"", b"a", b"b:1"]),
)
def test_the_lines_are_always_whole_lines(peer: str, host: bytes) -> None:
    told = forwarded_lines(peer, b"http", host)
    assert told.endswith(b"\r\n")
    assert told.count(b"\r") == told.count(b"\n") == told.count(b"\r\n") == (4 if host else 3)


@pytest.mark.parametrize("peer", ["\u20ac", "192.0.2.7"])
def test_a_strange_peer_is_no_error(peer: str) -> None:
    assert forwarded_lines(peer, b"http", b"a").startswith(b"X-Forwarded-For: ")


def test_a_trusted_peer_s_other_fields_of_the_family_are_kept() -> None:
    believed = [(b"x-forwarded-port", b"8443"), (b"x-real-ip", b"192.0.2.7")]
    lines = forwarded_lines("127.0.0.1", b"http", b"a", fields(*believed)).split(b"\r\n")
    assert b"x-forwarded-port: 8443" in lines
    assert b"x-real-ip: 192.0.2.7" in lines
    assert not any(b"real-ip" in line for line in forwarded_lines("127.0.0.1", b"http", b"a").split(b"\r\n"))
