"""The PROXY protocol, versions 1 and 2: who really has connected, as a balancer in front of us tells.

https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt

Owns the form of a header. It never guesses: where one is expected, what is none is an error. Who may send it
is the caller's affair.
"""

from __future__ import annotations

import ipaddress
from typing import Final, NamedTuple

from proxy.core.addresses import canonical

LONGEST_V1: Final = 107
"""Bytes of a version 1 line with its CRLF (section 2.1)."""

_V1: Final = b"PROXY "
_V2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED: Final = 16
_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_ADDRESSES: Final = {0x1: 12, 0x2: 36, 0x3: 216}
"""Bytes of the addresses by family: IPv4, IPv6, UNIX; TLVs may follow (section 2.2)."""
_FAMILIES: Final = frozenset({0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32})
"""Families with their kinds of transport; all others must be refused (section 2.2)."""


class HeaderError(Exception):
    """What has arrived cannot be the beginning of a PROXY header."""


class Header(NamedTuple):
    """`client` is the client's address, "" where it is that of the connection itself; `size` the bytes that
    belong to the header. They need not all be there yet: what is skipped does not have to be kept."""

    client: str
    size: int


def read_header(data: bytes) -> Header | None:
    """The header that `data` begins with, or None while more is needed. Raises `HeaderError`."""
    if data[:1] == _V2[:1]:
        return _read_v2(data)
    return _read_v1(data)


def _read_v1(data: bytes) -> Header | None:
    if data[: len(_V1)] != _V1[: len(data)]:
        raise HeaderError("no PROXY header")
    line, end, _ = data[:LONGEST_V1].partition(b"\r\n")
    if not end:
        if len(data) >= LONGEST_V1:
            raise HeaderError("a PROXY line without an end")
        return None
    size = len(line) + 2
    parts = line.split(b" ")
    if parts[1] == b"UNKNOWN":  # the rest is to be ignored
        return Header("", size)
    if len(parts) != 6 or parts[1] not in (b"TCP4", b"TCP6"):
        raise HeaderError("a PROXY line of another form")
    version = 4 if parts[1] == b"TCP4" else 6
    client = _address(parts[2], version)
    _address(parts[3], version)
    for port in parts[4:]:
        if not port.isdigit() or len(port) > 5 or int(port) > 65535 or (port[:1] == b"0" and port != b"0"):
            raise HeaderError("a PROXY line with a port that is none")
    return Header(client, size)


def _address(text: bytes, version: int) -> str:
    try:
        address = ipaddress.ip_address(text.decode("ascii"))
    except ValueError:
        raise HeaderError("a PROXY line with an address that is none") from None
    if address.version != version or b"%" in text:
        raise HeaderError("a PROXY line with an address of another family")
    return canonical(str(address))


def _read_v2(data: bytes) -> Header | None:
    if data[: len(_V2)] != _V2[: len(data)]:
        raise HeaderError("no PROXY header")
    if len(data) < _V2_FIXED:
        return None
    command, family = data[12], data[13]
    length = int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY):
        raise HeaderError("a PROXY header of another version or command")
    size = _V2_FIXED + length
    if command == _LOCAL:  # a health check of the balancer
        return Header("", size)
    if family not in _FAMILIES:
        raise HeaderError("a PROXY header with a family that there is not")
    needed = _ADDRESSES.get(family >> 4, 0)
    if not needed:  # one that the balancer cannot tell
        return Header("", size)
    if length < needed:
        raise HeaderError("a PROXY header too short for its addresses")
    if family >> 4 == 0x3:
        return Header("", size)
    half = 4 if family >> 4 == 0x1 else 16
    if len(data) < _V2_FIXED + half:
        return None
    return Header(canonical(str(ipaddress.ip_address(data[_V2_FIXED : _V2_FIXED + half]))), size)
