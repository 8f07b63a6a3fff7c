"""What a load comes to: percentiles per path, merged seconds, failures, shares, the generator's own lag."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load_figures import Figures, Reply, merge
from proxy.core.histogram import Histogram

OK = Reply(200, "v1")


def test_every_path_has_its_percentiles_and_all_have_theirs() -> None:
    figures = Figures()
    for number in range(1, 101):
        figures.record(number * 0.05, Reply(200, "v1"), number * 1e-3, 0.0)
    figures.record(6.0, Reply(200, "v2"), 1.0, 0.0)
    figures.finish()
    by_path = figures.latencies()
    assert list(by_path) == ["v1", "v2", "all"]
    assert by_path["v1"].reading().quantile(0.5) == pytest.approx(0.050, rel=0.03)
    assert by_path["v1"].reading().quantile(0.99) == pytest.approx(0.099, rel=0.03)
    assert by_path["all"].count == figures.count == 101
    assert by_path["all"].reading().quantile(1.0) == pytest.approx(1.0, rel=0.03)


@given(
    st.lists(st.tuples(st.floats(0, 5), st.sampled_from(["v1", "v2", None]), st.floats(0, 2)), max_size=60)
)
def test_seconds_merge_into_what_one_histogram_would_hold(
    requests: list[tuple[float, str | None, float]],
) -> None:
    figures, whole = Figures(), Histogram()
    for done_s, path, latency_s in requests:
        figures.record(done_s, Reply(200, path), latency_s, 0.0)
        whole.record(latency_s)
    assert figures.latencies()["all"] == whole
    figures.finish()
    assert figures.latencies()["all"] == whole
    assert sum(second.answers for second in figures.seconds) == len(requests)


def test_merging_leaves_the_part_alone() -> None:
    part, into = {"v1": Histogram()}, {"v1": Histogram()}
    part["v1"].record(0.1)
    merge(into, part)
    merge(into, part)
    assert (into["v1"].count, part["v1"].count) == (2, 1)


def test_each_second_has_its_own_row_and_empty_ones_too() -> None:
    figures = Figures()
    figures.record(0.2, OK, 0.01, 0.0)
    figures.record(3.5, Reply(503, "v2"), 0.02, 0.0)
    figures.finish()
    assert [(one.at, one.answers, one.failed) for one in figures.seconds] == [
        (0, 1, 0),
        (1, 0, 0),
        (2, 0, 0),
        (3, 1, 1),
    ]


def test_failures_are_missing_answers_and_server_errors() -> None:
    figures = Figures()
    for reply in (OK, Reply(404, "v1"), Reply(500, "v1"), Reply(error="refused"), Reply(error="refused")):
        figures.record(0.1, reply, 0.01, 0.0)
    assert (figures.failed, figures.error_rate) == (3, 0.6)
    assert figures.errors == {"refused": 2}
    assert figures.statuses == {"v1": {"2xx": 1, "4xx": 1, "5xx": 1}}
    assert list(figures.latencies()) == ["v1", "no answer", "all"]


def test_the_share_counts_only_answers_that_tell_their_path() -> None:
    figures = Figures()
    assert figures.observed_share() is None
    for path in ("v1", "v1", "v2", "v1-fallback", None, "nonsense"):
        figures.record(0.1, Reply(200, path), 0.01, 0.0)
    assert figures.observed_share() == 0.25
    assert figures.latencies()["none"].count == 2


def test_a_generator_that_sends_late_or_too_little_is_behind() -> None:
    figures = Figures()
    figures.record(0.1, OK, 0.01, 0.001)
    assert not figures.fell_behind(due=100, sent=99)
    assert figures.fell_behind(due=100, sent=90)
    figures.record(0.1, OK, 0.01, 0.5)
    assert figures.fell_behind(due=100, sent=100)
