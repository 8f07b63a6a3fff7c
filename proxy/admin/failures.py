"""Who failed to say who they are, and how often; and who did not.

Owns the limits on failed attempts, by peer, in bounded memory. It knows digests of tokens, never a token, and
decides nothing about an answer.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

_MAX_PEERS = 1024
_ONE = 1 - 1e-9  # of what has filled up in small steps


class Welcome:
    """Which tokens were good from which peers; as many as there may be peers, the latest."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], None] = {}

    def __repr__(self) -> str:
        return f"<Welcome {len(self._known)}>"

    def knows(self, peer: str, digest: str) -> bool:
        """Whether it was."""
        return (peer, digest) in self._known

    def remember(self, peer: str, digest: str) -> None:
        """It was, just now."""
        self._known.pop((peer, digest), None)
        if len(self._known) >= _MAX_PEERS:
            del self._known[next(iter(self._known))]
        self._known[peer, digest] = None


@dataclass(slots=True)
class _Bucket:
    """What a peer may still do at `at`: fail, and try another token. `tried` are the latest, in order."""

    at: float
    failures: float
    guesses: float
    tried: dict[str, None] = field(default_factory=dict)


class FailureLog:
    """Failed attempts per peer: a bucket of `limit`, from which each takes one, and which fills within
    `window_s`. The number of peers that are remembered is bounded."""

    def __init__(self, limit: int, window_s: float, max_peers: int = _MAX_PEERS) -> None:
        self._limit = limit
        self._per_second = limit / window_s
        self._max_peers = max_peers
        self._peers: dict[str, _Bucket] = {}

    def __repr__(self) -> str:
        return f"<FailureLog {len(self._peers)} peers>"

    def guessing(self, peer: str, now: float) -> bool:
        """Whether the peer has tried as many different tokens as it may."""
        bucket = self._filled(peer, now)
        return bucket is not None and bucket.guesses < _ONE

    def note(self, peer: str, digest: str | None, now: float) -> bool:
        """Count a failure; True if the peer has failed more often than it may."""
        bucket = self._filled(peer, now)
        if bucket is None:
            if len(self._peers) >= self._max_peers:
                del self._peers[next(iter(self._peers))]  # the first that came
            bucket = self._peers[peer] = _Bucket(now, self._limit, self._limit)
        if digest is not None:
            self._try(bucket, digest)
        exceeded = bucket.failures < _ONE
        bucket.failures = max(0.0, bucket.failures - 1)
        return exceeded

    def wait_s(self, peer: str, now: float) -> float:
        """Seconds until the peer may fail once more, 0 if it may now."""
        bucket = self._filled(peer, now)
        left = 1.0 if bucket is None else min(bucket.failures, bucket.guesses)
        return max(0.0, 1 - left) / self._per_second

    def _try(self, bucket: _Bucket, digest: str) -> None:
        if digest in bucket.tried:
            del bucket.tried[digest]
        else:
            bucket.guesses -= 1
            if len(bucket.tried) >= self._limit:
                del bucket.tried[next(iter(bucket.tried))]
        bucket.tried[digest] = None

    def _filled(self, peer: str, now: float) -> _Bucket | None:
        """The peer's bucket as it is now; None for one that is full."""
        bucket = self._peers.get(peer)
        if bucket is None:
            return None
        more = (now - bucket.at) * self._per_second
        bucket.at = now
        bucket.failures = min(self._limit, bucket.failures + more)
        bucket.guesses = min(self._limit, bucket.guesses + more)
        if min(bucket.failures, bucket.guesses) >= self._limit:
            del self._peers[peer]
            return None
        return bucket


def literal(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address from its text, None for what is a name."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
