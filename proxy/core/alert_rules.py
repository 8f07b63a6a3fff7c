"""Alert rules: limits that are watched and move nothing, each over its own window and with hysteresis.

Owns when a rule fires and when it ends. Must never know who is told, nor whether an alert is silenced.

A rule fires once its value has been beyond `above` (or `below`) at every tick for as long as `for` says. It
ends once the value has been well for as long as `resolve_after` says; well is what `clear` says, so that a
value that swings about the limit is one alert and not twenty. Without data there is no value: nothing begins,
and what fires ends, because a rollout that gets no traffic any more would else alert for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from proxy.core.gauges import GAUGES, takes_latency, takes_traffic
from proxy.core.tally import Tally
from proxy.core.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from proxy.config.alerts import AlertRule
    from proxy.core.gauges import Surroundings

_NO_TRAFFIC = Tally()


@dataclass(frozen=True, slots=True)
class RuleReading:
    """What a rule reads when it begins to fire or ends, and that in words."""

    rule: AlertRule
    firing: bool
    value: float | None
    sample: int
    text: str


class RuleTracker:
    """One rule on one rollout, or on the whole process. Call `update` at every tick."""

    def __init__(self, rule: AlertRule, window: Window) -> None:
        self.rule = rule
        self.window = window
        self.firing = False
        self._gauge = GAUGES[rule.metric]
        self._is_windowed = takes_traffic(rule.metric)
        self._since: float | None = None  # since when it has been otherwise than `firing` says

    def update(self, now: float, around: Surroundings) -> RuleReading | None:
        """Look at it; what it reads, if it begins to fire or ends with this look."""
        tally = self.window.tally(now) if self._is_windowed else _NO_TRAFFIC
        sample = self._gauge.sample(tally)
        known = not self._is_windowed or sample >= self.rule.min_requests
        value = self._gauge.value(tally, around) if known else None
        if self._is_beyond(value) is self.firing:
            self._since = None
            return None
        if self._since is None:
            self._since = now
        if now - self._since < (self.rule.resolve_after_s if self.firing else self.rule.for_s):
            return None
        self.firing, self._since = not self.firing, None
        return RuleReading(self.rule, self.firing, value, sample, self._words(value, tally))

    def _is_beyond(self, value: float | None) -> bool:
        """Beyond the limit; while it fires, not yet well again."""
        rule = self.rule
        if value is None:
            return False
        if rule.above is not None:
            limit = rule.above if rule.clear is None or not self.firing else rule.clear
            return value > limit
        limit = rule.limit if rule.clear is None or not self.firing else rule.clear
        return value < limit

    def _words(self, value: float | None, tally: Tally) -> str:
        rule, unit = self.rule, self._gauge.unit
        side = "above" if rule.above is not None else "below"
        read = "no value" if value is None else f"{value:.3g}{unit}"
        over = f" over {rule.window_s:g} s ({self._gauge.words(tally)})" if self._is_windowed else ""
        limit = rule.limit if self.firing or rule.clear is None else rule.clear
        return f"{rule.metric} is {read}{over}, limit {side} {limit:.3g}{unit}"

    def __repr__(self) -> str:
        return f"RuleTracker({self.rule.name}, {'firing' if self.firing else 'quiet'})"


class RuleSet:
    """The rules that watch one rollout; windows of one length are shared."""

    def __init__(self, rules: Sequence[AlertRule]) -> None:
        self._windows: dict[float, Window] = {}
        self._trackers = [RuleTracker(rule, self._window(rule, rules)) for rule in rules]

    def observe(self, now: float, tally: Tally) -> None:
        """Take in what was drained at monotonic `now`; `tally` must not change afterwards."""
        for window in self._windows.values():
            window.push(now, tally)

    def update(self, now: float, around: Surroundings) -> Iterator[RuleReading]:
        """Look at every rule; those that begin to fire or end."""
        for tracker in self._trackers:
            if (reading := tracker.update(now, around)) is not None:
                yield reading

    @property
    def firing(self) -> list[AlertRule]:
        """The rules that fire now."""
        return [tracker.rule for tracker in self._trackers if tracker.firing]

    def _window(self, rule: AlertRule, rules: Sequence[AlertRule]) -> Window:
        length_s = rule.window_s
        if not takes_traffic(rule.metric):
            return Window(length_s)
        if length_s not in self._windows:
            readers = [one for one in rules if one.window_s == length_s]
            latencies = any(takes_latency(one.metric) for one in readers)
            self._windows[length_s] = Window(length_s, latencies=latencies)
        return self._windows[length_s]

    def __repr__(self) -> str:
        return f"RuleSet({self._trackers})"


def rules_of(rollout: str, rules: Sequence[AlertRule]) -> tuple[AlertRule, ...]:
    """The rules that watch this rollout."""
    return tuple(rule for rule in rules if any(fnmatchcase(rollout, one) for one in rule.rollouts))
