"""Commands, ticks and reports while everything works; when the store does not, see test_ledger."""

from __future__ import annotations

import logging

import pytest

from proxy.errors import (
    IllegalMove,
    InvalidCommand,
    RevisionConflict,
    UnknownRollout,
)
from proxy.judgment import Verdict
from proxy.model import Path, State, Verb
from tests.controlplane.rig import ALERT_GUARD, CANARY, HALF, ROLLBACK_GUARD, Rig
from tests.fakes import RecordingSink, traffic

# ... commands


async def test_a_command_is_in_force_and_stored_when_it_returns() -> None:
    rig = await Rig.opened({"percentage": 30})
    rig.clock.advance(5)
    state = await rig.ask(Verb.SET, 60_000, reason="looks good")
    assert state == rig.state() == await rig.stored()
    assert (state.weight, state.revision, state.reason, state.since) == (
        60_000,
        2,
        "looks good",
        rig.clock.wall(),
    )
    assert (await rig.store.transitions())[-1].actor == "tess"


async def test_lowering_is_in_force_before_it_is_written_and_raising_after() -> None:
    rig = await Rig.opened({"percentage": 30})
    in_force: list[tuple[State, int]] = []
    rig.store.before_commit = lambda: in_force.append((rig.state().state, rig.state().weight))
    await rig.ask(Verb.SET, 60_000)
    await rig.ask(Verb.SET, 20_000)
    await rig.ask(Verb.PAUSE)
    await rig.ask(Verb.RESUME)
    await rig.ask(Verb.ROLLBACK)
    assert in_force == [
        (State.RUNNING, 30_000),
        (State.RUNNING, 20_000),
        (State.PAUSED, 20_000),
        (State.PAUSED, 20_000),
        (State.ROLLED_BACK, 0),
    ]


async def test_asking_for_what_already_is_changes_and_records_nothing() -> None:
    rig = await Rig.opened({"percentage": 30})
    await rig.ask(Verb.ROLLBACK)
    before = rig.state()
    assert await rig.ask(Verb.ROLLBACK) == before
    assert await rig.causes() == ["config", "command:rollback"]


async def test_what_cannot_be_done_changes_nothing() -> None:
    rig = await Rig.opened({"percentage": 30})
    before = rig.state()
    for refused, error in (
        (rig.ask(Verb.SET, 10, rollout="nobody"), UnknownRollout),
        (rig.ask(Verb.SET, 100_001), InvalidCommand),
        (rig.ask(Verb.ROLLBACK, 50_000), InvalidCommand),
        (rig.ask(Verb.PROMOTE), IllegalMove),
        (rig.ask(Verb.SET, 10_000, revision=9), RevisionConflict),
    ):
        with pytest.raises(error):
            await refused
    assert rig.state() == before == await rig.stored()
    assert await rig.causes() == ["config"]


async def test_a_sink_that_fails_keeps_no_other_from_the_state(caplog: pytest.LogCaptureFixture) -> None:
    rig = await Rig.opened({"percentage": 30})
    other = RecordingSink()
    rig.controller._view._sinks = (rig.sink, other)
    rig.sink.failure = RuntimeError("broken pipe")
    await rig.ask(Verb.ROLLBACK)
    assert other.weight() == 0
    assert await rig.stored() == rig.state()
    assert "did not take revision 2" in caplog.text


# ... ticks


async def test_a_guard_rolls_back_and_says_why() -> None:
    rig = await Rig.opened({"percentage": 30, "guards": [ROLLBACK_GUARD]})
    await rig.second(traffic(100, 30))
    assert rig.state().state is State.RUNNING
    await rig.second(traffic(100, 30, v2_errors=30))
    assert (rig.state().state, rig.state().weight) == (State.ROLLED_BACK, 0)
    assert rig.state().reason == (
        "guard error_rate above 0.1: 0.5 over 10 s (30 of 60 requests to v2), rollback"
    )
    assert await rig.stored() == rig.state()
    assert await rig.causes() == ["config", "guard:error_rate"]
    last = (await rig.store.transitions())[-1]
    assert (last.actor, last.judgment and last.judgment.verdict) == ("controller", Verdict.FAIL)


async def test_after_a_rollback_old_evidence_is_not_held_against_a_new_start() -> None:
    rig = await Rig.opened({"percentage": 30, "guards": [ROLLBACK_GUARD]})
    await rig.second(traffic(100, 30, v2_errors=30))
    rig.evidence.happened(traffic(30, 30, v2_errors=30))  # was under way
    await rig.ask(Verb.SET, 30_000)
    await rig.second()
    await rig.second(traffic(100, 30))
    assert (rig.state().state, rig.state().weight) == (State.RUNNING, 30_000)


async def test_phases_pass_one_after_the_other_to_the_end() -> None:
    rig = await Rig.opened({"phases": [CANARY, HALF]})
    assert (await rig.ask(Verb.START)).phase == "canary"
    for _ in range(9):
        await rig.second(traffic(100, 2))
    assert rig.state().phase == "canary", "18 requests are enough, 9 s are not"
    await rig.second()
    assert (rig.state().phase, rig.state().weight) == ("half", 50_000)
    for _ in range(10):
        await rig.second(traffic(100, 50))
    assert (rig.state().state, rig.state().weight) == (State.COMPLETED, 50_000)
    assert await rig.causes() == ["config", "command:start", "phase:canary", "phase:half"]


async def test_after_a_pause_a_phase_takes_its_time_anew_and_keeps_its_evidence() -> None:
    rig = await Rig.opened({"phases": [CANARY, HALF], "autostart": True})
    for _ in range(9):
        await rig.second(traffic(100, 2))
    await rig.ask(Verb.PAUSE)
    for _ in range(9):
        await rig.second(traffic(100, 2))
    assert rig.state().phase == "canary"
    await rig.ask(Verb.RESUME)
    for _ in range(9):
        await rig.second()
    assert rig.state().phase == "canary", "what was paused is no time of the phase"
    await rig.second()
    assert rig.state().phase == "half"


async def test_a_restart_in_a_phase_keeps_its_time_but_needs_new_evidence() -> None:
    rig = await Rig.opened({"phases": [CANARY, HALF], "autostart": True})
    for _ in range(8):
        await rig.second(traffic(100, 2))
    again = rig.restarted()
    again.clock.advance(10)
    await again.controller.open()
    await again.second(traffic(100, 2))
    assert again.state().phase == "canary"
    assert again.controller.report("default").judgment.reasons == ("phase canary: 2 of 10 requests",)
    await again.second(traffic(100, 8))
    assert again.state().phase == "half"


async def test_a_clock_that_was_set_back_does_not_lengthen_a_phase() -> None:
    rig = await Rig.opened({"phases": [CANARY, HALF], "autostart": True})
    again = rig.restarted()
    again.clock._wall -= 1_000_000
    await again.controller.open()
    for _ in range(10):
        await again.second(traffic(100, 2))
    assert again.state().phase == "half"


async def test_an_alert_is_recorded_when_it_begins_and_when_it_ends() -> None:
    rig = await Rig.opened({"percentage": 30, "guards": [ALERT_GUARD]})
    await rig.second(traffic(100, 30, v2_errors=3))
    await rig.second(traffic(100, 30, v2_errors=3))
    assert await rig.causes() == ["config", "alert:error_rate"]
    for _ in range(11):
        await rig.second(traffic(100, 30))
    assert await rig.causes() == ["config", "alert:error_rate", "alert-resolved:error_rate"]
    began, ended = (await rig.store.transitions())[1:]
    assert began.reason == "guard error_rate above 0.05: 0.1 over 10 s (3 of 30 requests to v2), alert"
    assert ended.reason == "guard error_rate above 0.05: no longer, alert resolved"
    assert began.judgment is not None
    assert rig.state().revision == 1


async def test_an_alert_ends_with_the_traffic_it_was_about() -> None:
    rig = await Rig.opened({"percentage": 30, "guards": [ALERT_GUARD]})
    await rig.second(traffic(100, 30, v2_errors=3))
    await rig.ask(Verb.ROLLBACK)
    await rig.second()
    assert await rig.causes() == [
        "config",
        "alert:error_rate",
        "command:rollback",
        "alert-resolved:error_rate",
    ]


async def test_health_reaches_the_guards() -> None:
    guard = {"metric": "health", "below": 0.5, "action": "pause"}
    rig = await Rig.opened({"percentage": 30, "guards": [guard]})
    rig.endpoints.healthy[Path.V2, "http://127.0.0.1:9002"] = False
    await rig.second()
    assert (rig.state().state, rig.state().weight) == (State.PAUSED, 30_000)


async def test_trouble_with_one_rollout_keeps_no_other_from_its_rollback(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = {"percentage": 30, "guards": [ROLLBACK_GUARD]}
    rig = await Rig.opened({"name": "a", **guarded}, {"name": "b", "routes": [{"prefix": "/b"}], **guarded})

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(rig.controller._watches["a"], "decide", fail)
    rig.evidence.happened(traffic(100, 30, v2_errors=30), 0)
    await rig.second(traffic(100, 30, v2_errors=30), 1)
    assert (rig.state("a").weight, rig.state("b").weight) == (30_000, 0)
    judgment = rig.controller.report("a").judgment
    assert judgment.verdict is Verdict.HOLD
    assert "a bug" in judgment.reasons[0]
    assert "a: cannot be judged" in caplog.text


async def test_evidence_that_one_rollout_cannot_take_in_reaches_the_others(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = {"percentage": 30, "guards": [ROLLBACK_GUARD]}
    rig = await Rig.opened({"name": "a", **guarded}, {"name": "b", "routes": [{"prefix": "/b"}], **guarded})

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(rig.controller._watches["a"], "observe", fail)
    await rig.second(traffic(100, 30, v2_errors=30), 1)
    assert rig.state("b").weight == 0
    assert "a: what was seen of it is lost" in caplog.text


async def test_evidence_that_cannot_be_drained_delays_no_rollback(caplog: pytest.LogCaptureFixture) -> None:
    rig = await Rig.opened({"percentage": 30})
    rig.evidence.failure = RuntimeError("no recorder")
    with pytest.raises(RuntimeError, match="no recorder"):
        await rig.controller.tick()
    assert (await rig.ask(Verb.ROLLBACK)).weight == 0
    assert await rig.stored() == rig.state()
    assert "is lost" in caplog.text


async def test_the_log_tells_every_move_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dualpath.control")
    rig = await Rig.opened({"percentage": 30})
    await rig.ask(Verb.SET, 60_000, reason="looks good")
    await rig.ask(Verb.ROLLBACK, reason="no")
    assert [record.getMessage() for record in caplog.records] == [
        "default: running at 30 %, configured",
        "default: running at 60 % by tess: looks good",
        "default: rolled_back at 0 % by tess: no",
    ]


# ... for people


async def test_a_report_is_the_state_the_judgment_and_two_readings() -> None:
    rig = await Rig.opened({"percentage": 30})
    rig.endpoints.healthy[Path.V2, "http://127.0.0.1:9002"] = True
    rig.endpoints.breakers["default"] = "open"
    await rig.second(traffic(100, 30))
    for _ in range(60):
        await rig.second()
    await rig.second(traffic(10, 1))
    report = rig.controller.report("default")
    assert rig.controller.reports() == [report]
    assert report.state == rig.state()
    assert (report.total.client_requests, report.total.window_s) == (110, 62.0)
    assert (report.recent.client_requests, report.recent.window_s) == (10, 60.0)
    assert report.recent.observed_percentage == 10.0
    assert report.judgment.reasons == ("fixed split",)
    assert (report.breaker, report.endpoints[0].url) == ("open", "http://127.0.0.1:9002")


async def test_a_pulse_has_the_counts_of_a_report_and_the_latencies_of_the_last_minute_alone() -> None:
    rig = await Rig.opened({"percentage": 30}, {"name": "other", "routes": [{"prefix": "/other"}]})
    await rig.second(traffic(100, 30))
    pulse, other = rig.controller.pulses()
    report = rig.controller.report("default")
    assert pulse.state == rig.state()
    assert pulse.recent == report.recent
    assert pulse.total.v2.requests == report.total.v2.requests > 0
    assert pulse.total.v1.errors == report.total.v1.errors
    assert pulse.total.client_requests == 100
    assert pulse.total.v2.latency.max == 0.0
    assert (other.state.name, other.total.client_requests) == ("other", 0)
    assert rig.controller.judgment("default") == report.judgment
    with pytest.raises(UnknownRollout):
        rig.controller.judgment("nothing")


async def test_a_report_before_the_first_tick_says_so() -> None:
    rig = await Rig.opened()
    report = rig.controller.report("default")
    assert (report.judgment.verdict, report.judgment.reasons) == (Verdict.HOLD, ("no judgment yet",))
    assert report.recent.window_s == 0.0
    with pytest.raises(UnknownRollout):
        rig.restarted().controller.report("default")


async def test_events_and_explanations_are_passed_on() -> None:
    rig = await Rig.opened({"percentage": 30})
    await rig.ask(Verb.SET, 40_000)
    assert [e.seq for e in await rig.controller.events(after=1)] == [2]
    assert list(await rig.controller.events(rollout="nobody")) == []
    said = rig.controller.explain(key="ada", host="h", path="/p", method="GET", rollout="default")
    assert said.rule == "bucket >= weight"
    assert rig.router.asked == [
        {"key": "ada", "host": "h", "path": "/p", "method": "GET", "rollout": "default"}
    ]


async def test_closing_closes_the_store() -> None:
    rig = await Rig.opened()
    assert rig.store.is_open
    await rig.controller.close()
    assert not rig.store.is_open


async def test_a_controller_says_what_it_is() -> None:
    rig = await Rig.opened({"percentage": 30})
    assert repr(rig.controller) == "Controller(RolloutView(default: running 30 %), Ledger(0 waiting))"
    assert repr(rig.controller._watches["default"]) == "RolloutWatch(default, hold, alerts [])"
