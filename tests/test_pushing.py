"""Metrics are pushed in their time, and whoever takes them cannot hold anything up."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, cast

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from proxy.config.schema import Telemetry
from proxy.pushing import Pushing
from proxy.telemetry import otlp
from proxy.telemetry.counters import Counters
from proxy.telemetry.otlp import ExportError
from proxy.telemetry.readings import Readings
from tests.e2e.otlp import points_of
from tests.e2e.waiting import HANG_S, eventually
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.scraping import Scraping


class FakeScraping:
    """Has one figure, which grows when it is looked at."""

    def __init__(self) -> None:
        self.waiting = 0

    def look(self) -> None:
        self.waiting += 100

    async def readings(self) -> Readings:
        self.waiting += 1
        return Readings(store_waiting=self.waiting)

    def pids(self) -> Mapping[str, int]:
        return {}


class FakeCollector:
    """Keeps what it is sent, fails or hangs."""

    def __init__(self, telemetry: Telemetry, signal: str) -> None:
        assert signal == "metrics"
        self.telemetry = telemetry
        self.url = "http://collector/v1/metrics"
        self.closed = False
        COLLECTORS.append(self)

    def send(self, body: bytes, ending: threading.Event) -> bytes:
        if HANGING.is_set():
            assert RELEASED.wait(5)
        if FAILING.is_set():
            raise ExportError("was answered 400")
        points = points_of(ExportMetricsServiceRequest.FromString(body))
        SENT.extend(point.value for point in points if point.metric == "dualpath.store_waiting")
        return b""

    def abort(self) -> None:
        RELEASED.set()

    def close(self) -> None:
        self.closed = True


COLLECTORS: list[FakeCollector] = []
SENT: list[float] = []
HANGING, FAILING, RELEASED = threading.Event(), threading.Event(), threading.Event()


class Rig:
    """What is pushed, by a clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.counters = Counters()
        self.telemetry = told()
        self.asked = 0
        self.pushing = Pushing(cast("Scraping", FakeScraping()), self._ask, self.clock, self.counters)

    def _ask(self) -> Telemetry:
        self.asked += 1
        return self.telemetry

    async def looks_twice(self) -> None:
        """It has had every opportunity to do something."""
        enough = self.asked + 2
        await eventually(lambda: self.asked > enough)


def told(**metrics: object) -> Telemetry:
    return Telemetry.read({"otlp_endpoint": "http://collector", "metrics": {"push_every": "10s", **metrics}})


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr("proxy.pushing.Collector", FakeCollector)
    monkeypatch.setattr("proxy.pushing._LOOK_S", 0.005)
    monkeypatch.setattr("proxy.pushing._LAST_S", 0.05)
    COLLECTORS.clear()
    SENT.clear()
    for event in (HANGING, FAILING, RELEASED):
        event.clear()
    return Rig()


async def test_messages_go_out_when_they_are_due_and_once_more_at_the_end(rig: Rig) -> None:
    async with rig.pushing:
        await eventually(lambda: len(COLLECTORS) == 1)
        assert SENT == []
        rig.clock.advance(10)
        await eventually(lambda: SENT == [1.0])
        rig.clock.advance(10)
        await eventually(lambda: SENT == [1.0, 2.0])
    assert SENT == [1.0, 2.0, 103.0]  # the last one has what was counted since the last tick
    assert rig.counters.counts == {"metrics.exported": 3}
    assert COLLECTORS[0].closed


async def test_what_falls_due_while_one_hangs_is_counted_and_not_caught_up(rig: Rig) -> None:
    HANGING.set()
    async with rig.pushing:
        await eventually(lambda: len(COLLECTORS) == 1)
        rig.clock.advance(10)
        await eventually(lambda: any(one.name == "dualpath-metrics" for one in threading.enumerate()))
        rig.clock.advance(35)
        HANGING.clear()
        RELEASED.set()
        await eventually(lambda: rig.counters.counts == {"metrics.exported": 1, "metrics.dropped": 3})
        assert len(SENT) == 1
        rig.clock.advance(4)
        await rig.looks_twice()
        assert len(SENT) == 1
        rig.clock.advance(1)
        await eventually(lambda: len(SENT) == 2)


async def test_one_that_hangs_at_the_end_is_cut_off(rig: Rig) -> None:
    HANGING.set()
    async with rig.pushing:
        await eventually(lambda: len(COLLECTORS) == 1)
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < HANG_S
    assert RELEASED.is_set()


async def test_failures_are_counted_and_told_when_they_begin_and_end(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    FAILING.set()
    async with rig.pushing:
        await eventually(lambda: len(COLLECTORS) == 1)
        for count in (1, 2):
            rig.clock.advance(10)
            await eventually(lambda count=count: rig.counters.counts == {"metrics.failed": count})
        FAILING.clear()
        rig.clock.advance(10)
        await eventually(lambda: "metrics.exported" in rig.counters.counts)
    said = [record.getMessage() for record in caplog.records if record.name == "dualpath.telemetry"]
    assert said == [
        "metrics: http://collector/v1/metrics was answered 400; the next message has everything",
        "metrics: http://collector/v1/metrics takes them again",
    ]


async def test_a_reload_that_changes_nothing_here_goes_on_and_another_one_begins_anew(rig: Rig) -> None:
    async with rig.pushing:
        await eventually(lambda: len(COLLECTORS) == 1)
        rig.telemetry = Telemetry.read(
            {"otlp_endpoint": "http://collector", "metrics": {"push_every": "10s"}, "traces": {"sample": 5}}
        )
        await rig.looks_twice()
        assert len(COLLECTORS) == 1
        rig.telemetry = told(push_every="5s")
        await eventually(lambda: len(COLLECTORS) == 2)
        assert COLLECTORS[0].closed
        rig.telemetry = told(push_every="0s")
        await eventually(lambda: COLLECTORS[1].closed)
        rig.clock.advance(1000)
        await rig.looks_twice()
    assert SENT == []


async def test_without_an_endpoint_nothing_is_sent_and_nothing_is_waited_for(rig: Rig) -> None:
    rig.telemetry = Telemetry()
    async with rig.pushing:
        rig.clock.advance(1000)
        await rig.looks_twice()
    assert (COLLECTORS, SENT) == ([], [])


async def test_a_certificate_that_cannot_be_used_is_said_and_stops_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("proxy.pushing.Collector", otlp.Collector)
    rig.telemetry = Telemetry.read(
        {"otlp_endpoint": "https://collector", "tls": {"ca_file": "/nowhere/ca.pem"}}
    )
    async with rig.pushing:
        await eventually(lambda: "metrics: not sent" in caplog.text)
    assert SENT == []
