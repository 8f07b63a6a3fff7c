"""Which protocols a connection may switch to, and how long it then goes on: one rollout's tunnels, compiled.

Owns the reading of `[rollouts.tunnels]`. Must never know a connection, nor what is spoken in a tunnel.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxy.config.schema import Tunnels

_ANY: Final = "*"
_PROTOCOL: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:/[!#$%&'*+\-.^_`|~0-9A-Za-z]+)?")
_FOR_ONE_CONNECTION: Final = (b"h2", b"http", b"tls")


def may_be_tunnelled(protocol: bytes) -> bool:
    """Whether it is the name of one protocol (RFC 9110 section 7.8), and none that is for one connection
    only, which is never switched to on somebody's behalf."""
    return bool(_PROTOCOL.fullmatch(protocol)) and not protocol.lower().startswith(_FOR_ONE_CONNECTION)


@dataclass(frozen=True, slots=True)
class TunnelPolicy:
    """`drain_s` is how long v2's tunnels outlive the weight that sent them there; for ever if kept."""

    protocols: frozenset[bytes]
    any_protocol: bool
    idle_timeout_s: float
    drain_s: float

    @classmethod
    def of(cls, table: Tunnels) -> TunnelPolicy:
        """The policy of a `[rollouts.tunnels]` table."""
        return cls(
            frozenset(protocol.encode() for protocol in table.protocols),
            _ANY in table.protocols,
            table.idle_timeout_s,
            table.drain_timeout_s if table.on_rollback == "cut" else math.inf,
        )

    def allows(self, protocol: bytes) -> bool:
        """Whether clients may switch to it; in lower case, with its version if it was named with one."""
        return self.any_protocol or protocol in self.protocols

    def offered(self, protocols: bytes) -> bytes:
        """What remains of an Upgrade that a backend asks for: the protocols that clients may switch to."""
        members = [member.strip(b" \t") for member in protocols.split(b",")]
        return b", ".join(
            [member for member in members if may_be_tunnelled(member) and self.allows(member.lower())]
        )
