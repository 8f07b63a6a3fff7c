"""How long a message body is, and whether its head may be believed: RFC 9112 section 6, RFC 9110 sections 5
and 7.

Owns the checks that make framing unambiguous in both directions. It knows nothing of routing or forwarding;
the grammar of lines was checked before, this module checks what that cannot.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from proxy.errors import BadRequest

CHUNKED: Final = -1
"""Body length of a message in chunked transfer coding."""
UNTIL_CLOSE: Final = -2
"""Body length of a response that ends with its connection (RFC 9112 section 6.3, rule 8)."""
CONTRADICTORY: Final = -3
"""A response head that cannot be believed; its connection cannot be trusted any further."""

_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#]*)((?:[/?][!\"$-~]*)?)")
_HOST = re.compile(
    rb"(?:\[([0-9A-Fa-f:.]+)\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::([0-9]{0,5}))?"
)


def request_length(content_length: list[bytes], transfer_encoding: list[bytes], minor_version: int) -> int:
    """Body length in bytes, `CHUNKED`, or 0 when neither field is there (RFC 9112 section 6.3).

    Raises `BadRequest` for both fields at once, repeated or malformed lengths, a final coding that is not
    chunked, and any transfer coding in HTTP/1.0.
    """
    if transfer_encoding:
        if content_length:
            raise BadRequest(400, "both Content-Length and Transfer-Encoding")
        if minor_version == 0:
            raise BadRequest(400, "Transfer-Encoding in HTTP/1.0")
        if not _is_chunked(transfer_encoding):
            raise BadRequest(400, "unsupported Transfer-Encoding")
        return CHUNKED
    if not _is_length(content_length):
        raise BadRequest(400, "invalid Content-Length")
    return int(content_length[0])


def response_length(
    status: int, content_length: list[bytes], transfer_encoding: list[bytes], minor_version: int
) -> int:
    """Body length of a response to a request other than HEAD: bytes, `CHUNKED`, `UNTIL_CLOSE` or
    `CONTRADICTORY`."""
    if status == 204 or status == 304 or status < 200:
        # No body whatever is said; but no length that is one, and two framings, are reasons for disbelief.
        sound = not content_length or (not transfer_encoding and _is_length(content_length))
        return 0 if sound else CONTRADICTORY
    if transfer_encoding:
        sound = not content_length and minor_version == 1 and _is_chunked(transfer_encoding)
        return CHUNKED if sound else CONTRADICTORY
    if not content_length:
        return UNTIL_CLOSE
    return int(content_length[0]) if _is_length(content_length) else CONTRADICTORY


def check_host(value: bytes) -> None:
    """Raises `BadRequest` unless `value` is one valid Host (RFC 9112 section 3.2, RFC 3986 section 3.2.2)."""
    match = _HOST.fullmatch(value)
    if match is None or int(match[2] or b"0") > 65535 or not _is_literal(match[1]):
        raise BadRequest(400, "invalid Host")


def _is_literal(address: bytes | None) -> bool:
    """Whether what stands in brackets, if there is anything, is an IPv6 address."""
    if address is not None:
        try:
            ipaddress.IPv6Address(address.decode())
        except ValueError:
            return False
    return True


def is_origin_form(target: bytes) -> bool:
    """Whether a target is a path with an optional query, in printable ASCII and without a fragment."""
    text = target.decode("latin-1")
    return (
        text.startswith("/") and text.isascii() and text.isprintable() and " " not in text and "#" not in text
    )


def resolve_target(method: bytes, target: bytes) -> tuple[bytes, bytes | None]:
    """For a target in another form: its origin form (or ``*``), and the authority that the absolute form
    names.

    RFC 9112 section 3.2: the bytes of path and query are never requoted or folded. Raises `BadRequest` for a
    fragment, for bytes outside printable ASCII, and for a form that does not go with the method.
    """
    if target == b"*":
        if method != b"OPTIONS":
            raise BadRequest(400, "the asterisk form is for OPTIONS alone")
        return target, None
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise BadRequest(400, "invalid request target")
    authority, rest = match.groups()
    check_host(authority)
    if not rest and method == b"OPTIONS":
        return b"*", authority
    return (rest if rest.startswith(b"/") else b"/" + rest), authority


def _is_chunked(values: list[bytes]) -> bool:
    return len(values) == 1 and values[0].lower() == b"chunked"


def _is_length(values: list[bytes]) -> bool:
    return len(values) == 1 and is_number(values[0])


def is_number(value: bytes) -> bool:
    """Whether it is a length: ASCII digits, and no more of them than stay within 64 bits everywhere."""
    return value.isdigit() and len(value) <= 18
