"""Header fields that an intermediary treats in its own way, and lists of them as bytes.

Owns the rules of RFC 9110 section 7.6.1 on Connection. It knows neither requests nor responses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Set

_NEVER_OPTIONS: Final = frozenset(
    (
        b"host content-length transfer-encoding authorization cookie forwarded via x-forwarded-for "
        b"x-forwarded-proto x-forwarded-host x-request-id traceparent idempotency-key date cache-control "
        b"content-type content-encoding set-cookie location www-authenticate proxy-authorization "
        b"max-forwards tracestate"
    ).split()
)
"""Fields that a Connection header must not make us drop, whoever names them there."""


def connection_options(value: bytes) -> set[bytes]:
    """The options, in lower case, that a Connection value lists: `close` and others that mean something, and
    names of fields that are to be dropped with it."""
    return {option.strip(b" \t").lower() for option in value.split(b",")} - _NEVER_OPTIONS - {b""}


def without_options(lines: list[bytes], options: Set[bytes]) -> list[bytes]:
    """The lines (name, ": ", value) whose name in lower case is none of `options`."""
    return [line for line in lines if line.partition(b":")[0].lower() not in options]
