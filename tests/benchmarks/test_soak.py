"""The soak's own parts: a wrong answer is seen, and so are a counter and a process that are off."""

from __future__ import annotations

import asyncio
import random
from typing import cast

import pytest

from benchmarks.soak.accounts import UNKNOWN, Figures, Sent, disagreements, missing_at_most
from benchmarks.soak.backends import SampleBackend
from benchmarks.soak.clients import Ask, Line, Outcome
from benchmarks.soak.content import body_of, checksum, version_in
from benchmarks.soak.traffic import GRACE_S, Traffic
from benchmarks.soak.vitals import ENOUGH, Life, growth, slope

CRC = checksum(b"POST", b"a", b"u", b"asked")


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


@pytest.mark.parametrize(
    ("method", "host", "user", "body"),
    [(b"PUT", b"a", b"u", b"asked"), (b"POST", b"b", b"u", b"asked"), (b"POST", b"a", b"", b"asked")],
)
def test_no_other_request_has_the_same_checksum(method: bytes, host: bytes, user: bytes, body: bytes) -> None:
    assert checksum(method, host, user, body) != CRC


class Writer:
    """Of a client whose request is on its way."""

    def get_extra_info(self, name: str) -> tuple[str, int]:
        return "127.0.0.1", 7

    def close(self) -> None:
        """Nobody is there."""


async def outcome(ask: Ask, data: bytes) -> Outcome:
    """What a client makes of these bytes, after which the connection ends."""
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return await Line(reader, cast("asyncio.StreamWriter", Writer())).answer(ask)


def answer(ask: Ask, *lines: bytes, path: bytes = b"v1") -> bytes:
    """The head of an answer of v1, with those lines."""
    asked = b"X-Asked: %d" % ask.checksum
    return b"\r\n".join(
        [b"HTTP/1.1 200 OK", b"X-By: v1", b"X-Dualpath-Path: " + path, asked, *lines, b"", b""]
    )


def body(ask: Ask) -> bytes:
    """Its body."""
    return body_of(ask.number, "v1", ask.size, ask.checksum)


async def test_an_answer_is_right_with_its_whole_body_and_nothing_behind_it() -> None:
    ask = Ask(1)
    length = b"Content-Length: %d" % len(body(ask))
    assert (await outcome(ask, answer(ask, length) + body(ask))).verdict == "right"
    assert (await outcome(ask, answer(ask, length, path=b"v2") + body(ask))).verdict == "wrong"
    assert (await outcome(ask, answer(ask, length) + body(ask)[:-1])).verdict == "lost"
    last = answer(ask, length, b"Connection: close") + body(ask)
    assert (await outcome(ask, last)).verdict == "right"
    assert (await outcome(ask, last + b"X")).verdict == "wrong"
    assert (await outcome(ask, b"")).verdict == "unanswered"


@pytest.mark.parametrize(
    ("line", "more"),
    [
        (b"X: none", b""),
        (b"Content-Length: x", b""),
        (b"Transfer-Encoding: chunked", b"1g\r\n"),
        (b"Transfer-Encoding: chunked", b"1" * 70_000),
    ],
)
async def test_an_answer_that_is_no_http_is_wrong(line: bytes, more: bytes) -> None:
    ask = Ask(1)
    assert (await outcome(ask, answer(ask, line) + more)).verdict == "wrong"


async def test_an_answer_to_head_has_the_length_of_the_body_and_what_was_asked() -> None:
    ask, other = Ask(1, "HEAD"), Ask(1, "GET")
    length = b"Content-Length: %d" % len(body(ask))
    assert (await outcome(ask, answer(ask, length))).verdict == "right"
    assert (await outcome(ask, answer(ask, b"Content-Length: 0"))).verdict == "wrong"
    assert (await outcome(ask, answer(other, length))).verdict == "wrong"


def test_an_error_needs_a_cause() -> None:
    soak = traffic()
    soak._judge(Outcome(Ask(1, began=5.0), "error", 502, ended=5.1))
    assert (soak.lost, soak.counted) == (1, 1)
    soak.faults.append(("v1", 5.05, 6.0))
    soak._judge(Outcome(Ask(2, began=5.0), "error", 502, ended=5.1))
    assert (soak.lost, soak.counted) == (1, 2)


def test_v2_alone_is_a_cause_only_where_v1_cannot_stand_in() -> None:
    soak = traffic()
    soak.faults.append(("v2", 5.05, 6.0))
    for ask in (Ask(1, "POST", began=5.0), Ask(2, "PUT", body_size=100_000, began=5.0)):
        soak._judge(Outcome(ask, "error", 502, ended=5.1))
    assert soak.lost == 0
    soak._judge(Outcome(Ask(3, "PUT", body_size=60_000, began=5.0), "error", 502, ended=5.1))
    assert soak.lost == 1


def test_a_request_is_sent_again_only_where_its_connection_had_a_reason_to_end() -> None:
    soak = traffic()
    closed = Outcome(Ask(1, began=5.0), "unanswered", port=99, ended=5.1)
    assert not soak._may_be_sent_again(closed)
    soak.restarts.append((5.05, 6.0))
    assert soak._may_be_sent_again(closed)
    soak.backends[0].met[1] += 1
    assert not soak._may_be_sent_again(closed)


async def test_a_client_that_fails_is_held_against_the_run() -> None:
    soak = traffic()

    async def fail() -> None:
        raise ZeroDivisionError

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    soak._ended(task)
    assert "ZeroDivisionError" in soak.problems[0]


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


def test_what_is_idempotent_is_carried_out_twice_only_where_a_backend_has_failed() -> None:
    soak = traffic()
    soak.backends[0].met[1] += 2
    soak._judge(Outcome(Ask(1), "right", 200, "v1-fallback"))
    assert soak.wrong == 0
    soak._judge(Outcome(Ask(1), "right", 200, "v1"))
    assert soak.wrong == 1
    soak.backends[0].struck.add(1)
    soak._judge(Outcome(Ask(1), "right", 200, "v1"))
    assert soak.wrong == 1


def test_counters_agree_to_the_last_request() -> None:
    assert disagreements(Figures(10, 2), Sent(10, 2), 0, 0) == []
    assert len(disagreements(Figures(9, 3), Sent(10, 2), 0, 0)) == 2
    assert disagreements(Figures(9, -1), Sent(10, 2), 1, 0) == []
    assert disagreements(Figures(0, 0), Sent(10, 2), UNKNOWN, 0) == []
    assert disagreements(Figures(11, 0), Sent(10, 0), UNKNOWN, 0) != []
    assert disagreements(Figures(10, 0, fallbacks=5, v2=5), Sent(10, 0, fallbacks=4, untold=1), 0, 0) == []
    assert disagreements(Figures(10, 0, fallbacks=5, v2=4), Sent(10, 0, fallbacks=4), 0, 0) != []
    assert disagreements(Figures(5, 0, 1, v1=2, v2=3), Sent(5, 0, 1, v1=2, v2=2), 0, 0) == []
    assert len(disagreements(Figures(5, 0, 1, v1=3, v2=2), Sent(5, 0, 1, v1=2, v2=2), 0, 0)) == 2


def test_connections_to_backends_do_not_stay() -> None:
    assert len(disagreements(Figures(idle_connections=1), Sent(0, 0), 0, 0)) == 1


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
