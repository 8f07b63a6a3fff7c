"""The benchmark of the judge: what is drawn, what the rules make of it, and the page of its figures."""

from __future__ import annotations

import json
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import report, results
from benchmarks.judge import scaled, together
from benchmarks.judging import latency, page
from benchmarks.judging.cases import GROUPS, cases, noisy
from benchmarks.judging.counts import Counts, Span, drawn, poisson
from benchmarks.judging.playing import Detection, detections, outcome, played, spread
from benchmarks.judging.rules import RULES, is_above, mann_whitney, sliding_minute, success_rate
from benchmarks.judging.standing import TITLES, targets

if TYPE_CHECKING:
    from collections.abc import Sequence


def counts(n2: Sequence[int], s2: Sequence[int]) -> Counts:
    """v1 gets ten requests a second, and fails none."""
    return Counts([10] * len(n2), [0] * len(n2), list(n2), list(s2))


# ... what is drawn


def test_the_same_chance_draws_the_same_counts() -> None:
    spans = [Span(50, 0.01, 0.5)]
    assert drawn(Random(1), 10.0, 0.5, spans) == drawn(Random(1), 10.0, 0.5, spans)
    assert drawn(Random(1), 10.0, 0.5, spans) != drawn(Random(2), 10.0, 0.5, spans)


def test_counts_are_as_many_as_they_should_be() -> None:
    found = drawn(Random(1), 1000.0, 0.1, [Span(300, 0.01, 0.2), Span(300, 0.01, 0.0)])
    assert len(found) == 600
    assert sum(found.n1) == pytest.approx(540_000, rel=0.01)
    assert sum(found.n2) == pytest.approx(60_000, rel=0.02)
    assert sum(found.s1) == pytest.approx(5_400, rel=0.1)
    assert sum(found.s2[:300]) == pytest.approx(6_000, rel=0.1)
    assert sum(found.s2[300:]) == 0


@pytest.mark.parametrize("mean", [0.0, 0.001, 1.0, 990.0])
def test_a_poisson_number_varies_as_it_should(mean: float) -> None:
    found = poisson(Random(1), mean, 20_000)
    average = sum(found) / len(found)
    variance = sum((one - average) ** 2 for one in found) / len(found)
    assert average == pytest.approx(mean, rel=0.05, abs=0.001)
    assert variance == pytest.approx(mean, rel=0.07, abs=0.001)


def test_noise_is_of_each_path_itself() -> None:
    spans = noisy(0.01, 0.3, 3.0, minutes=2000)(Random(1))
    v1, v2 = [span.v1 for span in spans], [span.v2 for span in spans]
    assert sum(v1) / len(v1) == pytest.approx(0.01, rel=0.1)
    deviations = [(one - 0.01) * (two - 0.01) for one, two in zip(v1, v2, strict=True)]
    assert abs(sum(deviations) / len(deviations)) < 0.2 * 0.003**2
    after = [(one - 0.01) * (two - 0.01) for one, two in pairwise(v1)]
    assert sum(after) / len(after) == pytest.approx(0.72 * 0.003**2, rel=0.25)


def test_every_case_has_a_name_of_its_own_and_a_group() -> None:
    found = cases()
    assert len({(case.group, case.name) for case in found}) == len(found)
    assert {case.group for case in found} == set(GROUPS)
    for case in found:
        length_s = sum(span.seconds for span in case.course(Random(1)))
        assert case.onset_s is None or case.onset_s < length_s
        assert (case.onset_s is not None) == GROUPS[case.group].is_fault


# ... the rules


def test_five_minutes_below_the_success_rate_roll_back() -> None:
    bad, good, silent = [2] + [0] * 59, [0] * 60, [0] * 60
    n = [2] * 60
    assert success_rate(counts(n * 5, bad * 5)) == 299
    assert success_rate(counts(n * 6, bad * 4 + good * 2)) is None
    assert success_rate(counts(n * 7, bad * 4 + good * 2 + bad)) == 419, "they need not follow each other"
    assert success_rate(counts([0] * 600, silent * 10)) is None


def test_mann_whitney_wants_v2_above_v1() -> None:
    assert is_above([0.01] * 10, [0.05] * 10)
    assert not is_above([0.05] * 10, [0.01] * 10)
    assert not is_above([0.0] * 10, [0.0] * 8 + [0.02] * 2), "most minutes are alike"
    assert not is_above([0.010] * 10, [0.012] * 10), "within the tolerance"
    assert not is_above([], [0.5] * 10)
    assert not is_above([0.0], [1.0]), "too few to tell"


def test_mann_whitney_is_asked_every_ten_minutes() -> None:
    failing = counts([10] * 1200, [0] * 600 + [5] * 600)
    assert mann_whitney(failing) == 1199


def test_the_sliding_minute_wants_twenty_requests() -> None:
    assert sliding_minute(counts([1] * 100, [1] * 100)) == 19
    assert sliding_minute(counts([1, 0, 0, 0] * 100, [1, 0, 0, 0] * 100)) is None
    assert sliding_minute(counts([1] * 100, [0] * 70 + [1] * 3 + [0] * 27)) is None, "3 of 60 are 5 %"
    assert sliding_minute(counts([1] * 100, [0] * 70 + [1] * 4 + [0] * 26)) is not None


def test_the_judge_sees_a_dead_v2_and_leaves_a_good_one() -> None:
    judge = RULES["dualpath"]
    second = judge(drawn(Random(1), 10.0, 0.5, [Span(300, 0.001, 1.0)]))
    assert second is not None
    assert second < 10
    assert judge(drawn(Random(1), 10.0, 0.5, [Span(1200, 0.01, 0.01)])) is None


# ... what a run came to


def test_a_rollback_before_the_fault_is_a_false_one() -> None:
    traffic = counts([2] * 100, [0] * 100)
    assert outcome(traffic, 30, None) == 30
    assert outcome(traffic, 30, 50) == 30
    assert outcome(traffic, None, 50) is None
    assert outcome(traffic, 59, 50) == Detection(requests=20, seconds=10)


def test_figures_are_of_what_was_seen() -> None:
    found = detections([Detection(10, 1), Detection(30, 3), Detection(20, 2), 7, None])
    assert (found["seen"], found["false"], found["missed"]) == (3, 1, 1)
    assert found["requests"] == {"median": 20, "p95": 30, "worst": 30}
    assert spread([]) is None


def test_all_rules_are_asked_about_the_same_counts() -> None:
    seen: list[list[Counts]] = [[], []]

    def first(told: Counts) -> int | None:
        seen[0].append(told)
        return None

    def second(told: Counts) -> int | None:
        seen[1].append(told)
        return 3700

    case = next(case for case in cases() if case.group == "fault")
    row = played(case, 2, 1, {"first": first, "second": second})
    assert seen[0] == seen[1]
    assert seen[0][0] != seen[0][1]
    assert row["rules"]["first"]["missed"] == 2
    assert row["rules"]["second"]["seconds"]["median"] == 101


def test_what_is_played_shrinks_with_the_days() -> None:
    assert (scaled(100, 20, 10), scaled(100, 5, 10), scaled(100, 1, 10)) == (100, 25, 10)


def test_groups_that_are_left_out_keep_their_figures() -> None:
    before = {"cases": [{"group": "fault", "case": "old"}, {"group": "equal", "case": "kept"}]}
    found = together([{"group": "fault", "case": "new"}], before, ["fault"])
    assert [row["case"] for row in found] == ["kept", "new"]
    assert together(found, None, ["fault"]) == found


# ... latencies


def test_requests_to_a_v2_that_hangs_are_under_way_until_they_time_out() -> None:
    traffic = latency.Latencies(Random(1), 40.0, 0.5)
    modes = (latency.lognormal(0.020, 0.060),)
    first = traffic.second(modes, None)
    sent = traffic.to_v2
    assert sent > 0
    assert (first.v2.requests, first.in_flight_v2.count) == (0, sent)
    for _ in range(29):
        last = traffic.second(modes, modes)
    assert last.in_flight_v2.quantile(1.0) == pytest.approx(29.5, rel=0.02)
    after = traffic.second(modes, modes)
    assert after.in_flight_v2.count == 0
    assert after.v2.errors[0] >= sent
    assert after.v2.latency.quantile(1.0) == pytest.approx(30.0, rel=0.02)


def test_a_v2_that_hangs_is_found_before_anything_times_out() -> None:
    case = next(case for case in latency.latency_cases() if case.v2 is None)
    short = latency.LatencyCase(case.group, case.name, case.v1, case.v2, 300, 400)
    row = latency.played_latency(short, 1, 1)
    assert row["rules"]["dualpath"]["seen"] == 1
    assert row["rules"]["dualpath"]["seconds"]["worst"] < 30


# ... the page


ROWS: list[dict[str, Any]] = [
    {
        "group": "equal",
        "case": "1 rps, 1 % to v2, base 1 %",
        "runs": 20,
        "rollbacks": {"dualpath": 1, "b": 9},
    },
    {"group": "noise", "case": "1000 rps, 50 % to v2, 1 %", "runs": 14, "rollbacks": {"dualpath": 3, "b": 0}},
    {
        "group": "fault",
        "case": "10 rps, +5 points",
        "runs": 20,
        "limit_requests": 100.0,
        "limit_s": None,
        "rules": {
            "dualpath": detections([Detection(90, 9), Detection(120, 12), Detection(80, 8)]),
            "b": detections([None, 5]),
        },
    },
]


def test_what_is_to_be_reached_is_compared_with_what_was() -> None:
    found = {one["what"]: one for one in targets(ROWS, 12.0)}
    assert found[f"false rollbacks, {TITLES['equal']}"]["met"], "one alone may be"
    assert not found[f"false rollbacks, {TITLES['noise']}, 50 % to v2"]["met"]
    delay = found["until rolled back: 10 rps, +5 points"]
    assert (delay["measured"], delay["met"]) == ("90 requests, p95 120", True)
    assert found["a tick of a rollout, errors and latencies"]["met"]


def test_the_page_keeps_its_words_and_renews_its_figures() -> None:
    document = {"rules": ["dualpath", "b"], "cases": ROWS, "targets": targets(ROWS, None)}
    text = "before\n<!-- measured: faults -->\nold\n<!-- end -->\nafter\n"
    made = page.renewed(text, document)
    assert "old" not in made
    assert made.startswith("before\n")
    assert made.endswith("<!-- end -->\nafter\n")
    assert "90 (p95 120); 9 s | never |" in made
    assert page.renewed(made, document) == made


def test_the_page_of_the_judge_is_what_the_results_say() -> None:
    document = results.read("judge", results.KEPT)
    if document is None:
        pytest.skip("python -m benchmarks.judge has not been run")
    text = report.JUDGE_PAGE.read_text()
    assert page.renewed(text, document) == text, "run python -m benchmarks.report"
    assert json.dumps(document["rules"]) == json.dumps(list(RULES))
