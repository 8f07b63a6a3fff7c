"""`dualpath alerts`: what it asks, and how it shows the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from proxy.cli import main
from tests.fake_admin import SILENCE, FakeOutside

if TYPE_CHECKING:
    Captured = pytest.CaptureFixture[str]

ACTIVE: dict[str, Any] = {
    "key": "rule:shop:errors",
    "kind": "rule",
    "severity": "warning",
    "rollout": "shop",
    "subject": "errors",
    "reason": "error_rate is 0.2\x1b[2J",
    "since": "2026-01-01T00:00:00.000Z",
    "sent_at": None,
    "silence": None,
    "metric": "error_rate",
    "value": 0.2,
    "limit": 0.1,
    "sample": 100,
}
SINK = {"name": "ops", "kind": "webhook", "sent": 3, "failed": 1, "dropped": 0, "waiting": 2, "trouble": None}


def run(outside: FakeOutside, *arguments: str) -> int:
    return main(["alerts", *arguments], outside=outside.build())


def test_show_has_a_line_for_each_alert_silence_and_sink(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    outside = FakeOutside()
    silenced = {**ACTIVE, "rollout": None, "subject": "busy", "silence": "5f3a"}
    sent = {**ACTIVE, "subject": "slow", "sent_at": "2026-01-01T00:00:01.000Z"}
    broken = {**SINK, "name": "chat", "trouble": "answered 503", "waiting": 0}
    outside.admin.alerting = {
        "active": [ACTIVE, silenced, sent],
        "silences": [SILENCE],
        "sinks": [SINK, broken],
    }
    assert run(outside, "show") == 0
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert any(line.startswith("warning shop errors ") and "- error_rate is 0.2" in line for line in lines)
    assert any("busy" in line and "silenced by 5f3a" in line for line in lines)
    assert any(line.startswith("5f3a * of *") for line in lines)
    assert "ops webhook 3 1 0 well, 2 waiting" in lines
    assert "chat webhook 3 1 0 answered 503" in lines
    assert "\x1b" not in out


def test_show_without_anything(capsys: Captured) -> None:
    outside = FakeOutside()
    assert run(outside, "show") == 0
    assert "no alert is active" in capsys.readouterr().out
    assert run(outside, "show", "--json") == 0
    assert '"sinks": []' in capsys.readouterr().out


@pytest.mark.parametrize(("taken", "code"), [(True, 0), (False, 1)])
def test_test_says_whether_it_was_taken(taken: bool, code: int, capsys: Captured) -> None:
    outside = FakeOutside()
    trouble = None if taken else "answered 404"
    outside.admin.trials = [
        {"name": "ops", "kind": "webhook", "taken": taken, "trouble": trouble, "seconds": 0.123}
    ]
    assert run(outside, "test", "--sink", "ops", "--severity", "critical", "--reason", "try") == code
    assert outside.admin.asked == [("test_alerts", {"severity": "critical", "sink": "ops", "reason": "try"})]
    out = capsys.readouterr().out
    assert out == f"ops (webhook): {'taken in 0.12 s' if taken else 'answered 404'}\n"


def test_silence_names_what_it_is_of(capsys: Captured) -> None:
    outside = FakeOutside()
    arguments = [
        "--for",
        "2h",
        "--alert",
        "errors",
        "--alert",
        "store",
        "--rollout",
        "shop-*",
        "--reason",
        "x",
    ]
    assert run(outside, "silence", *arguments) == 0
    body = {"expires_in": "2h", "alerts": ["errors", "store"], "rollouts": ["shop-*"], "reason": "x"}
    assert outside.admin.asked == [("silence", body)]
    assert capsys.readouterr().out.startswith("5f3a: errors store of shop-* silenced until ")


def test_silence_needs_to_know_how_long(capsys: Captured) -> None:
    outside = FakeOutside()
    assert run(outside, "silence") == 2
    assert run(outside, "silence", "--for", "long") == 2
    assert "must be a duration" in capsys.readouterr().err
    assert outside.admin.asked == []


def test_unsilence_ends_one(capsys: Captured) -> None:
    outside = FakeOutside()
    assert run(outside, "unsilence", "5f3a") == 0
    assert capsys.readouterr().out == "5f3a: * of * silenced no longer\n"
    assert run(outside, "unsilence", "5f3a", "--reason", "all is well") == 0
    assert outside.admin.asked == [("unsilence", "5f3a", ""), ("unsilence", "5f3a", "all is well")]
