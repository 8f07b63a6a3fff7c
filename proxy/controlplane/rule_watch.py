"""The alert rules of the configuration, watched at every tick beside the judge.

Owns which rules watch which rollout, over every reload. It moves nothing, and what fails here fails alone.
Must never know how an alert is sent.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from proxy.core.alert_rules import RuleReading, RuleSet, rules_of
from proxy.core.gauges import CALM, is_of_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.config.alerts import AlertRule
    from proxy.config.schema import Config
    from proxy.core.gauges import Surroundings
    from proxy.core.tally import Tally

log = logging.getLogger("dualpath.control")

PROCESS = ""
"""Stands for the name of a rollout where a rule concerns the whole process."""


class RuleWatch:
    """All rules on all rollouts. In the order of a tick: `observe` for each, then `look`.

    `tell` is called with the name of a rollout and what a rule reads there, when it begins to fire or ends.
    """

    def __init__(self, config: Config, tell: Callable[[str, RuleReading], None]) -> None:
        self._tell = tell
        self._around = CALM
        self._rules: dict[str, tuple[AlertRule, ...]] = {}
        self._sets: dict[str, RuleSet] = {}
        self.follow(config)

    def follow(self, config: Config) -> None:
        """Watch by `config`. What fires by a rule that is gone, or has changed, is resolved."""
        wanted = dict(_watched(config))
        for name, watched in list(self._sets.items()):
            if wanted.get(name) != self._rules[name]:
                del self._sets[name]
                for rule in watched.firing:
                    self._tell(name, RuleReading(rule, False, None, 0, "the configuration has changed"))
        for name, rules in wanted.items():
            if name not in self._sets:
                self._sets[name] = RuleSet(rules)
        self._rules = wanted

    def observe(self, rollout: str, now: float, tally: Tally) -> None:
        """Take in what was drained at monotonic `now`; `tally` must not change afterwards."""
        if (watched := self._sets.get(rollout)) is not None:
            watched.observe(now, tally)

    def surround(self, around: Surroundings) -> None:
        """What else is known at this tick."""
        self._around = around

    def look(self, now: float) -> None:
        """Look at every rule. Never raises: a decision may be on its way."""
        for name, watched in self._sets.items():
            try:
                for reading in watched.update(now, self._around):
                    self._tell(name, reading)
            except Exception:
                log.exception("%s: its alert rules cannot be read", name or "the process")

    def __repr__(self) -> str:
        return f"RuleWatch({list(self._sets)})"


def _watched(config: Config) -> Iterator[tuple[str, tuple[AlertRule, ...]]]:
    """The rules by whom they watch, where there are any."""
    rules = config.alerts.rules
    if of_process := tuple(rule for rule in rules if is_of_process(rule.metric)):
        yield PROCESS, of_process
    of_rollouts = [rule for rule in rules if not is_of_process(rule.metric)]
    for rollout in config.rollouts:
        if watching := rules_of(rollout.name, of_rollouts):
            yield rollout.name, watching
