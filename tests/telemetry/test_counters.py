from __future__ import annotations

import threading

from proxy.telemetry.counters import MOST_NAMES, Counters


def test_what_was_counted_is_there_and_drained_once() -> None:
    counters = Counters()
    counters.count("traces.dropped", 3)
    counters.count("traces.exported")
    assert counters.drain() == {"traces.dropped": 3, "traces.exported": 1}
    assert counters.drain() == {}
    counters.count("traces.dropped")
    assert counters.drain() == {"traces.dropped": 1}
    assert counters.counts == {"traces.dropped": 4, "traces.exported": 1}


def test_those_of_other_processes_are_added() -> None:
    counters = Counters()
    counters.add({"logs.dropped": 2})
    counters.add({"logs.dropped": 5})
    assert counters.counts == {"logs.dropped": 7}


def test_names_are_bounded() -> None:
    counters = Counters()
    for number in range(2 * MOST_NAMES):
        counters.count(f"signal.{number}")
    counters.count("signal.0")
    assert len(counters.counts) == MOST_NAMES
    assert counters.counts["signal.0"] == 2


def test_threads_lose_nothing() -> None:
    counters = Counters()

    def count() -> None:
        for _ in range(5000):
            counters.count("a.b")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.counts == {"a.b": 20_000}
