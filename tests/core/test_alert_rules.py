"""When an alert rule fires and when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from proxy.config.alerts import AlertRule
from proxy.core.alert_rules import RuleReading, RuleSet, rules_of
from proxy.core.gauges import CALM, Surroundings, SystemReport
from tests.core.plans import second

if TYPE_CHECKING:
    from proxy.core.gauges import Surroundings as Around
    from proxy.core.tally import Tally

GOOD, BAD = second(v2=100), second(v2=100, errors=20)


def rule(**table: Any) -> AlertRule:
    return AlertRule.read({"name": "errors", "metric": "error_rate", "above": 0.1, "window": "1s", **table})


class Watched:
    """Rules, and a second at a time."""

    def __init__(self, *rules: AlertRule) -> None:
        self.rules = RuleSet(rules)
        self.now = 0.0

    def second(self, tally: Tally | None = None, around: Around = CALM) -> list[RuleReading]:
        self.now += 1.0
        if tally is not None:
            self.rules.observe(self.now, tally)
        return list(self.rules.update(self.now, around))

    def firing(self, *seconds: Tally) -> list[bool]:
        found = []
        for tally in seconds:
            self.second(tally)
            found.append(bool(self.rules.firing))
        return found


def test_it_fires_once_the_limit_is_crossed_and_ends_once_it_is_not() -> None:
    watched = Watched(rule())
    assert watched.second(GOOD) == []
    (began,) = watched.second(BAD)
    assert (began.firing, began.value, began.sample) == (True, 0.2, 100)
    assert "error_rate is 0.2 over 1 s (20 of 100 requests to v2), limit above 0.1" in began.text
    assert watched.second(BAD) == []
    (ended,) = watched.second(GOOD)
    assert (ended.firing, ended.value) == (False, 0.0)


def test_for_is_how_long_it_must_be_crossed_without_a_break() -> None:
    watched = Watched(rule(**{"for": "2s"}))
    assert watched.firing(BAD, BAD, GOOD, BAD, BAD, BAD, BAD) == [False] * 5 + [True, True]


def test_it_stays_until_it_has_been_well_for_long_enough() -> None:
    watched = Watched(rule(resolve_after="2s"))
    assert watched.firing(BAD, GOOD, GOOD, BAD, GOOD, GOOD, GOOD) == [True] * 6 + [False]


def test_a_value_that_swings_about_the_limit_is_one_alert() -> None:
    watched = Watched(rule(clear=0.05))
    between = second(v2=100, errors=8)
    assert watched.firing(between, BAD, between, BAD, between, second(v2=100, errors=5)) == [
        False,
        *[True] * 4,
        False,
    ]


@pytest.mark.parametrize(("clear", "stays"), [(None, False), (0.9, True)])
def test_below_reads_the_other_way_round(clear: float | None, stays: bool) -> None:
    table = {"metric": "health", "below": 0.5, "above": None}
    made = AlertRule.read(
        {"name": "health", "metric": table["metric"], "below": 0.5, **({"clear": clear} if clear else {})}
    )
    watched = Watched(made)
    (began,) = watched.second(around=Surroundings(health_v2=0.25))
    assert began.text == "health is 0.25, limit below 0.5"
    watched.second(around=Surroundings(health_v2=0.75))
    assert bool(watched.rules.firing) is stays
    ended = watched.second(around=Surroundings(health_v2=1.0))
    assert not watched.rules.firing
    if stays:
        assert ended[0].text == "health is 1, limit below 0.9"


def test_too_few_requests_are_no_value() -> None:
    watched = Watched(rule(min_requests=200))
    assert watched.firing(BAD, BAD) == [False, False]


def test_what_has_no_traffic_any_more_is_resolved() -> None:
    watched = Watched(rule())
    assert watched.firing(BAD) == [True]
    (ended,) = watched.second()
    assert (ended.firing, ended.value, ended.sample) == (False, None, 0)
    assert ended.text.startswith("error_rate is no value over 1 s")


def test_latencies_are_summed_only_where_a_rule_of_that_window_reads_them() -> None:
    slow = second(v2=100, v2_s=3.0)
    watched = Watched(
        rule(),
        AlertRule.read({"name": "slow", "metric": "latency_p95", "above": "2s", "window": "1s"}),
        AlertRule.read({"name": "other", "metric": "error_rate", "above": 0.5, "window": "30s"}),
    )
    (began,) = watched.second(slow)
    assert began.rule.name == "slow"
    assert "limit above 2 s" in began.text


def test_a_rule_on_this_machine_needs_no_traffic() -> None:
    watched = Watched(AlertRule.read({"name": "busy", "metric": "host_cpu", "above": 0.9}))
    assert watched.second() == []
    (began,) = watched.second(around=Surroundings(system=SystemReport(host_cpu=0.95)))
    assert began.text == "host_cpu is 0.95, limit above 0.9"


def test_rules_watch_the_rollouts_that_they_name() -> None:
    all_of_them, shop = rule(), rule(name="shop", rollouts=["shop-*", "cart"])
    assert rules_of("shop-eu", [all_of_them, shop]) == (all_of_them, shop)
    assert rules_of("search", [all_of_them, shop]) == (all_of_them,)


def test_it_says_how_it_stands() -> None:
    watched = Watched(rule())
    watched.second(BAD)
    assert repr(watched.rules) == "RuleSet([RuleTracker(errors, firing)])"
    watched.second(GOOD)
    assert "quiet" in repr(watched.rules)
