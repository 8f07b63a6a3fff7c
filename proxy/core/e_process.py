"""Evidence over time: products of bets that start anew at every moment, so that late changes are seen too.

Owns how evidence grows, fades and is held back. Must never know what the bets are about.

A product of bets shrinks while nothing is wrong, and one that has shrunk for a day would take a day to
recover. So a little fresh stake is put in all the time (Shin, Ramdas and Rinaldo, "E-detectors"). The
expected value on healthy traffic is then at most what was put in, however that is spread over the bets.

At the start and at each step most of it goes to the bets on a catastrophe: a new v2 is utterly broken more
often than slightly, and those bets are lost within a dozen requests if it is not. What is put in later is
spread evenly.

Each bet earns from an allowance: at most 6 nats at once, which `refill_s` seconds bring back. A small
effect has to persist, a short burst cannot be ruinous however many requests it hits, and a catastrophe
still takes seconds. Holding back earnings only makes the evidence weaker, so that nothing above is lost.
"""

from __future__ import annotations

import math
from typing import Final

STAKE_PER_S: Final = 0.1 / 86_400.0
ALLOWANCE: Final = 6.0
REFILL_S = (60.0, 20.0, 5.0, 2.0, 1.0, 1.0)
"""Of each of `bets.GAINS`: how long the allowance takes to come back."""
FRESH = (0.08, 0.12, 0.17, 0.3, 1.0, 4.33)
"""Of each of `bets.GAINS`: its part of what is put in at once; 1 on average."""

_MOST_LOG: Final = 700.0  # whose exponential is a number still
_MOST: Final = 1e15  # beyond any threshold; keeps a long outage from overflowing


class Round:
    """What some counts bring each bet: the logarithm of its product. Nobody changes it, so that the same
    counts may bring the same round again; one that `is_kept` for that has the products and the largest
    logarithm, too."""

    __slots__ = ("factors", "logs", "most")

    def __init__(self, logs: list[float], *, is_kept: bool = False) -> None:
        self.logs = logs
        self.factors: list[float] = []
        self.most = math.inf  # of no bet at all nothing is known
        if is_kept and logs:
            self.factors = [math.exp(log) if log < _MOST_LOG else math.inf for log in logs]
            self.most = max(logs)

    def __repr__(self) -> str:
        return f"Round({', '.join(f'{log:.3g}' for log in self.logs)})"


class EProcess:
    """The mean over several bets, each with its own stake and allowance."""

    __slots__ = (
        "_allowance",
        "_allowances",
        "_count",
        "_is_rested",
        "_per_s",
        "_refills",
        "_stakes",
        "_start",
        "value",
    )

    def __init__(self, start: float, per_s: float = STAKE_PER_S, allowance: float = ALLOWANCE) -> None:
        self._start = start
        self._per_s = per_s
        self._count = len(REFILL_S)
        self._allowance = allowance
        self._refills = [allowance / s for s in REFILL_S]
        self._allowances = [allowance for _ in REFILL_S]
        self._is_rested = True  # all of them are whole
        self._stakes = [start * part for part in FRESH]
        self.value = start
        """The evidence: 1/α of it has, on healthy traffic, a probability of α times what was put in."""

    def earn(self, logs: list[float], dt_s: float) -> None:
        """Take in the logarithm of each bet's product over `dt_s` seconds; an empty list is no bet at all."""
        fresh = self._per_s * dt_s
        stakes, allowances, refills, most = self._stakes, self._allowances, self._refills, self._allowance
        betting = len(logs) > 0
        rested = True
        total = 0.0
        for k in range(self._count):
            allowance = allowances[k] + refills[k] * dt_s
            if allowance > most:
                allowance = most
            stake = stakes[k] + fresh
            if betting:
                earned = logs[k]
                if earned > 0.0:
                    if earned > allowance:
                        earned = allowance
                    allowance -= earned
                stake *= math.exp(earned)
                if stake > _MOST:
                    stake = _MOST
            if allowance < most:
                rested = False
            allowances[k] = allowance
            stakes[k] = stake
            total += stake
        self._is_rested = rested
        self.value = total / self._count

    def take(self, brought: Round, dt_s: float) -> None:
        """The same of a round."""
        if self._is_rested and brought.most <= 0.0 and self._lose(brought.factors, dt_s):
            return
        self.earn(brought.logs, dt_s)

    def _lose(self, factors: list[float], dt_s: float) -> bool:
        """The same at most times, when nothing is earned, and no debt is left; whether that is all."""
        fresh = self._per_s * dt_s
        s0, s1, s2, s3, s4, s5 = self._stakes  # written out: this is what most of a quiet day is spent on
        f0, f1, f2, f3, f4, f5 = factors
        s0, s1, s2 = (s0 + fresh) * f0, (s1 + fresh) * f1, (s2 + fresh) * f2
        s3, s4, s5 = (s3 + fresh) * f3, (s4 + fresh) * f4, (s5 + fresh) * f5
        total = s0 + s1 + s2 + s3 + s4 + s5
        if total > _MOST:
            return False
        self._stakes = [s0, s1, s2, s3, s4, s5]
        self.value = total / self._count
        return True

    def step(self, fresh: float) -> None:
        """Put in `fresh` stake at once, because something may just have changed."""
        for k in range(self._count):
            self._stakes[k] += fresh * FRESH[k]
        self.value += fresh

    def restart(self) -> None:
        """Forget everything."""
        for k in range(self._count):
            self._stakes[k] = self._start * FRESH[k]
            self._allowances[k] = self._allowance
        self._is_rested = True
        self.value = self._start

    def __repr__(self) -> str:
        return f"EProcess({self.value:.3g}: {', '.join(f'{stake:.2g}' for stake in self._stakes)})"
