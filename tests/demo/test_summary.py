"""What the closing text says, and when the demo counts as failed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.demo.faults import Fault
from proxy.demo.summary import Run, summarise
from tests.demo.samples import REASON, ROLLED_BACK, RUNNING, START_WALL, raised, report, rolled_back, seen

WELL = Run(Fault.NONE, START_WALL, report(), report(), seen(fallbacks=0), (raised(),))
COVERED = Run(
    Fault.ERRORS,
    START_WALL,
    report(),
    report(ROLLED_BACK, fallbacks=70),
    seen(),
    (raised(), rolled_back()),
    fault_at_s=10.0,
    first_fallback_s=10.02,
    struck=12,
)


def test_all_went_well_without_a_fault() -> None:
    summary = summarise(WELL)
    assert (summary.exit_code, summary.problems) == (0, ())
    assert summary.lines == (
        "v2 did well, nothing was rolled back, and no client saw a failure.",
        "",
        "clients    1200 answers, 0 failed",
        "           800 from v1, 330 from v2, 0 from v1 in place of v2",
        "raw        v1 failed 0 of 800 requests",
        "           v2 failed 0 of 400 requests",
        "latency    v1: mean 15.3 ms, p50 15.0 ms, p95 19.2 ms",
        "           v2: mean 5.1 ms, p50 5.0 ms, p95 6.4 ms",
        "           v2 to v1: mean 0.33x, p95 0.33x",
        "events     + 5.0 s  running at 50 %       v2 has done well so far",
    )


def test_a_covered_fault_is_told_from_start_to_end() -> None:
    summary = summarise(COVERED)
    assert (summary.exit_code, summary.problems) == (0, ())
    assert summary.lines == (
        "v2 failed (errors), was rolled back by itself, and no client saw a failure.",
        "",
        "clients    1200 answers, 0 failed",
        "           800 from v1, 330 from v2, 70 from v1 in place of v2",
        "fault      errors on v2 after 10.0 s",
        "fallback   first 0.02 s after the fault, 70 in all",
        "rollback   2.0 s and 12 requests on v2 after the fault",
        f"           {REASON}",
        "raw        v1 failed 0 of 800 requests",
        "           v2 failed 70 of 400 requests",
        "latency    v1: mean 15.3 ms, p50 15.0 ms, p95 19.2 ms",
        "           v2: mean 5.1 ms, p50 5.0 ms, p95 6.4 ms, before the fault",
        "           v2 to v1: mean 0.33x, p95 0.33x",
        "events     + 5.0 s  running at 50 %       v2 has done well so far",
        f"           +12.0 s  rolled back at 0 %    {REASON}",
    )


def test_a_slow_v2_needs_no_fallback() -> None:
    summary = summarise(replace(COVERED, fault=Fault.SLOW, first_fallback_s=None))
    assert summary.problems == ()
    assert not any(line.startswith("fallback") for line in summary.lines)


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        (
            replace(COVERED, clients=seen(failed=2)),
            "clients saw 2 failed answers, first GET /restaurants: status 502; GET /restaurants: status 502",
        ),
        (replace(WELL, clients=seen(answers=0)), "no client got an answer"),
        (replace(WELL, final=report(v2_requests=0)), "v2 got no traffic"),
        (replace(WELL, events=(rolled_back(),)), f"rolled back without a fault: {REASON}"),
        (replace(COVERED, first_fallback_s=None), "v2 failed and no answer came from v1 in its place"),
        (replace(COVERED, events=(raised(),)), "v2 failed and was not rolled back"),
        (replace(COVERED, events=(rolled_back(at=1_009.0),)), f"rolled back before the fault: {REASON}"),
        (replace(COVERED, fault_at_s=None), f"rolled back before the fault: {REASON}"),
        (replace(COVERED, final=report(RUNNING)), "v2 still has 50 % after the rollback"),
        (replace(COVERED, clients=seen(strays=4)), "4 requests went to v2 after the rollback"),
    ],
)
def test_what_should_not_have_been_ends_with_one(run: Run, problem: str) -> None:
    summary = summarise(run)
    assert (summary.exit_code, summary.problems) == (1, (problem,))
    assert summary.lines[0] == "The demo did not go as it should."
    assert summary.lines[-1] == f"problem: {problem}"
