"""RFC 7239: the Forwarded field as others have written it."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.forwarded import forwarded_nodes, is_sound
from proxy.core.keys import client_address

TRUSTED = [ipaddress.ip_network("10.0.0.0/8")]


@pytest.mark.parametrize(
    ("value", "sound"),
    [
        (b"", True),
        (b"for=192.0.2.1", True),
        (b'For="[2001:db8::1]:4711";proto=http;by=203.0.113.43, for=unknown', True),
        (b'for="_a;b,c";host="x\\"y"', True),
        (b" , for=192.0.2.1 ; proto=http ,", True),
        (b'for="', False),
        (b'for="192.0.2.1', False),
        (b'for=192.0.2.1, host="a', False),
        (b'for="a" b', False),
        (b"for", False),
        (b"for = 192.0.2.1", False),
        (b"for=a\x00b", False),
        (b"for=192.0.2.1\xff", False),
    ],
)
def test_rfc7239_4_a_list_of_elements_is_sound(value: bytes, sound: bool) -> None:
    assert is_sound(value) is sound


@pytest.mark.parametrize(
    ("lines", "nodes"),
    [
        ([b"for=192.0.2.1"], [b"192.0.2.1"]),
        ([b"for=a, for=b", b"for=c"], [b"c", b"b", b"a"]),
        ([b'FOR="[2001:db8::1]:4711";proto=https'], [b"[2001:db8::1]:4711"]),
        ([b'proto=http;host="a;for=9.9.9.9,b";for=192.0.2.1'], [b"192.0.2.1"]),
        ([b'for="never ends, for=192.0.2.1'], [b"192.0.2.1"]),
        ([b'for="', b'for="192.0.2.1"'], [b"192.0.2.1"]),
        ([b"for=a, proto=http"], []),
        ([b"for=a;for=b"], []),
        ([b"for=a, , for=b"], [b"b"]),
        ([b"for=a, x y, for=b"], [b"b"]),
        ([b'a="' + b"," * 20 + b'"'], []),
        ([], []),
    ],
)
def test_nodes_are_read_from_the_right_up_to_what_is_not_sound(
    lines: list[bytes], nodes: list[bytes]
) -> None:
    assert forwarded_nodes(lines, 32) == nodes


def test_the_number_of_nodes_is_bounded() -> None:
    assert forwarded_nodes([b",".join([b"for=10.0.0.1"] * 1000)], 32) == [b"10.0.0.1"] * 32


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ([b"for=198.51.100.1"], "198.51.100.1"),
        ([b"for=6.6.6.6, for=198.51.100.1, for=10.0.0.2"], "198.51.100.1"),
        ([b'for="198.51.100.1:4711";proto=https'], "198.51.100.1"),
        ([b'for="[2001:db8::7]:4711"'], "2001:db8::7"),
        ([b'for="[::ffff:198.51.100.1]"'], "198.51.100.1"),
        ([b"for=unknown"], "10.0.0.1"),
        ([b"for=_hidden, for=10.0.0.2"], "10.0.0.2"),
        ([b'for="[fe80::1%25eth0]"'], "10.0.0.1"),
        ([b'for="', b"for=198.51.100.1"], "198.51.100.1"),
        ([b"proto=https"], "10.0.0.1"),
    ],
)
def test_a_trusted_peer_s_forwarded_tells_the_client_s_address(forwarded: list[bytes], expected: str) -> None:
    assert client_address("10.0.0.1", [], TRUSTED, forwarded) == expected
    assert client_address("198.51.100.9", [], TRUSTED, forwarded) == "198.51.100.9"
    assert client_address("10.0.0.1", [], [], forwarded) == "10.0.0.1"


def test_where_there_is_x_forwarded_for_forwarded_says_nothing() -> None:
    assert client_address("10.0.0.1", [b"198.51.100.1"], TRUSTED, [b"for=6.6.6.6"]) == "198.51.100.1"
    assert client_address("10.0.0.1", [b""], TRUSTED, [b"for=6.6.6.6"]) == "10.0.0.1"


@given(claim=st.binary(max_size=60).filter(lambda claim: b"\r" not in claim))
def test_nothing_that_a_client_claims_changes_its_address(claim: bytes) -> None:
    forwarded = [claim + b", for=198.51.100.1;proto=http", b"for=10.0.0.2"]
    assert client_address("10.0.0.1", [], TRUSTED, forwarded) == "198.51.100.1"


@given(lines=st.lists(st.text('for=",;\\:.[]10 \t', max_size=40).map(str.encode), max_size=3))
def test_any_lines_give_an_address(lines: list[bytes]) -> None:
    ipaddress.ip_address(client_address("10.0.0.1", [], TRUSTED, lines))
