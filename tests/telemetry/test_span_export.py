"""The queue of spans and the thread that empties it, whatever the collector does."""

from __future__ import annotations

import logging
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from proxy.config.schema import Telemetry
from proxy.telemetry.counters import Counters
from proxy.telemetry.otlp import ExportError
from proxy.telemetry.span_export import SpanExport

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG_S = 30.0


class Collector:
    """Takes messages, as a test says."""

    url = "http://collector/v1/traces"

    def __init__(self) -> None:
        self.answer = b""
        self.error: Exception | None = None
        self.bodies: list[bytes] = []
        self.has_one = Event()
        self.goes_on = Event()
        self.goes_on.set()
        self.closed = Event()

    def send(self, body: bytes, ending: Event) -> bytes:
        self.bodies.append(body)
        self.has_one.set()
        assert self.goes_on.wait(LONG_S)
        if self.error is not None:
            raise self.error
        return self.answer

    def abort(self) -> None:
        self.error = ExportError("was cut off")
        self.goes_on.set()

    def close(self) -> None:
        self.closed.set()


class Rig:
    """An export that sends whatever text it is given as one span."""

    def __init__(self, **traces: object) -> None:
        self.counters = Counters()
        self.collector = Collector()
        settings = Telemetry.read(
            {"otlp_endpoint": "http://127.0.0.1:1", "traces": {"every": "10ms", **traces}}
        )
        self.export: SpanExport[str] = SpanExport(
            settings,
            self._encode,
            self.counters.count,
            self.collector,  # type: ignore[arg-type]
        )

    def _encode(self, thing: str) -> list[bytes]:
        if thing == "bad":
            raise ValueError(thing)
        return [b"\x12%c%b" % (len(thing), thing.encode())]

    def put(self, *things: str) -> None:
        for thing in things:
            self.export.put(thing, 1)

    def counted(self) -> dict[str, int]:
        """Once the thread has ended."""
        assert self.collector.closed.wait(LONG_S)
        return self.counters.counts


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.collector.goes_on.set()
    made.export.close()


def test_what_is_put_in_is_sent_after_a_while(rig: Rig) -> None:
    rig.put("one", "two")
    assert rig.collector.has_one.wait(LONG_S)
    rig.export.close()
    assert rig.counted() == {"traces.exported": 2}
    sent = b"".join(rig.collector.bodies)
    assert b"one" in sent
    assert b"two" in sent
    assert b"service.name" in sent


def test_a_full_batch_is_sent_at_once() -> None:
    rig = Rig(every="1h", max_batch=3)
    rig.put("1", "2")
    assert not rig.collector.has_one.wait(0.05)
    rig.put("3")
    assert rig.collector.has_one.wait(LONG_S)
    rig.export.close()
    assert rig.counted() == {"traces.exported": 3}


def test_nothing_is_done_before_there_is_something_to_send() -> None:
    rig = Rig()
    rig.export.close()
    assert rig.export._thread is None
    assert rig.collector.bodies == []


def test_what_there_is_no_room_for_is_dropped_and_counted() -> None:
    rig = Rig(max_queue=5, max_batch=2)
    rig.collector.goes_on.clear()
    rig.put("1", "2")
    assert rig.collector.has_one.wait(LONG_S)  # two are on their way, and five wait
    began = monotonic()
    rig.put(*[str(number) for number in range(1000)])
    assert monotonic() - began < LONG_S, "nobody waits for a collector that hangs"
    assert len(rig.export._queue) == 5
    assert rig.counters.counts == {"traces.dropped": 995}
    rig.collector.goes_on.set()
    rig.export.close()
    assert rig.counted() == {"traces.dropped": 995, "traces.exported": 7}


def test_a_collector_that_hangs_holds_the_end_up_for_two_seconds_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("proxy.telemetry.span_export.FLUSH_S", 0.2)
    rig = Rig(max_batch=2)
    rig.collector.goes_on.clear()
    rig.put("1", "2", "3")
    assert rig.collector.has_one.wait(LONG_S)
    began = monotonic()
    rig.export.close()
    assert monotonic() - began < LONG_S
    assert rig.counted() == {"traces.failed": 2, "traces.dropped": 1}
    rig.put("4")
    assert rig.counters.counts["traces.dropped"] == 2


def test_what_does_not_arrive_is_counted_and_told_once(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dualpath.telemetry")
    rig.collector.error = ExportError("was answered 400")
    for number in range(3):
        rig.collector.has_one.clear()
        rig.put(str(number))
        assert rig.collector.has_one.wait(LONG_S)
    rig.collector.error = None
    rig.put("good")
    rig.export.close()
    counts = rig.counted()
    assert counts["traces.failed"] + counts.get("traces.exported", 0) == 4
    assert counts["traces.failed"] >= 2
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == "traces: http://collector/v1/traces was answered 400; what does not arrive is lost"
    assert len([line for line in told if "lost" in line]) == 1


def test_a_failure_that_nobody_has_thought_of_does_not_end_the_thread(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.collector.error = UnicodeError("label too long")
    rig.put("1")
    assert rig.collector.has_one.wait(LONG_S)
    rig.collector.error = None
    rig.put("2")
    rig.export.close()
    counts = rig.counted()
    assert counts["traces.failed"] >= 1
    assert sum(counts.values()) == 2
    assert "label too long" in caplog.text


def test_what_a_collector_rejects_is_counted_apart(rig: Rig) -> None:
    rig.collector.answer = b"\x0a\x02\x08\x02"
    rig.put("1", "2", "3")
    rig.export.close()
    counts = rig.counted()
    assert counts["traces.failed"] >= 2
    assert sum(counts.values()) == 3


def test_one_that_cannot_be_written_does_not_keep_the_others(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.put("1", "bad", "3")
    rig.export.close()
    assert rig.counted() == {"traces.exported": 2, "traces.failed": 1}
    assert "spans cannot be written" in caplog.text


def test_leaving_sends_what_is_there_without_waiting_for_it() -> None:
    rig = Rig(every="1h")
    rig.put("1")
    rig.export.leave()
    assert rig.counted() == {"traces.exported": 1}
