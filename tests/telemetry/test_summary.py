from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from proxy.judgment import Judgment, Verdict
from proxy.model import LatencySummary, PathSummary, RolloutReport, RolloutState, Snapshot, State
from proxy.telemetry.json_lines import JsonFormatter
from proxy.telemetry.summary import Standing, Summary

if TYPE_CHECKING:
    import pytest

TOTAL = Snapshot(
    v1=PathSummary(900, 3),
    v2=PathSummary(100, 7),
    fallbacks=5,
    client_requests=998,
    client_errors=2,
    client_aborts=2,
    overridden=4,
)
RECENT = Snapshot(
    window_s=60.0,
    assigned_v1=90,
    assigned_v2=10,
    v1=PathSummary(90, 1, latency=LatencySummary(p95=0.0123)),
    v2=PathSummary(10, 1, latency=LatencySummary(p95=0.25)),
)


def report(name: str = "default", *, total: Snapshot = TOTAL, recent: Snapshot = RECENT) -> RolloutReport:
    state = RolloutState(name, State.RUNNING, 10_000, phase="canary")
    return RolloutReport(state, Judgment(Verdict.HOLD), total, recent)


def standing(*reports: RolloutReport, at: float = 130.0, workers: int = 2) -> Standing:
    return Standing(reports, at, at - 100.0 + 3600.0, 85 << 20, workers)


def said(summary: Summary, *standings: Standing, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.INFO, "dualpath.summary"):
        for one in standings:
            summary.say(one)
    return [record.getMessage() for record in caplog.records]


def test_a_line_has_the_totals_and_what_is_new(caplog: pytest.LogCaptureFixture) -> None:
    more = replace(TOTAL, v1=PathSummary(1190, 3), client_requests=1298, fallbacks=6)
    first, second = said(Summary(), standing(report()), standing(report(total=more), at=160.0), caplog=caplog)
    assert first == (
        "1000 (+1000) requests, 0.3/s; 2 (+2) failed, 5 (+5) fallbacks; v1 900 (+900), 3 (+3) errors; "
        "v2 100 (+100), 7 (+7) errors; default running at 10 % in canary, 10.0 % seen, p95 12.3 and 250 ms; "
        "up 1:00:30, 85 MiB, 2 workers"
    )
    assert second.startswith(
        "1300 (+300) requests, 10.0/s; 2 failed, 6 (+1) fallbacks; v1 1190 (+290), 3 err"
    )


def test_a_reload_that_counts_anew_makes_nothing_negative(caplog: pytest.LogCaptureFixture) -> None:
    empty = report(total=Snapshot(), recent=Snapshot())
    _, second = said(Summary(), standing(report()), standing(empty, at=160.0, workers=1), caplog=caplog)
    assert second == (
        "0 requests, 0.0/s; 0 failed, 0 fallbacks; v1 0, 0 errors; v2 0, 0 errors; "
        "default running at 10 % in canary; up 1:01:00, 85 MiB, 1 worker"
    )


def test_several_rollouts_are_summed_up_and_the_many_are_not_all_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reports = [report(f"r{number}") for number in range(12)]
    (text,) = said(Summary(), standing(*reports), caplog=caplog)
    assert text.startswith("12000 (+12000) requests")
    assert "r9 running" in text
    assert "r10" not in text
    assert "; 2 more rollouts; up " in text


def test_a_breaker_that_is_not_closed_is_named(caplog: pytest.LogCaptureFixture) -> None:
    (text,) = said(Summary(), standing(replace(report(), breaker="open")), caplog=caplog)
    assert ", breaker open; " in text


def test_days_are_told(caplog: pytest.LogCaptureFixture) -> None:
    (text,) = said(Summary(), replace(standing(), uptime_s=2 * 86_400 + 61.0), caplog=caplog)
    assert "up 2 d 0:01:01," in text


def test_as_json_every_figure_is_a_field(caplog: pytest.LogCaptureFixture) -> None:
    said(Summary(), standing(report(), report("other")), caplog=caplog)
    document: dict[str, Any] = json.loads(JsonFormatter().format(caplog.records[0]))["summary"]
    assert document["uptime_s"] == 3630.0
    assert document["memory_bytes"] == 85 << 20
    assert document["total"] == {
        "requests": 2000,
        "errors": 4,
        "aborts": 4,
        "v1": 1800,
        "v1_errors": 6,
        "v2": 200,
        "v2_errors": 14,
        "fallbacks": 10,
        "overridden": 8,
    }
    assert document["since_last"]["seconds"] == 3630.0
    first = document["rollouts"][0]
    assert (first["name"], first["state"], first["phase"]) == ("default", "running", "canary")
    assert (first["percentage"], first["observed_percentage"], first["verdict"]) == (10.0, 10.0, "hold")
    assert first["v2"] == {"requests": 100, "errors": 7, "recent_error_rate": 0.1, "recent_p95_ms": 250.0}
