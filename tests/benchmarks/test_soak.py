"""The soak's own parts: a wrong answer is seen, and so are a counter and a process that are off."""

from __future__ import annotations

import random
from zlib import crc32

import pytest

from benchmarks.soak.accounts import UNKNOWN, Figures, Sent, disagreements, missing_at_most
from benchmarks.soak.backends import SampleBackend
from benchmarks.soak.clients import Ask, Outcome
from benchmarks.soak.content import body_of, version_in
from benchmarks.soak.traffic import GRACE_S, Traffic
from benchmarks.soak.vitals import ENOUGH, Life, growth, slope

CRC = crc32(b"asked")


def traffic() -> Traffic:
    rng = random.Random(1)
    return Traffic(1, [SampleBackend(version, rng) for version in ("v1", "v2")], rng, 10.0)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_right_answer_tells_who_gave_it(version: str) -> None:
    assert version_in(body_of(7, version, 500, CRC), 7, 500, CRC) == version


@pytest.mark.parametrize(
    "body",
    [
        body_of(8, "v1", 500, CRC),
        body_of(7, "v1", 499, CRC),
        body_of(7, "v1", 500, CRC + 1),
        body_of(7, "v1", 500, CRC)[:-1],
        body_of(7, "v1", 500, CRC)[:250] + body_of(7, "v2", 500, CRC)[250:],
        b"",
    ],
)
def test_no_other_answer_is_right(body: bytes) -> None:
    assert version_in(body, 7, 500, CRC) is None


def test_an_error_needs_a_cause() -> None:
    soak = traffic()
    soak._judge(Outcome(Ask(1, began=5.0), "error", 502, ended=5.1))
    assert (soak.lost, soak.counted) == (1, 1)
    soak.faults.append((5.05, 6.0))
    soak._judge(Outcome(Ask(2, began=5.0), "error", 502, ended=5.1))
    assert (soak.lost, soak.counted) == (1, 2)


def test_a_lost_answer_needs_a_backend_that_broke_it_or_a_worker_that_died_with_it() -> None:
    soak = traffic()
    soak._judge(Outcome(Ask(1, began=5.0), "lost", port=99, ended=5.1))
    assert soak.lost == 1
    soak.backends[1].broken.add(2)
    soak._judge(Outcome(Ask(2, began=5.0), "lost", port=99, ended=5.1))
    soak.doomed[99] = 5.05
    soak._judge(Outcome(Ask(3, began=5.0), "unanswered", port=99, ended=5.1))
    soak._judge(Outcome(Ask(4, began=9.0), "unanswered", port=99, ended=9.1))
    assert soak.lost == 2
    assert soak.verdicts["lost with a worker"] == 1


def test_v2_answers_nothing_that_was_sent_after_it_was_to_get_nothing() -> None:
    soak = traffic()
    soak.without_v2.append((5.0, 8.0))
    late = 5.0 + GRACE_S + 0.01
    soak._judge(Outcome(Ask(1, began=5.0), "right", 200, "v2", ended=late))
    soak._judge(Outcome(Ask(2, began=late), "right", 200, "v2", ended=8.1))
    assert not soak.problems
    soak._judge(Outcome(Ask(3, began=late), "right", 200, "v2", ended=7.9))
    assert soak.wrong == 1


def test_a_post_is_carried_out_once() -> None:
    soak = traffic()
    for backend in soak.backends:
        backend.met[1] += 1
    soak._judge(Outcome(Ask(1, "POST"), "right", 200, "v1"))
    assert soak.wrong == 1


def test_counters_agree_to_the_last_request() -> None:
    assert disagreements(Figures(10, 2), Sent(10, 2), 0, 0) == []
    assert len(disagreements(Figures(9, 3), Sent(10, 2), 0, 0)) == 2
    assert disagreements(Figures(9, -1), Sent(10, 2), 1, 0) == []
    assert disagreements(Figures(0, 0), Sent(10, 2), UNKNOWN, 0) == []
    assert disagreements(Figures(11, 0), Sent(10, 0), UNKNOWN, 0) != []
    assert disagreements(Figures(10, 0, fallbacks=5), Sent(10, 0, fallbacks=4, untold=1), 0, 0) == []
    assert disagreements(Figures(10, 0, fallbacks=5), Sent(10, 0, fallbacks=4), 0, 0) != []


def test_a_killed_worker_takes_its_last_second_and_what_it_held() -> None:
    assert missing_at_most([3.9, 4.1, 5.0, 5.2], [5.0], 2) == 4
    assert missing_at_most([3.9, 5.2], [], 0) == 0


def life(growing_mib: float, growing_fds: int) -> Life:
    samples = [(at * 10.0, 50.0 + at * growing_mib, 20 + at * growing_fds) for at in range(4 * ENOUGH)]
    return Life("worker", samples)


def test_a_process_that_grows_is_told_from_one_that_is_flat() -> None:
    assert not growth(life(0.0, 0)).leaks
    assert not growth(life(0.1, 0)).leaks
    assert growth(life(1.0, 0)).leaks
    assert growth(life(0.0, 1)).leaks


def test_the_slope_is_that_of_the_line() -> None:
    assert slope([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) == pytest.approx(2.0)
    assert slope([(1.0, 1.0), (1.0, 3.0)]) == 0.0
