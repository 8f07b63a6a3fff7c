"""The sample backends as real processes: two that answer alike, fail on command, end with their parent."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from typing import TYPE_CHECKING

import aiohttp
import psutil
import pytest
import pytest_asyncio

from proxy.demo import processes
from proxy.demo.backend import CONTROL_PATH
from proxy.demo.faults import SLOWNESS_S, Fault
from proxy.demo.plan import Planned, User, plan
from proxy.demo.processes import BackendFailed, BackendProcess
from proxy.demo.traffic import HttpSender
from tests.e2e.raw_client import LIMIT_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COMMAND = (sys.executable, "-m", "proxy.demo.backend")


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        yield session


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def running() -> AsyncIterator[BackendProcess]:
    async with BackendProcess("v2") as backend:
        yield backend


@pytest_asyncio.fixture(loop_scope="session")
async def sample(running: BackendProcess, session: aiohttp.ClientSession) -> BackendProcess:
    """A running v2 without a fault."""
    await running.turn(Fault.NONE, session)
    return running


async def test_both_versions_give_the_same_answers_to_the_same_requests(
    session: aiohttp.ClientSession,
) -> None:
    rng, user = random.Random(11), User("user-000")
    async with BackendProcess("v1") as v1, BackendProcess("v2") as v2:
        for _ in range(40):
            planned = plan(user, rng)
            answers = []
            for backend in (v1, v2):
                headers = {"Idempotency-Key": planned.idempotency_key} if planned.idempotency_key else {}
                url = backend.url + planned.path
                async with session.request(planned.method, url, data=planned.body, headers=headers) as answer:
                    location = answer.headers.get("Location", "")
                    answers.append((answer.status, answer.content_type, location, await answer.read()))
                assert answer.headers["X-Sample-Version"] == backend.version
            assert answers[0] == answers[1], planned
            assert answers[0][0] in planned.expects


async def test_refusals_arrive_as_problem_documents(
    sample: BackendProcess, session: aiohttp.ClientSession
) -> None:
    async with session.post(f"{sample.url}/restaurants", json={"name": ""}) as answer:
        assert (answer.status, answer.content_type) == (422, "application/problem+json")
        assert [error["field"] for error in (await answer.json())["errors"]] == [
            "name",
            "cuisine",
            "city",
            "price",
        ]
    async with session.delete(f"{sample.url}/statistics") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


async def test_a_head_has_no_body(sample: BackendProcess, session: aiohttp.ClientSession) -> None:
    async with session.head(f"{sample.url}/restaurants/1") as answer:
        assert answer.status == 200
        assert int(answer.headers["Content-Length"]) > 0
        assert await answer.read() == b""


# ... Faults ...


async def test_errors_spare_health_and_are_counted(
    sample: BackendProcess, session: aiohttp.ClientSession
) -> None:
    await sample.turn(Fault.ERRORS, session)
    async with session.get(f"{sample.url}/restaurants") as answer:
        assert answer.status in {500, 503}
    async with session.get(f"{sample.url}/health") as answer:
        assert answer.status == 200
    assert await sample.struck(session) == 1


async def test_a_mended_backend_answers_again(sample: BackendProcess, session: aiohttp.ClientSession) -> None:
    await sample.turn(Fault.ERRORS, session)
    await sample.turn(Fault.NONE, session)
    async with session.get(f"{sample.url}/restaurants") as answer:
        assert answer.status == 200


async def test_slowness_adds_to_a_right_answer(
    sample: BackendProcess, session: aiohttp.ClientSession
) -> None:
    await sample.turn(Fault.SLOW, session)
    began = asyncio.get_running_loop().time()
    async with session.get(f"{sample.url}/restaurants") as answer:
        assert answer.status == 200
    assert asyncio.get_running_loop().time() - began >= SLOWNESS_S


async def test_a_hanging_backend_never_answers_and_still_obeys(
    sample: BackendProcess, session: aiohttp.ClientSession
) -> None:
    await sample.turn(Fault.HANG, session)
    with pytest.raises(TimeoutError):
        async with session.get(f"{sample.url}/restaurants", timeout=aiohttp.ClientTimeout(total=1.0)):
            pass
    assert await sample.struck(session) == 1


async def test_an_unknown_fault_is_refused(sample: BackendProcess, session: aiohttp.ClientSession) -> None:
    async with session.put(sample.url + CONTROL_PATH, data="fire") as answer:
        assert answer.status == 422
        assert "errors, slow, hang, flaky" in (await answer.json())["detail"]


async def test_a_backend_that_is_gone_does_not_obey(session: aiohttp.ClientSession) -> None:
    async with BackendProcess("v2") as backend:
        pass
    with pytest.raises(BackendFailed, match="v2 does not obey"):
        await backend.turn(Fault.ERRORS, session)


# ... Sending ...


async def test_the_sender_reports_a_reply(sample: BackendProcess) -> None:
    async with HttpSender(sample.url) as sender:
        reply = await sender.send(User("user-000"), plan(User("user-000"), random.Random(1)))
    assert (reply.status, reply.path, reply.error) == (200, None, "")


async def test_the_sender_reports_that_nobody_answered() -> None:
    async with BackendProcess("v2") as backend:
        pass
    async with HttpSender(backend.url) as sender:
        reply = await sender.send(User("user-000"), plan(User("user-000"), random.Random(1)))
    assert reply.status is None
    assert reply.error.startswith("ClientConnectorError")


async def test_the_sender_sends_once_and_reports_a_connection_that_ends_without_an_answer() -> None:
    connections = 0

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with HttpSender(f"http://127.0.0.1:{port}") as sender:
            reply = await sender.send(User("user-000"), Planned("GET", "/restaurants", frozenset({200})))
    assert (connections, reply.status) == (1, None)
    assert reply.error.startswith("AnswerBroken")


# ... Processes ...


async def _started(*arguments: str, stdin: int) -> tuple[asyncio.subprocess.Process, int]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, stdin=stdin, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout
    return process, int(await asyncio.wait_for(process.stdout.readline(), LIMIT_S) or 0)


async def test_it_ends_when_its_lifeline_is_cut() -> None:
    process, port = await _started("--version", "v1", "--lifeline", stdin=asyncio.subprocess.PIPE)
    assert port > 0
    assert process.stdin
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), LIMIT_S) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_on_a_signal_and_needs_no_standard_input(number: signal.Signals) -> None:
    process, _ = await _started("--version", "v1", stdin=asyncio.subprocess.DEVNULL)
    process.send_signal(number)
    assert await asyncio.wait_for(process.wait(), LIMIT_S) == 0


async def test_a_taken_port_is_one_clear_line(sample: BackendProcess) -> None:
    taken = sample.url.rpartition(":")[2]
    process, port = await _started("--version", "v1", "--port", taken, stdin=asyncio.subprocess.DEVNULL)
    _, complaint = await process.communicate()
    assert (port, process.returncode) == (0, 1)
    assert complaint.decode().splitlines() == [f"cannot listen on 127.0.0.1:{taken}: Address already in use"]


async def test_it_can_be_told_where_to_listen() -> None:
    address = ("--version", "v1", "--port", "0", "--host", "127.0.0.2")
    process = await asyncio.create_subprocess_exec(*COMMAND, *address, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    reader, writer = await asyncio.open_connection("127.0.0.2", port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: v1\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


async def test_a_backend_that_cannot_start_is_reported() -> None:
    with pytest.raises(BackendFailed, match="v9 did not start"):
        async with BackendProcess("v9"):
            pass


async def test_a_backend_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_TIMEOUT_S", 0.2)
    async with BackendProcess("v2") as backend:
        assert backend.pid is not None
        psutil.Process(backend.pid).suspend()
    assert not psutil.pid_exists(backend.pid)


async def test_one_that_never_started_has_nothing_to_end() -> None:
    backend = BackendProcess("v2")
    await backend.__aexit__(None, None, None)
    assert (backend.pid, repr(backend)) == (None, "<BackendProcess v2 not started>")
