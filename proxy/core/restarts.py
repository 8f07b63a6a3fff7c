"""When a process that has ended by itself is started again, and when that has no more sense.

The first time, at once: most crashes are single, and clients wait meanwhile. Then after a time that doubles
with each crash and is drawn from its upper half, so that processes that fell together do not rise together.
One that ends `CRASHES` times within `WITHIN_S`, each time before it has been up for `YOUNG_S`, cannot run. It
is given up, unless others of its kind have proven that they can: then the end of all is worse than its lack.

Owns one place among the processes. `now` is monotonic seconds; must never know what a process is.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxy.ports import Random

CRASHES: Final = 5
WITHIN_S: Final = 30.0
YOUNG_S: Final = 1.0

_FIRST_S: Final = 0.2
_LONGEST_S: Final = 10.0
PROVEN_S: Final = 60.0
"""Up for this long, a crash is again a first one."""


class Restarts:
    """The crashes of one place."""

    __slots__ = ("_in_row", "_rng", "_young")

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._in_row = 0
        self._young: deque[float] = deque(maxlen=CRASHES)

    def crashed(self, now: float, up_s: float, *, others_run: bool = False) -> float | None:
        """Seconds to wait before the next start, or None if it is to be given up. `up_s`: how long it served,
        0 if it never did; `others_run`: whether another has been up for `PROVEN_S`."""
        if up_s >= PROVEN_S:
            self._in_row = 0
        if up_s >= YOUNG_S:
            self._young.clear()
        else:
            self._young.append(now)
            in_vain = len(self._young) == CRASHES and now - self._young[0] <= WITHIN_S
            if in_vain and not others_run:
                return None
        self._in_row += 1
        if self._in_row == 1:
            return 0.0
        longest_s = min(_FIRST_S * 2.0 ** min(self._in_row - 2, 16), _LONGEST_S)
        return longest_s * (0.5 + 0.5 * self._rng.random())

    def __repr__(self) -> str:
        return f"Restarts({self._in_row} in a row, {len(self._young)} young)"
