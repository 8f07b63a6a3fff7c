"""A minute reads as figures over its own length."""

from __future__ import annotations

from proxy.core.minute import Minute
from proxy.judgment import Verdict
from proxy.model import State
from tests.fakes import traffic


def test_a_minute_has_a_percentage_and_figures() -> None:
    minute = Minute("default", 60.0, 42.5, State.RUNNING, 12_500, "canary", Verdict.HOLD, traffic(10, 4))
    assert minute.percentage == 12.5
    seen = minute.snapshot()
    assert (seen.window_s, seen.v1.requests, seen.v2.requests) == (42.5, 6, 4)
