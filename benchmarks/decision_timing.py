"""Times the decisions of whichever dualpath this interpreter has, and prints seconds per call as JSON.

`python -P benchmarks/decision_timing.py`: a file of its own that needs nothing but dualpath, so that
`decisions` can run it with several builds. Every figure is the least of several repetitions (what disturbs a
measurement only adds to it), but for the tick, of which the median and the worst are told.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import time
import timeit
from typing import TYPE_CHECKING

import proxy
import proxy.core.routing as hot
from proxy.config.loading import parse
from proxy.controlplane.controller import Controller
from proxy.core.histogram import Histogram
from proxy.core.routing import RouteTable, Split
from proxy.core.tally import Tally
from proxy.model import EndpointStatus, Explanation, Path
from proxy.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROLLOUTS = 50
REQUESTS_A_TICK = 10_000  # over all rollouts
WARM_UP_TICKS = 130  # so that every window is full and old seconds leave it
TICKS = 60
_CALLS = 2_000
_REPETITIONS = 25

_CONFIGURATION = """
[backends.v1]
endpoints = ["http://127.0.0.1:9001"]
[backends.v2]
endpoints = ["http://127.0.0.1:9002"]
"""
_ROLLOUT = """
[[rollouts]]
name = "rollout-{0}"
routes = [{{ prefix = "{1}" }}]
key = ["header:X-User-Id"]
autostart = true
percentage = 50
[[rollouts.phases]]
name = "half"
percentage = 50
min_duration = "1d"
require = {{ error_rate_below = 0.02, latency_p95_below = "1s" }}
[[rollouts.phases]]
name = "all"
percentage = 100
[[rollouts.guards]]
metric = "error_rate"
above = 0.1
window = "10s"
[[rollouts.guards]]
metric = "fallback_rate"
above = 0.25
window = "60s"
[[rollouts.guards]]
metric = "latency_ratio_p95"
above = 100
window = "60s"
"""


def main() -> None:
    """Prints all figures."""
    config = parse(_CONFIGURATION + "".join(_rollout(number) for number in range(ROLLOUTS)), {})
    table, split = RouteTable.of(config.rollouts), Split.of(0, config.rollouts[0])
    histogram = Histogram()

    def decide() -> None:
        table.match(b"api.example.com", b"/service-7/v1/items/12345", b"GET")
        split.decide(b"user-0012345")

    ticks = asyncio.run(_ticks())
    figures = {
        "build": "interpreted" if str(hot.__file__).endswith(".py") else "compiled",
        "version": f"{proxy.__version__}, Python {sys.version.split()[0]}",
        "decision_s": _least(decide),
        "match_s": _least(lambda: table.match(b"api.example.com", b"/service-7/v1/items/12345", b"GET")),
        "decide_s": _least(lambda: split.decide(b"user-0012345")),
        "record_s": _least(lambda: histogram.record(0.01234)),
        "call_s": _least(lambda: None),  # of the measurement itself, contained in all of the above
        "tick_s": statistics.median(ticks),
        "worst_tick_s": max(ticks),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


def _least(call: Callable[[], object]) -> float:
    return min(timeit.repeat(call, number=_CALLS, repeat=_REPETITIONS)) / _CALLS


def _rollout(number: int) -> str:
    return _ROLLOUT.format(number, "/" if number == 0 else f"/service-{number}/v1")


# ... the tick, with everything but sockets and a disk


class _Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


class _Evidence:
    """A second's traffic for every rollout, made before the tick that drains it."""

    def __init__(self) -> None:
        self._rng = random.Random(1)
        self._drained: list[Tally] = []
        self.pass_second()

    def pass_second(self) -> None:
        """Let another second's requests happen."""
        self._drained = [_busy(self._rng) for _ in range(ROLLOUTS)]

    def drain(self) -> Sequence[Tally]:
        return self._drained

    def late(self) -> Sequence[Tally]:
        return ()


class _Elsewhere:
    """Endpoints, router and sink, which a tick hardly asks."""

    def statuses(self) -> Sequence[EndpointStatus]:
        return ()

    def set_health(self, path: Path, url: str, *, healthy: bool) -> None:
        pass

    def health(self, path: Path) -> float:
        return 1.0

    def breaker(self, rollout: str) -> str:
        return "closed"

    def publish(self, state: object) -> None:
        pass

    def explain(
        self, *, key: str | None, host: str, path: str, method: str, rollout: str | None = None
    ) -> Explanation:
        return Explanation(rollout, Path.V1, "", key)


def _busy(rng: random.Random) -> Tally:
    tally, count = Tally(), REQUESTS_A_TICK // ROLLOUTS
    tally.assigned_v1 = tally.assigned_v2 = count // 2
    tally.client_requests = count
    for side in (tally.v1, tally.v2):
        side.requests = count // 2
        for _ in range(count // 2):
            side.latency.record(rng.lognormvariate(-4.0, 0.6))
    return tally


async def _ticks() -> list[float]:
    """How long each of the last ticks took, once the windows are full."""
    config = parse(_CONFIGURATION + "".join(_rollout(number) for number in range(ROLLOUTS)), {})
    clock, evidence, elsewhere, took = _Clock(), _Evidence(), _Elsewhere(), []
    controller = Controller(
        config,
        store=MemoryStore(),
        evidence=evidence,
        sinks=[elsewhere],
        endpoints=elsewhere,
        router=elsewhere,
        clock=clock,
    )
    await controller.open()
    for _ in range(WARM_UP_TICKS + TICKS):
        clock.now += 1.0
        evidence.pass_second()
        began = time.perf_counter()
        await controller.tick()
        took.append(time.perf_counter() - began)
    await controller.close()
    return took[WARM_UP_TICKS:]


if __name__ == "__main__":
    main()
