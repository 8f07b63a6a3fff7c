"""`dualpath why`: where a rollout stands, what it waits for, and what was decided, each with its numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from proxy.admin.views import event_view, rollout_view
from proxy.admin_client import AdminApiError
from proxy.cli import main
from proxy.judgment import EvidenceReading, Judgment, Verdict
from proxy.model import Event, RolloutReport, Snapshot, Transition
from proxy.why_text import why_text
from tests.admin.builders import EVENT, RUNNING, V2
from tests.fake_admin import FakeOutside, through_json
from tests.test_rendering import printed

WAITING = Judgment(
    Verdict.HOLD,
    ("phase half: 7m more in this phase", "phase half: 412 more requests to v2"),
    evidence=(
        EvidenceReading("errors", 1.234, 4.605, against=True, text="2 of 310 beside 5 of 800"),
        EvidenceReading("errors", 2.0, 2.996, against=False),
        EvidenceReading("latency", 0.001, 4.605, against=True),
    ),
    missing=("7m more in this phase", "412 more requests to v2"),
    eta_s=425.0,
)

RECENT = Snapshot(window_s=59.8827, v2=replace(V2, requests=300))


def told(judgment: Judgment, *events: Event, everything: bool = True) -> list[str]:
    report = RolloutReport(RUNNING, judgment, total=Snapshot(), recent=RECENT)
    rollout: dict[str, Any] = through_json(rollout_view(report))
    decisions = [through_json(event_view(event)) for event in events]
    document = {"why": [{"rollout": rollout, "decisions": decisions}]}
    return printed(why_text(document, everything=everything)).splitlines()


def in_short(judgment: Judgment, *events: Event) -> list[str]:
    return told(judgment, *events, everything=False)


def test_in_short_it_is_where_it_stands_what_it_waits_for_what_decides_and_what_was_decided() -> None:
    assert in_short(WAITING, EVENT) == [
        "default: running at 30%, phase half, revision 4",
        "  since     2026-01-01 00:00:00Z, because: why",
        "  now       hold",
        "  waits for 7m more in this phase",
        "            412 more requests to v2",
        "  takes     about 7m 5s more at the present rate",
        "  figures   errors 20 % of 300 of v2, none seen of v1; p95 80 ms, - (last 60 s)",
        "            against v2, nearest: errors 1.23 of 4.61 needed to act",
        "            for v2, farthest: errors 2 of 3 needed to go on",
        "  decided   #9 2026-01-01 00:01:01Z  30% half -> 0% rolled_back  by controller: too many",
    ]


def test_in_short_the_guards_that_are_crossed_are_told() -> None:
    (crossed,) = EVENT.transition.judgment.readings if EVENT.transition.judgment else ()
    fine = replace(crossed, guard="health", crossed=False, firing=False)
    quiet = replace(crossed, guard="slow", firing=False, value=None)
    lines = in_short(Judgment(Verdict.FAIL, ("too many",), readings=(crossed, fine, quiet)))
    assert lines[2] == "  now       fail: too many"
    assert lines[4:] == [
        "            guard error_rate above 0.1 fires: 0.3, limit 0.1, 200 requests",
        "            guard slow is crossed: -, limit 0.1, 200 requests",
    ]


def test_in_short_nothing_is_longer_than_a_glance() -> None:
    many = Judgment(missing=tuple(f"{n} " + "word " * 100 for n in range(9)))
    alert = Event(10, Transition(RUNNING, RUNNING, "alert:health", "slow " * 100, "controller", 0.0))
    lines = in_short(many, EVENT, alert)
    assert max(map(len, lines)) <= 12 + 160
    assert lines[6] == "            and 6 more: dualpath why --all"
    assert lines[-1].startswith(
        "            #10 1970-01-01 00:00:00Z  stayed 30% half  by controller: slow slow"
    )
    assert lines[-1].endswith("s…")


def test_in_short_words_of_others_cannot_steer_the_terminal() -> None:
    lines = in_short(Judgment(reasons=("\x1b[2J",), missing=("\x07",)), EVENT)
    assert not any("\x1b" in line or "\x07" in line for line in lines)


def test_why_tells_all_if_asked(capsys: pytest.CaptureFixture[str]) -> None:
    outside = FakeOutside()
    assert main(["why", "--all"], outside=outside.build()) == 0
    full = capsys.readouterr().out
    assert main(["why"], outside=outside.build()) == 0
    short = capsys.readouterr().out
    assert len(short.splitlines()) < len(full.splitlines())
    assert "guard error_rate above 0.1: 0.3, limit 0.1" in full
    assert "guard error_rate above 0.1: 0.3, limit 0.1" not in short


def test_what_it_waits_for_stands_under_where_it_is() -> None:
    assert told(WAITING) == [
        "default: running at 30%, phase half, revision 4",
        "  since     2026-01-01 00:00:00Z, because: why",
        "  now       hold: something is missing",
        "  waits for 7m more in this phase",
        "            412 more requests to v2",
        "  takes     about 7m 5s more at the present rate",
        "  evidence  errors, v2 is worse: 1.23 of 4.61 needed: 2 of 310 beside 5 of 800",
        "            errors, v2 is as good: 2 of 3 needed",
    ]


def test_a_decision_has_its_numbers() -> None:
    lines = told(Judgment(), EVENT)
    assert lines[2:] == [
        "  now       hold: -",
        "  decided   #9 2026-01-01 00:01:01Z: running at 30%, phase half -> rolled_back at 0%",
        "            guard:error_rate by controller: too many",
        "            - guard error_rate above 0.1: 0.3",
        "            - guard error_rate above 0.1: 0.3, limit 0.1, 200 requests",
        "            - errors, v2 is worse: 4.7 of 4.61 needed: 60 of 200",
    ]


def test_what_the_reason_says_is_not_said_again() -> None:
    same = replace(EVENT, transition=replace(EVENT.transition, reason="guard error_rate above 0.1: 0.3"))
    assert sum("guard error_rate above 0.1: 0.3" in line for line in told(Judgment(), same)) == 2


def test_several_decisions_share_one_heading_and_events_say_that_nothing_moved() -> None:
    alert = Event(10, Transition(RUNNING, RUNNING, "alert:health", "", "controller", 0.0))
    lines = told(Judgment(), EVENT, alert)
    assert lines[-2:] == [
        "            #10 1970-01-01 00:00:00Z: stayed running at 30%, phase half",
        "            alert:health by controller",
    ]


def test_words_of_others_cannot_steer_the_terminal() -> None:
    lines = told(Judgment(reasons=("\x1b[2J",), missing=("\x07",), evidence=(), eta_s=None))
    assert not any("\x1b" in line or "\x07" in line for line in lines)


def test_why_asks_for_every_rollout(capsys: pytest.CaptureFixture[str]) -> None:
    outside = FakeOutside("a", "b")
    assert main(["why"], outside=outside.build()) == 0
    assert outside.admin.asked == ["status", (200, "a"), (200, "b")]
    out = capsys.readouterr().out
    assert out.count("decided   #9") == 2
    assert "\n\nb: running" in out


@pytest.mark.parametrize("options", [(), ("--all",)])
def test_why_says_where_it_stands_without_the_store_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    outside = FakeOutside("a", "b")

    async def events(**asked: object) -> object:
        raise AdminApiError("state.db: is read-only")

    monkeypatch.setattr(outside.admin, "events", events)
    assert main(["why", *options], outside=outside.build()) == 0
    out = capsys.readouterr().out
    assert "b: running" in out
    assert out.count("  decided   not to be had: state.db: is read-only\n") == 2


def test_why_of_one_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    outside = FakeOutside("a", "b")
    assert main(["why", "--name", "b", "--limit", "1", "--json"], outside=outside.build()) == 0
    assert outside.admin.asked == ["status", (200, "b")]
    assert '"why"' in capsys.readouterr().out


def test_why_of_one_that_is_not_there_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["why", "--name", "c"], outside=FakeOutside("a").build()) == 1
    assert "there is no rollout 'c'" in capsys.readouterr().err


def test_of_evidence_that_weighs_nothing_the_heaviest_is_told() -> None:
    light = [EvidenceReading(f"test{n}", 0.001 * n, 4.6, against=True) for n in (1, 3, 2)]
    lines = told(Judgment(evidence=(*light, EvidenceReading("none", float("inf"), 0.0, against=False))))
    assert lines[3:] == [
        "  evidence  test3, v2 is worse: 0.003 of 4.6 needed",
        "            none, v2 is as good: - of 0 needed",
    ]
