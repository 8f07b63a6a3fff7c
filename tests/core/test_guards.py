"""When a limit counts as crossed: by the value over a window, for long enough, or by evidence."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from proxy.core.gauges import CALM, Surroundings
from proxy.core.guards import LATELY_S, GuardTracker, SequentialGuard, WindowGuard, amount, tracker_of
from proxy.core.histogram import Histogram
from proxy.core.tally import ERROR_INDEX, FALLBACK_INDEX, Tally
from proxy.core.window import Window
from proxy.judgment import Action, GuardReading, Metric
from proxy.model import ErrorClass, FallbackReason
from tests.core.plans import plan, second

if TYPE_CHECKING:
    from proxy.config.plan import Guard

BAD, GOOD, NOTHING = second(v2=100, errors=50), second(v2=100), Tally()


def guard(**keys: object) -> Guard:
    return plan(guards=[{"window": "60s", **keys}]).guards[0]


def tracker(**keys: object) -> GuardTracker:
    made = guard(**keys)
    return tracker_of(made, made.name, Window(made.window_s), Window(min(made.window_s, LATELY_S)))


def windowed(**keys: object) -> WindowGuard:
    made = tracker(mode="window", **keys)
    assert isinstance(made, WindowGuard)
    return made


def sequential(**keys: object) -> SequentialGuard:
    made = tracker(**keys)
    assert isinstance(made, SequentialGuard)
    return made


def windows(watched: GuardTracker) -> list[Window]:
    return [watched.window, watched.lately] if isinstance(watched, SequentialGuard) else [watched.window]


def seen(watched: GuardTracker, now: float, tally: Tally, around: Surroundings = CALM) -> GuardReading:
    """A tick at `now`, a second long, in which this was drained."""
    for window in windows(watched):
        window.push(now, tally)
    watched.observe(tally, 1.0)
    watched.update(now, around)
    return watched.reading(now, around)


def only(watched: GuardTracker, now: float, tally: Tally) -> GuardReading:
    """A tick at which nothing else is in the window."""
    for window in windows(watched):
        window.clear()
    return seen(watched, now, tally)


# ... readings over a window


def test_a_reading_shows_all_that_led_to_it() -> None:
    watched = windowed(metric="error_rate", above=0.1, min_requests=100)
    assert seen(watched, 0.0, second(v2=200, errors=63)) == GuardReading(
        guard="error_rate above 0.1",
        metric=Metric.ERROR_RATE,
        value=0.315,
        limit=0.1,
        sample=200,
        min_requests=100,
        crossed=True,
        firing=True,
        action=Action.ROLLBACK,
    )


def test_a_smaller_sample_than_asked_for_reads_nothing() -> None:
    watched = windowed(metric="error_rate", above=0.1, min_requests=100)
    reading = seen(watched, 0.0, second(v2=99, errors=99))
    assert (reading.value, reading.crossed, reading.sample) == (None, False, 99)
    assert only(watched, 1.0, second(v2=100, errors=99)).firing


@pytest.mark.parametrize("errors", [9, 10, 11])
def test_above_is_crossed_beyond_its_limit_only(errors: int) -> None:
    watched = windowed(metric="error_rate", above=0.1)
    assert seen(watched, 0.0, second(v2=100, errors=errors)).crossed is (errors == 11)


@pytest.mark.parametrize(("health", "crossed"), [(0.4, True), (0.5, False), (0.6, False)])
def test_below_is_crossed_short_of_its_limit_only(health: float, crossed: bool) -> None:
    watched = tracker(metric="health", below=0.5)
    assert seen(watched, 0.0, NOTHING, Surroundings(health_v2=health)).crossed is crossed


def test_health_needs_no_requests() -> None:
    reading = seen(tracker(metric="health", below=0.5), 0.0, NOTHING, Surroundings(health_v2=0.0))
    assert reading.firing
    assert (reading.sample, reading.min_requests) == (0, 0)


def test_what_nobody_reports_is_not_crossed() -> None:
    watched = tracker(metric="memory", above=0.8)
    assert not seen(watched, 0.0, NOTHING).crossed
    assert seen(watched, 1.0, NOTHING, Surroundings(memory=0.9)).firing


def test_no_data_is_no_reading_even_when_none_is_asked_for() -> None:
    reading = seen(windowed(metric="error_rate", above=0.0, min_requests=0), 0.0, NOTHING)
    assert (reading.value, reading.crossed) == (None, False)


# ... `for`


@pytest.mark.parametrize("relief", [GOOD, NOTHING])
def test_a_guard_fires_once_it_was_crossed_at_every_tick_for_long_enough(relief: Tally) -> None:
    watched = tracker(metric="error_rate", above=0.1, **{"for": "3s"})
    drained = [BAD, BAD, BAD, relief, BAD, BAD, BAD, BAD, BAD]
    readings = [only(watched, float(now), tally) for now, tally in enumerate(drained)]
    assert [reading.firing for reading in readings] == [False] * 7 + [True] * 2
    assert [reading.crossed for reading in readings] == [tally is BAD for tally in drained]


def test_a_reset_begins_anew() -> None:
    watched = windowed(metric="error_rate", above=0.1, **{"for": "3s"})
    seen(watched, 0.0, BAD)
    assert watched.crossed_for_s(3.0) == 3.0
    watched.reset()
    assert watched.crossed_for_s(3.0) == 0.0
    assert not seen(watched, 3.0, BAD).firing


# ... on evidence


def test_rates_and_quantiles_are_sequential_unless_something_speaks_of_a_window() -> None:
    limit = {"metric": "error_rate", "above": 0.1}
    assert guard(**limit).is_sequential
    assert guard(metric="latency_p99", above="1s").is_sequential
    others: list[dict[str, object]] = [
        {**limit, "for": "1s"},
        {**limit, "mode": "window"},
        {**limit, "action": "alert"},
        {"metric": "error_rate", "above": 0},
        {"metric": "error_rate", "below": 0.1},
        {"metric": "latency_ratio_p95", "above": 2},
        {"metric": "latency_delta_mean", "above": "1s"},
        {"metric": "cpu", "above": 0.9},
    ]
    assert not any(guard(**keys).is_sequential for keys in others)
    assert guard(**limit, action="alert", mode="sequential").is_sequential


def test_a_sample_of_20_is_asked_for_over_a_window_and_none_by_evidence() -> None:
    limit = {"metric": "error_rate", "above": 0.1}
    assert (guard(**limit).needed, guard(**limit, mode="window").needed) == (0, 20)
    assert guard(**limit, min_requests=7).needed == guard(**limit, mode="window", min_requests=7).needed == 7


def test_ten_of_the_first_twenty_are_enough() -> None:
    watched = sequential(metric="error_rate", above=0.1)
    assert not seen(watched, 0.0, second(v2=1, errors=1)).firing
    assert seen(watched, 1.0, second(v2=19, errors=9)).firing


def test_a_rate_below_the_limit_never_fires_and_one_above_does() -> None:
    rng = random.Random(5)
    for rate, fires in ((0.08, False), (0.15, True)):
        watched = sequential(metric="error_rate", above=0.1)
        errors = (sum(rng.random() < rate for _ in range(10)) for _ in range(600))
        assert (
            any(seen(watched, float(now), second(v2=10, errors=n)).firing for now, n in enumerate(errors))
            is fires
        )


def test_a_sudden_failure_after_an_hour_without_one_fires_within_a_second() -> None:
    watched = sequential(metric="error_rate", above=0.1)
    for _ in range(3_600):
        watched.observe(second(v2=5), 1.0)
    assert not seen(watched, 3_600.0, second(v2=30, errors=0)).firing
    assert seen(watched, 3_601.0, second(v2=30, errors=30)).firing


def test_evidence_that_is_no_alarm_yet_stands_against_a_promotion() -> None:
    watched = sequential(metric="error_rate", above=0.1)
    now = 0
    while watched.evidence < 10.0:
        seen(watched, float(now), second(v2=1, errors=1))
        now += 1
    assert watched.crossed
    assert not watched.firing


def test_a_sample_that_is_asked_for_is_counted_from_the_beginning_of_the_evidence() -> None:
    watched = sequential(metric="error_rate", above=0.1, window="1s", min_requests=60)
    assert [seen(watched, float(now), second(v2=20, errors=20)).firing for now in range(3)] == [
        False,
        False,
        True,
    ]
    watched.reset()
    assert not seen(watched, 4.0, second(v2=20, errors=20)).firing


def test_without_traffic_the_evidence_stays() -> None:
    watched = sequential(metric="error_rate", above=0.1)
    before = seen(watched, 0.0, BAD), watched.evidence
    assert seen(watched, 1.0, NOTHING).firing is before[0].firing
    assert watched.evidence == before[1]


def test_what_v2_was_not_sent_counts_as_failed() -> None:
    assert seen(sequential(metric="error_rate", above=0.1), 0.0, second(not_asked=20)).firing


def test_fallbacks_that_come_a_tick_after_their_attempt_are_counted_once() -> None:
    late, early = (
        sequential(metric="fallback_rate", above=0.25),
        sequential(metric="fallback_rate", above=0.25),
    )
    together, tally = second(v2=4, errors=4), Tally(assigned_v2=4)
    tally.fallbacks[FALLBACK_INDEX[FallbackReason.STATUS]] = 4
    seen(late, 0.0, tally)  # v1 had answered before the attempts were counted
    assert late.evidence == early.evidence
    failures = second(v2=4)
    seen(late, 1.0, failures)
    early.observe(Tally(), 1.0)
    seen(early, 1.0, together)
    assert late.evidence == pytest.approx(early.evidence)


def test_clients_failures_are_those_of_both_paths() -> None:
    tally = Tally(client_requests=20, client_errors=20)
    assert seen(sequential(metric="client_error_rate", above=0.1), 0.0, tally).firing


@pytest.mark.parametrize(
    ("metric", "slow", "fires"), [("p50", 40, False), ("p50", 80, True), ("p95", 40, True)]
)
def test_a_limit_on_a_quantile_is_one_on_the_share_of_slow_requests(
    metric: str, slow: int, fires: bool
) -> None:
    watched = sequential(metric=f"latency_{metric}", above="500ms")
    tally = second(v2=100 - slow, v2_s=0.1)
    tally.add(second(v2=slow, v2_s=0.9))
    assert seen(watched, 0.0, tally).firing is fires


def hanging(*ages_s: float) -> Histogram:
    ages = Histogram()
    for age_s in ages_s:
        ages.record(age_s)
    return ages


def test_a_request_that_hangs_counts_the_moment_it_passes_the_limit_and_once() -> None:
    hung, done = sequential(metric="latency_p95", above="1s"), sequential(metric="latency_p95", above="1s")
    for now in range(3):
        seen(hung, float(now), Tally(in_flight_v2=hanging(*[1.5 + now] * 4, *[0.2] * 9)))
        seen(done, float(now), second(v2=0 if now else 4, v2_s=1.5))
    assert hung.evidence == pytest.approx(done.evidence)
    seen(hung, 3.0, second(v2=4, v2_s=5.0))  # they are answered after all
    assert hung.evidence == pytest.approx(done.evidence)


def test_a_v2_that_only_hangs_fires() -> None:
    watched = sequential(metric="latency_p95", above="1s")
    assert not seen(watched, 0.0, Tally(in_flight_v2=hanging(*[0.5] * 8))).firing
    assert seen(watched, 1.0, Tally(in_flight_v2=hanging(*[1.5] * 8))).firing


def test_hanging_requests_that_vanish_without_an_answer_take_nothing_back() -> None:
    watched = sequential(metric="latency_p95", above="1s")
    seen(watched, 0.0, Tally(in_flight_v2=hanging(*[1.5] * 3)))
    evidence = watched.evidence
    seen(watched, 1.0, Tally())  # their clients have left
    assert watched.evidence == evidence


def test_evidence_of_what_is_over_does_not_fire() -> None:
    watched = sequential(metric="error_rate", above=0.1, window="5s")
    assert seen(watched, 0.0, BAD).firing
    assert seen(watched, 1.0, NOTHING).firing
    assert not seen(watched, 2.0, second(v2=900)).firing
    assert not seen(watched, 9.0, NOTHING).firing


# ... in words


def words(tally: Tally, around: Surroundings = CALM, **keys: object) -> str:
    watched = tracker(**keys)
    seen(watched, 0.0, tally, around)
    return watched.explain(0.0, around)


@pytest.mark.parametrize(
    ("metric", "limit", "expected"),
    [
        ("error_rate", 0.1, "guard error_rate above 0.1: 0.315 over 60 s (63 of 200 requests to v2)"),
        ("fallback_rate", 0.1, "guard fallback_rate above 0.1: 0.315 over 60 s (63 of 200 requests for v2)"),
        ("latency_p95", "5ms", "guard latency_p95 above 0.005: 0.0404 s over 60 s (200 requests to v2)"),
        (
            "client_error_rate",
            0.01,
            "guard client_error_rate above 0.01: 0.0133 over 60 s (4 of 300 requests)",
        ),
        (
            "latency_delta_mean",
            "5ms",
            "guard latency_delta_mean above 0.005: 0.03 s over 60 s (200 requests to v2, 100 to v1)",
        ),
        (
            "latency_ratio_p95",
            2,
            "guard latency_ratio_p95 above 2: 4 over 60 s (200 requests to v2, 100 to v1)",
        ),
    ],
)
def test_a_reading_in_words(metric: str, limit: object, expected: str) -> None:
    tally = second(v2=200, errors=63, v2_s=0.040, v1=100)
    tally.client_errors = 4
    assert words(tally, metric=metric, above=limit, mode="window") == expected


def test_words_say_what_was_not_sent() -> None:
    expected = "guard error_rate above 0.1: 0.8 over 60 s (5 of 25 requests to v2, 75 not sent)"
    tally = second(v2=25, errors=5, not_asked=75)
    assert words(tally, metric="error_rate", above=0.1, mode="window") == expected


def test_words_of_evidence_say_how_much_there_is_and_how_much_it_takes() -> None:
    few = words(second(v2=1, errors=1), metric="error_rate", above=0.1, min_requests=20)
    assert few.startswith("guard error_rate above 0.1: 1 over 60 s (1 of 1 requests to v2), evidence ")
    assert few.endswith(" of 100 needed, 1 of 20 requests")
    many = words(second(v2=2_000, errors=2_000), metric="error_rate", above=0.1)
    assert many.endswith("(2,000 of 2,000 requests to v2), evidence over 1,000,000 of 100 needed")


def test_words_of_a_guard_without_a_window() -> None:
    around = Surroundings(health_v2=1 / 3)
    assert words(Tally(), around, metric="health", below=0.5) == (
        "guard health below 0.5: 0.333 (share of v2's endpoints)"
    )


def test_words_without_a_value() -> None:
    assert words(Tally(), metric="memory", above=0.5) == "guard memory above 0.5: no value (as reported)"


@pytest.mark.parametrize(
    ("evidence", "text"),
    [
        (0.031, "0.031"),
        (2.13, "2.1"),
        (19.6, "19.6"),
        (19.99, "19.9"),
        (20.0, "20"),
        (99.99, "99.9"),
        (143.2, "143"),
        (12_345.0, "12,345"),
        (1e9, "over 1,000,000"),
    ],
)
def test_evidence_for_people(evidence: float, text: str) -> None:
    assert amount(evidence) == text


def test_repr_shows_since_when() -> None:
    watched = windowed(metric="error_rate", above=0.1)
    assert repr(watched) == "WindowGuard(error_rate above 0.1, not crossed)"
    tally = Tally()
    tally.v2.requests = 20
    tally.v2.errors[ERROR_INDEX[ErrorClass.TIMEOUT]] = 20
    seen(watched, 12.0, tally)
    assert repr(watched) == "WindowGuard(error_rate above 0.1, crossed since 12)"
    assert (
        repr(sequential(metric="error_rate", above=0.1))
        == "SequentialGuard(error_rate above 0.1, evidence 0.5)"
    )


# ... a fault that is new


def test_a_long_window_that_remembers_better_times_is_no_reason_to_wait() -> None:
    """Over the minute v2 fails less than one request in ten for half a minute yet."""
    watched = sequential(metric="error_rate", above=0.10)
    for now in range(600):
        assert not seen(watched, float(now), second(v2=200)).firing
    fired = next(
        now for now in range(600, 660) if seen(watched, float(now), second(v2=200, errors=40)).firing
    )
    assert fired < 610
    words = watched.explain(float(fired), CALM)
    assert " over 10 s (" in words
    assert float(words.split(": ")[1].split()[0]) > 0.10


def test_a_bad_second_that_is_over_is_no_reason() -> None:
    watched = sequential(metric="error_rate", above=0.10)
    for now in range(600):
        errors = 100 if now == 300 else 0
        assert not seen(watched, float(now), second(v2=200, errors=errors)).firing


def test_what_hangs_is_told_where_no_answer_shows_it() -> None:
    watched = sequential(metric="latency_p95", above="1s")
    for now in range(5):
        hanging = second(v2=2, v2_s=0.05)
        hanging.in_flight_v2 = Histogram()
        for _ in range(10 * now):
            hanging.in_flight_v2.record(1.5)
        reading = seen(watched, float(now), hanging)
    assert reading.firing
    words = watched.explain(4.0, CALM)
    assert ": 0.0497 s over 60 s (10 requests to v2), 40 under way for longer, evidence " in words


def test_a_few_failures_are_not_far_over_a_small_limit() -> None:
    watched = sequential(metric="error_rate", above=0.01)
    seen(watched, 0.0, second(v2=64, errors=3))
    assert not watched.is_far_over(0.0)
    seen(watched, 1.0, second(v2=20, errors=6))
    assert watched.is_far_over(1.0)
