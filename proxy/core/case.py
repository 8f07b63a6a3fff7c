"""One tick's case: what speaks for and against v2 at this moment, heard in the order of `verdicts`.

Owns the question whether anything is to be done, and the judgment in full. Must never know how evidence is
gathered or forgotten: it reads, and changes nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from proxy.config.units import format_duration, weight_of
from proxy.core.guards import SequentialGuard
from proxy.core.limit_test import ALARM
from proxy.core.verdicts import COMPARED, PAUSABLE, Finding, Ground, decided, severity
from proxy.judgment import Action, EvidenceReading, GuardReading, Judgment, Metric
from proxy.model import BUCKETS, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from proxy.config.rollout import Rollout
    from proxy.core.comparison import Comparison
    from proxy.core.criteria import PhaseCriteria, Seen
    from proxy.core.guards import GuardTracker
    from proxy.core.tally import PathTally
    from proxy.judgment import Need
    from proxy.model import RolloutState

_ENDS: Final = {"pause": Action.PAUSE, "rollback": Action.ROLLBACK}


class Witnesses:
    """Who is heard: the guards that are read, the comparison where there is a plan, and of the phase, where
    there is one, its criteria and its place in the plan."""

    def __init__(
        self,
        guards: Sequence[GuardTracker],
        comparison: Comparison | None,
        criteria: PhaseCriteria | None = None,
        index: int | None = None,
    ) -> None:
        self.guards = guards
        self.comparison = comparison
        self.criteria = criteria
        self.index = index

    def unguarded(self) -> Witnesses:
        """The same without the guards: where v2 has no traffic, nobody reads them."""
        return Witnesses((), self.comparison, self.criteria, self.index)


class Case:
    """The rollout `plan` in `state` at monotonic `now`."""

    def __init__(self, plan: Rollout, state: RolloutState, now: float, seen: Seen, heard: Witnesses) -> None:
        self._plan = plan
        self._state = state
        self._now = now
        self._seen = seen
        self._guards = heard.guards
        self._comparison = heard.comparison
        self._criteria = heard.criteria
        self._index = heard.index

    # ... looking

    def acts(self) -> bool:
        """Whether anything asks for an action."""
        for guard in self._guards:
            if guard.firing and not guard.is_alert:
                return True
        return self._is_regression() or self._is_overdue()

    def passes(self) -> bool:
        """Whether the phase passes, if nothing asks for an action."""
        criteria = self._criteria
        if criteria is None or criteria.waits(self._seen) or not self._promotes() or self._doubts():
            return False
        for guard in self._guards:
            if guard.crossed and not guard.is_alert:
                return False
        return not criteria.unmet(self._seen)

    def _promotes(self) -> bool:
        return self._state.state is State.RUNNING and self._plan.judge.enabled

    def _is_regression(self) -> bool:
        comparison = self._comparison
        if comparison is None or comparison.evidence < comparison.needed:
            return False
        return self._plan.judge.regression and self._state.weight > 0 and self._state.state in COMPARED

    def _is_overdue(self) -> bool:
        if self._index is None or self._state.state is not State.RUNNING:
            return False
        longest = self._plan.phases[self._index].max_duration_s
        return longest is not None and self._seen.in_phase_s > longest

    def _doubts(self) -> bool:
        """Whether evidence is asked for that is not there."""
        comparison = self._comparison
        if comparison is None or not self._takes_evidence():
            return False
        return comparison.evidence >= comparison.doubtful or not comparison.satisfied

    def _takes_evidence(self) -> bool:
        """Whether the next phase takes evidence. Where v1 has no share, there is none to be had."""
        if self._plan.judge.promotion != "evidence":
            return False
        return self._state.weight < BUCKETS or self._plan.held_back > 0

    # ... telling

    def told(self) -> Judgment:
        """The judgment in full."""
        readings = tuple(guard.reading(self._now, self._seen.around) for guard in self._guards)
        needs = self._needs()
        waiting = list({need.text: None for need in needs if not need.met})
        findings = [*self._limits(), *self._regressions(), *self._overdue(), *self._phase(waiting)]
        verdict, decisive = decided(findings)
        first = decisive[0]
        alerts = [reading for reading in readings if reading.firing and reading.action is Action.ALERT]
        if self._is_regression() and self._plan.judge.action is Action.ALERT:
            alerts.append(self._alert_of_regression())
        return Judgment(
            verdict=verdict,
            reasons=tuple(finding.reason for finding in decisive),
            cause=first.cause,
            action=first.action,
            step=first.step,
            readings=readings,
            alerts=tuple(alerts),
            evidence=tuple(self._evidence()),
            missing=tuple(waiting),
            needs=tuple(needs),
            eta_s=_eta_s(needs),
        )

    def _limits(self) -> Iterator[Finding]:
        now, around = self._now, self._seen.around
        for guard in self._guards:
            action = guard.guard.action
            drawn = self._is_drawn_along(guard)
            if action is Action.ALERT or not (guard.firing or drawn or guard.crossed):
                continue
            text, cause = guard.explain(now, around), f"guard:{guard.guard.metric}"
            if drawn:
                text += ", far exceeded"
            if (guard.firing or drawn) and self._changes(action):
                step = weight_of(guard.guard.step) if action is Action.STEP_DOWN else 0
                yield Finding(Ground.LIMIT, f"{text}, {action}", cause, action, step)
            else:
                yield Finding(Ground.WAITING, text, cause)

    def _is_drawn_along(self, guard: GuardTracker) -> bool:
        """Whether a guard fires because a milder one on the same metric does: once it is certain that a limit
        is crossed, a severer one that is far exceeded at present counts as well. Else v2 would be taken back
        by a step for what deserves more, and the evidence would begin anew. After a pause it does not: what
        is severer waits for evidence of its own, since a limit is found to be crossed when luck is bad, and
        just then a window is at its worst."""
        if guard.firing or not isinstance(guard, SequentialGuard):
            return False
        metric, rank = guard.guard.metric, severity(guard.guard.action)
        for other in self._guards:
            action = other.guard.action
            steps = other.firing and not other.is_alert and action is not Action.PAUSE
            if steps and severity(action) > rank and other.guard.metric is metric:
                return guard.is_far_over(self._now)
        return False

    def _changes(self, action: Action) -> bool:
        return action is not Action.PAUSE or self._state.state in PAUSABLE

    def _regressions(self) -> Iterator[Finding]:
        comparison, judge = self._comparison, self._plan.judge
        if comparison is None or not self._is_regression():
            return
        text = comparison.against()
        cause = "regression:latency" if comparison.is_slower else "regression:errors"
        action = judge.action
        if action is Action.ALERT or not self._changes(action):
            yield Finding(Ground.WAITING, text, cause)
            return
        step = weight_of(judge.step) if action is Action.STEP_DOWN else 0
        yield Finding(Ground.REGRESSION, f"{text}, {action}", cause, action, step)

    def _alert_of_regression(self) -> GuardReading:
        tally = self._seen.tally
        return GuardReading(
            guard="regression",
            metric=Metric.ERROR_RATE,
            value=_error_rate(tally.v2),
            limit=_error_rate(tally.v1),
            sample=tally.v2.requests,
            min_requests=0,
            crossed=True,
            firing=True,
            action=Action.ALERT,
        )

    def _overdue(self) -> Iterator[Finding]:
        if self._index is None or not self._is_overdue():
            return
        phase = self._plan.phases[self._index]
        longest = format_duration(phase.max_duration_s or 0.0)
        text = f"phase {phase.name}: has lasted {self._seen.in_phase_s:.0f} s, {longest} at most"
        cause = f"max_duration:{phase.name}"
        action = _ENDS.get(phase.on_max_duration)
        if action is None:
            yield Finding(Ground.WAITING, text, cause)
        else:
            yield Finding(Ground.OVERDUE, f"{text}, {action}", cause, action)

    def _phase(self, waiting: Sequence[str]) -> Iterator[Finding]:
        index, criteria = self._index, self._criteria
        if self._state.state is not State.RUNNING:
            yield Finding(Ground.WAITING, f"{self._state.state}")
        elif not self._plan.phases:
            yield Finding(Ground.WAITING, "fixed split")
        elif index is None or criteria is None:
            yield Finding(Ground.WAITING, "no phase has begun")
        else:
            name = self._plan.phases[index].name
            cause = f"phase:{name}"
            if not self._plan.judge.enabled:
                yield Finding(Ground.WAITING, f"phase {name}: the judge is off", cause)
            for text in waiting:
                yield Finding(Ground.WAITING, f"phase {name}: {text}", cause)
            if not waiting and self._plan.judge.enabled:
                yield Finding(Ground.PASSED, f"phase {name} passed: {self._passed()}", cause)

    def _passed(self) -> str:
        text = f"{self._seen.tally.v2.requests:,} requests, {self._seen.in_phase_s:.0f} s"
        if self._comparison is None or not self._takes_evidence():
            return text
        return f"{text}, {self._comparison.proof()}"

    def _needs(self) -> list[Need]:
        """All that is asked for before the next phase."""
        criteria, comparison, seen = self._criteria, self._comparison, self._seen
        if criteria is None or not self._promotes():
            return []
        found = criteria.needs(seen)
        if comparison is not None and self._takes_evidence():
            found += comparison.needs(seen.tally, seen.in_phase_s)
        return found

    def _evidence(self) -> Iterator[EvidenceReading]:
        if self._comparison is not None and self._state.weight > 0:
            takes = self._takes_evidence()
            for one in self._comparison.readings(self._seen.tally):
                if one.against or takes:  # what nobody asks for would be read as something to wait for
                    yield one
        for guard in self._guards:
            if isinstance(guard, SequentialGuard):
                text = guard.explain(self._now, self._seen.around)
                yield EvidenceReading(f"limit:{guard.name}", guard.evidence, ALARM, against=True, text=text)


def _error_rate(side: PathTally) -> float:
    return sum(side.errors) / side.requests if side.requests else 0.0


def _eta_s(needs: Sequence[Need]) -> float | None:
    """How long all that is not met takes; None where nothing is waited for, or that cannot be told."""
    left = [math.inf if need.seconds is None else need.seconds for need in needs if not need.met]
    longest = max(left, default=math.inf)
    return longest if math.isfinite(longest) else None
