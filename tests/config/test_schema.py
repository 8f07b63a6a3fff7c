"""What the tables offer beside their values, and that their defaults are sound."""

from __future__ import annotations

import pytest

from proxy.config.loading import parse
from proxy.config.schema import Guard, Phase, Rollout
from proxy.errors import ConfigError
from proxy.judgment import Action, Metric
from proxy.model import Path
from tests.config.documents import BACKENDS, PHASES


def test_a_backend_is_found_by_its_path() -> None:
    backends = parse(BACKENDS, {}).backends
    assert backends.of(Path.V1) is backends.v1
    assert backends.of(Path.V2) is backends.v2


def test_percentages_are_weights_in_buckets() -> None:
    assert Phase.read({"name": "a", "percentage": 0.125}).weight == 125
    assert Rollout.read({"name": "a", "percentage": 33.333}).weight == 33_333


@pytest.mark.parametrize(
    ("limit", "value", "name"),
    [
        ({"above": 0.1}, 0.1, "error_rate above 0.1"),
        ({"below": 0.5}, 0.5, "error_rate below 0.5"),
        ({}, 0.0, "error_rate below 0"),
    ],
)
def test_a_guard_is_named_for_its_limit(limit: dict[str, float], value: float, name: str) -> None:
    guard = Guard.read({"metric": "error_rate", **limit})
    assert (guard.limit, guard.name) == (value, name)


def test_a_guard_rolls_back_unless_it_says_otherwise() -> None:
    guard = Guard.read({"metric": "error_rate", "above": 0.1})
    assert (guard.metric, guard.action) == (Metric.ERROR_RATE, Action.ROLLBACK)


def test_a_fixed_split_has_no_hidden_guards() -> None:
    rollout = parse(BACKENDS, {}).rollouts[0]
    assert (rollout.weight, len(rollout.guards), len(rollout.phases)) == (0, 0, 0)


def test_criteria_are_off_unless_given() -> None:
    require = parse(PHASES, {}).rollouts[0].phases[0].require
    kinds = {"or_baseline": False, "no_alerts": False, "improvement_against": "v1"}
    assert all(value == kinds.get(key) for key, value in dict(require).items())


def test_a_guard_acts_on_the_last_seconds_unless_it_is_told_otherwise() -> None:
    assert Guard.read({"metric": "error_rate", "above": 0.1}).window_s == 10


def test_every_bad_limit_of_the_listener_is_reported_at_once() -> None:
    listen = """
max_body = 1024
max_connections = 0
max_connections_per_client = -1
max_requests_per_connection = "3"
max_loop_lag = 0.5
proxy_protocol = "v2"
"""
    with pytest.raises(ConfigError) as raised:
        parse(f"[listen]{listen}{BACKENDS}", {})
    assert dict(raised.value.problems) == {
        "listen.max_body": 'must be a size with a unit such as "512B", "64KiB", "1MiB", not 1024',
        "listen.max_connections": "must be at least 1, not 0",
        "listen.max_connections_per_client": "must be at least 0, not -1",
        "listen.max_requests_per_connection": "must be a whole number, not '3'",
        "listen.max_loop_lag": 'must be a duration with a unit such as "250ms", "10s", "1h", not 0.5',
        "listen.proxy_protocol": "must be true or false, not 'v2'",
    }
