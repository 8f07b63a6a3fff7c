"""What the proxy has turned away by itself, by reason: because of the client, or because of a limit.

Owns the reasons, a small fixed set, and which status stands for which. None of it counts for or against a
path: no path is to blame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MALFORMED: Final = "malformed"
TOO_LARGE: Final = "too_large"
TIMEOUT: Final = "timeout"
OVERLOADED: Final = "overloaded"
CONNECTION_LIMIT: Final = "connection_limit"
TLS: Final = "tls"
PROXY_PROTOCOL: Final = "proxy_protocol"

REASONS: Final = (MALFORMED, TOO_LARGE, TIMEOUT, OVERLOADED, CONNECTION_LIMIT, TLS, PROXY_PROTOCOL)
"""A request that breaks a rule; head, target or body over a limit; a request that took too long to come; no
capacity for it; a connection too many; a handshake that failed; a connection without a sound PROXY header."""

_BY_STATUS: Final = {
    408: TIMEOUT,
    413: TOO_LARGE,
    414: TOO_LARGE,
    431: TOO_LARGE,
    503: OVERLOADED,
}


def reason_of(status: int) -> str:
    """Why a request was answered so; what has no reason of its own broke a rule of HTTP."""
    return _BY_STATUS.get(status, MALFORMED)


class Refusals:
    """Counts by reason, over every configuration of one process."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts = dict.fromkeys(REASONS, 0)

    def __repr__(self) -> str:
        return f"<Refusals {self._counts}>"

    def count(self, reason: str) -> None:
        """One more."""
        self._counts[reason] += 1

    def add(self, counts: Mapping[str, int]) -> None:
        """Those of another process; reasons that this one does not know are left out."""
        for reason, count in counts.items():
            if reason in self._counts:
                self._counts[reason] += count

    @property
    def counts(self) -> dict[str, int]:
        """All so far, or since they were last taken out."""
        return dict(self._counts)

    def drain(self) -> dict[str, int]:
        """Those since the last call, without the reasons that did not occur."""
        drained = {reason: count for reason, count in self._counts.items() if count}
        self._counts = dict.fromkeys(REASONS, 0)
        return drained
