from __future__ import annotations

from typing import Any

import pytest

from proxy.deploy_progress import Ending, ending, headline, line_of, progress_of, remaining
from tests.fake_admin import rollout

PLAN = {
    "name": "default",
    "judge": {"promotion": "evidence", "holdback": 0.0},
    "phases": [
        {"name": "canary", "min_duration": "10m", "min_requests": 300},
        {
            "name": "half",
            "min_duration": "30m",
            "min_requests": 1000,
            "require": {"error_rate_below": 0.02, "no_alerts": False, "or_baseline": True, "health": 1.0},
        },
        {"name": "full", "min_duration": "1h"},
    ],
}


def need(criterion: str, have: float | None, needed: float, unit: str, text: str = "") -> dict[str, Any]:
    """What the phase asks for; unmet where there is a text."""
    figures = {"have": have, "need": needed, "unit": unit, "seconds": None, "requests": None}
    return {"criterion": criterion, "met": not text, **figures, "text": text}


WAITING = [
    need("min_requests", 250, 1000, "requests", "250 of 1,000 requests"),
    need("min_duration", 600.2, 1800, "s", "600 s of 1800 s"),
    need("error_rate_below", 0.031, 0.02, "share", "error_rate 0.031, must be below 0.02"),
    need("health", 1.0, 1.0, "share"),
    need("evidence:errors", 4.5, 20.0, "evidence", "v2 not yet shown to fail as seldom as v1"),
    need("evidence:latency_p50", 0.2, 20.0, "evidence", "v2 not yet shown to be as fast as v1"),
    need("evidence:latency_p90", 30.0, 20.0, "evidence"),
    need("evidence:regression", 0.2, 10.0, "evidence"),
]


def standing(*needs: dict[str, Any], missing: tuple[str, ...] = (), **changes: Any) -> dict[str, Any]:
    """A rollout in the phase `half` of `PLAN`."""
    unmet = [one["text"] for one in needs if not one["met"]] + list(missing)
    judgment = {
        "verdict": "hold",
        "reasons": [f"phase half: {text}" for text in unmet] or ["phase half passed: 1 s"],
        "cause": "phase:half",
        "missing": unmet,
        "needs": list(needs),
        "evidence": [],
        "eta_s": None,
        **changes.pop("judgment", {}),
    }
    return {**rollout("default"), "judgment": judgment, **changes}


def test_each_criterion_of_the_phase_is_a_share_of_what_is_needed() -> None:
    seen = progress_of(standing(*WAITING, judgment={"eta_s": 1200.4}), PLAN)
    assert [(one.name, round(one.share, 3)) for one in seen.criteria] == [
        ("time", 0.333),
        ("requests", 0.25),
        ("error rate below", 0.0),
        ("health", 1.0),
        ("errors as v1", 0.502),
        ("p50 as v1", 0.0),
        ("p90 as v1", 1.0),
    ]
    assert (seen.place, seen.phases, seen.waits) == (2, 3, ())
    assert (seen.eta_s, seen.end_s) == (1200.4, 4800.4)
    assert headline(seen) == "default: running at 30%, phase half (2 of 3)"
    assert remaining(seen) == "about 20m 1s more in this phase, at least 1h 20m to the end"
    assert line_of(seen) == (
        "default: running at 30%, phase half (2 of 3); waits for time 10m of 30m, requests 250 of 1,000, "
        "error rate below 0.02, is 0.031, errors as v1 evidence 4.5 of 20, "
        "p50 as v1 evidence 1 of 20; about 20m 1s more in this phase, at least 1h 20m to the end"
    )
    assert seen.document()["criteria"][0] == {"name": "time", "share": 0.3334, "text": "10m of 30m"}


@pytest.mark.parametrize(
    ("met", "words"),
    [
        (need("min_duration", 2000.0, 1800, "s"), ("time", "30m of 30m")),
        (need("min_requests", 4000, 1000, "requests"), ("requests", "1,000 of 1,000")),
        (need("error_rate_below", 0.0042, 0.02, "share"), ("error rate below", "0.02, is 0.0042")),
        (need("latency_p95_below", 0.18, 1.0, "s"), ("latency p95 below", "1 s, is 0.18 s")),
        (need("improvement_above", 44.12, 40.0, "%"), ("improvement above", "40 %, is 44.1 %")),
        (need("cache_hit_rate_above", None, 0.3, "share"), ("cache hit rate above", "0.3, not reported")),
        (need("no_alerts", 0.0, 0.0, "alerts"), ("no alerts", "none fires")),
        (need("evidence:errors", 402.0, 20.0, "evidence"), ("errors as v1", "evidence 402 of 20")),
    ],
)
def test_what_is_met_shows_its_figure(met: dict[str, Any], words: tuple[str, str]) -> None:
    [one] = progress_of(standing(met), PLAN).criteria
    assert ((one.name, one.text), one.share) == (words, 1.0)


def test_what_cannot_be_counted_is_there_or_not() -> None:
    alert = need("no_alerts", 1.0, 0.0, "alerts", "an alert fires")
    unknown = need("error_rate_below", None, 0.02, "share", "error_rate unknown, must be below 0.02")
    seen = progress_of(standing(alert, unknown), PLAN)
    assert [(one.share, one.text) for one in seen.criteria] == [(0.0, "one fires"), (0.0, "0.02, unknown")]


def test_one_request_is_worth_a_bar_only_while_it_is_missing() -> None:
    assert progress_of(standing(need("min_requests", 9, 1, "requests")), PLAN).criteria == ()
    [one] = progress_of(standing(need("min_requests", 0, 1, "requests", "0 of 1 requests")), PLAN).criteria
    assert (one.name, one.text, one.share) == ("requests", "0 of 1", 0.0)


def test_what_speaks_against_v2_is_no_bar() -> None:
    doubt = need("evidence:regression", 12.0, 10.0, "evidence", "errors: v2 9 % against v1 0 %")
    seen = progress_of(standing(doubt), PLAN)
    assert (seen.criteria, seen.waits) == ((), ("waits: errors: v2 9 % against v1 0 %",))


def test_a_judgment_of_the_phase_before_says_nothing_of_this_one() -> None:
    seen = progress_of(standing(*WAITING, judgment={"cause": "phase:canary", "missing": []}), PLAN)
    assert (seen.criteria, seen.waits) == ((), ())


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (
            standing(missing=("approval (promote) is needed before phase full",)),
            "waits for approval of phase full: `dualpath rollout promote --name default` gives it",
        ),
        (
            standing(missing=("frozen until 2027-01-02T00:00:00Z before phase full",)),
            "waits: frozen until 2027-01-02T00:00:00Z before phase full",
        ),
        (
            standing(judgment={"reasons": ["guard error_rate above 0.1: 0.2"]}),
            "holds: guard error_rate above 0.1: 0.2",
        ),
        (
            standing(state="paused", reason="lunch"),
            "paused (lunch): `dualpath rollout resume --name default` goes on",
        ),
    ],
)
def test_whom_it_waits_for_is_told_plainly(document: dict[str, Any], words: str) -> None:
    assert progress_of(document, PLAN).waits == (words,)


@pytest.mark.parametrize("state", ["disabled", "completed", "rolled_back"])
def test_a_judgment_of_the_state_before_says_nothing_of_this_one(state: str) -> None:
    seen = progress_of(standing(judgment={"reasons": [state]}), PLAN)
    assert (seen.criteria, seen.waits) == ((), ())


def test_without_its_plan_the_end_is_not_told() -> None:
    for plan in (None, {**PLAN, "phases": []}):
        seen = progress_of(standing(WAITING[0], judgment={"eta_s": 5.0}), plan)
        assert ([one.name for one in seen.criteria], seen.place) == (["requests"], 0)
        assert (seen.eta_s, seen.end_s) == (5.0, None)
        assert headline(seen) == "default: running at 30%, phase half"
    assert headline(progress_of(standing(phase=None), PLAN)) == "default: running at 30%"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("running", None),
        ("paused", None),
        ("completed", Ending.COMPLETED),
        ("rolled_back", Ending.ROLLED_BACK),
        ("aborted", Ending.ABORTED),
        ("disabled", Ending.DISABLED),
    ],
)
def test_how_it_has_ended(state: str, expected: Ending | None) -> None:
    assert ending(standing(state=state)) is expected
