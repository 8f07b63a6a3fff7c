"""Presets driven by the simulator: as they are shipped, only that their days pass as hours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.config.loading import parse
from proxy.simulation.reading import parse_scenario
from proxy.simulation.run import simulated

if TYPE_CHECKING:
    from proxy.config.plan import Phase
    from proxy.simulation.outcome import Outcome

_FILE = """
[backends.v1]
endpoints = ["http://127.0.0.1:9001"]
[backends.v2]
endpoints = ["http://127.0.0.1:9002"]
health = {{ path = "/" }}
[[rollouts]]
name = "default"
plan = "{plan}"
{own}
[rollouts.judge]
tick = "{tick}"
{judge}
"""


def drive(
    plan: str,
    scenario: str,
    *,
    own: str = "",
    judge: str = "",
    tick: str = "10s",
    hastened: int = 1,
    without: str = "",
) -> Outcome:
    """What becomes of a rollout by this plan, whose phases take `hastened` times less time, and `without` the
    guards on one metric."""
    config = parse(_FILE.format(plan=plan, own=own, judge=judge, tick=tick), {})
    rollout = config.rollouts[0]
    changed = {
        "phases": tuple(_hastened(phase, hastened) for phase in rollout.phases),
        "guards": tuple(guard for guard in rollout.guards if guard.metric != without),
    }
    driven = config.model_copy(update={"rollouts": (rollout.model_copy(update=changed),)})
    return simulated(driven, parse_scenario(scenario))


def moves(outcome: Outcome) -> list[tuple[str, float]]:
    """The events after the start: cause and percentage."""
    return [(event.cause, event.percentage) for event in outcome.events if event.cause not in _BEGINNING]


_BEGINNING = {"config", "command:start"}


def _hastened(phase: Phase, times: int) -> Phase:
    return phase.model_copy(update={"min_duration_s": phase.min_duration_s / times})
