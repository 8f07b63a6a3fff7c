"""What the comparison of v2 with v1 is fed, and how it reads in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.core.comparison import Comparison
from proxy.core.histogram import Histogram
from proxy.core.policy import JudgePolicy
from proxy.core.rising import rates
from proxy.core.tally import Tally
from tests.core.plans import second

if TYPE_CHECKING:
    from proxy.judgment import Need

POLICY = JudgePolicy()


def fed(*tallies: Tally, split: bool = True) -> Comparison:
    comparison = Comparison(POLICY)
    for tally in tallies:
        comparison.observe(tally, 1.0, split=split)
    return comparison


def slow(seconds: int, v2_s: float) -> list[Tally]:
    """Seconds of traffic in which v1 takes about 10 ms and v2 so long."""
    return [second(v1=45, v1_s=0.008 + 0.004 * (n % 5) / 4, v2=5, v2_s=v2_s) for n in range(seconds)]


def test_ticks_in_which_nothing_happens_change_nothing_but_the_time() -> None:
    quiet, busy = fed(*[Tally()] * 10), fed()
    for comparison in (quiet, busy):
        comparison.observe(second(v1=20, v2=5), 1.0, split=True)
    assert quiet.evidence == pytest.approx(busy.evidence, rel=0.01)


def test_a_v2_that_fails_is_worse_and_one_that_is_slow_is_slower() -> None:
    failing = fed(*[second(v1=45, v2=5, errors=5)] * 10)
    assert failing.evidence >= failing.needed
    assert not failing.is_slower
    slowing = fed(*slow(120, 0.010), *slow(60, 0.400))
    assert slowing.evidence >= slowing.needed
    assert slowing.is_slower


# ... the breaker


def open_breaker(seconds: int) -> list[Tally]:
    return [second(v1=400, not_asked=100)] * seconds


def test_an_open_breaker_is_no_evidence_while_its_probes_have_not_failed() -> None:
    burst = second(v1=400, v2=20, errors=20, not_asked=80)
    before = fed(burst)
    assert fed(burst, *open_breaker(10)).evidence == pytest.approx(before.evidence, rel=0.01)


def test_a_probe_that_fails_lets_every_further_second_count() -> None:
    burst, probe = (
        second(v1=400, v2=20, errors=20, not_asked=80),
        second(v1=400, v2=3, errors=3, not_asked=97),
    )
    seconds = [*[second(v1=400, v2=100)] * 30, burst, *open_breaker(4), probe]
    failed = fed(*seconds)
    evidence = failed.evidence
    for tally in open_breaker(4):
        failed.observe(tally, 1.0, split=True)
    assert failed.evidence > 1_000.0 * evidence


def test_a_probe_that_succeeds_says_that_v2_is_back() -> None:
    burst, back = second(v1=400, v2=20, errors=20, not_asked=80), second(v1=400, v2=3, errors=1, not_asked=97)
    returned = fed(burst, *open_breaker(4), back)
    evidence = returned.evidence
    for tally in open_breaker(4):
        returned.observe(tally, 1.0, split=True)
    assert returned.evidence == pytest.approx(evidence, rel=0.01)


def test_a_burst_in_which_the_breaker_opens_is_no_probe() -> None:
    """The first tick of an open breaker holds the failures that opened it."""
    burst = second(v1=400, v2=20, errors=20, not_asked=80)
    assert fed(second(v1=400, v2=100), burst, *open_breaker(4)).evidence < fed().needed


# ... requests that no version can answer


def test_what_v1_fails_on_the_same_requests_is_no_regression() -> None:
    """A client that is v2's keeps sending what nobody can answer."""
    bad = second(v1=45, v2=5, errors=2)
    alone = fed(*[bad] * 60)
    bad.fallback_errors = 2
    shared = fed(*[bad] * 60)
    assert alone.evidence >= alone.needed > shared.evidence
    texts = [one.text for one in shared.readings(Tally()) if one.name == "errors" and one.against]
    assert texts == ["v2 without a request against v1 without a request, v1 fails the same requests"]


def test_what_the_breaker_keeps_from_v2_is_no_failure_that_v1_has_not_shared() -> None:
    """It opens on such a client too, and then v1 answers everybody's requests but that client's."""
    bad = second(v1=45, v2=5, errors=2)
    bad.fallback_errors = 2
    kept = second(v1=45, not_asked=12)
    kept.fallback_errors = 2
    comparison = fed(*[*[bad] * 30, *[kept] * 10] * 3)
    assert comparison.evidence < comparison.needed
    assert "v1 fails the same requests" in comparison.readings(Tally())[0].text


# ... in words


def test_rates_for_people() -> None:
    tally = second(v2=1_000, errors=21, v1=9_001)
    tally.v1.errors[0] = 9
    assert rates(tally) == "v2 2.1 % (21 of 1,000) against v1 0.1 % (9 of 9,001)"
    assert rates(Tally()) == "v2 without a request against v1 without a request"


def test_what_speaks_against_v2_has_value_sample_interval_and_evidence() -> None:
    failing = fed(*[second(v1=45, v2=5, errors=5)] * 10)
    words = failing.against()
    counts = "v2 100 % (50 of 50) against v1 0 % (0 of 450), 1.7 % is tolerable"
    assert words.startswith(f"errors: {counts}, over 10 s, evidence ")
    assert words.endswith(" of 100 needed")


def test_a_fault_that_is_new_is_told_by_what_was_counted_since() -> None:
    """Over all of its time v2 fails 1 %, and one in two since it is ill."""
    late = fed(*[second(v1=45, v2=5)] * 2_000, *[second(v1=45, v2=4, errors=2)] * 10)
    words = late.against()
    assert words.startswith(
        "errors: v2 50 % (18 of 36) against v1 0 % (0 of 405), 0.1 % is tolerable, over 9 s"
    )
    assert repr(late._rising) == "Rising(v2 50 % (16 of 32) against v1 0 % (0 of 360) over 8 s)"


def test_errors_that_opened_the_breaker_are_told_though_they_came_before_the_evidence_rose() -> None:
    """v2 fails, the breaker opens, and from then on v2 is asked next to nothing."""
    failing = second(v1=45, v2=5, errors=5)
    idle = second(v1=50, not_asked=5)
    probe = second(v1=49, v2=1, errors=1, not_asked=4)
    comparison = fed(*[second(v1=45, v2=5)] * 200, failing, idle, probe, *[idle] * 30)
    assert comparison.evidence >= comparison.needed
    assert comparison.against().startswith("errors: v2 100 % (6 of 6) against v1 0 % ")


@pytest.mark.no_cover
def test_slowness_that_is_new_is_told_by_what_was_counted_since() -> None:
    late = fed(*slow(2_000, 0.010), *slow(20, 0.400))
    words = late.against()
    assert " 100 % of v2 over " in words
    assert " over 19 s, evidence " in words


def test_a_restart_lets_the_counting_begin_anew() -> None:
    failing = fed(*[second(v1=45, v2=5, errors=5)] * 10)
    failing.restart()
    assert "v2 without a request against v1 without a request" in failing.against()


def test_slowness_is_told_by_the_quantile_that_shows_it_most() -> None:
    slowing = fed(*slow(120, 0.010), *slow(60, 0.400))
    words = slowing.against()
    assert words.startswith("latency: p")
    assert " % of v2 over " in words
    assert " against " in words
    assert " over 59 s, evidence " in words


def test_a_mean_that_is_longer_is_told_as_one() -> None:
    """A few requests that take very long, too few for any quantile."""
    rare = []
    for number in range(6_000):
        tally = second(v1=45, v2=5)
        if number > 200 and number % 60 == 0:
            tally.v2.latency = Histogram()
            for latency_s in (0.01, 0.01, 0.01, 0.01, 9.9):
                tally.v2.latency.record(latency_s)
        rare.append(tally)
    comparison = fed(*rare)
    against = {r.name: r.value for r in comparison.readings(Tally()) if r.against}
    loudest = max((name for name in against if name.startswith("latency_")), key=lambda name: against[name])
    assert loudest == "latency_mean"
    assert comparison.is_slower
    assert comparison.against().startswith("latency: v2's mean against v1's")


# ... what is wanting


TESTS = ["evidence:errors", "evidence:latency_p50", "evidence:latency_p90"]


def wanting(comparison: Comparison, seen: Tally, seconds: float) -> list[Need]:
    return [need for need in comparison.needs(seen, seconds) if not need.met]


def test_all_is_wanting_at_first_and_nothing_in_the_end() -> None:
    some = fed(*[second(v1=45, v2=5)] * 2)
    found = wanting(some, second(v1=90, v2=10), 2.0)
    assert [need.criterion for need in found] == TESTS
    for need in found:
        assert need.have is not None
        assert need.have < need.need == pytest.approx(20.0)
        assert need.requests is not None
        assert need.requests > 0.0
        assert need.seconds == pytest.approx(need.requests / 5.0, abs=0.2)
    enough = fed(*[second(v1=45, v2=5)] * 200)
    assert enough.satisfied
    needs = enough.needs(second(v1=9_000, v2=1_000), 200.0)
    assert [(need.criterion, need.met) for need in needs] == [
        *((name, True) for name in TESTS),
        ("evidence:regression", True),
    ]
    enough.step()
    assert wanting(enough, second(v1=9, v2=1), 1.0)
    enough.restart()
    assert wanting(enough, second(v1=9, v2=1), 1.0)


def test_without_v1_nothing_can_be_told() -> None:
    errors, latency, tail = wanting(fed(), Tally(), 0.0)
    assert (errors.seconds, errors.requests) == (latency.seconds, latency.requests) == (None, None)
    assert latency.text == tail.text
    assert latency.text.endswith("too little is known of v1")
    assert "more requests" not in errors.text


def test_what_speaks_against_v2_has_to_stay_below() -> None:
    comparison = fed(*[second(v1=45, v2=5)] * 200, *[second(v1=45, v2=5, errors=5)] * 3)
    need = wanting(comparison, second(v1=45, v2=5), 1.0)[-1]
    assert (need.criterion, need.need, need.seconds) == ("evidence:regression", comparison.doubtful, None)
    assert need.have == comparison.evidence >= comparison.doubtful
    assert need.text == comparison.against()


def test_readings_are_told_apart_by_what_they_speak_for() -> None:
    readings = fed(*[second(v1=45, v2=5)] * 20).readings(second(v1=900, v2=100))
    names = [(reading.name, reading.against) for reading in readings]
    assert len(names) == len(set(names))
    assert {("errors", True), ("errors", False), ("latency_mean", True), ("regression", True)} <= set(names)
    assert {reading.needed for reading in readings if reading.against} == {100.0}


def test_while_v2_has_no_share_v1_is_learnt_from() -> None:
    alone = second(v1=100)
    alone.v1.errors[0] = 30
    learnt = fed(*[alone] * 60, split=False)
    shared = second(v1=90, v2=10, errors=3)
    shared.v1.errors[0] = 27
    fresh = fed()
    for comparison in (learnt, fresh):
        comparison.observe(shared, 1.0, split=True)
    assert learnt.evidence < 2.0
    learnt.observe(Tally(in_flight_v1=Histogram()), 1.0, split=False)


def test_repr_shows_the_tests() -> None:
    assert repr(fed()).startswith("Comparison(RegressionDetector(")
