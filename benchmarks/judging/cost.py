"""What a second of one rollout costs the judge's comparison: errors and latencies, ten requests."""

from __future__ import annotations

import statistics
import time
from random import Random

from benchmarks.judging.latency import Latencies, lognormal
from proxy.core.comparison import Comparison
from proxy.core.policy import JudgePolicy

_TICKS = 600
_ROUNDS = 20


def tick_us() -> float:
    """Microseconds a tick, the median of the rounds' means."""
    modes = (lognormal(0.020, 0.060),)
    traffic = Latencies(Random(1), 10.0, 0.1)
    tallies = [traffic.second(modes, modes) for _ in range(_TICKS)]
    comparison = Comparison(JudgePolicy())
    rounds = []
    for _ in range(_ROUNDS):
        began = time.process_time()
        for tally in tallies:
            comparison.observe(tally, 1.0, split=True)
        rounds.append((time.process_time() - began) / _TICKS)
    return 1e6 * statistics.median(rounds)
