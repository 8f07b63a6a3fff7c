"""Time that moves when it is told to.

Implements `ports.Clock`. Must never know what happens meanwhile.
"""

from __future__ import annotations


class SimulatedClock:
    """`passed_s` seconds since the beginning, which was at wall time `start`."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.passed_s = 0.0

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return self.passed_s

    def wall(self) -> float:
        """Seconds since the Unix epoch."""
        return self.start + self.passed_s
