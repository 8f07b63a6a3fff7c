"""What came of the demo: the closing text, and whether all that should have happened did.

Pure: a run's record in, lines and problems out. Must never know how the record was gathered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.demo.faults import Fault
from proxy.demo.figures import event_line, latencies, ratio
from proxy.model import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from proxy.demo.clients import ClientsSeen
    from proxy.model import Event, RolloutReport, Transition

COVERED = frozenset({Fault.ERRORS, Fault.HANG, Fault.FLAKY})
"""Faults that make v2 fail, so that fallbacks must appear; a slow v2 answers."""


@dataclass(frozen=True, slots=True)
class Run:
    """The record of one run.

    `before` is the report just before the fault (at the end, if there was none), `final` the one at the end.
    `fault_at_s` and `first_fallback_s` count from the start, which was `start_wall`; `struck` are the
    requests that reached v2 while it failed.
    """

    fault: Fault
    start_wall: float
    before: RolloutReport
    final: RolloutReport
    clients: ClientsSeen
    events: Sequence[Event]
    fault_at_s: float | None = None
    first_fallback_s: float | None = None
    struck: int = 0

    @property
    def rollback(self) -> Transition | None:
        """The first transition to `rolled_back`, None without one."""
        moves = (event.transition for event in self.events)
        return next((move for move in moves if move.after.state is State.ROLLED_BACK), None)


@dataclass(frozen=True, slots=True)
class Summary:
    """The closing text line by line, and what should not have been (empty: all went as it should)."""

    lines: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0 if all went as it should, else 1."""
        return 1 if self.problems else 0


def summarise(run: Run) -> Summary:
    """The summary of a finished run."""
    problems = tuple(_problems(run))
    return Summary(
        (_headline(run, problems), "", *_facts(run), *(f"problem: {each}" for each in problems)), problems
    )


def _problems(run: Run) -> Iterator[str]:
    if run.clients.failed:
        yield f"clients saw {run.clients.failed} failed answers, first {'; '.join(run.clients.failures)}"
    if not run.clients.answers:
        yield "no client got an answer"
    elif not run.final.total.v2.requests:
        yield "v2 got no traffic"
    if run.fault is Fault.NONE:
        if run.rollback is not None:
            yield f"rolled back without a fault: {run.rollback.reason}"
        return
    if run.fault in COVERED and run.first_fallback_s is None:
        yield "v2 failed and no answer came from v1 in its place"
    yield from _rollback_problems(run)


def _rollback_problems(run: Run) -> Iterator[str]:
    if run.rollback is None:
        yield "v2 failed and was not rolled back"
    elif run.fault_at_s is None or run.rollback.at < run.start_wall + run.fault_at_s:
        yield f"rolled back before the fault: {run.rollback.reason}"
    elif run.final.state.weight:
        yield f"v2 still has {run.final.state.percentage:g} % after the rollback"
    elif run.clients.strays:
        yield f"{run.clients.strays} requests went to v2 after the rollback"


def _headline(run: Run, problems: tuple[str, ...]) -> str:
    if problems:
        return "The demo did not go as it should."
    if run.fault is Fault.NONE:
        return "v2 did well, nothing was rolled back, and no client saw a failure."
    return f"v2 failed ({run.fault}), was rolled back by itself, and no client saw a failure."


def _facts(run: Run) -> Iterator[str]:
    clients, total = run.clients, run.final.total
    yield f"clients    {clients.answers} answers, {clients.failed} failed"
    yield (
        f"           {clients.from_v1} from v1, {clients.from_v2} from v2,"
        f" {clients.from_fallback} from v1 in place of v2"
    )
    if run.fault_at_s is not None:
        yield f"fault      {run.fault} on v2 after {run.fault_at_s:.1f} s"
        yield from _consequences(run, run.fault_at_s)
    yield f"raw        v1 failed {total.v1.errors} of {total.v1.requests} requests"
    yield f"           v2 failed {total.v2.errors} of {total.v2.requests} requests"
    v1, v2 = run.before.total.v1.latency, run.before.total.v2.latency
    yield f"latency    v1: {latencies(v1)}"
    yield f"           v2: {latencies(v2)}{'' if run.fault_at_s is None else ', before the fault'}"
    yield f"           v2 to v1: mean {ratio(v2.mean, v1.mean)}, p95 {ratio(v2.p95, v1.p95)}"
    for position, event in enumerate(run.events):
        yield f"{'' if position else 'events':<10} {event_line(event.transition, run.start_wall)}"


def _consequences(run: Run, fault_at_s: float) -> Iterator[str]:
    if run.first_fallback_s is not None:
        first_s, fallbacks = run.first_fallback_s - fault_at_s, run.final.total.fallbacks
        yield f"fallback   first {first_s:.2f} s after the fault, {fallbacks} in all"
    if run.rollback is not None:
        after_s = run.rollback.at - run.start_wall - fault_at_s
        yield f"rollback   {after_s:.1f} s and {run.struck} requests on v2 after the fault"
        yield f"           {run.rollback.reason}"
