"""What people and their tools read of a notice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.core.notice import Notice, NoticeKind, Severity, of_store, of_test, of_worker
from proxy.telemetry.alerts.message import figure, instant, one_line
from tests.telemetry.alerts.notices import FIRING, PHASE, ROLLBACK, message


def test_the_text_carries_value_limit_sample_rollout_phase_and_what_was_done() -> None:
    assert message().text.splitlines() == [
        "shop was rolled back from 25 % to 0 %",
        "guard error_rate above 0.1: 0.315 over 60 s (63 of 200 requests to v2), rollback",
        "rollout: shop",
        "phase: canary → none",
        "share of v2: 25 % → 0 %",
        "metric: error_rate",
        "value: 0.315",
        "limit: 0.1",
        "sample: 200 requests",
        "done: rollback by controller",
        "traces: 4bf92f3577b34da6a3ce929d0e0e4736",
        "instance: host-1",
    ]


def test_what_there_is_not_is_not_told() -> None:
    names = [name for name, _ in message(of_store("the disk is full", 7.0)).facts()]
    assert names == ["done", "instance"]


@pytest.mark.parametrize(
    ("notice", "title"),
    [
        (replace(PHASE, kind=NoticeKind.STARTED), "shop started at 50 %"),
        (PHASE, "shop entered phase half, from 25 % to 50 %"),
        (replace(PHASE, kind=NoticeKind.RAISED), "shop was raised from 25 % to 50 %"),
        (replace(PHASE, kind=NoticeKind.RESUMED), "shop goes on at 50 %"),
        (replace(PHASE, kind=NoticeKind.COMPLETED), "shop is complete at 50 %"),
        (replace(PHASE, kind=NoticeKind.CHANGED), "shop was changed by the configuration"),
        (replace(ROLLBACK, kind=NoticeKind.LOWERED), "shop was lowered from 25 % to 0 %"),
        (replace(PHASE, kind=NoticeKind.PAUSED), "shop was paused at 50 %"),
        (replace(ROLLBACK, kind=NoticeKind.ABORT), "shop was aborted from 25 % to 0 %"),
        (FIRING, "shop: errors fires"),
        (replace(FIRING, resolved=True), "shop: errors is over"),
        (replace(FIRING, rollout=""), "errors fires"),
        (replace(FIRING, kind=NoticeKind.GUARD), "shop: guard errors fires"),
        (of_store("the disk is full", 7.0), "the store is lost"),
        (of_store("", 7.0), "the store works again"),
        (of_worker("worker 3", "fell", 7.0), "worker 3 does not stay up"),
        (of_worker("worker 3", "stands", 7.0, resolved=True), "worker 3 stays up again"),
        (of_test(Severity.INFO, "tess", "", 7.0), "test of dualpath's alerts"),
    ],
)
def test_the_title_says_what_has_happened(notice: Notice, title: str) -> None:
    assert message(notice).title == title


def test_every_kind_has_a_title_of_its_own() -> None:
    titles = {message(replace(ROLLBACK, kind=kind, subject="x", percentage=9.0)).title for kind in NoticeKind}
    assert len(titles) == len(NoticeKind)


@pytest.mark.parametrize(
    ("notice", "status"),
    [(ROLLBACK, "event"), (FIRING, "firing"), (replace(FIRING, resolved=True), "resolved")],
)
def test_what_lasts_is_told_from_what_is_over(notice: Notice, status: str) -> None:
    assert message(notice).status == status
    assert message(notice).fields()["status"] == status


def test_the_json_has_everything() -> None:
    assert message().fields() == {
        "id": "m1",
        "key": "rollback:shop:5",
        "kind": "rollback",
        "status": "event",
        "repeated": False,
        "severity": "critical",
        "title": "shop was rolled back from 25 % to 0 %",
        "reason": ROLLBACK.reason,
        "at": "2023-11-14T22:13:20.250Z",
        "instance": "host-1",
        "rollout": "shop",
        "subject": None,
        "state": "rolled_back",
        "phase": {"before": "canary", "after": None},
        "percentage": {"before": 25.0, "after": 0.0},
        "revision": 5,
        "cause": "guard:error_rate",
        "action": "rollback",
        "actor": "controller",
        "metric": "error_rate",
        "value": 0.315,
        "limit": 0.1,
        "sample": 200,
        "trace_ids": ["4bf92f3577b34da6a3ce929d0e0e4736"],
    }


def test_what_could_steer_a_terminal_or_end_a_line_is_taken_out() -> None:
    assert one_line("a\r\nBcc: x\x1b[2J") == "a  Bcc: x [2J"
    assert len(one_line("x" * 5_000)) == 2_001
    assert "\n" not in message(replace(FIRING, subject="x\ny")).title


def test_figures_have_their_units() -> None:
    assert figure("latency_p95", 1.2345) == "1.23 s"
    assert figure("error_rate", 0.1) == "0.1"
    assert figure("error_rate", None) == ""
    assert instant(0.0) == "1970-01-01T00:00:00.000Z"
