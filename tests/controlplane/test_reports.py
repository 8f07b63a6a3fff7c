"""What v2 reports of itself: what is believed, and for how long. Read from a socket in tests/e2e."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
import pytest

from proxy.config.schema import Config
from proxy.controlplane.reports import Machine, Reporter, VitalSigns, asks_machine, believed
from proxy.model import BackendReport
from tests.fakes import FakeClock, FakeRandom

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

A, B = "http://127.0.0.1:9002", "http://127.0.0.1:9003"
CPU = {"metric": "cpu", "above": 0.9}
NOTHING = BackendReport()


def settings(*, guards: Any = (), phases: Any = (), **v2: Any) -> Config:
    rollout = {"name": "default", "guards": list(guards), "phases": list(phases)}
    backends = {"v1": {"endpoints": ["http://127.0.0.1:9001"]}, "v2": {"endpoints": [A, B], **v2}}
    return Config.read({"backends": backends, "rollouts": [rollout]})


# ... what is believed


@pytest.mark.parametrize(
    ("body", "report"),
    [
        (b"{}", NOTHING),
        (b'{"cpu": 0.5, "memory": 1, "cache_hit_rate": 0}', BackendReport(0.5, 1.0, 0.0)),
        (b'{"cpu": null, "memory": 0.25, "disk": 7, "name": "x"}', BackendReport(memory=0.25)),
    ],
)
def test_a_report_is_three_shares_or_fewer(body: bytes, report: BackendReport) -> None:
    assert believed(body) == report


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"0.5", b"null", b"{", b'{"cpu": 0.5}x', b"\xff"),
        *(b'{"cpu": 1.01}', b'{"cpu": -0.1}', b'{"memory": true}', b'{"memory": "0.5"}'),
        *(b'{"cache_hit_rate": NaN}', b'{"cache_hit_rate": 1e999}', b'{"cpu": [0.5]}'),
    ],
)
def test_anything_else_is_no_report(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"a JSON object|a number from 0 to 1"):
        believed(body)


# ... and for how long


def test_the_busiest_endpoint_counts_and_cache_hits_are_a_mean() -> None:
    signs = VitalSigns(FakeClock())
    signs.expect(5.0)
    assert signs.latest() == NOTHING
    signs.take(A, BackendReport(cpu=0.2, memory=0.9, cache_hit_rate=0.5))
    signs.take(B, BackendReport(cpu=0.3, cache_hit_rate=1.0))
    assert signs.latest() == BackendReport(0.3, 0.9, 0.75)
    signs.take(A, NOTHING)
    assert signs.latest() == BackendReport(0.3, None, 1.0)
    assert repr(signs).startswith("VitalSigns(BackendReport(cpu=0.3")


def test_what_answers_tell_goes_before_what_is_reported() -> None:
    clock, drained = FakeClock(), [(9, 10), (10, 10), (0, 0), (0, 5)]
    signs = VitalSigns(clock, lambda: drained.pop(0) if drained else (0, 0))
    signs.expect(1_000.0)
    signs.take(A, BackendReport(cache_hit_rate=0.5))
    assert signs.latest().cache_hit_rate == 0.5, "ten answers are too few"
    clock.advance(30.0)
    assert signs.latest().cache_hit_rate == 0.95
    assert signs.latest().cache_hit_rate == 0.95
    assert signs.latest().cache_hit_rate == 0.76
    clock.advance(30.0)
    assert signs.latest().cache_hit_rate == 0.5, "the first ten are forgotten"


def test_a_report_is_good_for_three_intervals() -> None:
    clock = FakeClock()
    signs = VitalSigns(clock)
    signs.expect(5.0)
    signs.take(A, BackendReport(cpu=0.9))
    clock.advance(10.0)
    signs.take(B, BackendReport(cpu=0.1))
    clock.advance(4.9)
    assert signs.latest().cpu == 0.9
    clock.advance(0.1)
    assert signs.latest().cpu == 0.1
    signs.expect(5.0)  # somebody else is asked from now on
    assert signs.latest() == NOTHING


# ... who is asked


class Bodies:
    """What the endpoints answer, one after the other; at the end they answer no more."""

    def __init__(self, *script: bytes | Exception) -> None:
        self._script = list(script)
        self.asked: list[tuple[str, float]] = []
        self.done = asyncio.Event()

    async def __call__(self, url: str, timeout_s: float) -> bytes:
        if not self._script:
            self.done.set()
            await asyncio.Event().wait()
        self.asked.append((url, timeout_s))
        body = self._script.pop(0)
        if isinstance(body, Exception):
            raise body
        return body


def no_time(taken: list[float]) -> Callable[[float], Awaitable[None]]:
    """A pause that takes no time and is written down."""

    async def pause(delay_s: float) -> None:
        taken.append(delay_s)
        await asyncio.sleep(0)

    return pause


async def test_every_endpoint_is_asked_as_often_as_it_is_probed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    signs, taken = VitalSigns(FakeClock()), list[float]()
    bodies = Bodies(b'{"cpu": 0.5}', TimeoutError(), OSError("refused"), b"?", b'{"cpu": 0.25}')
    health = {"path": "/up", "interval": "4s", "timeout": "1s"}
    config = settings(report="/load", health=health, endpoints=[A], guards=[CPU])
    reporter = Reporter(config, signs, read=bodies, rng=FakeRandom(0.5), pause=no_time(taken))
    async with reporter:
        await bodies.done.wait()
        assert repr(reporter) == "Reporter(1 asked)"
    assert bodies.asked == [(f"{A}/load", 1.0)] * 5
    assert taken == [0.5, *[4.0] * 5]
    assert signs.latest() == BackendReport(cpu=0.25)
    assert [record.getMessage() for record in caplog.records] == [
        f"no report of v2 {A}: no answer within 1 s",
        f"a report again of v2 {A}",
    ]


async def test_without_probes_they_are_asked_every_five_seconds() -> None:
    signs, taken = VitalSigns(FakeClock()), list[float]()
    bodies = Bodies(b"{}", b"{}", b"{}")
    async with Reporter(settings(report="/"), signs, read=bodies, rng=FakeRandom(0.5), pause=no_time(taken)):
        await bodies.done.wait()
    assert set(bodies.asked) == {(f"{A}/", 2.0), (f"{B}/", 2.0)}
    assert set(taken) == {0.5, 5.0}


async def test_this_machine_is_asked_where_v2_does_not_report_and_a_guard_asks() -> None:
    signs, taken = VitalSigns(FakeClock()), list[float]()
    script: list[OSError | BackendReport] = [OSError("no such file"), BackendReport(cpu=0.75, memory=0.5)]

    def machine() -> BackendReport:
        found = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(found, OSError):
            raise found
        return found

    async def pause(delay_s: float) -> None:
        taken.append(delay_s)
        if len(taken) == 2:
            told.set()
            await asyncio.Event().wait()

    told = asyncio.Event()
    async with Reporter(settings(guards=[CPU]), signs, machine=machine, pause=pause):
        await told.wait()
    assert (taken, signs.latest()) == ([2.0, 2.0], BackendReport(0.75, 0.5))
    async with Reporter(settings(), signs, machine=machine) as reporter:
        assert (repr(reporter), signs.latest()) == ("Reporter(0 asked)", NOTHING)


def test_guards_of_phases_ask_for_this_machine_too() -> None:
    memory = {"metric": "memory", "above": 0.8}
    phase = {"name": "canary", "percentage": 1}
    assert asks_machine(settings(phases=[{**phase, "abort_if": [memory]}]))
    assert not asks_machine(settings(phases=[phase], guards=[{"metric": "cache_hit_rate", "below": 0.7}]))
    assert not asks_machine(settings(guards=[CPU, memory], report="/load"))


class Times(NamedTuple):
    """As psutil tells them; a guest's time is in `user` too."""

    user: float
    idle: float
    iowait: float
    guest: float


def test_this_machine_is_as_busy_as_its_processors_were_since_the_last_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine()
    looks = [Times(10.0, 80.0, 10.0, 3.0), Times(16.0, 81.0, 13.0, 3.0), Times(16.0, 81.0, 13.0, 3.0)]
    monkeypatch.setattr(psutil, "cpu_times", lambda: looks.pop(0))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(percent=62.5))
    assert [machine() for _ in range(3)] == [
        BackendReport(None, 0.625),
        BackendReport(0.6, 0.625),
        BackendReport(None, 0.625),
    ]
    assert repr(machine) == "Machine()"


def test_this_machine_tells() -> None:
    report = Machine()()
    assert report.memory is not None
    assert 0 < report.memory <= 1
