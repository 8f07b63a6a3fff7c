"""Plays a case: draws its traffic again and again, and asks every rule about each.

Owns what a run came to and the figures over all runs. Must never know how they are shown.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from benchmarks.judging.counts import drawn
from benchmarks.judging.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from benchmarks.judging.cases import Case
    from benchmarks.judging.counts import Counts

_LATE = 0.95


@dataclass(frozen=True, slots=True)
class Detection:
    """When a faulty v2 was rolled back: requests that it got until then, and seconds."""

    requests: int
    seconds: int


def generator(case_name: str, seed: int, run: int) -> Random:
    """The chance of one run: the same for every rule, and whatever else is played."""
    return Random(f"{seed}/{case_name}/{run}")


def played(
    case: Case, runs: int, seed: int, rules: Mapping[str, Callable[[Counts], int | None]] = RULES
) -> dict[str, Any]:
    """The row of a case: its figures by rule."""
    found: dict[str, list[int | Detection | None]] = {name: [] for name in rules}
    for run in range(runs):
        rng = generator(f"{case.group}/{case.name}", seed, run)
        counts = drawn(rng, case.rps, case.share, case.course(rng))
        for name, rule in rules.items():
            found[name].append(outcome(counts, rule(counts), case.onset_s))
    row: dict[str, Any] = {"group": case.group, "case": case.name, "runs": runs}
    if case.onset_s is None:
        row["rollbacks"] = {name: sum(one is not None for one in of) for name, of in found.items()}
    else:
        row["rules"] = {name: detections(of) for name, of in found.items()}
        row["limit_requests"], row["limit_s"] = case.limit_requests, case.limit_s
    return row


def outcome(counts: Counts, second: int | None, onset_s: int | None) -> int | Detection | None:
    """The second of a false rollback, a detection, or None if there was neither."""
    if second is None or onset_s is None or second < onset_s:
        return second
    return Detection(counts.to_v2(onset_s, second), second - onset_s + 1)


def detections(outcomes: Sequence[int | Detection | None]) -> dict[str, Any]:
    """Medians and late ones of those that were found; how many were not, or were rolled back before."""
    seen = [one for one in outcomes if isinstance(one, Detection)]
    return {
        "seen": len(seen),
        "missed": sum(one is None for one in outcomes),
        "false": sum(isinstance(one, int) for one in outcomes),
        "requests": spread(one.requests for one in seen),
        "seconds": spread(one.seconds for one in seen),
    }


def spread(values: Iterable[float]) -> dict[str, float] | None:
    """Median, 95th percentile and the worst; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    return {
        "median": statistics.median(ordered),
        "p95": ordered[min(int(_LATE * len(ordered)), len(ordered) - 1)],
        "worst": ordered[-1],
    }
