"""What is looked at before a rollout begins: each check with its outcome in words.

Owns the checks and which of them forbid a start. It changes nothing, and asks on after a failure: all that is
wrong is told in one go.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from proxy import rendering
from proxy.admin_client import AdminApiError
from proxy.config.export import redacted
from proxy.config.units import shown
from proxy.core.moves import MOVES
from proxy.deploy_smoke import Place, missing_endpoints, places_of, smoke
from proxy.model import Path, State, Verb

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from proxy.admin_client import AdminApi, JsonDocument
    from proxy.config.schema import Config, Rollout
    from proxy.deploy_smoke import Asker

_MOST: Final = 5  # differences of the configuration that are listed


class Mark(StrEnum):
    """What a check says of the start."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    mark: Mark
    text: str


def check_plan(rollout: Rollout) -> Iterator[Check]:
    """Whether the rollout gets to its end by itself."""
    phases = ", ".join(f"{phase.name} {phase.percentage:g}%" for phase in rollout.phases)
    yield Check("plan", Mark.OK, phases)
    if not rollout.judge.enabled:
        yield Check("plan", Mark.WARNING, "judge.enabled is false: every phase takes a `rollout promote`")
    for phase in rollout.phases:
        if phase.approval:
            yield Check("plan", Mark.OK, f"phase {phase.name} takes somebody's `rollout promote`")


def check_running_config(config: Config, status: JsonDocument, running: JsonDocument) -> Iterator[Check]:
    """Whether the proxy runs by this configuration."""
    unlike = sorted(_differences(redacted(config), running))
    if not unlike:
        yield Check("config", Mark.OK, "the proxy runs by the same configuration")
    else:
        more = f" and {len(unlike) - _MOST} more" if len(unlike) > _MOST else ""
        text = f"the proxy runs by another configuration: {'; '.join(unlike[:_MOST])}{more}"
        yield Check("config", Mark.WARNING, text)
    if status["config"]["error"]:
        yield Check("config", Mark.WARNING, f"its last reload was refused: {status['config']['error']}")


def check_state(status: JsonDocument, rollout: Rollout) -> Check:
    """Whether it can be started from where it stands."""
    found = next((one for one in status["rollouts"] if one["name"] == rollout.name), None)
    if found is None:
        return Check("state", Mark.FAILED, f"the proxy knows no rollout {rollout.name!r}")
    state = State(found["state"])
    text = f"{state} at {rendering.percent(found['percentage'])}"
    under_way = state is State.RUNNING and found["phase"] is not None
    if under_way or (state, Verb.START) not in MOVES:
        again = f"`dualpath rollout resume --wait --name {rollout.name}` waits for it"
        return Check("state", Mark.FAILED, f"{text}: it is under way already; {again}")
    return Check("state", Mark.OK, text)


def check_health(status: JsonDocument) -> Iterator[Check]:
    """The endpoints as the proxy sees them."""
    known = {(one["path"], one["url"]): one for each in status["rollouts"] for one in each["endpoints"]}
    for path in Path:
        states = [
            rendering.endpoint_state(one) for (of_path, _), one in sorted(known.items()) if of_path == path
        ]
        healthy = states.count("healthy")
        mark = Mark.FAILED if not healthy else Mark.OK if healthy == len(states) else Mark.WARNING
        yield Check("health", mark, f"{path}: {healthy} of {len(states)} endpoints healthy")


async def check_endpoints(asker: Asker, config: Config) -> list[Check]:
    """The endpoints as they answer to us. One that is left is enough for a path."""
    ill = await missing_endpoints(asker, config.backends)
    places = places_of(config.backends)
    checks = []
    for path in Path:
        mine = [place for place in places if place.path is path]
        mark = Mark.FAILED if all(place in ill for place in mine) else Mark.WARNING
        problems = [Check("answers", mark, f"{place}: {ill[place]}") for place in mine if place in ill]
        checks += problems or [Check("answers", Mark.OK, f"{path}: {_endpoints(mine)}")]
    return checks


async def check_smoke(asker: Asker, config: Config, rollout: Rollout) -> list[Check]:
    """The smoke list, answered equally by v1 and v2."""
    if not rollout.smoke:
        return [
            Check("smoke", Mark.WARNING, "no [[rollouts.smoke]]: v1 and v2 are not compared before the start")
        ]
    checks = []
    for request, problems in await smoke(asker, config.backends, rollout):
        name = f"{request.method} {request.path}"
        checks += [Check("smoke", Mark.FAILED, f"{name}: {problem}") for problem in problems]
        if not problems:
            checks.append(Check("smoke", Mark.OK, f"{name}: v1 and v2 answer alike"))
    return checks


async def check_store(admin: AdminApi) -> Check:
    """Whether what happens can be written."""
    try:
        store = await admin.store()
    except AdminApiError as error:
        return Check("store", Mark.FAILED, str(error))
    if not store["writable"]:
        return Check("store", Mark.FAILED, f"cannot be written: {store['detail']}")
    if store["waiting"]:
        return Check("store", Mark.FAILED, f"{store['waiting']} changes are not stored yet")
    return Check("store", Mark.OK, "can be written")


def _endpoints(places: Iterable[Place]) -> str:
    return ", ".join(f"{place.url} answers" for place in places)


def _differences(ours: object, theirs: object, at: str = "") -> Iterator[str]:
    """Dotted paths with both values, the file's first."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in {*ours, *theirs}:
            yield from _differences(ours.get(key), theirs.get(key), f"{at}.{key}" if at else str(key))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (our, their) in enumerate(zip(ours, theirs, strict=True)):
            yield from _differences(our, their, f"{at}.{index}")
    elif ours != theirs:
        yield f"{at} is {_value(theirs)}, in the file {_value(ours)}"


def _value(value: object) -> str:
    return "absent" if value is None else shown(value)
