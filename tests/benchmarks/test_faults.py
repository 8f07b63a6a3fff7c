"""What a run of `faults` comes to."""

from __future__ import annotations

from typing import Any

from benchmarks import report
from benchmarks.fault_play import LEAVING, NAMES, WAITING
from benchmarks.faults import Look, Row, targets

REST = Look(tasks=8, descriptors=18, resident_mib=70.0)


def row(answers: dict[str, int], after: Look = REST) -> Row:
    return Row("reset", answers, 1.0, REST, after)


def test_a_row_is_right_if_all_answers_are_and_nothing_is_left() -> None:
    assert row({"200": 5}).is_right
    assert row({"200": 5}, Look(7, 17, 99.0)).is_right  # memory is looked at over the whole run
    assert row({"200": 5, "WRONG: 504": 2, "WRONG: broken": 1}).wrong == 3
    assert row({}, Look(9, 18, 70.0)).left == 1
    assert row({}, Look(7, 20, 70.0)).left == 2  # a task less makes up for no file
    assert not any(one.is_right for one in (row({"WRONG: 504": 1}), row({}, Look(9, 18, 70.0))))


def test_all_faults_together_are_held_to_the_targets() -> None:
    rows = [row({"200": 10}), row({"200": 6, "WRONG: 504": 4}, Look(9, 19, 70.0))]
    told = [(one["what"], one["measured"], one["met"]) for one in targets(rows, 5.0, 120.0)]
    assert told[0] == ("wrong answers to 20 requests, 2 faults of backends and clients", "4", False)
    assert [(measured, met) for _, measured, met in told[1:]] == [
        ("2", False),
        ("5.0 MiB", True),
        ("120 ms", True),
    ]
    assert [one["met"] for one in targets([row({"200": 1})], 16.5, 501.0)] == [True, True, False, False]
    assert len(list(targets([row({"200": 1})], 1.0, None))) == 3  # no client was to leave


def test_only_what_ends_by_a_time_out_has_a_short_one() -> None:
    assert set(WAITING) == {
        "silence",
        "silence-in-the-head",
        "silence-in-the-body",
        "one-byte-at-a-time-in-the-head",
        "unreachable",
    }
    assert set(WAITING) | set(LEAVING) < set(NAMES)


def test_the_page_shows_what_was_there_before_and_after() -> None:
    look = {"tasks": 8, "descriptors": 18, "resident_mib": 70.4}
    one = {"fault": "reset", "answers": {"502": 7500, "200 by v1": 2500}, "before": look, "after": look}
    machine = dict.fromkeys(("processor", "cores", "memory_gib", "kernel", "python", "at"), "")
    document: dict[str, Any] = {
        "machine": machine,
        "versions": {},
        "options": {"times": 10_000},
        "rows": [one],
    }
    page = report.page({"faults": document}, set())
    assert "| reset | 2,500 x 200 by v1, 7,500 x 502 | 18 → 18 | 8 → 8 | 70 → 70 |" in page
