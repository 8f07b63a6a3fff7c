"""The machine's clocks, as the composition root hands them to every part that needs time."""

from __future__ import annotations

import time


class SystemClock:
    """`monotonic` seconds only go forward, `wall` seconds are since the Unix epoch."""

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
