"""What each sink makes of a message, and which it gets."""

from __future__ import annotations

import hmac
import logging
from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from proxy.config.alerts import Hook, Sink
from proxy.core.notice import Notice, NoticeKind, Severity, of_store
from proxy.telemetry.alerts.mail import written
from proxy.telemetry.alerts.sinks import Chosen, HookSink, LogSink, PagerDutySink, SlackSink, WebhookSink
from tests.fakes import FakeClock
from tests.telemetry.alerts.notices import FIRING, PHASE, ROLLBACK, Posted, message

URL = "http://127.0.0.1:9/hook"


def table(kind: str = "webhook", **more: Any) -> Sink:
    return Sink.read({"name": "ops", "kind": kind, "url": URL, **more})


# ... who gets what


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, True),
        ({"severity": "critical"}, True),
        ({"on": ["rollback", "abort"]}, True),
        ({"on": ["store"]}, False),
        ({"rollouts": ["sh*"]}, True),
        ({"rollouts": ["search"]}, False),
    ],
)
def test_a_sink_gets_what_its_table_says(more: dict[str, Any], wanted: bool) -> None:
    assert Chosen(table(**more)).wants(ROLLBACK) is wanted


def test_a_severity_is_the_least() -> None:
    assert not Chosen(table(severity="warning")).wants(PHASE)
    assert Chosen(table(severity="warning")).wants(ROLLBACK)


def test_what_concerns_the_whole_process_comes_whatever_the_rollouts() -> None:
    assert Chosen(table(rollouts=["search"])).wants(of_store("the disk is full", 7.0))


# ... the log


@pytest.mark.parametrize(
    ("severity", "level"), [("info", logging.INFO), ("warning", logging.WARNING), ("critical", logging.ERROR)]
)
async def test_the_log_has_one_line_at_the_level_of_its_severity(
    caplog: pytest.LogCaptureFixture, severity: str, level: int
) -> None:
    notice = replace(ROLLBACK, severity=Severity(severity), reason="bad\nvery")
    with caplog.at_level(logging.INFO, "dualpath.alerts"):
        await LogSink(table("log")).send(message(notice))
    (record,) = caplog.records
    assert record.levelno == level
    text = f"alert {severity} event: shop was rolled back from 25 % to 0 %: bad very"
    assert record.getMessage() == text
    assert record.__dict__["notice"]["metric"] == "error_rate"


# ... our own JSON


async def test_a_webhook_is_our_own_json_and_signed() -> None:
    posted, clock = Posted(), FakeClock()
    await WebhookSink(table(), "a secret of people", posted, clock).send(message())
    assert posted.documents == [{**message().fields(), "state": "rolled_back"}]
    (fields,) = posted.fields
    signed = f"m1.{fields['webhook-timestamp']}.".encode() + posted.bodies[0]
    mac = hmac.digest(b"a secret of people", signed, "sha256")
    assert fields["webhook-signature"] == f"v1,{b64encode(mac).decode()}"
    assert fields["webhook-timestamp"] == str(int(clock.wall()))


# ... Slack


async def test_slack_gets_an_attachment_with_every_fact() -> None:
    posted = Posted()
    notice = replace(ROLLBACK, reason="<!channel> & more")
    await SlackSink(table("slack"), posted).send(message(notice))
    (document,) = posted.documents
    (attachment,) = document["attachments"]
    assert document["text"] == "critical: shop was rolled back from 25 % to 0 %"
    assert attachment["text"] == "&lt;!channel&gt; &amp; more"
    assert attachment["color"] == "#d50200"
    fields = {field["title"]: field["value"] for field in attachment["fields"]}
    assert fields["value"] == "0.315"
    assert fields["limit"] == "0.1"
    assert fields["sample"] == "200 requests"
    assert fields["phase"] == "canary → none"
    assert fields["done"] == "rollback by controller"
    assert attachment["ts"] == 1_700_000_000


async def test_slack_shows_what_is_well_in_green() -> None:
    posted = Posted()
    sink = SlackSink(table("slack"), posted)
    for notice in (replace(FIRING, resolved=True), PHASE, FIRING, replace(ROLLBACK, reason="x" * 3_000)):
        await sink.send(message(notice))
    attachments = [document["attachments"][0] for document in posted.documents]
    assert [one["color"] for one in attachments] == ["#2eb886", "#2eb886", "#daa038", "#d50200"]
    assert len(attachments[3]["text"]) == 2_001


# ... PagerDuty


def pagerduty(posted: Posted, **more: Any) -> PagerDutySink:
    return PagerDutySink(table("pagerduty", **more), "R0UT1NGKEY", URL, posted)


async def test_pagerduty_is_triggered_and_resolved_under_one_key() -> None:
    posted = Posted()
    for notice in (FIRING, replace(FIRING, resolved=True)):
        await pagerduty(posted).send(message(notice))
    trigger, resolve = posted.documents
    assert (trigger["routing_key"], trigger["event_action"]) == ("R0UT1NGKEY", "trigger")
    payload = trigger["payload"]
    assert payload["summary"].startswith("shop: errors fires: guard error_rate above 0.1")
    assert (payload["source"], payload["severity"]) == ("host-1", "warning")
    assert (payload["component"], payload["group"], payload["class"]) == ("shop", "rule", "error_rate")
    assert payload["custom_details"]["sample"] == 200
    assert resolve == {
        "routing_key": "R0UT1NGKEY",
        "event_action": "resolve",
        "dedup_key": "dualpath:host-1:rule:shop:errors",
    }
    assert trigger["dedup_key"] == resolve["dedup_key"]


async def test_a_rollback_is_an_incident_until_the_rollout_goes_up_again() -> None:
    posted = Posted()
    for notice in (ROLLBACK, replace(PHASE, kind=NoticeKind.STARTED, revision=9)):
        await pagerduty(posted).send(message(notice))
    trigger, resolve = posted.documents
    assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert trigger["dedup_key"] == resolve["dedup_key"]


@pytest.mark.parametrize(
    ("notice", "wanted"),
    [
        (ROLLBACK, True),
        (replace(ROLLBACK, severity=Severity.INFO), False),
        (PHASE, True),
        (replace(PHASE, rollout="search"), False),
        (replace(FIRING, severity=Severity.CRITICAL), True),
        (FIRING, False),
    ],
)
def test_pagerduty_gets_no_incident_of_what_is_no_trouble(notice: Notice, wanted: bool) -> None:
    assert pagerduty(Posted(), severity="critical", rollouts=["shop"]).wants(notice) is wanted


def test_pagerduty_ends_what_it_was_told_of_whatever_kinds_it_gets() -> None:
    pager = pagerduty(Posted(), on=["rollback"], rollouts=["shop"])
    assert pager.wants(ROLLBACK)
    assert pager.wants(PHASE)
    assert pager.closes(PHASE)
    assert not pager.closes(ROLLBACK)
    assert not pager.wants(replace(PHASE, rollout="search"))
    assert not pager.wants(FIRING)


async def test_what_pagerduty_limits_is_cut() -> None:
    posted = Posted()
    await pagerduty(posted).send(message(replace(FIRING, subject="x" * 400, reason="y" * 4_000)))
    (document,) = posted.documents
    assert len(document["dedup_key"]) == 255
    await pagerduty(posted).send(message(replace(FIRING, subject="x" * 400 + "y")))
    assert posted.documents[1]["dedup_key"] != document["dedup_key"]
    assert len(document["payload"]["summary"]) == 1_024


# ... hooks


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        (NoticeKind.STARTED, "after_promotion"),
        (NoticeKind.PHASE, "after_promotion"),
        (NoticeKind.RAISED, "after_promotion"),
        (NoticeKind.ROLLBACK, "rollback"),
        (NoticeKind.ABORT, "abort"),
        (NoticeKind.COMPLETED, "completion"),
    ],
)
async def test_a_hook_is_told_what_it_is_for(kind: NoticeKind, event: str) -> None:
    posted, notice = Posted(), replace(ROLLBACK, kind=kind)
    sink = HookSink(
        Hook.read({"name": "h", "on": [event], "url": URL, "rollouts": ["sh*"]}), None, posted, FakeClock()
    )
    assert sink.wants(notice)
    assert not sink.wants(replace(notice, rollout="search"))
    assert not sink.wants(replace(notice, kind=NoticeKind.STORE))
    await sink.send(message(notice))
    assert (posted.documents[0]["event"], posted.documents[0]["hook"]) == (event, "h")
    assert "webhook-signature" not in posted.fields[0]
    other = HookSink(Hook.read({"name": "h", "on": ["before_start"], "url": URL}), None, posted, FakeClock())
    assert not other.wants(notice)


# ... mail


def test_a_mail_is_plain_text_that_says_it_is_no_persons() -> None:
    mail = written(
        message(replace(ROLLBACK, rollout="shop\r\nBcc: x@y")), "dualpath@example.com", ("a@b", "c@d")
    )
    assert mail["Subject"] == "[dualpath] critical: shop  Bcc: x@y was rolled back from 25 % to 0 %"
    assert mail["To"] == "a@b, c@d"
    assert mail["Bcc"] is None
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"] == "<m1@dualpath>"
    assert "limit: 0.1" in mail.get_content()


async def test_words_that_are_not_ours_steer_nothing() -> None:
    posted = Posted()
    hostile = message(replace(ROLLBACK, reason="disk\r\nBcc: all@example.com\x1b[2J \ud800<!channel>"))
    await SlackSink(table("slack"), posted).send(hostile)
    await pagerduty(posted).send(hostile)
    chat, pager = posted.documents
    assert chat["attachments"][0]["text"] == "disk  Bcc: all@example.com [2J  &lt;!channel&gt;"
    for told in (pager["payload"]["summary"], pager["payload"]["custom_details"]["reason"]):
        assert told.isprintable()
    mail = written(hostile, "a@example.com", ("b@example.com",)).as_bytes()
    assert b"\nBcc:" not in mail
