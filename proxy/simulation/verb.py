"""`dualpath simulate`: what a scenario, or recorded minutes, would have made of the rollout.

Owns the options and what the exit code says. Annotations are read at run time: typer makes the options from
them.
"""

import asyncio
import logging
from typing import Annotated

import typer

from proxy.config.loading import load
from proxy.errors import DualpathError, UnknownRollout
from proxy.session import OK, ROLLED_BACK, Session, UsageError, show, show_json
from proxy.simulation.history import recorded_minutes
from proxy.simulation.outcome import Ending
from proxy.simulation.reading import load_scenario
from proxy.simulation.run import chosen, judged_again, simulated
from proxy.simulation.scenario import Scenario
from proxy.simulation.timetable import outcome_text

ConfigFile = Annotated[
    str, typer.Option("-c", "--config", metavar="FILE", envvar="DUALPATH_CONFIG", help="The configuration.")
]
PlainFile = Annotated[str | None, typer.Argument(metavar="[FILE]", help="The same as --config.")]
ScenarioFile = Annotated[
    str | None, typer.Option("--scenario", metavar="FILE", help="What traffic and both versions are like.")
]
HistoryFile = Annotated[
    str | None,
    typer.Option("--from-history", metavar="FILE", help="The store's file: judge the minutes kept in it."),
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Which chance; 0, or the scenario's.")]
Name = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Which rollout, if there are several.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


def simulate(
    ctx: typer.Context,
    file: PlainFile = None,
    config: ConfigFile = "proxy.toml",
    scenario: ScenarioFile = None,
    history: HistoryFile = None,
    seed: Seed = None,
    name: Name = None,
    as_json: AsJson = False,
) -> int:
    """Say what becomes of a rollout under the real judge, with traffic that is drawn by a scenario or was
    recorded. Exit 3 if it was rolled back."""
    session: Session = ctx.obj
    logging.getLogger("dualpath").addHandler(logging.NullHandler())  # what it decides is printed below
    try:
        chosen_config = chosen(load(file or config, session.outside.environ), name)
    except UnknownRollout as error:
        raise UsageError(str(error)) from None
    rollout = chosen_config.rollouts[0]
    if scenario is not None and history is not None:
        raise UsageError("--scenario and --from-history exclude each other")
    played = load_scenario(scenario) if scenario is not None else Scenario()
    if not (rollout.phases or rollout.weight or played.command):
        raise DualpathError(f"{rollout.name} has neither phases nor a percentage: nothing would happen")
    if history is None:
        outcome = simulated(chosen_config, played, seed)
    else:
        minutes = asyncio.run(recorded_minutes(history, rollout.name))
        outcome = judged_again(chosen_config, minutes, seed)
    if as_json:
        show_json(outcome.document())
    else:
        show(outcome_text(outcome))
    return ROLLED_BACK if outcome.outcome is Ending.ROLLED_BACK else OK
