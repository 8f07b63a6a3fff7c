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
WAITING = [
    "250 of 1,000 requests",
    "600 s of 1800 s",
    "error_rate 0.031, must be below 0.02",
    "v2 not yet shown to fail as seldom as v1: v2 0 % (0 of 9)",
]


def standing(*, missing: list[str] | None = None, **changes: Any) -> dict[str, Any]:
    """A rollout in the phase `half` of `PLAN`."""
    judgment = {
        "verdict": "hold",
        "reasons": [f"phase half: {text}" for text in missing or ()] or ["phase half passed: 1 s"],
        "missing": missing or [],
        "evidence": [],
        "eta_s": None,
        **changes.pop("judgment", {}),
    }
    return {**rollout("default"), "judgment": judgment, **changes}


def evidence(name: str, value: float, *, against: bool = False) -> dict[str, Any]:
    return {"name": name, "value": value, "needed": 100.0, "against": against, "text": ""}


def test_each_criterion_of_the_phase_is_a_share_of_what_is_needed() -> None:
    read = [evidence("errors", 10.0), evidence("errors", 99.0, against=True), evidence("latency_p50", 0.2)]
    seen = progress_of(standing(missing=WAITING, judgment={"evidence": read, "eta_s": 1200.4}), PLAN)
    assert [(one.name, round(one.share, 3)) for one in seen.criteria] == [
        ("time", 0.333),
        ("requests", 0.25),
        ("error rate below", 0.0),
        ("health", 1.0),
        ("errors as v1", 0.5),
        ("p50 as v1", 0.0),
    ]
    assert (seen.place, seen.phases, seen.waits) == (2, 3, ())
    assert (seen.eta_s, seen.end_s) == (1200.4, 4800.4)
    assert headline(seen) == "default: running at 30%, phase half (2 of 3)"
    assert remaining(seen) == "about 20m 1s more in this phase, at least 1h 20m to the end"
    assert line_of(seen) == (
        "default: running at 30%, phase half (2 of 3); waits for time 10m of 30m, requests 250 of 1,000, "
        "error rate below error_rate 0.031, must be below 0.02, errors as v1 evidence 10 of 100, "
        "p50 as v1 evidence 1 of 100; about 20m 1s more in this phase, at least 1h 20m to the end"
    )
    assert seen.document()["criteria"][0] == {"name": "time", "share": 0.3333, "text": "10m of 30m"}


def test_what_is_not_missing_is_met() -> None:
    enough = [evidence("errors", 100.0)]
    seen = progress_of(standing(judgment={"verdict": "pass", "evidence": enough}), PLAN)
    assert [one.share for one in seen.criteria] == [1.0] * 5
    assert line_of(seen) == "default: running at 30%, phase half (2 of 3)"


@pytest.mark.parametrize("change", [{"promotion": "criteria"}, {"percentage": 100.0}])
def test_there_is_no_bar_for_evidence_that_nobody_takes(change: dict[str, Any]) -> None:
    plan = {**PLAN, "judge": {**PLAN["judge"], **change}}  # type: ignore[dict-item]
    read = {"evidence": [evidence("errors", 10.0)]}
    seen = progress_of(standing(judgment=read, percentage=change.get("percentage", 30.0)), plan)
    assert "errors as v1" not in [one.name for one in seen.criteria]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (
            standing(missing=["approval (promote) is needed before phase full"]),
            "waits for approval of phase full: `dualpath rollout promote --name default` gives it",
        ),
        (
            standing(missing=["frozen until 2027-01-02T00:00:00Z before phase full"]),
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


def test_without_its_plan_only_the_place_is_told() -> None:
    for plan in (None, {**PLAN, "phases": []}):
        seen = progress_of(standing(missing=WAITING[:1], judgment={"eta_s": 5.0}), plan)
        assert (seen.criteria, seen.place, seen.eta_s, seen.end_s) == ((), 0, 5.0, None)
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
