"""Ends and beginnings: killed at any moment, asked to stop under load, started on what was left."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e import answers
from tests.e2e.proxy_process import ProxyProcess, Table, config, refused, running_proxy, start_proxy
from tests.e2e.raw_client import LIMIT_S, Outcome, connected, fetch
from tests.e2e.waiting import eventually, stopwatch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.raw_backend import RawBackend
    from tests.e2e.wire import Head

USER = (b"X-User-Id", b"a")


async def test_everything_is_there_after_kill_9(v1: RawBackend, v2: RawBackend, tmp_path: Path) -> None:
    proxy, document = await stored(v1, v2, tmp_path)
    for percentage in (5, 20, 42.5):
        await proxy.set(percentage)
    before = await proxy.status()
    events = (await proxy.get("/api/v1/events?limit=100"))["events"]
    assert len(events) >= 3
    await proxy.kill()
    async with running_proxy(document, tmp_path) as again:
        after = await again.status()
        for figure in ("state", "phase", "percentage", "revision", "since", "reason"):
            assert after[figure] == before[figure], figure
        assert (await again.get("/api/v1/events?limit=100"))["events"] == events
        assert after["percentage"] == 42.5


async def test_a_kill_in_the_middle_of_commands_loses_none_that_was_answered(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    proxy, document = await stored(v1, v2, tmp_path)
    answered: list[int] = []

    async def keep_setting() -> None:
        for percentage in range(1, 100):
            answer = await proxy.command("set", percentage=percentage)
            if answer.status == 200:
                answered.append(percentage)

    setting = asyncio.create_task(keep_setting())
    await eventually(lambda: len(answered) > 10)
    await proxy.kill()
    await asyncio.gather(setting, return_exceptions=True)
    async with running_proxy(document, tmp_path) as again:
        percentage = (await again.status())["percentage"]
        assert percentage in {
            answered[-1],
            answered[-1] + 1,
        }  # the last may have been written and not answered
        events = (await again.get("/api/v1/events?limit=1000"))["events"]
        assert [event["seq"] for event in events] == list(
            range(events[0]["seq"], events[0]["seq"] + len(events))
        )


async def test_a_rolled_back_rollout_stays_so_after_kill_9(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    proxy, document = await stored(v1, v2, tmp_path)
    assert (await proxy.command("rollback", reason="we have seen enough")).status == 200
    await proxy.kill()
    async with running_proxy(document, tmp_path) as again:
        status = await again.status()
        assert (status["state"], status["percentage"]) == ("rolled_back", 0)
        assert "we have seen enough" in status["reason"]
        assert (await fetch(again.listen, "GET", "/", (USER,))).backend == b"v1"


async def test_sigterm_under_load_fails_no_request(v1: RawBackend, v2: RawBackend, tmp_path: Path) -> None:
    """Clients that ask again as soon as they are answered: no request that was sent stays unanswered."""
    v1.answer = answers.slow(0.005)
    v2.answer = answers.slow(0.005)
    async with running_proxy(config(v1.url, v2.url, rollout={"percentage": 50}), tmp_path) as proxy:
        load = [asyncio.create_task(ask_until_told_to_close(proxy, number)) for number in range(40)]
        await eventually(lambda: v1.count() + v2.count() > 400)
        proxy.terminate()
        results = await asyncio.gather(*load)
    assert sum(asked for asked, _ in results) > 400
    assert [failure for _, failure in results if failure] == []


async def test_sigterm_lets_a_slow_request_and_a_long_download_finish(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    gate = asyncio.Event()
    v1.answer = answers.held(gate)
    v2.answer = answers.held(gate, answers.large(8 << 20))
    async with running_proxy(config(v1.url, v2.url), tmp_path) as proxy:
        slow = asyncio.create_task(fetch(proxy.listen, "GET", "/slow"))
        long = asyncio.create_task(fetch(proxy.listen, "GET", "/long", (USER,)))
        await eventually(lambda: (v1.count(), v2.count()) == (1, 1))
        proxy.terminate()
        await eventually(lambda: refused(proxy))
        assert not slow.done()
        gate.set()
        assert (await slow).status == 200
        answer = await long
        assert (answer.complete, answer.length) == (True, 8 << 20)


async def test_who_has_connected_and_asks_late_is_answered_by_a_draining_process(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    async with (
        running_proxy(config(v1.url, v2.url), tmp_path) as proxy,
        connected(proxy.listen) as kept,
        connected(proxy.listen) as fresh,
    ):
        assert (await kept.ask()).status == 200
        proxy.terminate()
        assert await kept.ended() is Outcome.CLOSED
        answer = await fresh.ask()
    assert (answer.status, says_close(answer.head)) == (200, True)


async def test_what_does_not_finish_in_the_drain_timeout_is_cut(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    v1.answer = answers.HANG
    document = config(v1.url, v2.url, listen={"drain_timeout": "300ms"})
    async with running_proxy(document, tmp_path) as proxy:
        asking = asyncio.create_task(fetch(proxy.listen))
        await eventually(lambda: v1.count() == 1)
        async with stopwatch(proxy.tree()) as watch:
            await proxy.stop()
        assert watch.own_s < 3, watch
        answer = await asking
        assert answer.status in {0, 502, 503, 504}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_proxy_ends_at_once(
    v1: RawBackend, v2: RawBackend, tmp_path: Path, number: signal.Signals
) -> None:
    async with running_proxy(config(v1.url, v2.url), tmp_path) as proxy, connected(proxy.listen) as client:
        assert (await client.ask()).status == 200
        async with stopwatch(proxy.tree()) as watch:
            proxy.terminate(number)
            assert await client.ended() is Outcome.CLOSED
            assert await asyncio.wait_for(proxy.process.wait(), LIMIT_S) == 0
        assert watch.own_s < 3, watch


async def stored(v1: RawBackend, v2: RawBackend, directory: Path) -> tuple[ProxyProcess, Table]:
    """A proxy with a store in a file, started at 10 %, and what it is configured by."""
    document = config(
        v1.url, v2.url, store={"url": f"sqlite:///{directory / 'state.db'}"}, rollout={"percentage": 10}
    )
    return await start_proxy(document, directory), document


async def ask_until_told_to_close(proxy: ProxyProcess, number: int) -> tuple[int, str]:
    """How many requests were answered on one kept connection, and what went wrong, if anything did."""
    user = (b"X-User-Id", b"%d" % number)
    async with connected(proxy.listen) as client:
        for asked in range(100_000):
            try:
                answer = await client.ask("GET", "/", (user,))
            except OSError as error:
                return asked, f"request {asked} could not be sent: {error!r}"
            if not answer.complete or answer.status != 200:
                return asked, f"request {asked} got {answer.status} {answer.outcome}"
            if says_close(answer.head):
                return asked + 1, ""
    return asked, "never told to close"


def says_close(head: Head) -> bool:
    """Whether the answer announces the end of its connection."""
    return b"close" in [value.lower() for value in head.all(b"connection")]
