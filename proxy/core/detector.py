"""The regression detector for errors: is v2 worse than v1 by more than is tolerable?

Owns the blocks that ticks are gathered into, what v1 is expected to do, and the evidence against v2. Must
never know the rollout, its limits, or a clock: it is told counts and the seconds they were gathered in.

Both paths are read over the same seconds, so that what strikes both says nothing against v2: a shared outage,
a nightly swing, a ramp. It may be read at every tick; reading often costs nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from proxy.core.bets import Bets
from proxy.core.e_process import EProcess, Round

if TYPE_CHECKING:
    from proxy.core.policy import JudgePolicy

START: Final = 1.2
STEP: Final = 0.1
_LEAST: Final = 8  # requests in a block …
_LEAST_AT_FIRST: Final = 2  # … and while there have been few: 8 at a time would tell of a dead v2 too late
_FEW: Final = 64
_FADING: Final = math.log(2.0) / 1800.0  # a second; half is forgotten in half an hour
_PRIOR_ERRORS: Final = 0.5
_PRIOR_REQUESTS: Final = 50.0
_FEWEST: Final = (
    3  # errors of v2: that the first two requests fail happens to one rollout in 600 where 4 % do
)
_SAME: Final = 0.05  # margins that differ by less are one: each makes its own bets


class Block:
    """`n` requests of each path, at least one, `s` of them errors, gathered in `dt_s` seconds. Nobody changes
    it; a frozen dataclass would say so, and take ten times as long to make."""

    __slots__ = ("dt_s", "n1", "n2", "s1", "s2")

    def __init__(self, n1: float, s1: float, n2: float, s2: float, dt_s: float) -> None:
        self.n1 = n1
        self.s1 = s1
        self.n2 = n2
        self.s2 = s2
        self.dt_s = dt_s

    def __repr__(self) -> str:
        return f"Block(v1 {self.s1:g}/{self.n1:g}, v2 {self.s2:g}/{self.n2:g}, {self.dt_s:g} s)"


class Blocks:
    """Gathers ticks until both paths have been asked, and 8 requests were made; 2 among the first 64.

    When a block closes depends on the number of requests alone, never on what became of them: otherwise it
    would close when luck is bad, and the bets would be worth nothing.
    """

    __slots__ = ("_dt_s", "_is_open", "_least", "_n1", "_n2", "_s1", "_s2", "_seen")

    def __init__(self) -> None:
        self._is_open = False  # whether anything has been gathered
        self._n1 = self._s1 = self._n2 = self._s2 = 0
        self._dt_s = 0.0
        self._least = _LEAST_AT_FIRST
        self._seen = 0

    def add(self, n1: int, s1: int, n2: int, s2: int, dt_s: float) -> Block | None:
        """The counts of one tick of `dt_s` seconds; the block that they complete, if they do."""
        if self._is_open:
            n1 += self._n1
            s1 += self._s1
            n2 += self._n2
            s2 += self._s2
            dt_s += self._dt_s
        if n1 < 1 or n2 < 1 or n1 + n2 < self._least:
            self._n1, self._s1, self._n2, self._s2, self._dt_s = n1, s1, n2, s2, dt_s
            self._is_open = True
            return None
        self._is_open = False
        if self._least < _LEAST:
            self._seen += n1 + n2
            if self._seen >= _FEW:
                self._least = _LEAST
        return Block(n1, s1, n2, s2, dt_s)

    def restart(self) -> None:
        """Forget everything: a start, a rollback, or a new phase."""
        self._is_open = False
        self._least = _LEAST_AT_FIRST
        self._seen = 0

    def __repr__(self) -> str:
        if not self._is_open:
            return "Blocks(nothing gathered)"
        return f"Blocks(v1 {self._s1}/{self._n1}, v2 {self._s2}/{self._n2}, {self._dt_s:g} s)"


class DesignRate:
    """What v1 is expected to do next: its error rate so far, with a half-life of 30 minutes."""

    __slots__ = ("_errors", "_requests", "value")

    def __init__(self) -> None:
        self._errors = 0.0
        self._requests = 0.0
        self.value = _PRIOR_ERRORS / _PRIOR_REQUESTS

    def learn(self, n: float, s: float, dt_s: float) -> None:
        """`n` requests to v1 in `dt_s` seconds, `s` of them errors."""
        kept = math.exp(-dt_s * _FADING)
        self._errors = self._errors * kept + s
        self._requests = self._requests * kept + n
        self.value = (self._errors + _PRIOR_ERRORS) / (self._requests + _PRIOR_REQUESTS)

    def __repr__(self) -> str:
        return f"DesignRate({self.value:.3g})"


class RegressionDetector:
    """Evidence that v2 errs more than tolerable. Outlives phases; what is known of v1 outlives a restart."""

    __slots__ = ("_bets", "_design", "_errors", "_margin", "_needed", "_policy", "_process")

    def __init__(self, policy: JudgePolicy) -> None:
        self._policy = policy
        self._needed = 1.0 / policy.false_alarms
        self._errors = 0.0  # of v2, since the restart
        self._margin = 0.0
        self._bets = Bets(policy.tolerable_ratio, policy.tolerable_points)
        self._design = DesignRate()
        self._process = EProcess(START)

    @property
    def design_rate(self) -> float:
        """v1's expected error rate: what the next block's bets are sized for."""
        return self._design.value

    @property
    def evidence(self) -> float:
        """1.2 at the start; `fails` says how much is enough. Less than three errors never are."""
        if self._errors < _FEWEST:
            return min(self._process.value, 0.5 * self._needed)
        return self._process.value

    def observe(self, block: Block, *, excused: bool = False) -> None:
        """Bet on the block with what was known before it, then learn from it. One that is `excused` may speak
        for v2, but not against it.
        """
        n1, s1, n2, s2 = block.n1, block.s1, block.n2, block.s2
        brought = self._bets.round(self._design.value, n1, s1, n2, s2)
        if excused:
            brought = Round([min(log, 0.0) for log in brought.logs])
        else:
            self._errors += s2
        self._process.take(brought, block.dt_s)
        self._design.learn(n1, s1, block.dt_s)

    def learn(self, n1: int, s1: int, dt_s: float) -> None:
        """Learn from v1 alone, while v2 has no traffic."""
        self._design.learn(float(n1), float(s1), dt_s)

    def combined(self, latency: float) -> float:
        """The evidence of errors and of latency together, half and half."""
        return 0.5 * self.evidence + 0.5 * latency

    def fails(self, latency: float = 0.0) -> bool:
        """Whether v2 is worse, given the evidence of latency."""
        return self.combined(latency) >= self._needed

    def widen(self, margin: float) -> None:
        """Tolerate `margin` more, because v1 varies that much by itself. It must come from the past alone."""
        if abs(margin - self._margin) > _SAME * self._margin:
            self._margin = margin
            self._bets = Bets(self._policy.tolerable_ratio, self._policy.tolerable_points + margin)

    def step(self) -> None:
        """A phase has begun: v2 gets more traffic, and may be worse from now on."""
        self._process.step(STEP)

    def restart(self) -> None:
        """Forget the evidence: a rollback, a start or a changed plan."""
        self._process.restart()
        self._errors = 0.0

    def __repr__(self) -> str:
        return f"RegressionDetector({self.evidence:.3g}, v1 {self.design_rate:.3g})"
