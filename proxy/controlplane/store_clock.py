"""The clock that all instances of a fleet share: the store's.

Owns how far ours is off. What is decided here carries an instant that means the same to all others, whatever
this machine believes the time to be; durations are measured by our own monotonic clock. Must never know what
the time is for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxy.ports import Clock

_STEADY_S: Final = 0.1
"""Less is the way there and back, and no reason to move."""


class StoreClock:
    """`ports.Clock`, by `own` until the store was heard."""

    def __init__(self, own: Clock) -> None:
        self.skew_s = 0.0  # how far our clock is ahead
        self._own = own

    def monotonic(self) -> float:
        """Ours."""
        return self._own.monotonic()

    def wall(self) -> float:
        """The store's."""
        return self._own.wall() - self.skew_s

    def own_wall(self) -> float:
        """What this machine believes."""
        return self._own.wall()

    def heard(self, now: float, took_s: float) -> None:
        """It was `now` there, about half of `took_s` ago."""
        skew_s = self._own.wall() - (now + took_s / 2)
        if abs(skew_s - self.skew_s) > _STEADY_S:
            self.skew_s = skew_s

    def __repr__(self) -> str:
        return f"StoreClock({self.skew_s:+.3f} s)"
