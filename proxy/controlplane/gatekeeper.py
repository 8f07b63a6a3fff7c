"""The gates on the way up, as the controller meets them at a tick: a look at the clock, and webhooks.

Owns which gates are closed now and the questions that are under way. It answers at once, always: a webhook is
asked beside the ticks, and a tick reads what is known of its answer. Must never know how a state is written,
and is never asked about anything that lowers a weight.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import orjson

from proxy.controlplane.webhook import WebhookError, shown
from proxy.core.gates import LocalTime, closed, entered, frozen, is_open
from proxy.model import Verb

if TYPE_CHECKING:
    from proxy.config.plan import Phase
    from proxy.config.rollout import Rollout
    from proxy.controlplane.webhook import Post
    from proxy.model import RolloutState, Transition
    from proxy.ports import Clock

log = logging.getLogger("dualpath.control")

GOOD_FOR_S: Final = 60.0
"""How long a 2xx opens the gate: what was true an hour ago is nobody's promise."""
AGAIN_AFTER_S: Final = 60.0
"""When a webhook that has not said 2xx is asked again."""

_Place = tuple[int, str, str]


@dataclass(slots=True)
class _Question:
    """One question to a webhook, for one way from one state into one phase."""

    place: _Place
    asking: asyncio.Task[None]
    answered_at: float | None = None
    trouble: str = ""


class Gatekeeper:
    """Knows for each rollout what is closed; asks webhooks by `post`."""

    def __init__(self, post: Post, clock: Clock) -> None:
        self._post = post
        self._clock = clock
        self._questions: dict[str, _Question] = {}

    def closed(self, transition: Transition, plan: Rollout) -> list[str]:
        """What keeps this move of the controller's from being made now, in words. Never waits."""
        phase = entered(transition, plan)
        if phase is None:
            return []
        found = closed(phase, plan, transition.at, _local(plan, transition.at))
        if found or phase.webhook is None:
            return found
        return self._unanswered(transition, phase, phase.webhook)

    def passed_over(self, transition: Transition, plan: Rollout) -> list[str]:
        """The closed gates that a person goes past, for the audit."""
        if transition.after.weight <= transition.before.weight:
            return []
        local = _local(plan, transition.at)
        found = frozen(plan, transition.at, local)
        phase = entered(transition, plan)
        if phase is not None and not is_open(phase.hours, local):
            found.append(f"hours of phase {phase.name}")
        if phase is not None and phase.webhook is not None:
            found.append(f"webhook of phase {phase.name}")
        if _cools_down(transition.before, plan, transition.at):
            found.append("cooldown")
        return found

    def forget(self, name: str) -> None:
        """Nothing of this rollout is to be raised now: what was asked for it is of no interest."""
        question = self._questions.pop(name, None)
        if question is not None:
            question.asking.cancel()

    def ask_by(self, post: Post) -> None:
        """Ask by `post` from the next question on."""
        self._post = post

    async def close(self) -> None:
        """Ask nobody any more."""
        asking = [question.asking for question in self._questions.values()]
        for name in list(self._questions):
            self.forget(name)
        await asyncio.gather(*asking, return_exceptions=True)

    def __repr__(self) -> str:
        return f"Gatekeeper({len(self._questions)} questions)"

    # ... webhooks

    def _unanswered(self, transition: Transition, phase: Phase, url: str) -> list[str]:
        name, place = transition.after.name, (transition.before.revision, phase.name, url)
        question = self._questions.get(name)
        if question is None or question.place != place or self._is_stale(question):
            self.forget(name)
            body = orjson.dumps(_said(transition, phase))
            asking = asyncio.create_task(self._ask(name, place, phase, body), name=f"webhook {name}")
            question = self._questions[name] = _Question(place, asking)
        webhook = f"webhook {shown(url)}"
        if question.answered_at is None:
            return [f"{webhook} has not answered yet before phase {phase.name}"]
        return [f"{webhook} {question.trouble} before phase {phase.name}"] if question.trouble else []

    def _is_stale(self, question: _Question) -> bool:
        if question.answered_at is None:
            return False
        lasts_s = AGAIN_AFTER_S if question.trouble else GOOD_FOR_S
        return self._clock.monotonic() - question.answered_at >= lasts_s

    async def _ask(self, name: str, place: _Place, phase: Phase, body: bytes) -> None:
        trouble = ""
        try:
            await self._post(place[2], body, phase.webhook_timeout_s)
        except WebhookError as error:
            trouble = str(error)
        except Exception as error:  # whatever it is, it was no 2xx
            log.exception("%s: the webhook of phase %s", name, phase.name)
            trouble = f"cannot be asked: {type(error).__name__}"
        question = self._questions.get(name)
        if question is not None and question.place == place:
            question.answered_at, question.trouble = self._clock.monotonic(), trouble
        if trouble:
            log.warning("%s: the webhook of phase %s %s", name, phase.name, trouble)


def _local(plan: Rollout, at: float) -> LocalTime:
    local = datetime.fromtimestamp(at, ZoneInfo(plan.timezone))
    return LocalTime(local.weekday(), local.hour * 60 + local.minute)


def _cools_down(before: RolloutState, plan: Rollout, at: float) -> bool:
    cools = plan.auto_retry > 0 or "cooldown_s" in plan.model_fields_set
    return cools and before.rolled_back_from is not None and at - before.since < plan.cooldown_s


def _said(transition: Transition, phase: Phase) -> dict[str, object]:
    """What a webhook is told."""
    before, after, judgment = transition.before, transition.after, transition.judgment
    return {
        "rollout": after.name,
        "verb": Verb.START if before.weight == 0 else Verb.PROMOTE,
        "revision": before.revision,
        "from": {"phase": before.phase, "percentage": before.percentage},
        "to": {"phase": phase.name, "percentage": after.percentage},
        "reasons": list(judgment.reasons) if judgment is not None else [transition.reason],
        "at": transition.at,
    }
