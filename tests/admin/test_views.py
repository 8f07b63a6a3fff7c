from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any, cast

import orjson

from proxy.admin.views import (
    backends_view,
    event_view,
    events_view,
    explanation_view,
    instant,
    latencies_view,
    rollout_view,
    summary_view,
)
from proxy.core.histogram import Histogram
from proxy.judgment import Judgment, Need, Unit
from proxy.model import (
    ErrorClass,
    Explanation,
    LatencySummary,
    Path,
    PathSummary,
    Snapshot,
    Stage,
    Transition,
    Users,
)
from tests.admin.builders import EMPTY_REPORT, ENDPOINTS, EVENT, REPORT, RUNNING, V1


def view(report: Any = REPORT) -> dict[str, Any]:
    """The view as a client reads it: through JSON."""
    return cast("dict[str, Any]", orjson.loads(orjson.dumps(rollout_view(report))))


def test_a_rollout_shows_its_state() -> None:
    seen = view()
    stands = ("name", "state", "phase", "percentage", "weight", "revision", "since", "reason", "breaker")
    assert [seen[name] for name in stands] == [
        "default",
        "running",
        "half",
        30.0,
        30_000,
        4,
        "2026-01-01T00:00:00.500Z",
        "why",
        "half_open",
    ]


def test_paths_and_client_are_totals_and_recent_has_the_same_shape() -> None:
    report = replace(REPORT, recent=Snapshot(window_s=60.0))
    seen = view(report)
    assert seen["paths"]["v1"]["requests"] == 700
    assert seen["recent"]["paths"]["v1"]["requests"] == 0
    assert seen["recent"]["window_s"] == 60.0
    assert set(seen["recent"]) - {"window_s"} <= set(seen)


def test_the_observed_percentage_is_the_recent_one() -> None:
    report = replace(REPORT, recent=Snapshot(assigned_v1=900, assigned_v2=100))
    assert view(report)["observed_percentage"] == 10.0
    assert view(replace(report, total=Snapshot()))["recent"]["observed_percentage"] == 10.0


def test_v1_has_raw_figures_in_milliseconds() -> None:
    assert view()["paths"]["v1"] == {
        "assigned": 700,
        "requests": 700,
        "errors": 7,
        "error_rate": 0.01,
        "errors_by_class": {"status": 7},
        "latency_ms": {"mean": 20.0, "p50": 10.0, "p90": 30.0, "p95": 40.0, "p99": 50.0, "max": 500.0},
    }


def test_v2_has_its_fallbacks_beside_its_raw_figures() -> None:
    v2 = view()["paths"]["v2"]
    assert v2["errors_by_class"] == {"status": 40, "reset": 20}
    assert (v2["assigned"], v2["fallbacks"], v2["fallback_rate"], v2["fallback_errors"]) == (300, 75, 0.25, 1)


def test_what_clients_saw_is_apart_from_the_paths() -> None:
    seen = view()
    assert seen["client"] == {"requests": 1000, "errors": 8, "error_rate": 0.008, "aborts": 4}
    assert seen["fallbacks_by_reason"] == {"status": 60, "breaker": 15}
    assert (seen["fallbacks_over_budget"], seen["overridden"]) == (2, 3)


def test_the_comparison_is_v2_against_v1() -> None:
    compared = view()["comparison"]
    assert compared["error_rate"] == {"difference": 0.29, "ratio": 30.0}
    assert compared["mean_ms"] == {"difference": 10.0, "ratio": 1.5}
    assert compared["p50_ms"] == {"difference": 10.0, "ratio": 2.0}
    assert compared["p95_ms"] == {"difference": 40.0, "ratio": 2.0}
    assert compared["p99_ms"] == {"difference": 50.0, "ratio": 2.0}


def test_nothing_is_compared_without_a_sample_on_both_paths() -> None:
    nothing = {"difference": None, "ratio": None}
    for total in (Snapshot(), Snapshot(v1=V1), Snapshot(v2=V1)):
        compared = view(replace(REPORT, total=total))["comparison"]
        assert all(value == nothing for value in compared.values())


def test_a_ratio_to_zero_is_not_known_and_the_difference_is() -> None:
    clean = PathSummary(10, 0, (), LatencySummary(0.01, 0.01, 0.01, 0.01, 0.01, 0.01))
    failing = PathSummary(10, 1, ((ErrorClass.STATUS, 1),), clean.latency)
    compared = view(replace(REPORT, total=Snapshot(v1=clean, v2=failing)))["comparison"]
    assert compared["error_rate"] == {"difference": 0.1, "ratio": None}


def test_the_judgment_and_its_guards() -> None:
    seen = view()
    assert seen["judgment"] == {
        "verdict": "fail",
        "reasons": ["guard error_rate above 0.1: 0.3"],
        "cause": "guard:error_rate",
        "action": "rollback",
        "evidence": [
            {"name": "errors", "value": 4.7, "needed": 4.6052, "against": True, "text": "60 of 200"}
        ],
        "missing": ["errors below 0.02"],
        "needs": [
            {
                "criterion": "error_rate_below",
                "met": False,
                "have": 0.3,
                "need": 0.02,
                "unit": "share",
                "seconds": None,
                "requests": None,
                "text": "errors below 0.02",
            }
        ],
        "eta_s": None,
    }
    assert seen["guards"] == [
        {
            "name": "error_rate above 0.1",
            "metric": "error_rate",
            "value": 0.3,
            "limit": 0.1,
            "sample": 200,
            "min_requests": 20,
            "crossed": True,
            "firing": True,
            "action": "rollback",
        }
    ]


def test_a_need_that_no_number_holds_is_not_known() -> None:
    need = Need("evidence:regression", False, inf, 10.0, Unit.EVIDENCE, 12.34567, 100.0, "worse")
    [seen] = view(replace(REPORT, judgment=Judgment(needs=(need,))))["judgment"]["needs"]
    assert (seen["have"], seen["need"], seen["seconds"], seen["requests"]) == (None, 10.0, 12.3457, 100.0)


def test_a_rollout_without_traffic_has_zeros_and_no_opinion() -> None:
    seen = view(EMPTY_REPORT)
    assert seen["paths"]["v2"]["error_rate"] == 0.0
    assert seen["observed_percentage"] == 0.0
    assert seen["judgment"] == {
        "verdict": "hold",
        "reasons": [],
        "cause": None,
        "action": None,
        "evidence": [],
        "missing": [],
        "needs": [],
        "eta_s": None,
    }
    assert (seen["guards"], seen["endpoints"]) == ([], [])


def test_endpoints_show_whether_they_take_traffic() -> None:
    assert view()["endpoints"][1] == {
        "path": "v2",
        "url": "http://127.0.0.1:9002",
        "healthy": True,
        "ejected": True,
        "outstanding": 0,
        "idle_connections": 0,
    }


def test_backends_count_every_endpoint_once_and_an_ejected_one_as_away() -> None:
    unhealthy = replace(ENDPOINTS[0], url="http://127.0.0.1:9003", healthy=False)
    seen = orjson.loads(orjson.dumps(backends_view([*ENDPOINTS, *ENDPOINTS, unhealthy])))
    assert seen == {
        "v1": {"endpoints": 2, "healthy": 1},
        "v2": {"endpoints": 1, "healthy": 0},
    }


def test_an_event_shows_the_move_and_the_figures_behind_it() -> None:
    seen: dict[str, Any] = event_view(EVENT)
    told = ("seq", "at", "rollout", "cause", "actor", "reason", "changes_state")
    assert [seen[name] for name in told] == [
        9,
        "2026-01-01T00:01:01.000Z",
        "default",
        "guard:error_rate",
        "controller",
        "too many",
        True,
    ]
    assert seen["before"]["percentage"] == 30.0
    assert seen["after"] == {
        "state": "rolled_back",
        "phase": None,
        "percentage": 0.0,
        "weight": 0,
        "revision": 5,
    }
    assert seen["judgment"]["verdict"] == "fail"
    assert seen["judgment"]["guards"][0]["value"] == 0.3


def test_an_event_without_a_judgment_says_so() -> None:
    alert = replace(EVENT, transition=Transition(RUNNING, RUNNING, "alert:health", "", "controller", 0.0))
    seen = event_view(alert)
    assert (seen["judgment"], seen["changes_state"]) == (None, False)


def test_a_page_of_events_says_where_the_next_begins() -> None:
    assert events_view([EVENT])["last"] == 9
    assert events_view([]) == {"events": [], "last": None, "local_only": False}
    assert events_view([], local_only=True)["local_only"]


def test_an_explanation_keeps_what_is_not_known_apart_from_zero() -> None:
    explained = Explanation("default", Path.V2, "bucket < weight", "alice", 0, 30_000)
    assert explanation_view(explained) == {
        "rollout": "default",
        "path": "v2",
        "rule": "bucket < weight",
        "key": "alice",
        "bucket": 0,
        "weight": 30_000,
        "override": None,
    }
    assert explanation_view(Explanation(None, Path.V1, "no route"))["bucket"] is None


def test_instants_are_utc_with_milliseconds() -> None:
    assert instant(0.0) == "1970-01-01T00:00:00.000Z"
    assert instant(1_700_000_000.1239) == "2023-11-14T22:13:20.123Z"


def test_the_summary_is_over_all_rollouts() -> None:
    complete = replace(REPORT, stage=Stage.COMPLETE, users=Users(10, 4))
    nothing = replace(EMPTY_REPORT, state=replace(RUNNING, weight=0), users=Users(5, 0))
    assert summary_view([complete, replace(REPORT, stage=Stage.PARTIAL), nothing]) == {
        "enabled": 2,
        "total": 3,
        "stages": {"disabled": 1, "testing": 0, "partial": 1, "full": 0, "complete": 1},
        "v2_share": 30.0,
        "users": {"seen": 15, "v2": 4},
    }
    assert summary_view([nothing])["v2_share"] == 0.0


def test_the_spread_of_latencies_is_told_in_milliseconds_eight_to_an_octave() -> None:
    histogram = Histogram()
    for ms in (10.0, 10.1, 10.2, 25.0):
        histogram.record(ms / 1000)
    spread = latencies_view(Snapshot(window_s=60.0, v2=PathSummary(latency=histogram.reading())))
    assert spread == {"window_s": 60.0, "v1": [], "v2": [[9.216, 10.24, 3], [24.576, 26.624, 1]]}
