"""Every way v2 can fail before its answer has begun, for every method: v1 answers, or the failure is told.

RFC 9110 section 9.2.2: what v2 may have taken is repeated only if the method is idempotent or the client says
that repeating is safe (Idempotency-Key).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.e2e import answers
from tests.e2e.raw_client import fetch
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from tests.e2e.proxy_process import ProxyProcess, Table
    from tests.e2e.raw_backend import Answer, RawBackend
    from tests.e2e.wire import Fields

USER = (b"X-User-Id", b"a")
KEYED = (b"Idempotency-Key", b"5f1c")

# Each fault, and the status that a client gets when v1 may not be asked.
FAULTS: dict[str, tuple[Answer, int]] = {
    "500": (answers.status("500 Internal Server Error", b"v2 says 500"), 500),
    "502": (answers.status("502 Bad Gateway", b"v2 says 502"), 502),
    "503": (answers.status("503 Service Unavailable", b"v2 says 503"), 503),
    "504": (answers.status("504 Gateway Timeout", b"v2 says 504"), 504),
    "reset": (answers.RESET, 502),
    "close": (answers.CLOSE, 502),
    "mid-head": (answers.MID_HEAD, 502),
    "mid-head-reset": (answers.MID_HEAD_RESET, 502),
    "garbage": (answers.GARBAGE, 502),
    "not-http": (answers.NOT_HTTP, 502),
    "4-mib-head": (answers.BIG_HEAD, 502),
    "bad-length": (answers.BAD_LENGTH, 502),
    "unequal-lengths": (answers.UNEQUAL_LENGTHS, 502),
    "both-framings": (answers.BOTH_FRAMINGS, 502),
}


@pytest.fixture(scope="module")
def settings() -> dict[str, Table]:
    return {"v2": {"response_timeout": "1s"}}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_v1_answers_what_is_idempotent(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, fault: str, method: str
) -> None:
    v2.answer = FAULTS[fault][0]
    body = b"content" if method == "PUT" else None
    answer = await fetch(proxy.listen, method, "/x", (USER,), body)
    assert (answer.status, answer.complete, answer.backend) == (200, True, b"v1"), answer
    assert v1.count(method) == 1
    assert v2.count(method) in at_most(fault)
    assert bytes(v1.received[0].body.kept) == (body or b"")


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_what_v2_may_have_taken_is_never_sent_twice(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, fault: str, method: str
) -> None:
    v2.answer, honest = FAULTS[fault]
    answer = await fetch(proxy.listen, method, "/x", (USER,), b"content")
    assert (answer.status, answer.complete) == (honest, True), answer
    assert (v1.count(), v2.count()) == (0, 1)
    if fault.isdigit():
        assert answer.body == f"v2 says {fault}".encode()


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_an_idempotency_key_makes_it_repeatable(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, fault: str, method: str
) -> None:
    v2.answer = FAULTS[fault][0]
    answer = await fetch(proxy.listen, method, "/x", (USER, KEYED), b"content")
    assert (answer.status, answer.complete, answer.backend) == (200, True, b"v1"), answer
    assert v1.count() == 1
    assert v2.count() in at_most(fault)
    assert (bytes(v1.received[0].body.kept), v1.received[0].get(b"idempotency-key")) == (b"content", KEYED[1])


@pytest.mark.parametrize("silence", [answers.HANG, answers.MID_HEAD_HANG], ids=["hang", "mid-head-hang"])
async def test_what_v2_leaves_unanswered_is_one_of_these_too(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, silence: Answer
) -> None:
    """All methods at once, because each has to wait for the time-out."""
    v2.answer = silence
    asked: list[tuple[str, Fields]] = [
        (method, (USER,)) for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "POST", "PATCH")
    ]
    asked += [(method, (USER, KEYED)) for method in ("POST", "PATCH")]
    told = await asyncio.gather(
        *(
            fetch(proxy.listen, method, f"/{at}", fields, b"content")
            for at, (method, fields) in enumerate(asked)
        )
    )
    unsafe = {f"/{at}" for at, one in enumerate(asked) if one in {("POST", (USER,)), ("PATCH", (USER,))}}
    for at, answer in enumerate(told):
        expected = (504, True, None) if f"/{at}" in unsafe else (200, True, b"v1")
        assert (answer.status, answer.complete, answer.backend) == expected, (asked[at], answer)
    assert sorted(one.target for one in v2.received) == sorted(f"/{at}" for at in range(len(asked)))
    assert {one.target for one in v1.received} == {one.target for one in v2.received} - unsafe
    assert len(v1.received) == len(asked) - len(unsafe)
    assert {bytes(one.body.kept) for one in v1.received} == {b"content"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH"])
async def test_what_never_reached_v2_goes_to_v1_whatever_its_method(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, method: str
) -> None:
    await v2.refuse()
    try:
        body = b"content" if method in {"PUT", "POST", "PATCH"} else None
        answer = await fetch(proxy.listen, method, "/x", (USER,), body)
    finally:
        await v2.listen()
    assert (answer.status, answer.complete, answer.backend) == (200, True, b"v1"), answer
    assert (v1.count(), bytes(v1.received[0].body.kept)) == (1, body or b"")


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("POST", 502)])
async def test_a_connection_reset_on_accept(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, method: str, status: int
) -> None:
    v2.drop()
    await eventually(lambda: v2.open_connections == 0)
    v2.reset_on_accept = True
    answer = await fetch(proxy.listen, method, "/x", (USER,))
    # Whether a POST had been written when the reset came is a race; sent twice it must not be.
    assert answer.status in {200, status}
    assert v1.count() + v2.count() <= 1


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_storm_of_interim_answers_is_capped(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, method: str
) -> None:
    v2.answer = answers.storm(2000)
    answer = await fetch(proxy.listen, method, "/x", (USER,))
    assert len(answer.interim) <= 32
    # Interim answers that have been relayed may or may not forbid the fallback; v2's final answer is refused.
    assert (answer.status, answer.backend) in (
        {(200, b"v1"), (502, None)} if method == "GET" else {(502, None)}
    )
    assert answer.complete


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "429 Too Many", "501 No", "505 No"])
async def test_a_status_that_is_no_failure_passes(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, status: str
) -> None:
    before = await proxy.settled()
    v2.answer = answers.status(status, b"v2 says no")
    answer = await fetch(proxy.listen, "GET", "/x", (USER,))
    assert (answer.status, answer.body, v1.count()) == (int(status[:3]), b"v2 says no", 0)
    after = await proxy.settled()
    assert after["paths"]["v2"]["errors"] == before["paths"]["v2"]["errors"]
    assert after["client"]["errors"] == before["client"]["errors"]


async def test_a_body_over_the_limit_is_streamed_and_gives_up_its_fallback(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    body = answers.PATTERN * 2
    assert (await fetch(proxy.listen, "PUT", "/x", (USER,), body)).backend == b"v2"
    assert v2.received[0].body.length == len(body)
    v2.answer = answers.status("500 Internal Server Error", b"v2 says 500")
    answer = await fetch(proxy.listen, "PUT", "/x", (USER,), body)
    assert (answer.status, answer.body, v1.count()) == (500, b"v2 says 500", 0)


async def test_if_v1_fails_too_the_client_gets_v2s_status(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    v2.answer = answers.status("503 Service Unavailable")
    v1.answer = answers.RESET
    assert (await fetch(proxy.listen, "GET", "/x", (USER,))).status == 503


async def test_if_both_break_the_client_gets_a_502(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    v1.answer = v2.answer = answers.RESET
    answer = await fetch(proxy.listen, "GET", "/x", (USER,))
    assert (answer.status, answer.complete) == (502, True)


async def test_v1s_own_failures_pass(proxy: ProxyProcess, v1: RawBackend, v2: RawBackend) -> None:
    v1.answer = answers.status("500 Internal Server Error", b"v1 says 500")
    answer = await fetch(proxy.listen, "GET", "/x")
    assert (answer.status, answer.body, v1.count(), v2.count()) == (500, b"v1 says 500", 1, 0)


async def test_v2s_raw_failure_is_counted_before_the_fallback_hides_it(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    before = await proxy.settled()
    v2.answer = answers.status("500 Internal Server Error")
    for _ in range(10):
        assert (await fetch(proxy.listen, "GET", "/x", (USER,))).status == 200
    after = await proxy.settled()
    grown = {
        figure: after["paths"]["v2"][figure] - before["paths"]["v2"][figure]
        for figure in ("requests", "errors", "fallbacks")
    }
    assert grown == {"requests": 10, "errors": 10, "fallbacks": 10}
    assert after["client"]["errors"] == before["client"]["errors"]
    # ... and v1's only first-choice attempts are the two that `settled` made
    assert after["paths"]["v1"]["requests"] == before["paths"]["v1"]["requests"] + 2


def at_most(fault: str) -> set[int]:
    """How often v2 may get a repeatable request: a kept connection that ends without a word may be stale."""
    return {1, 2} if fault in {"reset", "close"} else {1}
