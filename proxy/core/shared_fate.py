"""Whether v1 fails what v2 has failed: then the request is bad, not v2.

Owns that one comparison. Must never know what evidence there is against v2, or what an attempt is.

Clients stick to their path. One that keeps sending what no version can answer, a broken upload in a loop,
makes the path that it has been dealt look ill, and the other one not: the comparison of the paths is unfair
then, and no test of it can tell. The fallback can: v1 was given the same requests. Where v1 has failed
nearly all of them too, v2 errs no more than is tolerable, with v1's errors taken on the very same requests.

That excuses little else. A v2 that is at fault is answered for by v1; where v1 has a rate of errors of its
own, those it fails too are as few. Requests without a fallback excuse nothing.
"""

from __future__ import annotations

import math
from typing import Final

_FADING: Final = math.log(2.0) / 60.0  # a second; the half-life is a minute
_LATE: Final = 2.0  # failures that v1 may still be trying to answer: its own come a tick later
_LEAST: Final = 0.5  # failures of both, below which there is nothing to excuse
_SHOWN: Final = 0.5  # of them for each that v1 has failed already: nothing is excused before


class SharedFate:
    """Failures of v2 and those of them that v1 failed too, with a half-life of a minute."""

    __slots__ = ("_asked", "_failed", "_points", "_ratio", "_shared")

    def __init__(self, ratio: float, points: float) -> None:
        self._ratio = ratio
        self._points = points
        self._asked = 0.0
        self._failed = 0.0
        self._shared = 0.0

    def observe(self, asked: int, failed: int, shared: int, dt_s: float) -> None:
        """In `dt_s` seconds v2 was `asked` and `failed`; `shared` of those failed on v1 too. What the breaker
        keeps from v2 is neither: it opens on such a client as well, and keeps all others' requests too.
        """
        kept = math.exp(-dt_s * _FADING)
        self._asked = self._asked * kept + asked
        self._failed = self._failed * kept + failed
        self._shared = self._shared * kept + shared

    @property
    def excuses(self) -> bool:
        """Whether v2 fails hardly anything that v1 does not fail."""
        late = min(_LATE, _SHOWN * self._shared)
        tolerable = self._ratio * self._shared + self._points * self._asked + late
        return self._shared >= _LEAST and self._failed <= tolerable

    def __repr__(self) -> str:
        return f"SharedFate({self._shared:.3g} of {self._failed:.3g} failed on v1 too)"
