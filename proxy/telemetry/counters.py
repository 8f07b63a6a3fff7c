"""Counts of what telemetry itself has sent, dropped or failed to send, by a name of two parts.

Owns the counts of one process, over every configuration. A name is a signal and an outcome with a point
between them, as in "traces.dropped". Threads that send may count at any time. Must never know what is sent.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_NAMES: Final = 64
"""So many names are kept; what other processes count under further ones is left out."""


class Counters:
    """How often, by name."""

    __slots__ = ("_counts", "_drained", "_lock")

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: dict[str, int] = {}
        self._drained: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Counters {self._counts}>"

    def count(self, name: str, n: int = 1) -> None:
        """So many more. May be called in any thread."""
        with self._lock:
            if name in self._counts or len(self._counts) < MOST_NAMES:
                self._counts[name] = self._counts.get(name, 0) + n

    def add(self, counts: Mapping[str, int]) -> None:
        """Those of another process."""
        for name, n in counts.items():
            self.count(name, n)

    @property
    def counts(self) -> dict[str, int]:
        """All so far."""
        with self._lock:
            return dict(self._counts)

    def drain(self) -> dict[str, int]:
        """Those since the last call, without the names that did not occur."""
        counts = self.counts
        before, self._drained = self._drained, counts
        return {name: n - before.get(name, 0) for name, n in counts.items() if n != before.get(name, 0)}
