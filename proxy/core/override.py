"""The override header: a request that names its own path, and who is believed.

Owns the signed value's format ``PATH.EXPIRY.SIGNATURE`` and its check. Must never know in which header the
value stands or where the secret is kept.

The signature is HMAC-SHA-256 (RFC 2104) in lower-case hex over ``ROLLOUT:PATH:EXPIRY``. A rollout's name
holds no colon, therefore no two messages read alike; a value for one rollout says nothing for another.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING

from proxy.core.addresses import is_within, parse_address
from proxy.model import Path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.config.fields import IPNetwork

_SIGNED = re.compile(rb"(v1|v2)\.([0-9]{1,12})\.([0-9a-f]{64})")
_PATHS = {b"v1": Path.V1, b"v2": Path.V2}


def sign(secret: str, rollout: str, path: Path, expires: int) -> str:
    """A header value that sends its bearer to `path` of `rollout` until `expires`, in seconds since 1970."""
    return f"{path}.{expires}.{_signature(secret, f'{rollout}:{path}:{expires}'.encode()).hex()}"


def verify(secret: str, rollout: str, value: bytes, now_wall: float) -> Path | None:
    """The path that a signed value names, or None: malformed, forged, for another rollout, expired."""
    match = _SIGNED.fullmatch(value)
    if match is None:
        return None
    path, expires, signature = match.groups()
    expected = _signature(secret, b"%b:%b:%b" % (rollout.encode(), path, expires))
    if not hmac.compare_digest(bytes.fromhex(signature.decode()), expected) or now_wall >= int(expires):
        return None
    return _PATHS[path]


def plain(value: bytes) -> Path | None:
    """The path that an unsigned value names, for clients in listed networks."""
    return _PATHS.get(value)


def in_networks(address: str, networks: Sequence[IPNetwork]) -> bool:
    """Whether the client's address belongs to one of the networks; text that is no address never does."""
    parsed = parse_address(address)
    return parsed is not None and is_within(parsed, networks)


def _signature(secret: str, message: bytes) -> bytes:
    return hmac.digest(secret.encode(), message, "sha256")
