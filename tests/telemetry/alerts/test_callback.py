"""A function of the user's as a sink, and that it holds nothing up."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from proxy.config.alerts import Sink
from proxy.errors import ConfigError
from proxy.telemetry.alerts.callback import CallbackError, CallbackSink, function_at
from tests.telemetry.alerts.notices import message

TABLE = Sink.read({"name": "own", "kind": "callback", "call": "a:b", "timeout": "20ms"})
SLOW = Sink.read({"name": "own", "kind": "callback", "call": "a:b", "timeout": "5s"})


class Calls:
    """What functions were called with, and in which thread."""

    def __init__(self) -> None:
        self.fields: list[dict[str, Any]] = []
        self.threads: list[threading.Thread] = []

    def plain(self, fields: dict[str, Any]) -> None:
        self.fields.append(fields)
        self.threads.append(threading.current_thread())

    async def coroutine(self, fields: dict[str, Any]) -> None:
        self.plain(fields)


async def test_a_plain_function_runs_in_a_thread_that_nobody_waits_for() -> None:
    calls = Calls()
    await CallbackSink(SLOW, calls.plain).send(message())
    assert calls.fields == [message().fields()]
    assert calls.threads[0] is not threading.current_thread()
    assert calls.threads[0].daemon


async def test_what_it_gives_to_await_runs_in_a_loop_of_its_own() -> None:
    calls = Calls()
    for function in (calls.coroutine, lambda fields: calls.coroutine(fields)):
        await CallbackSink(SLOW, function).send(message())
    assert len(calls.fields) == 2
    assert threading.current_thread() not in calls.threads


class NamelessError(Exception):
    def __repr__(self) -> str:
        raise SystemExit


@pytest.mark.parametrize(
    "error",
    [
        *(ZeroDivisionError("of the user's"), SystemExit(3), StopIteration(), asyncio.CancelledError()),
        *(KeyboardInterrupt(), NamelessError(), ValueError("x" * 10_000)),
    ],
)
async def test_what_it_raises_is_told_and_ends_nothing(error: BaseException) -> None:
    def fail(_: dict[str, Any]) -> None:
        raise error

    async def fail_later(_: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        raise error

    for function in (fail, fail_later):
        with pytest.raises(CallbackError, match=r"^raised \w") as told:
            await CallbackSink(SLOW, function).send(message())
        assert len(str(told.value)) < 600


async def test_an_event_loop_that_is_blocked_is_not_ours() -> None:
    release = threading.Event()

    async def block(_: dict[str, Any]) -> None:
        release.wait(5)

    with pytest.raises(CallbackError, match="not returned within"):
        await CallbackSink(TABLE, block).send(message())
    release.set()


async def test_one_that_hangs_is_known_after_a_reload() -> None:
    release = threading.Event()
    before, after = CallbackSink(TABLE, lambda _: release.wait(5)), CallbackSink(TABLE, lambda _: None)
    with pytest.raises(CallbackError, match="not returned within"):
        await before.send(message())
    after.continue_after(before)
    with pytest.raises(CallbackError, match="from the call before"):
        await after.send(message())
    release.set()


async def test_one_that_hangs_is_given_up_and_not_called_twice_at_once() -> None:
    release, calls = threading.Event(), Calls()

    def hang(fields: dict[str, Any]) -> None:
        calls.plain(fields)
        release.wait(5)

    sink = CallbackSink(TABLE, hang)
    with pytest.raises(CallbackError, match=r"not returned within 0\.02 s"):
        await sink.send(message())
    with pytest.raises(CallbackError, match="from the call before"):
        await sink.send(message())
    assert len(calls.fields) == 1
    release.set()
    calls.threads[0].join(5)
    await asyncio.sleep(0)
    await sink.send(message())
    assert len(calls.fields) == 2


async def test_a_coroutine_that_hangs_is_given_up() -> None:
    async def hang(_: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    with pytest.raises(CallbackError, match="not returned within"):
        await CallbackSink(TABLE, hang).send(message())


def test_a_function_is_found_by_its_path() -> None:
    found: Any = function_at("tests.telemetry.alerts.test_callback:Calls.plain", "x")
    assert found is Calls.plain


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("no.such.module:f", "cannot be imported"),
        ("tests.telemetry.alerts.ends_at_import:f", "cannot be imported: SystemExit"),
        ("tests.telemetry.alerts.test_callback:nothing", "cannot be imported"),
        ("tests.telemetry.alerts.test_callback:TABLE", "is no function"),
    ],
)
def test_what_cannot_be_called_is_refused_with_its_place(path: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"alerts.sinks.0.call: {path} {why}"):
        function_at(path, "alerts.sinks.0.call")
