"""Answers that break after their head: the client's connection breaks too, and v2 alone is charged.

RFC 9112 section 8: an incomplete message is never passed on as a complete one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.e2e import answers
from tests.e2e.raw_client import Outcome, connected, fetch, request
from tests.e2e.waiting import eventually, stopwatch

if TYPE_CHECKING:
    from tests.e2e.proxy_process import ProxyProcess, Table
    from tests.e2e.raw_backend import Answer, RawBackend

USER = (b"X-User-Id", b"a")

BROKEN: dict[str, Answer] = {
    "length-short": answers.BODY_SHORT,
    "length-reset": answers.BODY_RESET,
    "chunks-short": answers.CHUNKS_SHORT,
    "no-last-chunk": answers.CHUNKS_WITHOUT_LAST,
    "chunks-reset": answers.CHUNKS_RESET,
    "chunk-size-bad": answers.CHUNK_SIZE_BAD,
    "chunk-overrun": answers.CHUNK_OVERRUN,
    "until-reset": answers.UNTIL_RESET,
}


@pytest.fixture(scope="module")
def settings() -> dict[str, Table]:
    return {"v1": {"idle_timeout": "400ms"}}


@pytest.mark.parametrize("fault", BROKEN)
async def test_a_truncated_answer_arrives_broken(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, fault: str
) -> None:
    v2.answer = BROKEN[fault]
    answer = await fetch(proxy.listen, "GET", "/", (USER,))
    assert (answer.status, answer.backend) == (200, b"v2")
    assert answer.outcome in {Outcome.SHORT, Outcome.RESET}
    assert v1.count() == 0


@pytest.mark.parametrize("fault", BROKEN)
async def test_a_truncated_answer_looks_whole_to_no_http_1_0_client_either(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, fault: str
) -> None:
    """A body that only FIN ends has to be broken by RST: FIN would make it complete."""
    v2.answer = BROKEN[fault]
    async with connected(proxy.listen) as client:
        await client.send(b"GET / HTTP/1.0\r\nHost: a\r\nX-User-Id: a\r\n\r\n")
        answer = await client.response()
    assert not answer.complete


async def test_a_break_in_the_same_segment_as_the_head_never_looks_whole(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    """Nothing has gone to the client by then, so that v1 may still answer; else the answer is broken."""
    v2.answer = answers.raw(answers.CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n")
    answer = await fetch(proxy.listen, "GET", "/", (USER,))
    assert (answer.backend, answer.complete) in {(b"v1", True), (b"v2", False)}


async def test_the_break_reaches_the_client_at_once(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    v2.answer = answers.BODY_RESET
    async with stopwatch(proxy.tree()) as watch:
        assert not (await fetch(proxy.listen, "GET", "/", (USER,))).complete
    assert watch.own_s < 0.3, watch


async def test_an_answer_that_stalls_is_cut_at_the_idle_time_out(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    v1.answer = answers.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nxxx", end="hang")
    async with stopwatch(proxy.tree()) as watch:
        assert not (await fetch(proxy.listen)).complete
    assert watch.total_s > 0.35, watch
    assert watch.own_s < 2.0, watch
    await eventually(lambda: v1.open_connections == 0)


async def test_a_broken_answer_counts_against_v2_and_as_the_clients_error(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    before = await proxy.settled()
    v2.answer = answers.CHUNKS_SHORT
    for _ in range(5):
        assert not (await fetch(proxy.listen, "GET", "/", (USER,))).complete
    after = await proxy.settled()
    assert after["paths"]["v2"]["errors"] == before["paths"]["v2"]["errors"] + 5
    assert after["client"]["errors"] == before["client"]["errors"] + 5


@pytest.mark.parametrize("leave", ["before the head", "in the body"])
async def test_a_hundred_clients_that_leave_early_add_nothing_to_v2s_errors(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, leave: str
) -> None:
    head = b"HTTP/1.1 200 OK\r\nX-Backend: v2\r\nContent-Length: 1000\r\n\r\nsome"
    v2.answer = answers.HANG if leave == "before the head" else answers.raw(head, end="hang")
    before = await proxy.settled()

    async def come_and_go(number: int) -> None:
        async with connected(proxy.listen) as client:
            await client.send(request("GET", "/", (USER,)))
            await eventually(lambda: v2.count() == 100)
            if leave == "in the body":
                await client.interim()
            if number % 2:
                client.reset()

    await asyncio.gather(*(come_and_go(number) for number in range(100)))
    # ... cancelled upstream at once, before any time-out of v2's could have done it
    async with stopwatch(proxy.tree()) as watch:
        await eventually(lambda: v2.open_connections == 0)
    assert watch.own_s < 0.35, watch
    v2.forget()
    assert (await fetch(proxy.listen, "GET", "/", (USER,))).backend == b"v2"
    after = await proxy.settled()
    assert after["paths"]["v2"]["errors"] == before["paths"]["v2"]["errors"]
    assert after["paths"]["v2"]["fallbacks"] == before["paths"]["v2"]["fallbacks"]
    assert after["client"]["errors"] == before["client"]["errors"]
    assert v1.count() == 0


async def test_a_client_that_leaves_in_its_upload_is_not_v2s_error(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    before = await proxy.settled()
    async with connected(proxy.listen) as client:
        await client.send(
            b"PUT / HTTP/1.1\r\nHost: a\r\nX-User-Id: a\r\nContent-Length: 200000\r\n\r\n" + b"x" * 70000
        )
        await eventually(lambda: v2.count() == 1)
        client.reset()
    await eventually(lambda: v2.open_connections == 0)
    assert not v2.received[0].complete
    assert (await fetch(proxy.listen, "GET", "/", (USER,))).backend == b"v2"
    after = await proxy.settled()
    assert after["paths"]["v2"]["errors"] == before["paths"]["v2"]["errors"]


async def test_an_upload_that_ends_early_is_never_passed_on_as_complete(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    async with connected(proxy.listen) as client:
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nX-User-Id: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        )
        client.half_close()
        answer = await client.response("POST")
    assert answer.status in {0, 400}
    assert [one.complete for one in v2.received] in ([], [False])
    assert v1.count() == 0
