"""What the measurements stand on: the raw client, the pace of the open loop, and the cores."""

from __future__ import annotations

import os

import pytest

from benchmarks.asking import whole_answer
from benchmarks.open_loop import due
from benchmarks.own import pinned

ANSWER = b"HTTP/1.1 200 OK\r\nVia: 1.1 x\r\nContent-Length: 5\r\n\r\nhello"


def test_an_answer_is_whole_once_its_last_byte_is_there() -> None:
    assert all(whole_answer(ANSWER[:cut]) is None for cut in range(len(ANSWER)))
    assert whole_answer(ANSWER) == (200, b"hello")


def test_the_length_may_be_written_in_any_case_and_be_nothing() -> None:
    assert whole_answer(b"HTTP/1.1 503 No\r\ncontent-length:0\r\n\r\n") == (503, b"")


def test_an_answer_whose_length_is_not_told_is_an_error_and_not_a_wait() -> None:
    with pytest.raises(ValueError, match="without Content-Length"):
        whole_answer(b"HTTP/1.1 200 OK\r\n\r\nhello")


def test_the_first_request_is_due_at_once_and_the_others_at_the_rate() -> None:
    assert [due(passed_s, 100.0) for passed_s in (0.0, 0.009, 0.01, 1.0)] == [1, 1, 2, 101]


def test_one_measurement_leaves_the_next_all_its_cores() -> None:
    before = os.sched_getaffinity(0)
    with pinned() as first:
        assert os.sched_getaffinity(0) == first[1]
    with pinned() as second:
        assert second == first
    assert os.sched_getaffinity(0) == before
