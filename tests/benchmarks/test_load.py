"""The load generator without a network: its pace, its words and its command line."""

from __future__ import annotations

import asyncio
import json
import random
import shlex
import ssl
from pathlib import Path

import aiohttp
import pytest
import typer
from typer.testing import CliRunner
from yarl import URL

from benchmarks import load, load_tables
from benchmarks.load_client import OpenLoop, Target, chooser, error_kind
from benchmarks.load_figures import Reply
from benchmarks.load_plan import Schedule, is_loopback, parse_mix
from proxy.demo.traffic import AnswerBroken
from tests.fakes import FakeClock

OK = Reply(200, "v1")
PAGE = Path(__file__).parents[2] / "docs" / "load-testing.md"


# ... the pace


class Server:
    """Answers `took_s` after it was asked, by a clock that only the pace moves."""

    def __init__(self, clock: FakeClock, took_s: float = 0.0) -> None:
        self.clock = clock
        self.took_s = took_s
        self.asked_at: list[float] = []

    async def send(self, method: str, user: str) -> Reply:
        self.asked_at.append(self.clock.monotonic())
        self.clock.advance(self.took_s)
        return OK


def open_loop(clock: FakeClock, server: Server, schedule: Schedule, oversleep_s: float = 0.0) -> OpenLoop:
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0)  # what was sent before goes out before time moves
        clock.advance(seconds + oversleep_s)

    return OpenLoop(schedule, lambda: ("GET", "user-1"), server.send, clock.monotonic, sleep)


async def test_requests_are_sent_when_they_are_due() -> None:
    clock = FakeClock(monotonic=0.0)
    server = Server(clock)
    loop = open_loop(clock, server, Schedule(rate=2, duration_s=2))
    await loop.run()
    assert loop.sent == loop.figures.count == 4
    assert server.asked_at == [0.0, 0.5, 1.0, 1.5]
    assert loop.in_flight == 0


async def test_a_server_that_stands_still_is_charged_for_what_was_due_meanwhile() -> None:
    """Each answer blocks for half a second while a request is due every 10 ms: the wait adds up."""
    clock = FakeClock(monotonic=0.0)
    loop = open_loop(clock, Server(clock, took_s=0.5), Schedule(rate=100, duration_s=0.1))
    await loop.run()
    assert loop.figures.count == 10
    assert loop.figures.latencies()["all"].reading().max > 4.5


async def test_a_pace_that_oversleeps_says_so() -> None:
    clock = FakeClock(monotonic=0.0)
    loop = open_loop(clock, Server(clock), Schedule(rate=10, duration_s=1), oversleep_s=0.3)
    await loop.run()
    assert loop.figures.lag_s(0.5) > 0.05
    assert loop.figures.fell_behind(loop.due, loop.sent)


async def test_stopping_keeps_what_was_measured_and_gives_up_the_rest() -> None:
    clock = FakeClock(monotonic=0.0)
    asked = 0

    async def send(method: str, user: str) -> Reply:
        nonlocal asked
        asked += 1
        if asked == 3:
            loop.stop()
        if asked >= 3:
            await asyncio.Event().wait()
        return OK

    async def sleep(seconds: float) -> None:
        clock.advance(seconds)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    loop = OpenLoop(Schedule(10, 100), lambda: ("GET", "u"), send, clock.monotonic, sleep)
    await asyncio.wait_for(loop.run(), 10)
    assert (loop.figures.count, loop.ended_early, loop.in_flight) == (2, True, 0)
    assert loop.sent < 6


def test_the_chooser_draws_method_and_user() -> None:
    draw = chooser(parse_mix("PUT"), 1, random.Random(1))
    assert draw() == ("PUT", "user-1")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), "timeout"),
        (aiohttp.ServerTimeoutError(), "timeout"),
        (AnswerBroken(), "connection lost"),
        (aiohttp.ServerDisconnectedError(), "connection lost"),
        (aiohttp.ClientPayloadError(), "broken answer"),
        (aiohttp.ClientError(), "other"),
    ],
)
def test_errors_have_their_kinds(error: Exception, kind: str) -> None:
    assert error_kind(error) == kind


def test_connection_errors_have_their_kinds() -> None:
    key = aiohttp.client_reqrep.ConnectionKey("h", 1, False, True, None, None, None)
    assert error_kind(aiohttp.ClientConnectorError(key, ConnectionRefusedError())) == "refused"
    assert error_kind(aiohttp.ClientConnectorError(key, OSError())) == "no connection"
    assert error_kind(aiohttp.ClientConnectorDNSError(key, OSError())) == "unknown name"
    assert error_kind(aiohttp.ClientConnectorSSLError(key, ssl.SSLError())) == "tls"


# ... what is written


def target(url: str = "http://somebody:secret@127.0.0.1/") -> Target:
    return Target(url, {"Authorization": "secret"}, "X-User-Id", 10, b"", 8, 1.0, insecure=False)


async def test_the_document_is_json_and_holds_no_secret() -> None:
    clock = FakeClock(monotonic=0.0)
    schedule = Schedule(rate=10, duration_s=2)
    loop = open_loop(clock, Server(clock, took_s=0.01), schedule)
    await loop.run()
    text = json.dumps(load_tables.document(loop, schedule, target(), parse_mix("GET")))
    assert "secret" not in text
    told = json.loads(text)
    assert (told["sent"], told["counted"], told["failed"]) == (20, 20, 0)
    assert told["paths"]["all"]["latency_ms"]["p99"] >= 10
    assert sum(second["answers"] for second in told["seconds"]) == 20


async def test_the_summary_tells_shares_errors_and_lag() -> None:
    clock = FakeClock(monotonic=0.0)
    schedule = Schedule(rate=10, duration_s=1)
    loop = open_loop(clock, Server(clock), schedule, oversleep_s=0.5)
    await loop.run()
    loop.figures.record(1.5, Reply(503, "v2"), 0.5, 0.0)
    loop.figures.record(1.5, Reply(error="timeout"), 0.5, 0.0)
    lines = [part for part in load_tables.summary(loop, schedule) if isinstance(part, str)]
    text = "\n".join(lines)
    assert "2 failed" in text
    assert "statuses: v1 2xx 10; v2 5xx 1" in text
    assert "errors: timeout 1" in text
    assert "v2 answered 9.09%" in text
    assert "could not keep up" in text
    assert "this generator is behind" in load_tables.progress(loop, schedule)


# ... the command


@pytest.fixture(autouse=True)
def nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that has gone missing must not become a real load from a unit test."""

    def refused(*_: object) -> None:
        raise AssertionError("it would have sent")

    monkeypatch.setattr(load, "sender", refused)


def run(arguments: list[str]) -> tuple[int, str]:
    application = typer.Typer(add_completion=False)
    application.command()(load.main)
    done = CliRunner().invoke(application, arguments, env={"COLUMNS": "200", "TERM": "dumb"})
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://load.invalid/"], "not this machine"),
        (["ftp://127.0.0.1/"], "no http://"),
        (["127.0.0.1:8080"], "no http://"),
        (["http://127.0.0.1/", "--mix", "GET:x"], "whole number"),
        (["http://127.0.0.1/", "--duration", "30"], "duration"),
        (["http://127.0.0.1/", "--ramp", "31s"], "ramp"),
        (["http://127.0.0.1/", "--header", "nonsense"], "Name: value"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(arguments: list[str], said: str) -> None:
    code, output = run(arguments)
    assert code == 2
    assert said in output


def test_without_matplotlib_it_says_what_to_install_before_it_sends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("benchmarks.plots.importlib.import_module", missing)
    code, output = run(["http://127.0.0.1:1/", "--png", str(tmp_path / "x.png")])
    assert code == 1
    assert "matplotlib is not installed" in output


# ... its page in docs


def commands_of_the_page() -> list[list[str]]:
    lines = PAGE.read_text().splitlines()
    return [shlex.split(line)[3:] for line in lines if line.startswith("python -m benchmarks.load ")]


@pytest.mark.parametrize("arguments", commands_of_the_page())
def test_the_examples_are_understood(arguments: list[str]) -> None:
    """All of an example but its sending: the options are read and checked as in a run."""
    application = typer.Typer(add_completion=False)
    application.command()(load.main)
    context = typer.main.get_command(application).make_context("load", arguments)
    told = context.params
    assert is_loopback(URL(told["url"]).host) or told["yes_really"]
    assert Schedule(told["rate"], told["duration"], told["ramp"]).count > 0


def test_the_page_names_every_option() -> None:
    assert len(commands_of_the_page()) > 3
    application = typer.Typer(add_completion=False)
    application.command()(load.main)
    options = [option for one in typer.main.get_command(application).params for option in one.opts]
    page = PAGE.read_text()
    assert [option for option in options if option.startswith("-") and f"`{option}" not in page] == []
