"""Addresses of clients and proxies as text, and the networks they belong to.

Owns what counts as an address. Must never know what an address is then used for.
"""

from __future__ import annotations

import functools
import ipaddress
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.config.fields import IPNetwork

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_LONGEST = 64  # characters: an IPv6 address with a zone; longer text would only fill the cache


def parse_address(text: str) -> IPAddress | None:
    """An address from its text, or None. IPv4 in IPv6 clothes (``::ffff:192.0.2.1``) becomes IPv4."""
    return _parse(text) if len(text) <= _LONGEST else None


@functools.lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """The one way to write an address, so that one client is one key; other text stays as it is."""
    address = parse_address(text)
    return text if address is None else str(address)


def neighbourhood(text: str) -> str:
    """Where a peer is, as far as limits go: its address, or the /64 around it, within which one machine can
    have any address of IPv6 that it likes. Text that is no address stays as it is."""
    address = parse_address(text.partition("%")[0])
    if address is None:
        return text
    if address.version == 4:
        return str(address)
    return str(ipaddress.IPv6Network((address, 64), strict=False))


def is_within(address: IPAddress, networks: Sequence[IPNetwork]) -> bool:
    """Whether one of the networks holds the address; networks of the other IP version hold none."""
    return any(address in network for network in networks)


# The same few proxies stand in every request, and parsing an address costs more than routing it.
@functools.lru_cache(maxsize=4096)
def _parse(text: str) -> IPAddress | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
