"""What identifies a client: headers, cookies, and the address behind trusted proxies."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.field_line import LineReader
from proxy.core.keys import KeyReader, client_address

Fields = list[tuple[bytes, bytes]]


def read(sources: list[str], fields: Fields, client_ip: str = "192.0.2.1") -> bytes | None:
    reader = LineReader(lambda name: 0, lambda kind, value: kind)
    return KeyReader(sources).read([reader.field(name, value) for name, value in fields], client_ip)


# ... sources


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([(b"x-user-id", b"header"), (b"cookie", b"uid=cookie")], b"header"),
        ([(b"cookie", b"uid=cookie"), (b"x-user-id", b"")], b"cookie"),
        ([(b"cookie", b"uid="), (b"x-user-id", b" \t ")], b"192.0.2.1"),
        ([(b"accept", b"*/*")], b"192.0.2.1"),
        ([], b"192.0.2.1"),
    ],
)
def test_the_first_source_with_a_value_wins(fields: Fields, expected: bytes) -> None:
    assert read(["header:X-User-Id", "cookie:uid", "client_ip"], fields) == expected


def test_no_source_with_a_value_is_no_key() -> None:
    assert read(["header:X-User-Id", "cookie:uid"], [(b"accept", b"*/*")]) is None


def test_a_peer_without_an_address_is_no_key() -> None:
    assert read(["client_ip"], [], client_ip="") is None


@pytest.mark.parametrize(
    ("sources", "needed"),
    [(["client_ip"], True), (["header:A", "client_ip"], True), (["header:client_ip", "cookie:a"], False)],
)
def test_it_says_whether_it_needs_the_address(sources: list[str], needed: bool) -> None:
    reader = KeyReader(sources)
    assert reader.needs_client_ip is needed
    assert repr(reader) == f"<KeyReader {len(sources)} sources>"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([(b"x-user-id", b"42")], b"42"),
        ([(b"x-user-id", b" 42\t")], b"42"),
        ([(b"x-user-id", b"a b")], b"a b"),
        ([(b"x-user-id", "Zoë".encode())], "Zoë".encode()),
        ([(b"x-user-id", b""), (b"x-user-id", b"2"), (b"x-user-id", b"3")], b"2"),
        ([(b"x-user-id-2", b"42")], None),
    ],
)
def test_a_header_key_is_the_first_value_that_is_not_blank(fields: Fields, expected: bytes | None) -> None:
    assert read(["header:X-User-ID"], fields) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"uid=42", b"42"),
        (b"a=b; uid=42; c=d", b"42"),
        (b"a=b;uid=42;c=d", b"42"),
        (b"  uid=42 ; c=d", b"42"),
        (b";uid=42", b"42"),
        (b"uid=1; uid=2", b"1"),
        (b"uid=; uid=2", b"2"),
        (b'uid="42"', b'"42"'),
        (b"uid=a=b", b"a=b"),
        (b"uid=a b", b"a b"),
        (b"uid=  42", b"42"),
        (b"xuid=1; uid=2", b"2"),
        (b"x uid=1; uid=2", b"2"),
        (b"a=uid=1; uid=2", b"2"),
        (b"UID=42", None),
        (b"uid", None),
        (b"uid2=42", None),
        (b"a=uid=1", None),
        (b"", None),
        (b";;;", None),
    ],
)
def test_a_cookie_key_is_the_first_pair_of_that_name(line: bytes, expected: bytes | None) -> None:
    assert read(["cookie:uid"], [(b"accept", b"uid=no"), (b"cookie", line)]) == expected


def test_every_cookie_line_is_read() -> None:
    assert (
        read(["cookie:uid"], [(b"cookie", b"a=b"), (b"cookie", b"uid=; c=d"), (b"cookie", b"uid=42")])
        == b"42"
    )


def test_a_cookie_name_is_no_pattern() -> None:
    assert read(["cookie:u.d+"], [(b"cookie", b"uid=1; u.d+=2")]) == b"2"


@given(line=st.text("=; \tuidx1", max_size=40).map(str.encode))
def test_cookies_are_read_as_by_splitting(line: bytes) -> None:
    # Blank here is what RFC 6265 strips: space and tab
    values = [
        value.strip(b" \t")
        for name, equals, value in (pair.partition(b"=") for pair in line.split(b";"))
        if equals and name.lstrip(b" \t") == b"uid"
    ]
    assert read(["cookie:uid"], [(b"cookie", line)]) == next(filter(None, values), None)


# ... the client's address

TRUSTED = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8::/32")]


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "expected"),
    [
        ("10.0.0.1", [b"198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", [b"1.1.1.1, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", [b"1.1.1.1", b"198.51.100.1", b"10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", [b"1.1.1.1,198.51.100.1 ,\t10.0.0.2"], "198.51.100.1"),
        ("198.51.100.9", [b"1.1.1.1"], "198.51.100.9"),  # the peer is not trusted: whatever it says
        ("10.0.0.1", [b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),  # all trusted: the farthest
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [b""], "10.0.0.1"),
        ("10.0.0.1", [b"1.1.1.1, , 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [b"1.1.1.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", [b"1.1.1.1, _hidden, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [b"fe80::1%<script>"], "10.0.0.1"),
        ("10.0.0.1", [b"\xff"], "10.0.0.1"),
        ("10.0.0.1", [b"198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", [b"[2001:db9::7]:4711"], "2001:db9::7"),
        ("10.0.0.1", [b"[2001:db9::7]"], "2001:db9::7"),
        ("10.0.0.1", [b"2001:DB9:0::7"], "2001:db9::7"),
        ("2001:db8::1", [b"198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.0.0.1", [b"::ffff:198.51.100.1"], "198.51.100.1"),
        ("::ffff:198.51.100.9", [], "198.51.100.9"),
        ("", [b"198.51.100.1"], ""),  # a UNIX socket's peer
    ],
)
def test_forwarded_for_is_counted_from_the_right(
    peer: str, forwarded_for: list[bytes], expected: str
) -> None:
    assert client_address(peer, forwarded_for, TRUSTED) == expected


def test_with_nobody_trusted_the_peer_is_the_client() -> None:
    assert client_address("10.0.0.1", [b"198.51.100.1"], []) == "10.0.0.1"


def test_the_walk_ends_after_32_hops() -> None:
    hops = [b"10.0.1.%d" % hop for hop in range(100)]
    assert client_address("10.0.0.1", [b", ".join([b"198.51.100.1", *hops])], TRUSTED) == "10.0.1.68"
    assert client_address("10.0.0.1", [b", ".join([b"198.51.100.1", *hops[:31]])], TRUSTED) == "198.51.100.1"


@given(claims=st.lists(st.ip_addresses().map(lambda address: str(address).encode()), max_size=5))
def test_nothing_that_a_client_claims_changes_its_address(claims: list[bytes]) -> None:
    forwarded_for = [b", ".join([*claims, b"198.51.100.1", b"10.0.0.2"])]
    assert client_address("10.0.0.1", forwarded_for, TRUSTED) == "198.51.100.1"


@given(line=st.binary(max_size=60))
def test_any_line_gives_an_address(line: bytes) -> None:
    address = client_address("10.0.0.1", [line], TRUSTED)
    assert re.fullmatch(r"[0-9a-f.:]+", address)
    ipaddress.ip_address(address)
