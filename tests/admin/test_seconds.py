from __future__ import annotations

from dataclasses import replace
from typing import Any

from proxy.admin.seconds import Seconds
from proxy.model import LatencySummary, PathSummary, Pulse, Snapshot
from tests.admin.builders import RUNNING

LATENCY = LatencySummary(p50=0.010, p95=0.040, p99=0.050)


def pulse(requests: int, errors: int = 0, name: str = "default", **recent: Any) -> Pulse:
    total = Snapshot(v2=PathSummary(requests, errors), assigned_v2=requests, client_requests=requests)
    seen = Snapshot(v2=PathSummary(requests, errors, latency=LATENCY), **recent)
    return Pulse(replace(RUNNING, name=name), total, seen)


def test_each_second_has_what_was_counted_in_it() -> None:
    seconds = Seconds()
    for at, one in enumerate((pulse(100), pulse(130, 3), pulse(130, 3))):
        seconds.take(1_700_000_000.0 + at, [one])
    shown = seconds.document("default")
    assert shown["at"] == [f"2023-11-14T22:13:2{at}.000Z" for at in range(3)]
    assert shown["v2_requests"] == shown["client_requests"] == [None, 30, 0]
    assert shown["v2_errors"] == [None, 3, 0]
    assert shown["percentage"] == [30.0] * 3
    assert shown["v2_p95_ms"] == [40.0] * 3
    assert shown["v1_p95_ms"] == [None] * 3


def test_only_the_last_are_kept() -> None:
    seconds = Seconds(kept=3)
    for at in range(8):
        seconds.take(1_700_000_000.0 + at, [pulse(at * at)])
    shown = seconds.document("default")
    assert shown["at"] == [f"2023-11-14T22:13:2{at}.000Z" for at in (5, 6, 7)]
    assert shown["v2_requests"] == [9, 11, 13]


def test_a_rollout_takes_no_room_before_its_first_request_and_none_after_its_end() -> None:
    seconds = Seconds()
    seconds.take(1.0, [pulse(0), pulse(0, name="other")])
    assert repr(seconds) == "<Seconds 1 of 0 rollouts>"
    seconds.take(2.0, [pulse(1), pulse(0, name="other")])
    assert repr(seconds) == "<Seconds 2 of 1 rollouts>"
    assert seconds.document("other")["v1_requests"] == [None, None]
    seconds.take(3.0, [pulse(0, name="other")])
    assert repr(seconds) == "<Seconds 3 of 0 rollouts>"


def test_what_begins_anew_is_not_counted_backwards() -> None:
    seconds = Seconds()
    for at, requests in enumerate((100, 110, 4, 9)):
        seconds.take(float(at), [pulse(requests)])
    assert seconds.document("default")["v2_requests"] == [None, 10, None, 5]
