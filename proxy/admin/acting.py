"""The handlers that change something: verbs on one rollout or on many, the emergency stop, overrides.

Owns the way from a request to the controller and back. It decides nothing about a rollout; the controller
does.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from aiohttp import web

from proxy.admin import command_inputs, inputs, views
from proxy.admin.problems import RefusedError, problem_of
from proxy.admin.wire import IDENTITY, body_of, content_type_of, json_answer
from proxy.core.routing import SUSPENDING
from proxy.errors import ControlError, UnknownRollout
from proxy.model import Path

if TYPE_CHECKING:
    from proxy.controlplane.controller import Controller
    from proxy.model import KeyOverride, RolloutState, Verb
    from proxy.ports import Clock


log = logging.getLogger("dualpath.admin")

_REASON_WITHIN_S = 0.3
"""How long an emergency stop waits for its own reason."""


class Acting:
    """One method each, by the name that its operation has."""

    def __init__(self, controller: Controller, clock: Clock) -> None:
        self._controller = controller
        self._clock = clock

    async def command(self, request: web.Request, *, verb: Verb) -> web.Response:
        """Carry a verb out, and answer with the rollout as it is then, and whether it is stored."""
        inputs.refuse_query(request.query.items())
        name = self._controller.report(request.match_info["name"]).state.name
        command = inputs.read_command(
            await body_of(request),
            content_type_of(request),
            rollout=name,
            verb=verb,
            actor=request[IDENTITY].name,
        )
        state = await self._controller.command(command)
        view = views.rollout_view(replace(self._controller.report(name), state=state))
        return json_answer({**view, **self._kept(name)})

    async def bulk(self, request: web.Request, *, verb: Verb) -> web.Response:
        """Carry a verb out on every rollout that a pattern names; for each, where it stands, or why not."""
        inputs.refuse_query(request.query.items())
        raw, content_type = await body_of(request), content_type_of(request)
        pattern, command = command_inputs.read_bulk(
            raw, content_type, verb=verb, actor=request[IDENTITY].name
        )
        names = [report.state.name for report in self._controller.reports()]
        chosen = [name for name in names if fnmatchcase(name, pattern)]
        if not chosen:
            raise UnknownRollout(f"there is no rollout like {pattern!r}")
        found = await self._controller.command_all([replace(command, rollout=name) for name in chosen])
        return json_answer(
            {"rollouts": [self._moved(name, one) for name, one in zip(chosen, found, strict=True)]}
        )

    async def emergency_stop(self, request: web.Request) -> web.Response:
        """Take everything back from v2, everywhere, whatever else the request says, or fails to say."""
        reason, dropped = await _reason_of(request)
        stopped = await self._controller.emergency_stop(request[IDENTITY].name, reason)
        moved = [self._moved(state.name, state) for state in stopped]
        names = [report.state.name for report in self._controller.reports()]
        stored = all(map(self._controller.is_stored, names))
        alone = not stored and not self._controller.is_shared()
        return json_answer(
            {"stopped": moved, "stored": stored, "local_only": alone, "reason_dropped": dropped}
        )

    # ... overrides

    async def overrides(self, request: web.Request) -> web.Response:
        """What is in force, by key."""
        inputs.refuse_query(request.query.items())
        found = self._controller.overrides(request.match_info["name"])
        return json_answer({"overrides": [self._override_view(one) for one in found]})

    async def override(self, request: web.Request) -> web.Response:
        """Send one key to one path."""
        inputs.refuse_query(request.query.items())
        name = self._controller.report(request.match_info["name"]).state.name
        wanted = command_inputs.read_override(
            await body_of(request),
            content_type_of(request),
            rollout=name,
            actor=request[IDENTITY].name,
            now=self._clock.wall(),
        )
        return json_answer(self._override_view(await self._controller.override(wanted)))

    async def take_override_back(self, request: web.Request) -> web.Response:
        """The key is split like all others again; answers with what was in force."""
        inputs.refuse_query(request.query.items())
        name, key = request.match_info["name"], request.match_info["key"]
        was = await self._controller.take_override_back(name, key, request[IDENTITY].name)
        return json_answer(self._override_view(was))

    def _override_view(self, override: KeyOverride) -> views.JsonObject:
        stored = self._controller.is_override_stored(override.rollout, override.key)
        state = self._controller.report(override.rollout).state.state
        suspended = override.path is Path.V2 and state in SUSPENDING
        return {**views.override_view(override), "stored": stored, "suspended": suspended}

    def _moved(self, name: str, found: RolloutState | ControlError) -> views.JsonObject:
        state = self._controller.report(name).state if isinstance(found, ControlError) else found
        error = None
        if isinstance(found, ControlError):
            problem = problem_of(found)
            error = {
                "type": problem.kind,
                "title": problem.title,
                "status": problem.status,
                "detail": problem.detail,
            }
        return {
            **views.state_view(state),
            "name": name,
            **self._kept(name),
            "error": error,
        }

    def _kept(self, name: str) -> views.JsonObject:
        """Whether the store has it; and if not, whether that is so because the others cannot be reached."""
        stored = self._controller.is_stored(name)
        return {"stored": stored, "local_only": not stored and not self._controller.is_shared()}


async def _reason_of(request: web.Request) -> tuple[str, str | None]:
    """The reason of an emergency stop, and why there is none although the request has something to say. What
    is wrong with it, a wrong length or a body that does not end, must not keep v2 going."""
    try:
        inputs.refuse_query(request.query.items())
        async with asyncio.timeout(_REASON_WITHIN_S):
            raw = await body_of(request)
        return command_inputs.read_reason(raw, content_type_of(request)), None
    except TimeoutError:
        dropped = f"the body did not arrive within {_REASON_WITHIN_S:g} s"
    except (RefusedError, web.HTTPException) as error:
        dropped = problem_of(error).detail
    except Exception as error:  # a broken body has many errors, in libraries too
        dropped = f"the body is broken: {error!r}"
    log.warning("emergency stop: its reason was dropped: %s", dropped)
    return "", dropped
