"""The desk: what is announced becomes messages, and nobody waits for a sink."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from proxy.core.alert_book import Silence
from proxy.core.notice import NoticeKind, Severity, of_store
from proxy.errors import ConfigError, DualpathError, InvalidCommand, UnknownSilence, UnknownSink
from proxy.telemetry.alerts.desk import AlertDesk
from proxy.telemetry.alerts.outbox import Outbox
from proxy.telemetry.alerts.sinks import Chosen
from tests.fakes import FakeClock
from tests.telemetry.alerts.notices import FIRING, PHASE, ROLLBACK, Posted, config, message

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.core.notice import Notice
    from proxy.telemetry.alerts.message import Message

URL = "http://127.0.0.1:9/"
WEBHOOK = {"name": "ops", "kind": "webhook", "url": f"{URL}ops"}
RULE = {"name": "errors", "metric": "error_rate", "above": 0.1, "window": "120s", "for": "40s"}
GUARD = replace(FIRING, kind=NoticeKind.GUARD, subject="error_rate")
SLACK = {"name": "chat", "kind": "slack", "url": f"{URL}chat", "severity": "critical"}


class Desk:
    """A desk, and what it has sent."""

    def __init__(self, *sinks: dict[str, Any], **tables: Any) -> None:
        self.clock, self.post = FakeClock(), Posted()
        self.counted: list[str] = []
        self.desk = AlertDesk("host-1", self.clock, self.counted.append)
        self.follow(*sinks, **tables)

    def follow(self, *sinks: dict[str, Any], hooks: Any = (), rollouts: Any = (), **alerts: Any) -> None:
        document = {"alerts": {"sinks": list(sinks or [WEBHOOK]), **alerts}, "hooks": list(hooks)}
        document |= {"rollouts": rollouts} if rollouts else {}
        self.desk.follow(self.desk.prepare(config(**document), self.post))

    def is_looking(self) -> bool:
        return self.desk._next_look is not None

    async def announce(self, *notices: Notice) -> list[str]:
        """Announce, and give the titles of what was sent because of it."""
        before = len(self.post.bodies)
        for notice in notices:
            self.desk.announce(notice)
        return await self.sent(before)

    async def sent(self, before: int = 0) -> list[str]:
        for _ in range(10):
            await asyncio.sleep(0)
        return [document.get("title", document.get("text")) for document in self.post.documents[before:]]


async def test_every_sink_gets_what_it_wants() -> None:
    desk = Desk(WEBHOOK, SLACK)
    await desk.announce(PHASE, ROLLBACK)
    assert sorted(url.removeprefix(URL) for url in desk.post.urls) == ["chat", "ops", "ops"]
    assert desk.counted == ["alerts.sent"] * 3
    await desk.desk.close()


async def test_what_lasts_is_sent_once_and_again_after_a_while_until_it_is_over() -> None:
    desk = Desk(repeat="1h")
    assert await desk.announce(FIRING, FIRING) == ["shop: errors fires"]
    desk.clock.advance(3_600)
    desk.desk.look()
    assert len(await desk.sent()) == 2
    assert [document["repeated"] for document in desk.post.documents] == [False, True]
    assert await desk.announce(replace(FIRING, resolved=True)) == ["shop: errors is over"]
    desk.clock.advance(3_600)
    desk.desk.look()
    assert len(await desk.sent()) == 3
    await desk.desk.close()


async def test_a_silence_holds_back_what_it_covers_until_it_ends() -> None:
    desk = Desk()
    now = desk.clock.wall()
    desk.desk.silence(Silence("s1", now, now + 60, ("errors", "rollback"), actor="tess"))
    assert await desk.announce(FIRING, ROLLBACK, PHASE) == ["shop entered phase half, from 25 % to 50 %"]
    (active,) = desk.desk.report().active
    assert active[1] is not None
    assert active[1].id == "s1"
    desk.clock.advance(60)
    desk.desk.look()
    assert (await desk.sent())[1:] == ["shop: errors fires"]
    await desk.desk.close()


async def test_a_silence_can_be_ended_and_one_of_the_configuration_cannot() -> None:
    desk = Desk(silences=[{"from": "2020-01-01T00:00:00Z", "until": "2030-01-01T00:00:00Z"}])
    now = desk.clock.wall()
    assert await desk.announce(ROLLBACK) == []
    desk.desk.silence(Silence("s1", now, now + 60))
    assert [one.id for one in desk.desk.report().silences] == ["config-0", "s1"]
    assert desk.desk.unsilence("s1", "tess").id == "s1"
    for unknown in ("s1", "config-0"):
        with pytest.raises(UnknownSilence):
            desk.desk.unsilence(unknown, "tess")


async def test_silences_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, now = Desk(), FakeClock().wall()
    monkeypatch.setattr("proxy.core.alert_book.MOST_SILENCES", 1)
    desk.desk.silence(Silence("s1", now, now + 60))
    with pytest.raises(InvalidCommand):
        desk.desk.silence(Silence("s2", now, now + 60))


async def test_hooks_are_told_whatever_is_silenced() -> None:
    hook = {"name": "h", "on": ["rollback"], "url": f"{URL}hook"}
    desk = Desk(hooks=[hook], silences=[{"from": "2020-01-01T00:00:00Z", "until": "2030-01-01T00:00:00Z"}])
    await desk.announce(ROLLBACK, PHASE)
    assert desk.post.urls == [f"{URL}hook"]
    assert desk.counted == ["hooks.sent"]


async def test_a_sink_that_fails_is_counted_and_logged_once_and_so_is_its_return(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk()
    desk.post.failure = DualpathError("answered 503")
    await desk.announce(ROLLBACK, PHASE)
    assert desk.counted == ["alerts.failed"] * 2
    (report,) = desk.desk.report().sinks
    assert (report.sent, report.failed, report.trouble) == (0, 2, "answered 503")
    desk.post.failure = None
    await desk.announce(ROLLBACK)
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]
    assert desk.desk.report().sinks[0].trouble == ""


async def test_a_test_goes_to_all_or_to_one_past_queues_and_silences() -> None:
    desk = Desk(WEBHOOK, SLACK, silences=[{"from": "2020-01-01T00:00:00Z", "until": "2030-01-01T00:00:00Z"}])
    assert [(one.name, one.trouble) for one in await desk.desk.test("tess", "info", "hi")] == [
        ("ops", ""),
        ("chat", ""),
    ]
    desk.post.failure = DualpathError("answered 404")
    (trial,) = await desk.desk.test("tess", "info", "hi", "chat")
    assert trial.trouble == "answered 404"
    assert desk.counted == []
    with pytest.raises(UnknownSink):
        await desk.desk.test("tess", "info", "hi", "nobody")


async def test_a_test_has_its_own_limit_so_that_a_sink_can_say_what_is_wrong() -> None:
    desk = Desk(WEBHOOK, SLACK, {"name": "pager", "kind": "pagerduty", "secret": "R0UT1NGKEY012345"})
    await desk.announce(ROLLBACK)
    await desk.desk.test("tess", "info", "hi")
    assert desk.post.limits == [30.0] * 3 + [8.0] * 3


async def test_a_reload_sends_by_the_new_sinks_and_what_lasts_goes_on() -> None:
    desk = Desk()
    assert await desk.announce(FIRING) == ["shop: errors fires"]
    desk.follow({**WEBHOOK, "url": f"{URL}other"})
    assert await desk.announce(FIRING) == []
    assert await desk.announce(replace(FIRING, resolved=True)) == ["shop: errors is over"]
    assert desk.post.urls == [f"{URL}ops", f"{URL}other"]


async def test_a_reload_keeps_what_waits_and_what_was_counted() -> None:
    desk, sink = Desk(), Hanging()
    await desk.announce(ROLLBACK)
    desk.desk._sinks[0].sink = sink
    desk.desk.announce(ROLLBACK)
    await desk.sent()
    desk.desk.announce(PHASE)
    desk.follow({**WEBHOOK, "url": f"{URL}other"})
    (report,) = desk.desk.report().sinks
    assert (report.sent, report.waiting) == (1, 1)
    sink.released.set()
    await desk.sent()
    assert [len(sink.taken), *desk.post.urls] == [1, f"{URL}ops", f"{URL}other"]
    assert desk.desk.report().sinks[0].sent == 3
    await desk.desk.close()


async def test_a_callback_that_hangs_is_not_called_again_by_a_reload() -> None:
    own = {"name": "own", "kind": "callback", "call": "builtins:print", "timeout": "10ms"}
    desk, release = Desk(own), threading.Event()
    desk.desk._sinks[0].sink._function = lambda _: release.wait(5)  # type: ignore[attr-defined]
    desk.desk.announce(ROLLBACK)
    await desk.desk._sinks[0].close(5.0)
    desk.follow(own)
    (trial,) = await desk.desk.test("tess", "info", "")
    assert trial.trouble == "has not returned from the call before"
    release.set()


async def test_a_silence_leaves_no_incident_open() -> None:
    pager = {"name": "pager", "kind": "pagerduty", "secret": "R0UT1NGKEY012345", "url": f"{URL}pager"}
    desk = Desk(WEBHOOK, pager)
    await desk.announce(ROLLBACK)
    now = desk.clock.wall()
    desk.desk.silence(Silence("s1", now, now + 60, actor="tess"))
    await desk.announce(PHASE, ROLLBACK)
    assert [one.get("event_action") for one in desk.post.documents].count("resolve") == 1
    assert [one.removeprefix(URL) for one in desk.post.urls] == ["ops", "pager", "pager"]


# ... from another process, and to one


async def test_another_process_goes_on_with_what_lasts() -> None:
    before, after = Desk(repeat="1h"), Desk(repeat="1h", rules=[RULE])
    await before.announce(FIRING)
    after.desk.adopt(before.desk.hand_over())
    before.clock.advance(3_600)
    before.desk._look_later()
    assert not before.is_looking()
    assert await after.announce(FIRING) == []
    assert await after.announce(replace(FIRING, resolved=True)) == ["shop: errors is over"]
    before.desk.take_back()
    assert before.is_looking()
    before.desk.look()
    assert len(await before.sent()) == 2
    await before.desk.close()
    await after.desk.close()


@pytest.mark.parametrize(("notice", "good_for_s"), [(FIRING, 220), (GUARD, 160), (of_store("gone", 7.0), 60)])
async def test_what_does_not_show_here_is_over_once_it_would_have(notice: Notice, good_for_s: int) -> None:
    guard = {"metric": "error_rate", "above": 0.1, "window": "100s", "action": "alert"}
    before, after = Desk(), Desk(rules=[RULE], rollouts=[{"name": "shop", "guards": [guard]}])
    await before.announce(notice)
    after.desk.adopt(before.desk.hand_over())
    after.clock.advance(good_for_s - 1)
    after.desk.look()
    assert await after.sent() == []
    after.clock.advance(1)
    after.desk.look()
    assert len(await after.sent()) == 1
    assert after.post.documents[0]["status"] == "resolved"
    assert after.desk.report().active == ()
    await before.desk.close()


async def test_a_reload_that_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    desk = Desk()
    with pytest.raises(ConfigError, match=r"alerts\.sinks\.0\.secret_file: .* cannot be read"):
        desk.follow({**WEBHOOK, "secret_file": str(tmp_path / "none")})
    with pytest.raises(ConfigError, match=r"alerts\.sinks\.0\.call"):
        desk.follow({"name": "own", "kind": "callback", "call": "no.such:thing"})
    assert len(await desk.announce(ROLLBACK)) == 1


async def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a secret of people\n")
    desk = Desk({**WEBHOOK, "secret_file": str(tmp_path / "secret")})
    await desk.announce(ROLLBACK)
    assert desk.post.fields[0]["webhook-signature"].startswith("v1,")


async def test_the_log_is_the_only_sink_unless_others_are_given() -> None:
    desk = AlertDesk("host-1", FakeClock())
    desk.follow(desk.prepare(config(), Posted()))
    assert [one.kind for one in desk.report().sinks] == ["log"]
    assert "1 active" not in repr(desk)


# ... the end, and sinks that hang


class Hanging(Chosen):
    """A sink that takes nothing, until it is released."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.taken: list[Message] = []

    def wants(self, notice: Notice) -> bool:
        return True

    async def send(self, message: Message) -> None:
        await self.released.wait()
        self.taken.append(message)


async def test_the_queue_is_bounded_and_drops_the_oldest() -> None:
    sink, counted = Hanging(), list[str]()
    outbox = Outbox("ops", "webhook", sink, counted.append, most=2)
    numbered = [message(replace(ROLLBACK, revision=number)) for number in range(5)]
    outbox.put(numbered[0])
    await asyncio.sleep(0)  # it is under way
    for one in numbered[1:]:
        outbox.put(one)
    assert (outbox.report().waiting, outbox.report().dropped) == (2, 2)
    sink.released.set()
    await outbox.close(1.0)
    assert [one.notice.revision for one in sink.taken] == [0, 3, 4]
    assert counted == ["dropped", "dropped", "sent", "sent", "sent"]


async def test_the_end_waits_for_a_moment_and_counts_what_is_lost() -> None:
    sink = Hanging()
    outbox = Outbox("ops", "webhook", sink, lambda _: None)
    for _ in range(3):
        outbox.put(message())
    await outbox.close(0.01)
    assert (outbox.report().dropped, outbox.is_busy) == (3, False)
    assert "0 waiting" in repr(outbox)


async def test_a_trial_of_a_sink_that_hangs_ends() -> None:
    trial = await Outbox("ops", "webhook", Hanging(), lambda _: None).trial(message(), 0.01)
    assert trial.trouble == "has not taken it within 0.01 s"
    assert 0.01 <= trial.seconds < 2.0


async def test_what_a_sink_raises_that_is_no_refusal_is_logged_and_the_queue_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk()

    async def break_down(*_: object) -> None:
        raise ZeroDivisionError

    desk.desk._sinks[0].sink.send = break_down  # type: ignore[method-assign,assignment]
    await desk.announce(ROLLBACK, PHASE)
    assert desk.counted == ["alerts.failed"] * 2
    assert "ZeroDivisionError" in caplog.text


async def test_sinks_that_a_reload_leaves_behind_finish_and_do_not_outlive_the_desk() -> None:
    desk = Desk()
    (old,) = desk.desk._sinks
    sink = old.sink = Hanging()
    desk.desk.announce(ROLLBACK)
    desk.follow(SLACK)
    await asyncio.sleep(0)
    assert old.is_busy
    sink.released.set()
    await desk.sent()
    assert len(sink.taken) == 1
    desk.desk._sinks[0].sink = Hanging()
    desk.desk.announce(of_store("gone", 7.0))
    (hanging,) = desk.desk._sinks
    desk.follow({"name": "log", "kind": "log"})
    await desk.desk.close(0.01)
    assert not hanging.is_busy
    assert Severity.CRITICAL in {alert.notice.severity for alert, _ in desk.desk.report().active}
