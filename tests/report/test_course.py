from __future__ import annotations

from proxy.report.advice import advice, outcome
from proxy.report.course import Check, course_of
from proxy.report.document import document_of
from proxy.report.markdown import markdown_of
from proxy.report.page import page_of
from proxy.report.sums import Sum, sum_of
from tests.fake_admin import rollout
from tests.report.material import CANARY, EVENTS, HALF, MINUTES, NOTHING, START, event, material, minute


def test_minutes_add_up() -> None:
    sums = sum_of(MINUTES)
    assert (sums.v1.requests, sums.v1.errors, sums.v2.requests, sums.v2.errors) == (4000, 3, 1060, 150)
    assert (sums.client_requests, sums.client_errors, sums.fallbacks) == (5060, 40, 150)
    assert sums.fallbacks_by_reason == {"status": 150}
    assert sums.v2.errors_by_class == {"status": 150}


def test_what_was_never_asked_is_not_known_and_not_zero() -> None:
    empty = sum_of([minute(0.0, (0, 0), (0, 0))])
    assert empty.v1.error_rate is empty.v2.p95_ms is empty.fallback_rate is empty.client_error_rate is None
    assert Sum().excess_client_errors == 0


def test_means_are_weighted_and_of_quantiles_the_middle_is_told() -> None:
    one = {"mean": 10.0, "p50": 1.0, "p95": 10.0, "p99": 1.0}
    other = {"mean": 40.0, "p50": 1.0, "p95": 500.0, "p99": 1.0}
    sums = sum_of(
        [
            minute(0.0, (0, 0), (300, 0), latency=one),
            minute(60.0, (0, 0), (100, 0), latency=other),
            minute(120.0, (0, 0), (100, 0), latency=one),
        ]
    )
    assert sums.v2.mean_ms == 16.0
    assert sums.v2.p95_ms == 10.0


def test_each_stay_has_its_own_minutes_and_its_end() -> None:
    course = course_of(material())
    assert [(one.phase, one.percentage, one.end - one.start) for one in course.stays] == [
        ("canary", 1.0, 180.0),
        ("half", 50.0, 120.0),
        (None, 0.0, 100.0),
    ]
    assert [one.sums.v2.requests for one in course.stays] == [60, 1000, 0]
    assert [one.ended_by for one in course.stays] == ["phase:canary", "guard:error_rate", ""]


def test_criteria_stand_beside_what_was_measured() -> None:
    canary, half, _ = course_of(material()).stays
    assert canary.checks == (
        Check("time", "at least 2m", "180 s", True),
        Check("requests on v2", "at least 50", "60", True),
        Check("error rate", "below 2.00%", "0.00%", True),
        Check("latency p95", "below 250.0 ms", "20.0 ms", True),
    )
    assert half.checks[1:] == (
        Check("success rate", "above 95.00%", "85.00%", False),
        Check("client error rate", "below 1.00%", "2.00%", False),
    )


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    canary = course_of(material(minutes=[])).stays[0]
    assert [one.met for one in canary.checks] == [True, False, None, None]


def test_incidents_are_what_went_wrong() -> None:
    found = course_of(material()).incidents
    assert [one.cause for one in found] == ["alert:error_rate", "guard:error_rate"]
    assert (found[1].before, found[1].after, found[1].changes_state) == (50.0, 0.0, True)


def test_harm_is_counted_in_requests() -> None:
    document = document_of(material(), course_of(material()))
    assert document["harm"] == {
        "v2_failures": 150,
        "answered_by_v1_instead": 150,
        "client_requests": 5060,
        "client_errors": 40,
        "client_errors_beyond_v1": 36,  # v1 fails 3 of 4,000
    }


def advised(state: str, **changes: object) -> str:
    one = {**rollout("default"), "state": state, "phase": "half", **changes}
    seen = material(rollout=one)
    return " ".join(advice(seen, course_of(seen)))


def test_advice_follows_from_the_figures() -> None:
    told = advised("rolled_back", reason="too many")
    assert "Mend before the next start: too many." in told
    assert "class status (150 of 150)" in told
    assert "about 36 failures more than with v1 alone" in told
    assert "refused 3" in told
    assert "v1 answered 14.2% of what was v2's" in told


def test_advice_goes_by_the_state() -> None:
    judgment = {**rollout("default")["judgment"], "missing": ["12 of 50 requests"], "eta_s": 90.0}
    assert "Wait: 12 of 50 requests. At the present rate that takes about 1m 30s" in advised(
        "running", judgment=judgment
    )
    assert "Decide: resume it" in advised("paused")
    assert "Go on" in advised("completed")


def test_without_minutes_nothing_is_made_up() -> None:
    seen = material(minutes=[], rollout={**rollout("default"), "state": "disabled"}, events=EVENTS[:1])
    assert advice(seen, course_of(seen)) == [
        "No minute was recorded in this time, so that there are no figures to go by."
    ]
    assert course_of(material(events=[])).stays == ()


def test_a_slow_v2_is_told() -> None:
    slow = minute(START, (500, 0), (500, 0))
    slow["paths"]["v2"]["latency_ms"] = {"mean": 30.0, "p50": 1.0, "p95": 90.0, "p99": 1.0}
    seen = material(minutes=[slow])
    told = " ".join(advice(seen, course_of(seen)))
    assert "v2 is slower: mean 30.0 ms against 10.0 ms of v1." in told
    assert "p95 90.0 ms against 20.0 ms" in told


def test_the_outcome_is_one_sentence_for_each_state() -> None:
    one = rollout("default")
    states = ("disabled", "running", "paused", "rolled_back", "completed", "aborted")
    told = {outcome(material(rollout={**one, "state": state})) for state in states}
    assert len(told) == len(states)


def test_a_pause_divides_no_phase() -> None:
    paused = {**CANARY, "state": "paused"}
    events = [
        event(2, START, "command:start", NOTHING, CANARY),
        event(3, START + 60, "command:pause", CANARY, paused),
        event(4, START + 120, "command:resume", paused, CANARY),
        event(5, START + 240, "phase:canary", CANARY, HALF),
    ]
    minutes = [minute(START + 60 * n, (1000, 0), (20, 0)) for n in range(4)]
    first, pause, last, _ = course_of(material(events=events, minutes=minutes)).stays
    assert (first.checks, pause.checks) == ((), ())
    told = {check.name: (check.measured, check.met) for check in last.checks}
    assert told["time"] == ("120 s", True)
    assert told["requests on v2"] == ("80", True)
    assert last.sums.v2.requests == 40


def test_what_a_phase_that_goes_on_lacks_may_come_yet() -> None:
    events = [event(2, START, "command:start", NOTHING, CANARY)]
    seen = material(events=events, minutes=MINUTES[:1], at=START + 90)
    (canary,) = course_of(seen).stays
    told = {check.name: (check.met, check.awaited) for check in canary.checks}
    assert told["time"] == told["requests on v2"] == (None, True)
    assert told["error rate"] == (True, False)
    assert "◷ not yet" in markdown_of(document_of(seen, course_of(seen)))
    assert "◷ not yet</b> time: 90 s" in page_of(document_of(seen, course_of(seen)))


def test_what_a_phase_lacked_that_is_over_does_not_come_any_more() -> None:
    over = {**CANARY, "state": "completed"}
    events = [
        event(2, START, "command:start", NOTHING, CANARY),
        event(3, START + 60, "command:promote", CANARY, over),
    ]
    (_, last) = course_of(material(events=events, minutes=[], at=START + 90)).stays
    assert [check.met for check in last.checks] == [False, False, None, None]
    assert not any(check.awaited for check in last.checks)


def test_what_stood_when_the_report_begins_is_its_first_stay() -> None:
    course = course_of(material(events=EVENTS[3:], start=START + 240, stood=HALF))
    assert [(one.phase, one.percentage, one.end - one.start) for one in course.stays] == [
        ("half", 50.0, 60.0),
        (None, 0.0, 100.0),
    ]
    assert (course.start, course.stays[0].sums.v2.requests) == (START + 240, 500)
    assert course.stays[0].checks == ()  # what was counted before is not there


def test_of_what_stood_before_only_the_rest_is_not_checked() -> None:
    paused = {**CANARY, "state": "paused"}
    events = [event(3, START + 60, "command:pause", CANARY, paused), event(4, START + 120, "x", paused, HALF)]
    course = course_of(material(events=events, start=START + 30, stood=CANARY))
    assert [(one.state, bool(one.checks)) for one in course.stays] == [
        ("running", False),
        ("paused", False),
        ("running", True),
    ]


def test_where_nothing_has_moved_it_stands_as_it_stood() -> None:
    course = course_of(material(events=[], start=START + 180, stood=HALF))
    assert [(one.phase, one.ended_by, one.sums.v2.requests) for one in course.stays] == [("half", "", 1000)]
    assert (course.start, course.end) == (START + 180, START + 400)


def test_a_report_from_an_instances_own_copy_says_so() -> None:
    told = advice(material(local_only=True), course_of(material()))
    assert told[-1].endswith("the newest events may be missing.")
    assert told[:-1] == advice(material(), course_of(material()))
