"""What the others' reports say, in examples."""

from __future__ import annotations

from proxy.core.delta import Delta, RolloutDelta, ToldReport, read_told, written
from proxy.core.histogram import Histogram
from proxy.core.tally import Tally

NAMES = ("default", "other")


def report(
    source: str, number: int, requests: int = 1, *, name: str = "default", revision: int = 4, ages: int = 0
) -> ToldReport:
    """A report of one rollout, with so many requests that have ended and that are under way."""
    tally = Tally(client_requests=requests)
    if ages:
        tally.in_flight_v2 = Histogram.of([(63, ages)], 63 * ages)
    return read_told(written(Delta(source, number, (RolloutDelta(name, revision, "closed", tally),))))
