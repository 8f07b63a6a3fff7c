"""What an upstream is told of the client: X-Forwarded-*, Forwarded (RFC 7239), and fresh identifiers.

Owns the form of these fields. Whether a peer's own are believed is the caller's decision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.core.forwarded import is_sound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.core.field_line import FieldLine
    from proxy.ports import Random

_BATCH: Final = 256
_DIGITS: Final = 32
_REWRITTEN: Final = frozenset((b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded"))


class Identifiers:
    """Random hexadecimal digits for request ids and trace contexts, made in batches: one call into the
    generator a request would cost more than everything else that is done with them."""

    __slots__ = ("_at", "_digits", "_random")

    def __init__(self, random: Random) -> None:
        self._random = random
        self._digits = b""
        self._at = 0

    def next(self) -> bytes:
        """32 hex digits that were not given out before."""
        at = self._at
        if at == len(self._digits):
            size = _BATCH * _DIGITS
            self._digits = self._random.getrandbits(size * 4).to_bytes(size // 2, "big").hex().encode()
            at = 0
        self._at = at + _DIGITS
        return self._digits[at : at + _DIGITS]

    def __repr__(self) -> str:
        return f"<Identifiers {(len(self._digits) - self._at) // _DIGITS} ready>"


def forwarded_lines(peer: str, scheme: bytes, host: bytes, believed: Sequence[FieldLine] = ()) -> bytes:
    """X-Forwarded-For/-Proto/-Host and Forwarded (RFC 7239 section 4) as lines.

    `believed` are the fields of a trusted peer: our element is appended to its lists, and
    its -Proto, -Host and others are kept. A Forwarded that is malformed is not: with a quote left open in it,
    our element would be part of a text. An untrusted peer's fields are not passed in, so they are
    overwritten.
    """
    address = peer.encode("latin-1", "replace") or b"unknown"
    node = b'"[%b]"' % address if b":" in address else address
    element = (
        b'for=%b;proto=%b;host="%b"' % (node, scheme, host) if host else b"for=%b;proto=%b" % (node, scheme)
    )
    given: dict[bytes, list[bytes]] = {}
    for field in believed:
        given.setdefault(field.name, []).append(field.value)
    lines = [
        b"X-Forwarded-For: %b\r\n" % b", ".join([*given.get(b"x-forwarded-for", ()), address]),
        b"X-Forwarded-Proto: %b\r\n" % given.get(b"x-forwarded-proto", [scheme])[-1],
    ]
    original = given.get(b"x-forwarded-host", [host])[-1]
    if original:
        lines.append(b"X-Forwarded-Host: %b\r\n" % original)
    before = given.get(b"forwarded", [])
    if not all(map(is_sound, before)):
        before = []
    lines.append(b"Forwarded: %b\r\n" % b", ".join([*before, element]))
    lines += [b"%b: %b\r\n" % (field.name, field.value) for field in believed if field.name not in _REWRITTEN]
    return b"".join(lines)
