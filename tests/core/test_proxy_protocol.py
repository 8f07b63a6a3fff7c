"""PROXY headers: what is one, who it names, and that nothing else passes for one."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.proxy_protocol import LONGEST_V1, HeaderError, read_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def v2(command: int = 0x21, family: int = 0x11, addresses: bytes = b"", length: int | None = None) -> bytes:
    size = len(addresses) if length is None else length
    return SIGNATURE + bytes([command, family]) + size.to_bytes(2, "big") + addresses


IPV4 = bytes([192, 0, 2, 7, 10, 0, 0, 1]) + (50_000).to_bytes(2, "big") + (443).to_bytes(2, "big")
IPV6 = ipaddress.ip_address("2001:db8::7").packed + ipaddress.ip_address("::1").packed + bytes(4)


@pytest.mark.parametrize(
    ("line", "client"),
    [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 50000 80\r\n", "192.0.2.7"),
        (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n", "255.255.255.255"),
        (b"PROXY TCP6 2001:db8::7 ::1 50000 443\r\n", "2001:db8::7"),
        (b"PROXY TCP6 2001:DB8:0:0:0:0:0:7 ::1 50000 443\r\n", "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 50000 443\r\n", "192.0.2.7"),
        (b"PROXY UNKNOWN\r\n", ""),
        (b"PROXY UNKNOWN ffff:f...f:ffff whatever this is 65535\r\n", ""),
    ],
)
def test_version_1_names_the_client(line: bytes, client: str) -> None:
    assert read_header(line + b"GET / HTTP/1.1\r\n") == (client, len(line))


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXY\r\n",
        b"proxy TCP4 192.0.2.7 10.0.0.1 50000 80\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 50000\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 50000 80 \r\n",
        b"PROXY  TCP4 192.0.2.7 10.0.0.1 50000 80\r\n",
        b"PROXY UDP4 192.0.2.7 10.0.0.1 50000 80\r\n",
        b"PROXY TCP4 2001:db8::7 ::1 50000 80\r\n",
        b"PROXY TCP6 192.0.2.7 10.0.0.1 50000 80\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 50000 80\r\n",
        b"PROXY TCP4 192.0.2.256 10.0.0.1 50000 80\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0 50000 80\r\n",
        b"PROXY TCP4 192.0.2.\xff 10.0.0.1 50000 80\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 80\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 50000 080\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 -1 80\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 50000 000080\r\n",
        b"PROXY UNKNOWN " + b"x" * LONGEST_V1 + b"\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 50000 80\n" + b"x" * LONGEST_V1,
    ],
)
def test_another_line_is_refused(line: bytes) -> None:
    with pytest.raises(HeaderError):
        read_header(line)


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (v2(addresses=IPV4), "192.0.2.7"),
        (v2(family=0x12, addresses=IPV4), "192.0.2.7"),
        (v2(family=0x21, addresses=IPV6), "2001:db8::7"),
        (v2(addresses=IPV4 + b"\x04\x00\x01x"), "192.0.2.7"),  # a TLV behind the addresses
        (v2(command=0x20, addresses=IPV4), ""),  # LOCAL
        (v2(command=0x20, family=0x00), ""),
        (v2(family=0x00), ""),  # UNSPEC
        (v2(family=0x00, addresses=b"\x04\x00\x01x"), ""),
        (v2(family=0x31, addresses=bytes(216)), ""),  # UNIX
        (v2(command=0x20, family=0x41, addresses=bytes(7)), ""),
    ],
)
def test_version_2_names_the_client(header: bytes, client: str) -> None:
    assert read_header(header + b"GET / HTTP/1.1\r\n") == (client, len(header))


@pytest.mark.parametrize(
    "header",
    [
        v2(command=0x11, addresses=IPV4),
        v2(command=0x31, addresses=IPV4),
        v2(command=0x22, addresses=IPV4),
        v2(addresses=IPV4[:-1]),
        v2(family=0x21, addresses=IPV4),
        v2(family=0x31, addresses=bytes(215)),
        *(v2(family=family, addresses=bytes(216)) for family in (0x01, 0x10, 0x13, 0x1F, 0x41, 0xF1)),
        b"\r\n\r\nGET / HTTP/1.1\r\n",
    ],
)
def test_another_header_is_refused(header: bytes) -> None:
    with pytest.raises(HeaderError):
        read_header(header)


def test_what_is_skipped_need_not_be_there() -> None:
    assert read_header(v2(addresses=IPV4, length=65_535)) == ("192.0.2.7", 16 + 65_535)


def test_addresses_that_have_not_come_are_waited_for() -> None:
    assert read_header(v2(addresses=IPV4)[:19]) is None
    assert read_header(v2(addresses=IPV4)[:20]) == ("192.0.2.7", 28)
    assert read_header(b"") is read_header(b"PROX") is read_header(SIGNATURE[:5]) is None


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
PORTS = st.integers(0, 65_535)


@given(source=ADDRESSES, port=PORTS, cut=st.integers(0, 200))
def test_a_header_that_is_cut_anywhere_waits_for_more(source: object, port: int, cut: int) -> None:
    address = ipaddress.ip_address(str(source))
    word, family = ("TCP4", 0x11) if address.version == 4 else ("TCP6", 0x21)
    mapped = getattr(address, "ipv4_mapped", None)
    line = f"PROXY {word} {address} {address} {port} 80\r\n".encode()
    header = v2(family=family, addresses=address.packed * 2 + port.to_bytes(2, "big") + b"\x00\x50")
    for whole in (line, header):
        assert read_header(whole) == (str(mapped or address), len(whole))
        part = read_header(whole[: min(cut, len(whole) - 1)])
        assert part is None or (whole is header and part == read_header(whole))


@given(st.binary(max_size=300))
def test_bytes_of_any_kind_are_waited_for_read_or_refused(data: bytes) -> None:
    try:
        header = read_header(data)
    except HeaderError:
        return
    assert header is None or header.size >= 7
    if header is None:
        assert len(data) < LONGEST_V1
