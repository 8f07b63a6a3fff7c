"""The rules that are compared: dualpath's judge, and three as others have them.

Each takes the counts of one rollout second by second, and says in which second it would first have rolled
back. Owns what each rule is. Must never know what the traffic is meant to show.

- success rate: below 99 % in a minute is a failed check, and five failed checks roll back, as in a usual
  configuration of Flagger (`threshold: 5`, `min: 99`, `interval: 1m`) or Argo Rollouts (`failureLimit: 4`).
  A minute without a request is no check.
- Mann-Whitney: each ten minutes the error rates of ten minutes of v1 and of v2 are compared as Kayenta does
  it: the confidence interval (98 %) for how far v2 lies above v1 must not lie above a quarter of v1's mean.
- sliding minute: more than 5 % of the last 60 seconds' requests to v2, at least 20 of them. It is what a
  guard with `mode = "window"` does.
"""

from __future__ import annotations

from itertools import accumulate
from math import floor, sqrt
from typing import TYPE_CHECKING

from proxy.core.comparison import Comparison
from proxy.core.policy import JudgePolicy
from proxy.core.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.judging.counts import Counts

_MINUTE = 60
_SUCCESS = 0.99
_CHECKS = 5
_SERIES = 10
_TOLERANCE = 0.25
_Z = 2.326
_LIMIT = 0.05
_SAMPLES = 20


def dualpath(counts: Counts) -> int | None:
    """`core.comparison`, which is what the judge asks, at every second. No latencies: they tell nothing."""
    comparison = Comparison(JudgePolicy())
    needed = comparison.needed
    tally = Tally()
    v1, v2 = tally.v1, tally.v2
    errors1, errors2 = v1.errors, v2.errors
    for second, (n1, s1, n2, s2) in enumerate(zip(counts.n1, counts.s1, counts.n2, counts.s2, strict=True)):
        v1.requests, v2.requests = n1, n2
        errors1[0], errors2[0] = s1, s2
        comparison.observe(tally, 1.0, split=True)
        if comparison.evidence >= needed:
            return second
    return None


def success_rate(counts: Counts) -> int | None:
    """Five minutes in which less than 99 % of the requests to v2 succeeded."""
    failed = 0
    for end in range(_MINUTE, len(counts) + 1, _MINUTE):
        n, s = sum(counts.n2[end - _MINUTE : end]), sum(counts.s2[end - _MINUTE : end])
        if n and (n - s) / n < _SUCCESS:
            failed += 1
            if failed == _CHECKS:
                return end - 1
    return None


def mann_whitney(counts: Counts) -> int | None:
    """Ten minutes in which v2's error rates lie above v1's."""
    length = _MINUTE * _SERIES
    for end in range(length, len(counts) + 1, length):
        v1 = _rates(counts.n1[end - length : end], counts.s1[end - length : end])
        v2 = _rates(counts.n2[end - length : end], counts.s2[end - length : end])
        if is_above(v1, v2):
            return end - 1
    return None


def _rates(n: Sequence[int], s: Sequence[int]) -> list[float]:
    """Per minute; those without a request are left out."""
    sums = [(sum(n[i : i + _MINUTE]), sum(s[i : i + _MINUTE])) for i in range(0, len(n), _MINUTE)]
    return [failed / requests for requests, failed in sums if requests]


def is_above(v1: Sequence[float], v2: Sequence[float]) -> bool:
    """Whether the lower end of the confidence interval for the shift is beyond the tolerance."""
    pairs = len(v1) * len(v2)
    if not pairs:
        return False
    differences = sorted(two - one for one in v1 for two in v2)
    spread = sqrt(pairs * (len(v1) + len(v2) + 1) / 12.0)
    lower = floor(pairs / 2.0 - _Z * spread)
    return lower >= 0 and differences[lower] > _TOLERANCE * sum(v1) / len(v1)


def sliding_minute(counts: Counts) -> int | None:
    """More than 5 % of at least 20 requests to v2 in 60 seconds; asked every second."""
    requests = [0, *accumulate(counts.n2)]
    failed = [0, *accumulate(counts.s2)]
    for end in range(1, len(requests)):
        begin = max(end - _MINUTE, 0)
        s = failed[end] - failed[begin]
        if s:
            n = requests[end] - requests[begin]
            if n >= _SAMPLES and s > _LIMIT * n:
                return end - 1
    return None


RULES: dict[str, Callable[[Counts], int | None]] = {
    "dualpath": dualpath,
    "success rate, 5 checks": success_rate,
    "Mann-Whitney, 10 min": mann_whitney,
    "5 % in a minute": sliding_minute,
}
