"""A hard limit as a test: is v2's rate above the limit, whatever v1 does?

Owns the evidence of one guard in sequential mode. Must never know the guard, its action, or a clock.

A rate over a window crosses a limit by chance, and the smaller the sample the oftener; `min_requests` only
makes that rarer and slower at once. The test fires when the counts cannot be explained by a rate at the
limit: after five failures in a row, or after thousands of requests that fail slightly too often. It needs
no v1.
"""

from __future__ import annotations

import math
from typing import Final

from proxy.core.bets import GAINS
from proxy.core.e_process import EProcess

ALARM: Final = 100.0
"""The evidence at which it fires: a rate at the limit gets there on 1 % of days, or less often."""

_START: Final = 0.5
_PER_S: Final = 0.5 / 86_400.0
_UNLIMITED: Final = (
    60.0  # nats: any stake times e^60 is an alarm, so one tick may be enough, and none overflows
)


class LimitTest:
    """One-sample bets against "v2's rate is at most `limit`", 0 <= limit < 1."""

    __slots__ = ("_logs_error", "_logs_good", "_process", "limit")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        least = max(limit, 1e-6)  # at 0 each error would be a proof; one in a million is meant
        rates = [least + (1.0 - least) * gain for gain in GAINS]
        self._logs_error = [math.log(b / least) for b in rates]
        self._logs_good = [math.log((1.0 - b) / (1.0 - least)) for b in rates]
        self._process = EProcess(_START, _PER_S, _UNLIMITED)

    @property
    def evidence(self) -> float:
        """0.5 at the start, `ALARM` is enough."""
        return self._process.value

    @property
    def firing(self) -> bool:
        """Whether the rate is above the limit."""
        return self._process.value >= ALARM

    def observe(self, n: float, s: float, dt_s: float) -> None:
        """`n` requests in `dt_s` seconds, `s` of them counting against the limit."""
        good = n - s
        # By index: the compiled loop over a `zip` of two lists takes longer than all the rest.
        logs = [s * self._logs_error[k] + good * self._logs_good[k] for k in range(len(GAINS))]
        self._process.earn(logs, dt_s)

    def restart(self) -> None:
        """Forget everything."""
        self._process.restart()

    def __repr__(self) -> str:
        return f"LimitTest(above {self.limit:g}: {self.evidence:.3g})"
