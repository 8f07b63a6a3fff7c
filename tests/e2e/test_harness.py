"""The harness against itself: what the raw client says of the raw backend is what the backend did."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import zlib
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.e2e import answers
from tests.e2e.proxy_process import (
    MARK,
    REPOSITORY,
    config,
    end_those_of_the_dead,
    family,
    killed,
    running_proxy,
    toml,
)
from tests.e2e.raw_client import LIMIT_S, Outcome, Response, connected, fetch
from tests.e2e.succession import dynasty
from tests.e2e.waiting import eventually, stopwatch
from tests.e2e.wire import ViolationError, chunk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.raw_backend import Answer, RawBackend


async def test_a_plain_answer_is_complete_and_the_request_recorded(v2: RawBackend) -> None:
    answer = await fetch(v2.address, "PUT", "/a?b=%2F", ((b"X-A", b"1"),), b"body")
    assert (answer.outcome, answer.status, answer.body) == (Outcome.COMPLETE, 200, b"v2 PUT /a?b=%2F")
    assert answer.backend == b"v2"
    (got,) = v2.received
    assert (got.method, got.target, bytes(got.body.kept), got.complete) == ("PUT", "/a?b=%2F", b"body", True)
    assert got.get(b"x-a") == b"1"


async def test_requests_on_one_connection_are_numbered(v2: RawBackend) -> None:
    async with connected(v2.address) as client:
        await client.ask()
        await client.ask()
    await fetch(v2.address)
    assert [(one.connection, one.nth) for one in v2.received] == [(1, 1), (1, 2), (2, 1)]


@pytest.mark.parametrize(
    ("script", "outcome", "status"),
    [
        (answers.RESET, Outcome.RESET, 0),
        (answers.CLOSE, Outcome.CLOSED, 0),
        (answers.MID_HEAD, Outcome.SHORT, 0),
        (answers.MID_HEAD_RESET, Outcome.RESET, 0),
        (answers.BODY_SHORT, Outcome.SHORT, 200),
        (answers.BODY_RESET, Outcome.RESET, 200),
        (answers.CHUNKS_SHORT, Outcome.SHORT, 200),
        (answers.CHUNKS_RESET, Outcome.RESET, 200),
        (answers.UNTIL_CLOSE, Outcome.COMPLETE, 200),
        (answers.UNTIL_RESET, Outcome.RESET, 200),
    ],
)
async def test_each_broken_end_is_told_apart(
    v2: RawBackend, script: Answer, outcome: Outcome, status: int
) -> None:
    v2.answer = script
    answer = await fetch(v2.address)
    assert (answer.outcome, answer.status) == (outcome, status)


@pytest.mark.parametrize(
    "script",
    [
        answers.GARBAGE,
        answers.NOT_HTTP,
        answers.BIG_HEAD,
        answers.BAD_LENGTH,
        answers.UNEQUAL_LENGTHS,
        answers.BOTH_FRAMINGS,
        answers.CHUNK_SIZE_BAD,
        answers.CHUNK_OVERRUN,
    ],
)
async def test_what_is_not_http_is_a_violation(v2: RawBackend, script: Answer) -> None:
    v2.answer = script
    with pytest.raises((ViolationError, AssertionError)):
        expect_complete(await fetch(v2.address))


async def test_extra_bytes_do_not_pass_for_a_clean_end(v2: RawBackend) -> None:
    v2.answer = answers.EXTRA_BYTES
    async with connected(v2.address) as client:
        assert (await client.ask()).body == b"hello"
        with pytest.raises(ViolationError):
            await client.ended()


async def test_chunked_both_ways_with_trailers(v2: RawBackend) -> None:
    v2.answer = answers.chunked([b"one", b"two"], b"X-T: 1\r\n")
    async with connected(v2.address) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.send(chunk(b"ab") + chunk(b"c") + chunk(b""))
        answer = await client.response("POST")
    assert (answer.body, answer.trailers) == (b"onetwo", ((b"x-t", b"1"),))
    assert bytes(v2.received[0].body.kept) == b"abc"


async def test_a_long_body_is_counted_and_summed(v2: RawBackend) -> None:
    v2.answer = answers.large(3 << 20, chunks=True)
    answer = await fetch(v2.address)
    assert (answer.complete, answer.length) == (True, 3 << 20)
    assert answer.crc == zlib.crc32(answers.PATTERN * 48)


async def test_interim_answers_come_before_the_final_one(v2: RawBackend) -> None:
    v2.answer = answers.interim(b"103 Early Hints\r\nLink: </a>")
    answer = await fetch(v2.address)
    assert [head.start for head in answer.interim] == [b"HTTP/1.1 103 Early Hints"]
    assert answer.status == 200


async def test_head_and_204_have_no_body(v2: RawBackend) -> None:
    async with connected(v2.address) as client:
        assert (await client.ask("HEAD")).length == 0
        v2.answer = answers.status("204 No Content")
        assert (await client.ask()).length == 0
        v2.answer = answers.status("304 Not Modified")
        assert (await client.ask()).get(b"content-length") == b"11"


async def test_a_refusing_backend_refuses_and_comes_back_on_its_port(v2: RawBackend) -> None:
    address = v2.address
    await v2.refuse()
    with pytest.raises(ConnectionRefusedError):
        await fetch(address)
    await v2.listen()
    assert v2.address == address
    assert (await fetch(address)).status == 200


async def test_a_client_that_leaves_is_noticed(v2: RawBackend) -> None:
    v2.answer = answers.HANG
    async with connected(v2.address) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await eventually(lambda: v2.count() == 1)
        client.reset()
    await eventually(lambda: v2.open_connections == 0)


async def test_scripts_in_turn(v2: RawBackend) -> None:
    v2.answer = answers.in_turn(answers.status("500 Oh"), answers.echo)
    assert (await fetch(v2.address)).status == 500
    for _ in range(2):
        assert (await fetch(v2.address, "POST", "/", (), b"x")).body == b"x"


async def test_a_held_answer_waits_for_its_gate(v2: RawBackend) -> None:
    gate = asyncio.Event()
    v2.answer = answers.held(gate)
    asking = asyncio.create_task(fetch(v2.address))
    await eventually(lambda: v2.count() == 1)
    assert not asking.done()
    gate.set()
    assert (await asking).complete


ONE_PROXY = """
import asyncio, pathlib, sys
from tests.e2e.proxy_process import config, start_proxy

async def main():
    nowhere = "http://127.0.0.1:1"
    proxy = await start_proxy(config(nowhere, nowhere), pathlib.Path(sys.argv[1]))
    print(proxy.process.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_tests_that_are_killed_leave_no_proxy_behind(tmp_path: Path) -> None:
    tests = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ONE_PROXY, str(tmp_path), cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE
    )
    assert tests.stdout
    proxy = psutil.Process(int(await asyncio.wait_for(tests.stdout.readline(), LIMIT_S)))
    tests.kill()
    await tests.wait()
    await eventually(lambda: not proxy.is_running() or proxy.status() == psutil.STATUS_ZOMBIE)


@pytest.fixture
def mark_of_another_run(tmp_path: Path) -> str:
    """Of one that is over: nobody has its process id."""
    done = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    return f"{int(done.stdout)}-x"


async def test_a_test_that_fails_leaves_no_worker_and_no_successor_behind(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    document = config(v1.url, v2.url, listen={"workers": 2})
    marks: list[str] = []

    async def fails_half_way() -> None:
        async with running_proxy(document, tmp_path) as proxy, dynasty(proxy) as line:
            marks.append(proxy.mark)
            await line.succeed()
            assert len(family(proxy.mark)) == 3
            line.signal(signal.SIGUSR2)
            await line.heir()
            line.present.kill()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fails_half_way()
    assert family(marks[0]) == []


async def test_what_a_run_that_was_killed_has_left_is_ended_by_the_next(mark_of_another_run: str) -> None:
    waits = "import sys; sys.stdin.read()"
    for mark in (mark_of_another_run, f"{os.getpid()}-x"):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", waits, stdin=subprocess.PIPE, env={**os.environ, MARK: mark}
        )
        await eventually(lambda mark=mark: len(family(mark)) == 1)
        end_those_of_the_dead()
        if mark is mark_of_another_run:
            assert await process.wait() == -signal.SIGKILL
        else:
            assert process.returncode is None
            assert len(killed(mark)) == 1
            await process.wait()


async def test_a_stopwatch_leaves_out_what_the_machine_has_taken() -> None:
    async with stopwatch([psutil.Process()]) as watch:
        await asyncio.sleep(0.1)
        stand_still()
        await asyncio.sleep(0.1)
    assert watch.total_s >= 0.6, watch
    assert watch.own_s < 0.3, watch
    async with stopwatch() as watch:
        stand_still()  # to the end
    assert watch.own_s < 0.1 < watch.total_s, watch


def stand_still() -> None:
    """As a process does that is given no processor."""
    time.sleep(0.4)


def test_toml_is_written_inline() -> None:
    text = toml({"a": {"b": 1, "c": ["x", True]}, "d": [{"e": "f", "g h.i": 2}]})
    assert text == 'a = { b = 1, c = ["x", true] }\nd = [{ e = "f", "g h.i" = 2 }]\n'


def expect_complete(answer: Response) -> None:
    """A broken answer is an AssertionError here."""
    assert answer.complete
