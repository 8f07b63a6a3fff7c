"""Hooks that are asked before a rollout starts or enters a phase.

Owns who is asked before which move, and the questions that are under way. The controller's own moves wait for
the answers between ticks, a person's command waits for them where it is; nothing that lowers a weight is ever
asked about. Must never know how a state is written. Hooks that tell what has happened are sinks of alerts.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

import orjson

from proxy.config.alert_checks import read_secret
from proxy.core.gates import entered
from proxy.core.signing import signed
from proxy.errors import DualpathError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.config.alerts import Hook
    from proxy.config.rollout import Rollout
    from proxy.model import Transition
    from proxy.ports import Clock, Post

log = logging.getLogger("dualpath.control")

GOOD_FOR_S: Final = 60.0
"""How long an answer counts, good or bad; then the hook is asked again."""


@dataclass(slots=True)
class _Question:
    """What was asked of one hook before one move."""

    place: tuple[object, ...]
    asking: asyncio.Task[None] | None = None
    answered_at: float | None = None
    trouble: str = ""


class Hooks:
    """Asks the hooks of a configuration by `post`."""

    def __init__(self, hooks: Sequence[Hook], post: Post, clock: Clock) -> None:
        self._post = post
        self._clock = clock
        self._hooks: tuple[Hook, ...] = ()
        self._questions: dict[tuple[str, str], _Question] = {}
        self.follow(hooks, post)

    def follow(self, hooks: Sequence[Hook], post: Post) -> None:
        """Ask these from the next question on."""
        self._hooks = tuple(hook for hook in hooks if any(event.startswith("before_") for event in hook.on))
        self._post = post

    def closed(self, transition: Transition, plan: Rollout) -> list[str]:
        """What keeps this move of the controller's from being made now, in words. Never waits."""
        found = []
        for hook, event in self._concerned(transition, plan):
            question = self._question(hook, event, transition)
            if question.answered_at is None:
                found.append(f"hook {hook.name} has not answered yet")
            elif question.trouble and hook.required:
                found.append(f"hook {hook.name} {question.trouble}")
        return found

    async def asked(self, transition: Transition, plan: Rollout) -> list[str]:
        """Ask before a person's move and wait for the answers; the required ones that were not given."""
        concerned = self._concerned(transition, plan)
        if not concerned:
            return []
        troubles = await asyncio.gather(
            *(self._trouble(hook, event, transition) for hook, event in concerned)
        )
        return [
            f"hook {hook.name} {trouble}"
            for (hook, _), trouble in zip(concerned, troubles, strict=True)
            if trouble and hook.required
        ]

    async def close(self) -> None:
        """Ask nobody any more."""
        asking = [one.asking for one in self._questions.values() if one.asking is not None]
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        self._questions.clear()

    def __bool__(self) -> bool:
        """Whether anybody is asked at all."""
        return bool(self._hooks)

    def __repr__(self) -> str:
        return f"Hooks({[hook.name for hook in self._hooks]})"

    # ... who is asked

    def _concerned(self, transition: Transition, plan: Rollout) -> list[tuple[Hook, str]]:
        if not self._hooks:
            return []
        events = _events(transition, plan)
        return [
            (hook, next(event for event in events if event in hook.on))
            for hook in self._hooks
            if any(event in hook.on for event in events)
            and any(fnmatchcase(plan.name, one) for one in hook.rollouts)
        ]

    # ... questions

    def _question(self, hook: Hook, event: str, transition: Transition) -> _Question:
        """The one before this move: it is under way, or its answer still counts; else a new one."""
        name = transition.after.name
        place = (transition.before.revision, transition.after.phase, event, hook.url)
        known = self._questions.get((name, hook.name))
        if known is not None and known.place == place and not self._is_stale(known):
            return known
        if known is not None and known.asking is not None:
            known.asking.cancel()
        question = self._questions[name, hook.name] = _Question(place)
        asking = self._ask(question, hook, event, transition)
        question.asking = asyncio.create_task(asking, name=f"hook {hook.name}")
        return question

    def _is_stale(self, question: _Question) -> bool:
        at = question.answered_at
        return at is not None and self._clock.monotonic() - at >= GOOD_FOR_S

    async def _ask(self, question: _Question, hook: Hook, event: str, transition: Transition) -> None:
        question.trouble = await self._trouble(hook, event, transition)
        question.answered_at = self._clock.monotonic()

    async def _trouble(self, hook: Hook, event: str, transition: Transition) -> str:
        """Why it was not answered 2xx; empty if it was."""
        try:
            secret = read_secret(hook.secret, hook.secret_file, f"hooks.{hook.name}.secret_file")
            body = orjson.dumps(_said(hook, event, transition))
            fields = signed(secret, uuid.uuid4().hex, self._clock.wall(), body)
            await self._post(hook.url, body, hook.timeout_s, fields)
        except DualpathError as error:
            trouble = str(error)
        except Exception as error:  # whatever it is, it was no 2xx
            log.exception("hook %s cannot be asked", hook.name)
            trouble = f"cannot be asked: {type(error).__name__}"
        else:
            return ""
        log.warning("%s: %s: no 2xx from hook %s: %s", transition.after.name, event, hook.name, trouble)
        return trouble


def _events(transition: Transition, plan: Rollout) -> list[str]:
    """What the move is, for hooks that are asked before; the most telling first."""
    before, after = transition.before, transition.after
    found = ["before_start"] if before.weight == 0 < after.weight else []
    return [*found, "before_phase"] if entered(transition, plan) is not None else found


def _said(hook: Hook, event: str, transition: Transition) -> dict[str, Any]:
    """What a hook is told."""
    before, after, judgment = transition.before, transition.after, transition.judgment
    return {
        "event": event,
        "hook": hook.name,
        "rollout": after.name,
        "revision": before.revision,
        "from": {"state": before.state, "phase": before.phase, "percentage": before.percentage},
        "to": {"state": after.state, "phase": after.phase, "percentage": after.percentage},
        "cause": transition.cause,
        "actor": transition.actor,
        "reasons": list(judgment.reasons) if judgment is not None else [transition.reason],
        "at": transition.at,
    }
