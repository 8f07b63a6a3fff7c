"""Gates before a promotion, retries after a rollback, and what the audit says of people who go past them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

from proxy.controlplane.gatekeeper import AGAIN_AFTER_S
from proxy.controlplane.webhook import WebhookError
from proxy.judgment import Verdict
from proxy.model import State, Verb
from tests.controlplane.rig import CANARY, HALF, ROLLBACK_GUARD, Rig
from tests.fakes import traffic

if TYPE_CHECKING:
    import pytest

HOOK = "http://gate.test/let?secret=1"


async def gated(**keys: Any) -> Rig:
    """A rollout whose second phase has these gates."""
    phases = [CANARY, {**HALF, **keys}]
    return await Rig.opened({"phases": phases, "autostart": True, "guards": [ROLLBACK_GUARD]})


async def seconds(rig: Rig, count: int) -> None:
    for _ in range(count):
        await rig.second(traffic(100, 50))
        await asyncio.sleep(0)  # whoever asks a webhook has its turn


def waits_for(rig: Rig) -> tuple[Verdict, str]:
    judgment = rig.controller.report("default").judgment
    assert judgment.missing == judgment.reasons
    return judgment.verdict, judgment.reasons[0]


async def refuse() -> None:
    raise WebhookError("answered 403")


# ... approval and the calendar


async def test_a_phase_that_needs_approval_waits_for_a_person() -> None:
    rig = await gated(approval=True)
    await seconds(rig, 20)
    assert rig.state().phase == "canary"
    assert waits_for(rig) == (Verdict.HOLD, "approval (promote) is needed before phase half")
    assert (await rig.ask(Verb.PROMOTE)).phase == "half"
    assert (await rig.causes())[-1] == "command:promote"
    assert rig.state().reason == "promote by tess"


async def test_a_freeze_ends_by_itself() -> None:
    rig = Rig.frozen(seconds=30.0)
    await rig.controller.open()
    await seconds(rig, 29)
    assert rig.state().phase == "canary"
    assert waits_for(rig)[1].startswith("frozen until 2023-11-14T22:13:50")
    await seconds(rig, 1)
    assert rig.state().phase == "half"


async def test_what_a_person_does_in_a_freeze_is_done_and_said() -> None:
    rig = Rig.frozen(seconds=30.0)
    await rig.controller.open()
    await rig.ask(Verb.PROMOTE, reason="now")
    assert rig.state().phase == "half"
    assert rig.state().reason.startswith("now (past: frozen until 2023-11-14T22:13:50")
    await rig.ask(Verb.SET, 1_000)
    assert rig.state().reason == "set by tess", "what lowers goes past nothing"


async def test_a_person_goes_past_hours_and_webhooks() -> None:
    rig = await gated(hours=["Mon 00:00-00:01"], webhook=HOOK)
    await rig.ask(Verb.PROMOTE)
    assert rig.state().reason == "promote by tess (past: hours of phase half; webhook of phase half)"
    assert rig.posted == []


# ... webhooks


async def test_a_webhook_that_says_2xx_lets_pass() -> None:
    rig = await gated(webhook=HOOK, webhook_timeout="3s")
    await seconds(rig, 11)
    assert rig.state().phase == "half"
    ((url, body, timeout_s),) = rig.posted
    assert (url, timeout_s) == (HOOK, 3.0)
    told = orjson.loads(body)
    assert (told["rollout"], told["verb"], told["revision"]) == ("default", "promote", 1)
    assert told["from"] == {"phase": "canary", "percentage": 1.0}
    assert told["to"] == {"phase": "half", "percentage": 50.0}
    assert told["reasons"][0].startswith("phase canary passed")


async def test_a_webhook_that_hangs_delays_no_tick() -> None:
    rig = await gated(webhook=HOOK)
    rig.webhook = asyncio.Event().wait  # type: ignore[assignment]
    await seconds(rig, 30)
    assert waits_for(rig) == (Verdict.HOLD, "webhook http://gate.test has not answered yet before phase half")
    assert len(rig.posted) == 1
    assert rig.state().phase == "canary"
    assert repr(rig.controller._gatekeeper) == "Gatekeeper(1 questions)"
    await rig.controller.close()


async def test_a_webhook_that_refuses_is_asked_again_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    rig = await gated(webhook=HOOK)
    rig.webhook = refuse
    await seconds(rig, 12)
    assert waits_for(rig) == (Verdict.HOLD, "webhook http://gate.test answered 403 before phase half")
    await seconds(rig, int(AGAIN_AFTER_S) - 5)
    assert len(rig.posted) == 1
    await seconds(rig, 5)
    assert len(rig.posted) == 2
    rig.webhook = Rig.well
    await seconds(rig, int(AGAIN_AFTER_S) + 1)
    assert rig.state().phase == "half"
    assert "secret" not in caplog.text


async def test_a_webhook_that_breaks_is_no_2xx(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ZeroDivisionError("a bug")

    rig = await gated(webhook=HOOK)
    rig.webhook = fail
    await seconds(rig, 12)
    assert (
        waits_for(rig)[1] == "webhook http://gate.test cannot be asked: ZeroDivisionError before phase half"
    )


async def test_what_was_asked_of_an_earlier_state_opens_nothing() -> None:
    rig = await gated(webhook=HOOK)
    rig.webhook = asyncio.Event().wait  # type: ignore[assignment]
    await seconds(rig, 10)
    assert len(rig.posted) == 1
    await rig.ask(Verb.PAUSE)
    rig.webhook = refuse
    await rig.ask(Verb.RESUME)
    await seconds(rig, 12)
    assert len(rig.posted) == 2, "another revision is another question"
    assert rig.state().phase == "canary"


async def test_the_webhook_is_not_asked_before_the_other_gates_are_open() -> None:
    rig = await gated(webhook=HOOK, approval=True)
    await seconds(rig, 20)
    assert rig.posted == []


# ... retries

RETRYING: dict[str, Any] = {
    "phases": [CANARY, HALF],
    "autostart": True,
    "guards": [ROLLBACK_GUARD],
    "auto_retry": 1,
    "cooldown": "30s",
}


async def rolled_back(**keys: Any) -> Rig:
    rig = await Rig.opened({**RETRYING, **keys})
    await rig.second(traffic(1_000, 500, v2_errors=500))
    assert rig.state().state is State.ROLLED_BACK
    return rig


async def test_a_retry_comes_after_the_cooldown_and_only_so_often() -> None:
    rig = await rolled_back()
    await rig.second()
    judgment = rig.controller.report("default").judgment
    assert (judgment.missing, judgment.eta_s) == (("retry 1 of 1 after the cooldown",), 29.0)
    for _ in range(28):
        await rig.second()
    assert rig.state().state is State.ROLLED_BACK
    await rig.second()
    assert (rig.state().state, rig.state().phase, rig.state().retries) == (State.RUNNING, "canary", 1)
    await rig.second(traffic(1_000, 500, v2_errors=500))
    for _ in range(60):
        await rig.second()
    assert (rig.state().state, rig.state().weight) == (State.ROLLED_BACK, 0)
    assert (await rig.causes())[1:] == ["guard:error_rate", "auto_retry", "guard:error_rate"]


async def test_a_retry_goes_through_the_gates_of_the_first_phase() -> None:
    rig = await rolled_back(phases=[{**CANARY, "approval": True}, HALF])
    for _ in range(60):
        await rig.second()
    assert rig.state().state is State.ROLLED_BACK
    assert waits_for(rig)[1] == "approval (promote) is needed before phase canary"


async def test_a_dead_store_stops_a_retry() -> None:
    rig = await rolled_back()
    rig.store.stalled = True
    for _ in range(60):
        await rig.second()
    assert rig.sink.weight() == 0


async def test_a_restart_in_the_cooldown_keeps_it() -> None:
    rig = await rolled_back()
    again = rig.restarted()
    again.clock.advance(20)
    await again.controller.open()
    await again.second()
    assert again.state().state is State.ROLLED_BACK
    again.clock.advance(10)
    await again.second()
    assert again.state().phase == "canary"


async def test_a_person_is_not_bound_to_the_cooldown_and_the_record_says_so() -> None:
    rig = await rolled_back()
    await rig.ask(Verb.START)
    assert rig.state().reason == "start by tess (past: cooldown)"
    assert (rig.state().retries, rig.state().rolled_back_from) == (0, None)
