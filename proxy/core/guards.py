"""Guards: one limit each, read at every tick.

Owns when a limit counts as crossed: by the value over a window, for long enough, or by evidence. Must never
know the rollout's state, its phases or other guards: what a firing guard leads to is `judge`'s business.

- In mode `window` a guard fires while its value over the window is beyond the limit, and has been at every
  tick for as long as `for` says. Without data there is no value: nothing is crossed, and `for` begins anew.
- In mode `sequential` every request is good or bad by itself (it failed; it took longer than the limit on a
  quantile), and the guard fires when so many were bad that a rate at the limit does not explain it, and
  the value over the window, or over its last ten seconds, is beyond the limit as well: a bad second that is
  over is no reason, and a long window that remembers better times is none to wait.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from proxy.core.gauges import GAUGES, answered_or_failed, failed, takes_traffic
from proxy.core.histogram import first_above
from proxy.core.limit_test import ALARM, LimitTest
from proxy.core.tally import Tally
from proxy.judgment import Action, GuardReading, Metric

if TYPE_CHECKING:
    from proxy.config.plan import Guard
    from proxy.core.gauges import Gauge, Surroundings
    from proxy.core.window import Window

HOLDING: Final = ALARM / 10.0
"""Evidence that is no alarm, and too much for the next phase."""

LATELY_S: Final = 10.0
"""How far back a guard in mode `sequential` looks whether it is still so; its window, if that is shorter."""

_QUANTILES: Final = {Metric.LATENCY_P50: 0.5, Metric.LATENCY_P95: 0.95, Metric.LATENCY_P99: 0.99}


_NO_TRAFFIC: Final = Tally()


class GuardTracker(ABC):
    """One guard over time. In the order of a tick: `observe`, then `update`; `firing` and `crossed` are of
    the latest update, and `window` is what the value is read over."""

    def __init__(self, guard: Guard, name: str, window: Window) -> None:
        self.guard = guard
        self.name = name
        self.window = window
        self.firing = False
        self.crossed = False  # speaks against the next phase, whether or not it fires
        self.is_alert = guard.action is Action.ALERT
        self._above = guard.above
        self._below = guard.below
        self._gauge: Gauge = GAUGES[guard.metric]
        self._is_windowed = takes_traffic(guard.metric)
        self._needed = guard.needed if self._is_windowed else 0

    @abstractmethod
    def observe(self, tally: Tally, dt_s: float) -> None:
        """Take in the `tally` of a tick of `dt_s` seconds, which is in the window already."""

    @abstractmethod
    def update(self, now: float, around: Surroundings) -> None:
        """Read the guard at monotonic `now`; at every tick at which v2 has traffic."""

    def reset(self) -> None:
        """Forget that the limit was crossed, and all that spoke for it. The window is not the guard's."""
        self.firing = self.crossed = False

    def value(self, now: float, around: Surroundings) -> float | None:
        """The value over the window; None without enough data."""
        if not self._is_windowed:
            return self._gauge.value(_NO_TRAFFIC, around)
        return self._value_over(self.window, now, around)

    def _value_over(self, window: Window, now: float, around: Surroundings) -> float | None:
        tally = window.tally(now)
        if self._gauge.sample(tally) < self._least:
            return None
        return self._gauge.value(tally, around)

    @property
    def _least(self) -> int:
        return self._needed

    def crosses(self, value: float | None) -> bool:
        """Whether `value` is beyond the limit."""
        if value is None:
            return False
        above, below = self._above, self._below
        return (above is not None and value > above) or (below is not None and value < below)

    # ... for people

    def reading(self, now: float, around: Surroundings) -> GuardReading:
        """What the guard reads, as a value."""
        value = self.value(now, around)
        return GuardReading(
            guard=self.name,
            metric=self.guard.metric,
            value=value,
            limit=self.guard.limit,
            sample=self._gauge.sample(self.window.tally(now)),
            min_requests=self._needed,
            crossed=self.firing or self.crosses(value),
            firing=self.firing,
            action=self.guard.action,
        )

    def explain(self, now: float, around: Surroundings) -> str:
        """In words: "guard error_rate above 0.1: 0.315 over 60 s (63 of 200 requests to v2)"."""
        window = self._told_of(now, around)
        tally = window.tally(now)
        value = self._gauge.value(tally, around)
        shown = "no value" if value is None else f"{value:.3g}{self._gauge.unit}"
        over = f" over {window.length_s:g} s" if self._is_windowed else ""
        return f"guard {self.name}: {shown}{over} ({self._gauge.words(tally)}){self._proof(now)}"

    def _told_of(self, now: float, around: Surroundings) -> Window:
        return self.window

    @abstractmethod
    def _proof(self, now: float) -> str:
        """What it stands on beside the value, in words, as they follow."""


class WindowGuard(GuardTracker):
    """A guard in mode `window`: remembers since when its limit has been crossed at every tick."""

    def __init__(self, guard: Guard, name: str, window: Window) -> None:
        super().__init__(guard, name, window)
        self._for_s = guard.for_s
        self._crossed_since = -1.0

    def observe(self, tally: Tally, dt_s: float) -> None:
        """As `GuardTracker.observe`: the window is all that is read."""

    def update(self, now: float, around: Surroundings) -> None:
        """As `GuardTracker.update`."""
        if not self.crosses(self.value(now, around)):
            self.reset()
            return
        if not self.crossed:
            self.crossed, self._crossed_since = True, now
        self.firing = now - self._crossed_since >= self._for_s

    def crossed_for_s(self, now: float) -> float:
        """For how long the limit has been crossed without a break, in seconds."""
        return now - self._crossed_since if self.crossed else 0.0

    def _proof(self, now: float) -> str:
        if self.firing or not self.crossed:
            return ""
        return f", for {self.crossed_for_s(now):.0f} s of {self._for_s:.10g} s"

    def __repr__(self) -> str:
        since = f"crossed since {self._crossed_since:g}" if self.crossed else "not crossed"
        return f"WindowGuard({self.name}, {since})"


class SequentialGuard(GuardTracker):
    """A guard in mode `sequential`: the evidence that its limit is crossed. `lately` is a window of the last
    few seconds."""

    def __init__(self, guard: Guard, name: str, window: Window, lately: Window) -> None:
        super().__init__(guard, name, window)
        self.lately = lately
        quantile = _QUANTILES.get(guard.metric)
        self._metric = guard.metric
        self._test = LimitTest(guard.limit if quantile is None else 1.0 - quantile)
        self._edge = -1 if quantile is None else first_above(guard.limit)
        self._counted = 0  # requests since the reset, for `min_requests`
        self._ahead = 0  # bad ones that came before what they are counted in
        self._hanging = 0  # requests under way that have passed the limit
        self._idle_s = 0.0

    @property
    def evidence(self) -> float:
        """`ALARM` is enough."""
        return self._test.evidence

    @property
    def _least(self) -> int:
        return 0

    def observe(self, tally: Tally, dt_s: float) -> None:
        """As `GuardTracker.observe`."""
        n, bad = self._slow(tally) if self._edge >= 0 else self._outcomes(tally)
        bad += self._ahead
        self._idle_s += dt_s
        if n > 0:
            # v1's answer in v2's place comes after v2's failure, and may come a tick later.
            self._ahead = max(bad - n, 0)
            self._test.observe(n, min(bad, n), self._idle_s)
            self._idle_s = 0.0
            self._counted += n
        else:
            self._ahead = bad

    def _outcomes(self, tally: Tally) -> tuple[int, int]:
        """Requests of which the outcome is known, and the bad ones."""
        if self._edge >= 0:
            return tally.v2.requests, tally.v2.latency.count_from(self._edge)
        if self._metric is Metric.ERROR_RATE:
            return answered_or_failed(tally), failed(tally)
        if self._metric is Metric.FALLBACK_RATE:
            return answered_or_failed(tally), sum(tally.fallbacks)
        return tally.client_requests, tally.client_errors

    def is_far_over(self, now: float) -> bool:
        """Whether the window by itself speaks of a rate beyond the limit: by two standard deviations, and two
        requests more, because few of them vary by more than that."""
        n, bad = self._outcomes(self.window.tally(now))
        limit = self._test.limit
        return n > 0 and bad > n * limit + 2.0 * math.sqrt(n * limit * (1.0 - limit)) + 2.0

    def _slow(self, tally: Tally) -> tuple[int, int]:
        """Requests that were answered or have passed the limit, and those of them that have passed it. One
        under way counts the moment it passes: what hangs is never answered."""
        n, slow = self._outcomes(tally)
        hanging = tally.in_flight_v2.count_from(self._edge)
        more = max(hanging - self._hanging, -slow)
        self._hanging = hanging
        return max(n + more, 0), slow + more

    def update(self, now: float, around: Surroundings) -> None:
        """As `GuardTracker.update`."""
        evidence = self._test.evidence
        self.firing = (
            evidence >= ALARM
            and self._counted >= self._needed
            and (self._hanging > 0 or self._is_so_yet(now, around))
        )
        self.crossed = evidence >= HOLDING

    def _is_so_yet(self, now: float, around: Surroundings) -> bool:
        return self.crosses(self._value_over(self.lately, now, around)) or self.crosses(
            self.value(now, around)
        )

    def _told_of(self, now: float, around: Surroundings) -> Window:
        if not self.firing or self.crosses(self.value(now, around)):
            return self.window
        return self.lately if self.crosses(self._value_over(self.lately, now, around)) else self.window

    def reset(self) -> None:
        """As `GuardTracker.reset`."""
        super().reset()
        self._test.restart()
        self._counted = self._ahead = 0
        self._idle_s = 0.0

    def _proof(self, now: float) -> str:
        few = f", {self._counted:,} of {self._needed:,} requests" if self._counted < self._needed else ""
        waiting = f", {self._hanging:,} under way for longer" if self._hanging > 0 else ""
        return f"{waiting}, evidence {amount(self._test.evidence)} of {ALARM:g} needed{few}"

    def __repr__(self) -> str:
        return f"SequentialGuard({self.name}, evidence {amount(self._test.evidence)})"


def tracker_of(guard: Guard, name: str, window: Window, lately: Window) -> GuardTracker:
    """The tracker that the guard's mode asks for."""
    if guard.is_sequential:
        return SequentialGuard(guard, name, window, lately)
    return WindowGuard(guard, name, window)


def amount(evidence: float) -> str:
    """Evidence for people: "143", "19.6", "2.1", "0.03", "over 1,000,000". Never more than there is: what is
    not enough yet must not look as if it were."""
    if evidence > 1e6:
        return "over 1,000,000"
    if evidence < 1.0:
        return f"{evidence:.2g}"
    return f"{math.floor(evidence):,}" if evidence >= 100.0 else f"{math.floor(evidence * 10.0) / 10.0:g}"
