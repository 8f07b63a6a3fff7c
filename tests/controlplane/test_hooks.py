"""Hooks before a start and before a phase: what waits for them, and what never does."""

from __future__ import annotations

import asyncio
import hmac
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from proxy.controlplane.webhook import WebhookError
from proxy.model import Command, State, Verb
from tests.controlplane.rig import CANARY, HALF, ROLLBACK_GUARD, Rig, config
from tests.fakes import traffic

if TYPE_CHECKING:
    from pathlib import Path

URL = "http://hook.test/x"
HOOK = {"name": "ask", "on": ["before_start", "before_phase"], "url": URL}
PLAN = {"phases": [CANARY, HALF], "guards": [ROLLBACK_GUARD]}


async def refuse() -> None:
    raise WebhookError("answered 403")


async def rig(*hooks: dict[str, Any], **rollout: Any) -> Rig:
    made = Rig(config({**PLAN, **rollout}, hooks=list(hooks or [HOOK])))
    await made.controller.open()
    return made


def told(made: Rig) -> list[Any]:
    return [orjson.loads(body) for _, body, _ in made.posted]


async def pass_canary(made: Rig, seconds: int = 12) -> None:
    """Time and traffic enough for the first phase, and time for hooks to answer."""
    for _ in range(seconds):
        await made.second(traffic(100, 10))
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_a_persons_start_is_told_before_it_is_in_force() -> None:
    made = await rig()
    weights: list[int] = []

    async def look() -> None:
        weights.append(made.sink.weight())

    made.webhook = look
    await made.ask(Verb.START)
    (asked,) = told(made)
    assert (asked["event"], asked["hook"], asked["actor"]) == ("before_start", "ask", "tess")
    assert (asked["from"]["percentage"], asked["to"]) == (
        0.0,
        {"state": "running", "phase": "canary", "percentage": 1.0},
    )
    assert weights == [0]
    assert made.state().weight == 1_000


async def test_a_phase_is_entered_once_the_hook_has_answered() -> None:
    made = await rig(autostart=True)
    await pass_canary(made)
    assert [asked["event"] for asked in told(made)] == ["before_phase"]
    assert told(made)[0]["reasons"][0].startswith("phase canary passed")
    assert made.state().phase == "half"


async def test_a_hook_that_hangs_delays_no_tick_and_no_rollback() -> None:
    made = await rig(autostart=True)
    made.webhook = asyncio.Event().wait  # type: ignore[assignment]
    await pass_canary(made, 30)
    assert len(made.posted) == 1
    assert made.controller.report("default").judgment.reasons == ("hook ask has not answered yet",)
    await made.second(traffic(1_000, 100, v2_errors=90))
    assert made.state().state is State.ROLLED_BACK
    await made.controller.close()


async def test_what_is_not_required_waits_for_the_answer_and_does_not_need_it() -> None:
    made = await rig(autostart=True)
    made.webhook = refuse
    await pass_canary(made)
    assert made.state().phase == "half"


async def test_what_is_required_stops_the_controller_until_it_is_answered() -> None:
    made = await rig({**HOOK, "required": True}, autostart=True)
    made.webhook = refuse
    await pass_canary(made, 40)
    assert made.state().phase == "canary"
    assert made.controller.report("default").judgment.missing == ("hook ask answered 403",)
    assert len(made.posted) == 1
    made.webhook = made.well
    await pass_canary(made, 70)
    assert made.state().phase == "half"
    assert len(made.posted) == 2


async def test_a_person_goes_past_what_is_required_and_the_audit_says_so() -> None:
    made = await rig({**HOOK, "required": True}, {**HOOK, "name": "two", "required": False})
    made.webhook = refuse
    await made.ask(Verb.START, reason="now")
    assert made.state().reason == "now (past: hook ask answered 403)"


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.ROLLBACK, Verb.ABORT])
async def test_nobody_is_asked_on_the_way_down(verb: Verb) -> None:
    made = await rig(autostart=True)
    await made.ask(verb)
    await made.controller.emergency_stop("tess")
    assert made.posted == []


async def test_hooks_of_other_rollouts_and_other_events_are_not_asked() -> None:
    made = await rig({**HOOK, "rollouts": ["other*"]}, {"name": "after", "on": ["rollback"], "url": URL})
    await made.ask(Verb.START)
    await made.ask(Verb.SET, 40_000)
    assert made.posted == []
    assert not bool(made.controller._hooks) or repr(made.controller._hooks) == "Hooks(['ask'])"


async def test_many_are_asked_at_once_for_many_rollouts() -> None:
    rollouts = [{"name": name, "routes": [{"prefix": f"/{name}"}], **PLAN} for name in ("a", "b")]
    made = Rig(config(*rollouts, hooks=[HOOK]))
    await made.controller.open()
    both, asked = asyncio.Event(), []

    async def meet() -> None:
        asked.append(1)
        if len(asked) == 2:
            both.set()
        await both.wait()

    made.webhook = meet
    commands = [Command(name, Verb.START, "tess") for name in ("a", "b")]
    states = await asyncio.wait_for(made.controller.command_all(commands), 5)
    assert [getattr(state, "weight", state) for state in states] == [1_000, 1_000]


async def test_a_secret_in_a_file_signs_and_one_that_is_gone_is_no_answer(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret of people\n")
    made = await rig({**HOOK, "required": True, "secret_file": str(secret)})
    await made.ask(Verb.START)
    (fields,) = made.fields
    signed = f"{fields['webhook-id']}.{fields['webhook-timestamp']}.".encode() + made.posted[0][1]
    mac = hmac.digest(b"a secret of people", signed, "sha256")
    assert fields["webhook-signature"] == f"v1,{b64encode(mac).decode()}"
    secret.unlink()
    await made.ask(Verb.PROMOTE)
    assert "past: hook ask hooks.ask.secret_file" in made.state().reason


async def test_whatever_breaks_while_asking_is_no_answer() -> None:
    made = await rig({**HOOK, "required": True})

    async def break_down() -> None:
        raise ZeroDivisionError

    made.webhook = break_down
    await made.ask(Verb.START)
    assert "past: hook ask cannot be asked: ZeroDivisionError" in made.state().reason


async def test_a_question_before_another_move_is_asked_anew_and_a_reload_asks_by_its_own() -> None:
    made = await rig({**HOOK, "required": True}, autostart=True)
    made.webhook = asyncio.Event().wait  # type: ignore[assignment]
    await pass_canary(made)
    await made.ask(Verb.PAUSE)
    await made.ask(Verb.RESUME)
    await pass_canary(made, 14)
    assert len(made.posted) == 2

    async def swap(_: object) -> None:
        made.evidence.become(1)

    await made.controller.replace(config({**PLAN, "autostart": True}), swap)
    await pass_canary(made, 14)
    assert made.state().phase == "half"
    await made.controller.close()
