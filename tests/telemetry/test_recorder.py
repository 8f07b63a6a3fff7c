"""What the data plane writes down is what the control plane drains, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.core.tally import ERROR_INDEX, FALLBACK_INDEX, Tally
from proxy.model import ErrorClass, FallbackReason, Path
from proxy.telemetry.recorder import TallyRecorder

if TYPE_CHECKING:
    from proxy.ports import Evidence, Recorder


def drained(recorder: TallyRecorder) -> Tally:
    [tally] = recorder.drain()
    return tally


def test_it_is_what_both_planes_ask_for() -> None:
    made = TallyRecorder(1)
    recorder: Recorder = made
    evidence: Evidence = made
    recorder.over_budget(0, FallbackReason.RESET)
    assert sum(evidence.drain()[0].over_budget) == 1


def test_assignments_are_counted_by_path_and_overrides_apart() -> None:
    recorder = TallyRecorder(1)
    for path, overridden in (
        (Path.V1, False),
        (Path.V2, False),
        (Path.V2, False),
        (Path.V2, True),
        (Path.V1, True),
    ):
        recorder.assigned(0, path, overridden=overridden)
    tally = drained(recorder)
    assert (tally.assigned_v1, tally.assigned_v2, tally.overridden) == (1, 2, 2)


@pytest.mark.parametrize("path", Path)
def test_an_attempt_counts_on_its_path_alone(path: Path) -> None:
    recorder = TallyRecorder(1)
    recorder.attempt(0, path, 0.250, None)
    tally = drained(recorder)
    other = Path.V2 if path is Path.V1 else Path.V1
    assert tally.of(path).requests == tally.of(path).latency.count == 1
    assert tally.of(path).latency.total_s == pytest.approx(0.250)
    assert sum(tally.of(path).errors) == 0
    assert tally.of(other) == Tally().of(other)


@pytest.mark.parametrize("kind", ErrorClass)
def test_a_failed_attempt_counts_by_its_class_and_in_the_latency(kind: ErrorClass) -> None:
    recorder = TallyRecorder(1)
    recorder.attempt(0, Path.V2, 10.0, kind)
    side = drained(recorder).v2
    assert side.errors[ERROR_INDEX[kind]] == sum(side.errors) == side.requests == side.latency.count == 1


@pytest.mark.parametrize("reason", FallbackReason)
def test_fallbacks_count_by_reason(reason: FallbackReason) -> None:
    recorder = TallyRecorder(1)
    recorder.fallback(0, reason, failed=False)
    recorder.fallback(0, reason, failed=True)
    recorder.over_budget(0, reason)
    tally = drained(recorder)
    assert tally.fallbacks[FALLBACK_INDEX[reason]] == sum(tally.fallbacks) == 2
    assert tally.over_budget[FALLBACK_INDEX[reason]] == sum(tally.over_budget) == 1
    assert tally.fallback_errors == 1


def test_outcomes_are_what_clients_saw() -> None:
    recorder = TallyRecorder(1)
    recorder.outcome(0, failed=False, aborted=False)
    recorder.outcome(0, failed=True, aborted=False)
    tally = drained(recorder)
    assert (tally.client_requests, tally.client_errors, tally.client_aborts) == (2, 1, 0)


def test_a_client_that_left_saw_no_answer() -> None:
    recorder = TallyRecorder(1)
    recorder.outcome(0, failed=True, aborted=True)
    tally = drained(recorder)
    assert (tally.client_requests, tally.client_errors, tally.client_aborts) == (0, 0, 1)


def test_rollouts_are_kept_apart() -> None:
    recorder = TallyRecorder(3)
    recorder.attempt(1, Path.V2, 0.1, None)
    assert [tally.v2.requests for tally in recorder.drain()] == [0, 1, 0]


def test_what_was_drained_is_gone_and_belongs_to_who_drained_it() -> None:
    recorder = TallyRecorder(1)
    recorder.outcome(0, failed=False, aborted=False)
    first = drained(recorder)
    recorder.outcome(0, failed=False, aborted=False)
    assert first.client_requests == 1
    assert drained(recorder).client_requests == 1
    assert drained(recorder) == Tally()


def test_repr_shows_what_waits() -> None:
    recorder = TallyRecorder(2)
    recorder.outcome(1, failed=False, aborted=False)
    assert repr(recorder) == "TallyRecorder(2 rollouts, 1 requests to drain)"
