"""What identifies a client: the key that the split hashes.

Owns reading a key from header fields, cookies and the client's address, and who is believed about that
address. Must never know what a key is used for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from proxy.core.addresses import canonical, is_within, parse_address
from proxy.core.forwarded import forwarded_nodes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.config.fields import IPNetwork
    from proxy.core.field_line import FieldLine

_MAX_HOPS = 32  # of X-Forwarded-For that are looked at: a list of 10,000 trusted addresses is an attack

_IPV4_PORT = re.compile(r"(\d+\.\d+\.\d+\.\d+):\d+")
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?")

_Source: TypeAlias = "tuple[bytes, re.Pattern[bytes] | None]"
"""The field that is read (empty: the client's address), and how its value is taken out (None: all of it)."""


class KeyReader:
    """Reads keys from requests by a list of sources: "header:NAME", "cookie:NAME", "client_ip".

    `needs_client_ip` says whether `read` will ever look at its second argument.
    """

    __slots__ = ("_sources", "needs_client_ip")

    def __init__(self, sources: Sequence[str]) -> None:
        self._sources: tuple[_Source, ...] = tuple(map(_compile, sources))
        self.needs_client_ip = "client_ip" in sources

    def read(self, fields: list[FieldLine], client_ip: str) -> bytes | None:
        """The key by the first source that yields one, or None.

        `fields` are in order. Of several equal fields or cookies the first that is
        not empty counts.
        """
        for name, pattern in self._sources:
            if pattern is not None:
                key = _cookie(fields, pattern)
                if key:
                    return key
            elif name:
                for field in fields:
                    if field.name == name and field.value:
                        return field.value
            elif client_ip:
                return client_ip.encode()
        return None

    def __repr__(self) -> str:
        return f"<KeyReader {len(self._sources)} sources>"


def _compile(source: str) -> _Source:
    kind, _, name = source.partition(":")
    if kind == "header":
        return name.lower().encode(), None
    if kind == "cookie":
        return b"cookie", re.compile(re.escape(name.encode()) + rb"=[ \t]*([^; \t][^;]*)")
    return b"", None


def _cookie(fields: list[FieldLine], pattern: re.Pattern[bytes]) -> bytes | None:
    """The first cookie that is not empty. RFC 6265 section 5.4: "name=value" pairs between semicolons.

    Names are case-sensitive; quotes belong to the value. The pattern begins with the name, which the search
    finds at the speed of memchr, and takes in the rest of the pair: each pair is looked at once, however long
    the field is.
    """
    for field in fields:
        if field.name == b"cookie":
            value = field.value
            for found in pattern.finditer(value):
                name_at = found.start()
                if not value[value.rfind(b";", 0, name_at) + 1 : name_at].strip():
                    return found[1].rstrip()
    return None


# ... the client's address


def client_address(
    peer: str,
    forwarded_for: Sequence[bytes],
    trusted: Sequence[IPNetwork],
    forwarded: Sequence[bytes] = (),
) -> str:
    """The address of the client behind the proxies that we trust, in canonical form.

    `forwarded_for` are the X-Forwarded-For lines in order; where there are none, `forwarded`, those of
    Forwarded (RFC 7239), tell instead: a proxy that writes the one passes on what clients claim in the other.
    They are counted from the right, where our own proxies write, for as long as the hop that wrote an entry
    is trusted; what a client claims further left is never reached. An entry that is no address (`unknown`, an
    obfuscated name), or has a zone, stops the walk at the hop before it. Ports are ignored. A `peer` that is
    no IP address (a UNIX socket's) comes back as it is.
    """
    if not trusted or not (forwarded_for or forwarded):
        return canonical(peer)
    address = parse_address(peer)
    if address is None:
        return peer
    if is_within(address, trusted):
        hops = _hops(forwarded_for) if forwarded_for else forwarded_nodes(forwarded, _MAX_HOPS)
        for hop in hops:
            behind = None if b"%" in hop else parse_address(_without_port(hop))
            if behind is None:
                break
            address = behind
            if not is_within(address, trusted):
                break
    return str(address)


def _hops(forwarded_for: Sequence[bytes]) -> list[bytes]:
    """The last entries, the last one first."""
    hops = b",".join(forwarded_for).rsplit(b",", _MAX_HOPS)[-_MAX_HOPS:]
    hops.reverse()
    return hops


def _without_port(hop: bytes) -> str:
    text = hop.strip().decode("latin-1")
    match = _IPV4_PORT.fullmatch(text) or _BRACKETED.fullmatch(text)
    return text if match is None else match[1]
