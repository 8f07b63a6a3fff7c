"""Sliding windows over tallies: a running sum that old entries leave again.

Owns what is inside a window and when it leaves. Must never know a limit or where tallies come from.

A sum costs one merge for each entry that is new since it was last asked for, and one subtraction for each
that has left, whatever the window's length; nobody asks, nothing is summed. Memory is bounded: pushes that
come closer together than 1/120 of the length share an entry, so that a window of a day holds 120 tallies, not
86,400, and forgets at most 1/120 of its length too early.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from proxy.core.tally import Tally

_ENTRIES: Final = 120


class _Entry:
    __slots__ = ("at", "owned", "tally")

    def __init__(self, at: float, tally: Tally) -> None:
        self.at = at  # when its first tally was drained
        self.tally = tally
        self.owned = False  # whether it may be merged into: a pushed tally is shared with other windows


class Window:
    """The tallies of the last `length_s` seconds, without their `latencies` if nobody reads those. `now` is
    monotonic seconds and never goes back."""

    __slots__ = ("_entries", "_latencies", "_sum", "_unsummed", "length_s")

    def __init__(self, length_s: float, *, latencies: bool = True) -> None:
        self.length_s = length_s
        self._latencies = latencies
        self._entries: deque[_Entry] = deque()
        self._sum = Tally()
        self._unsummed: list[_Entry] = []  # the newest entries, which are not in the sum yet

    def push(self, now: float, tally: Tally) -> None:
        """Take in what was drained at `now`. `tally` must not change afterwards; windows share it."""
        self._expire(now)
        last = self._entries[-1] if self._entries else None
        if last is None or now - last.at >= self.length_s / _ENTRIES:
            entry = _Entry(now, tally)
            self._entries.append(entry)
            self._unsummed.append(entry)
            return
        if not self._unsummed:
            self._sum.add(tally, latencies=self._latencies)
        if not last.owned:
            shared, last.tally, last.owned = last.tally, Tally(), True
            last.tally.add(shared, latencies=self._latencies)
        last.tally.add(tally, latencies=self._latencies)

    def tally(self, now: float) -> Tally:
        """The sum over the window that ends at `now`. It belongs to the window: valid until the next call."""
        self._expire(now)
        for entry in self._unsummed:
            self._sum.add(entry.tally, latencies=self._latencies)
        self._unsummed.clear()
        return self._sum

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._sum = Tally()
        self._unsummed.clear()

    def _expire(self, now: float) -> None:
        while self._entries and now - self._entries[0].at >= self.length_s:
            gone = self._entries.popleft()
            if len(self._entries) < len(self._unsummed):
                self._unsummed.pop(0)
            else:
                self._sum.subtract(gone.tally, latencies=self._latencies)

    def __repr__(self) -> str:
        return f"Window({self.length_s:g} s, {len(self._entries)} entries)"
