"""What clients saw, added up."""

from __future__ import annotations

import pytest

from proxy.demo.clients import FAILURES_KEPT, FALLBACK, ClientTally


def test_nothing_yet() -> None:
    seen = ClientTally().seen()
    assert (seen.answers, seen.failed, seen.first_fallback_at) == (0, 0, None)


def test_answers_are_counted_by_who_gave_them() -> None:
    tally = ClientTally()
    for path in ("v1", "v1", "v2", FALLBACK):
        tally.record(1.0, 1.02, path, None)
    tally.record(1.0, 1.02, None, "GET /restaurants: TimeoutError")
    seen = tally.seen()
    assert (seen.answers, seen.failed) == (4, 1)
    assert (seen.from_v1, seen.from_v2, seen.from_fallback) == (2, 1, 1)
    assert seen.latency.mean == pytest.approx(0.02, rel=0.03)
    assert repr(tally) == "<ClientTally {'v1': 2, 'v2': 1, 'v1-fallback': 1, None: 1} failed=1>"


def test_the_first_failures_are_kept_in_words() -> None:
    tally = ClientTally()
    for number in range(FAILURES_KEPT + 3):
        tally.record(1.0, 1.1, "v1", f"failure {number}")
    assert tally.seen().failures == tuple(f"failure {number}" for number in range(FAILURES_KEPT))


def test_the_first_fallback_counts_from_the_watch_on() -> None:
    tally = ClientTally()
    tally.record(1.0, 1.1, FALLBACK, None)
    tally.watch_fallbacks(2.0)
    assert tally.seen().first_fallback_at is None
    for ended in (2.5, 3.0):
        tally.record(2.0, ended, FALLBACK, None)
    assert tally.seen().first_fallback_at == 2.5


@pytest.mark.parametrize(("path", "strays"), [("v1", 0), ("v2", 1), (FALLBACK, 1)])
def test_once_settled_only_v1_may_answer(path: str, strays: int) -> None:
    tally = ClientTally()
    tally.settle(2.0)
    tally.record(1.9, 2.4, "v2", None)
    tally.record(2.1, 2.2, path, None)
    assert tally.seen().strays == strays
