"""The judge of one rollout: from what was observed to a verdict with its reasons.

Owns the windows of the guards, the evidence since the phase began, and the order of precedence. Must never
know how a verdict is carried out (`rollout.step`) or what the wall clock says.

Precedence: a guard that fires fails. Short of that, whatever is not known to be good holds: a limit that is
crossed but not yet for long enough, a criterion that is not met, no data. Only when nothing fails and nothing
holds does a phase pass.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.config.units import weight_of
from proxy.core.criteria import missing
from proxy.core.guards import GuardTracker, takes_latency
from proxy.core.rollout import phase_index
from proxy.core.tally import Tally
from proxy.core.window import Window
from proxy.model import Action, Judgment, State, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from proxy.config.schema import Guard, Rollout
    from proxy.model import GuardReading, RolloutState, Snapshot

PRECEDENCE = (Verdict.FAIL, Verdict.HOLD, Verdict.PASS)
"""The first verdict that anything speaks for is the verdict."""

SEVERITY = (Action.ROLLBACK, Action.PREVIOUS, Action.STEP_DOWN, Action.PAUSE)
"""Of several failing guards, the first action is taken; among equal ones the largest step."""

WATCHED = frozenset({State.RUNNING, State.PAUSED, State.ROLLED_BACK, State.COMPLETED})
"""States in which v2 may have traffic, and guards are read when it has."""


@dataclass(frozen=True, slots=True)
class _Finding:
    """One thing that speaks for a verdict."""

    verdict: Verdict
    reason: str
    cause: str = ""
    action: Action | None = None
    step: int = 0


class Judge:
    """Judges one rollout: every tick `observe`, then `judge`; `restart` after a new weight or phase."""

    __slots__ = ("_evidence", "_health", "_mixed", "_observed_at", "_plan", "_trackers", "_windows")

    def __init__(self, rollout: Rollout) -> None:
        self._plan = rollout
        self._trackers = tuple(_trackers(rollout.guards))
        # Which windows some guard reads latencies from: summing them up is most of a tick.
        timed = {guard.window_s for guard in rollout.guards if takes_latency(guard.metric)}
        self._windows = {
            guard.window_s: Window(guard.window_s, latencies=guard.window_s in timed)
            for guard in rollout.guards
        }
        self._evidence = Tally()  # since the phase began
        self._health = (1.0, 1.0)
        self._observed_at: float | None = None
        self._mixed = False

    @property
    def evidence(self) -> Tally:
        """Everything observed since the phase began. It belongs to the judge: valid until the next call."""
        return self._evidence

    def observe(self, now: float, tally: Tally, health_v1: float = 1.0, health_v2: float = 1.0) -> bool:
        """Take in what was drained at monotonic `now`, and the share 0..1 of healthy endpoints of each path;
        False if it is no evidence, because part of it is from before.

        `tally` must not change afterwards.
        """
        self._health = (health_v1, health_v2)
        self._observed_at = now
        if self._mixed:
            self._mixed = False
            return False
        self._evidence.add(tally)
        for window in self._windows.values():
            window.push(now, tally)
        return True

    def judge(self, state: RolloutState, now: float, in_phase_s: float) -> Judgment:
        """The verdict on `state` at monotonic `now`, `in_phase_s` seconds after the phase began."""
        watched = state.weight > 0 and state.state in WATCHED
        snapshots = self._read_windows(now) if watched else {}
        readings = self._read_guards(now, snapshots)
        findings = [*self._guard_findings(now, readings, snapshots), *self._phase_findings(state, in_phase_s)]
        verdict = min((finding.verdict for finding in findings), key=PRECEDENCE.index)
        decisive = [finding for finding in findings if finding.verdict is verdict]
        return Judgment(
            verdict=verdict,
            reasons=tuple(finding.reason for finding in decisive),
            cause=decisive[0].cause,
            action=decisive[0].action,
            step=decisive[0].step,
            readings=readings,
            alerts=tuple(r for r in readings if r.firing and r.action is Action.ALERT),
        )

    def restart(self, now: float) -> None:
        """Forget all evidence: it tells of another weight or phase, and a guard must not fire on it again.

        Between two ticks, what the next `observe` brings is partly from before, and is left out too. Draining
        and observing at this same `now` first avoids that loss.
        """
        self._evidence = Tally()
        for window in self._windows.values():
            window.clear()
        for tracker in self._trackers:
            tracker.reset()
        self._mixed = self._observed_at is not None and now > self._observed_at

    # ... guards

    def _read_windows(self, now: float) -> dict[float, Snapshot]:
        return {s: window.tally(now).snapshot(s, *self._health) for s, window in self._windows.items()}

    def _read_guards(self, now: float, snapshots: dict[float, Snapshot]) -> tuple[GuardReading, ...]:
        if snapshots:
            return tuple(tracker.read(now, snapshots[tracker.guard.window_s]) for tracker in self._trackers)
        for tracker in self._trackers:
            tracker.reset()
        return ()

    def _guard_findings(
        self, now: float, readings: tuple[GuardReading, ...], snapshots: dict[float, Snapshot]
    ) -> list[_Finding]:
        found = []
        for tracker, reading in zip(self._trackers, readings, strict=False):
            if not reading.crossed or reading.action is Action.ALERT:
                continue
            guard, text = tracker.guard, tracker.explain(reading, snapshots[tracker.guard.window_s])
            cause = f"guard:{guard.metric}"
            if reading.firing:
                step = weight_of(guard.step) if guard.action is Action.STEP_DOWN else 0
                found.append(_Finding(Verdict.FAIL, f"{text}, {guard.action}", cause, guard.action, step))
            else:
                crossed_for = f"for {tracker.crossed_for_s(now):.0f} s of {guard.for_s:g} s"
                found.append(_Finding(Verdict.HOLD, f"{text}, {crossed_for}", cause))
        return sorted(found, key=_severity)

    # ... phases

    def _phase_findings(self, state: RolloutState, in_phase_s: float) -> list[_Finding]:
        index = phase_index(self._plan, state.phase)
        if state.state is not State.RUNNING:
            return [_Finding(Verdict.HOLD, f"{state.state}")]
        if not self._plan.phases:
            return [_Finding(Verdict.HOLD, "fixed split")]
        if index is None:
            return [_Finding(Verdict.HOLD, "no phase has begun")]
        phase = self._plan.phases[index]
        cause = f"phase:{phase.name}"
        if not self._plan.judge.enabled:
            return [_Finding(Verdict.HOLD, f"phase {phase.name}: the judge is off", cause)]
        seen = self._evidence.snapshot(in_phase_s, *self._health)
        wanting = missing(phase, seen, in_phase_s)
        if wanting:
            return [_Finding(Verdict.HOLD, f"phase {phase.name}: {what}", cause) for what in wanting]
        passed = f"phase {phase.name} passed: {seen.v2.requests} requests, {in_phase_s:.0f} s"
        return [_Finding(Verdict.PASS, passed, cause)]

    def __repr__(self) -> str:
        seen = self._evidence.v2.requests
        return f"Judge({self._plan.name}, {len(self._trackers)} guards, {seen} requests to v2 in phase)"


def _severity(finding: _Finding) -> tuple[int, int]:
    rank = SEVERITY.index(finding.action) if finding.action is not None else len(SEVERITY)
    return rank, -finding.step


def _trackers(guards: Sequence[Guard]) -> Iterator[GuardTracker]:
    """One tracker each, named so that alerts on one metric and limit over several windows stay apart."""
    named: Counter[str] = Counter()
    for guard in guards:
        named[guard.name] += 1
        yield GuardTracker(
            guard, guard.name if named[guard.name] == 1 else f"{guard.name} #{named[guard.name]}"
        )
