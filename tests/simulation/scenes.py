"""Configurations and scenarios that the tests of the simulation start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.config.loading import parse
from proxy.simulation.reading import parse_scenario

if TYPE_CHECKING:
    from proxy.config.schema import Config
    from proxy.simulation.scenario import Scenario

BACKENDS = """
[backends.v1]
endpoints = ["http://127.0.0.1:9001"]
[backends.v2]
endpoints = ["http://127.0.0.1:9002"]
"""
TWO_PHASES = """
[[rollouts]]
name = "default"
[[rollouts.phases]]
name = "canary"
percentage = 10
min_duration = "2m"
[[rollouts.phases]]
name = "full"
percentage = 100
min_duration = "2m"
[[rollouts.guards]]
metric = "error_rate"
above = 0.2
window = "60s"
"""


def configured(rollouts: str = TWO_PHASES) -> Config:
    """A configuration with these rollouts."""
    return parse(BACKENDS + rollouts, {})


def scenario(text: str = "") -> Scenario:
    """A scenario from the text of its file."""
    return parse_scenario(text)
