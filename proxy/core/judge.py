"""The judge of one rollout: from what was observed to a verdict with its reasons.

Owns the windows of the guards, the evidence since the phase began, and when all that is forgotten. Must never
know how a verdict is carried out (`rollout.step`) or what the wall clock says.

Three parts speak: the guards, which are limits that users write (`guards`), the comparison of v2 with v1
(`comparison`), and what a phase asks for (`criteria`). `case` hears them at a tick, in the order of
`verdicts`. At most ticks nobody asks for anything, so that looking (`decide`) is kept apart from telling
(`judge`).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from proxy.core.case import Case, Witnesses
from proxy.core.comparison import Comparison
from proxy.core.criteria import PhaseCriteria, Seen, V1Before
from proxy.core.gauges import CALM, takes_latency, takes_traffic
from proxy.core.guards import LATELY_S, tracker_of
from proxy.core.policy import JudgePolicy
from proxy.core.rollout import phase_index
from proxy.core.tally import Tally
from proxy.core.verdicts import WATCHED
from proxy.core.window import Window
from proxy.judgment import Action, Judgment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from proxy.config.plan import Guard, JudgeTable
    from proxy.config.rollout import Rollout
    from proxy.core.gauges import Surroundings
    from proxy.core.guards import GuardTracker
    from proxy.judgment import GuardReading
    from proxy.model import RolloutState

HELD: Final = Judgment()
"""What `decide` gives where nothing is to be done."""

_LEAST_V1 = 20  # requests from which on v1 counts as measured


class Judge:
    """Judges one rollout: every tick `observe`, then `decide`; `restart` after a new weight or phase."""

    def __init__(self, plan: Rollout) -> None:
        self._plan = plan
        self._windows: dict[float, Window] = {}
        named: Counter[str] = Counter()
        self._own = self._trackers(plan.guards, named)
        self._of_phases = [self._own + self._trackers(phase.abort_if, named) for phase in plan.phases]
        self._criteria = [PhaseCriteria(phase, plan) for phase in plan.phases]
        self._comparison = Comparison(policy_of(plan.judge)) if plan.phases else None
        self._phase: str | None = None  # whose guards are active; looked up when the state's is another
        self._active = self._own
        self._heard = Witnesses(self._own, self._comparison)
        self._unguarded = self._heard.unguarded()
        self._alarms = [tracker for tracker in self._active if tracker.is_alert]
        self._split = False  # whether v2 had a share at the latest tick
        self._guarding = False  # whether the guards have been read since they were last reset
        self._evidence = Tally()  # since the phase began
        self._before = V1Before()
        self._around = CALM
        self._has_cache = False
        self._observed_at: float | None = None
        self._mixed = False

    def _trackers(self, guards: Sequence[Guard], named: Counter[str]) -> list[GuardTracker]:
        """One tracker each, named so that alerts on one metric and limit over several windows stay apart."""
        found = []
        for guard in guards:
            named[guard.name] += 1
            name = guard.name if named[guard.name] == 1 else f"{guard.name} #{named[guard.name]}"
            found.append(tracker_of(guard, name, *(self._window(guard, s) for s in _lengths(guard))))
        return found

    def _window(self, guard: Guard, length_s: float) -> Window:
        """The window of this length that all guards share, if they read traffic. Latencies are summed up only
        where one of them reads them, because that is most of a tick."""
        if not takes_traffic(guard.metric):
            return Window(length_s)
        if length_s not in self._windows:
            readers = [other for other in _all_guards(self._plan) if length_s in _lengths(other)]
            latencies = any(takes_latency(other.metric) for other in readers)
            self._windows[length_s] = Window(length_s, latencies=latencies)
        return self._windows[length_s]

    @property
    def evidence(self) -> Tally:
        """Everything observed since the phase began. It belongs to the judge: valid until the next call."""
        return self._evidence

    # ... in the order of a tick

    def observe(self, now: float, tally: Tally, around: Surroundings = CALM) -> bool:
        """Take in what was drained at monotonic `now`, and what else is known; False if it is no evidence,
        because part of it is from before.

        `tally` must not change afterwards.
        """
        dt_s = self._plan.judge.tick_s if self._observed_at is None else now - self._observed_at
        self._observed_at = now
        self._around = around
        if around.cache_hit_rate is not None:
            self._has_cache = True
        if self._mixed:
            self._mixed = False
            return False
        if _holds_anything(tally):
            self._evidence.add(tally)
            for window in self._windows.values():
                window.push(now, tally)
        for tracker in self._active:
            tracker.observe(tally, dt_s)
        if self._comparison is not None:
            self._comparison.observe(tally, dt_s, split=self._split)
        return True

    def decide(self, state: RolloutState, now: float, in_phase_s: float) -> Judgment:
        """The verdict on `state` at monotonic `now`, `in_phase_s` seconds after the phase began: whole where
        something is to be done, else `HELD`, and `told` has the words."""
        case = self._looked(state, now, in_phase_s)
        return case.told() if case.acts() or case.passes() else HELD

    def judge(self, state: RolloutState, now: float, in_phase_s: float) -> Judgment:
        """As `decide`, and whole in any case."""
        return self._looked(state, now, in_phase_s).told()

    def told(self, state: RolloutState, now: float, in_phase_s: float) -> Judgment:
        """The judgment of the latest tick, which was at `now`, for people who ask after it."""
        return self._case(state, now, in_phase_s).told()

    @property
    def alarming(self) -> bool:
        """Whether there is an alert, as of the latest tick: a guard's, or that v2 is worse than v1."""
        for tracker in self._alarms:
            if tracker.firing:
                return True
        comparison = self._comparison
        if comparison is None or self._plan.judge.action is not Action.ALERT:
            return False
        return comparison.evidence >= comparison.needed

    def words(self, alert: GuardReading) -> str:
        """What an alert stands on, as of the latest tick: a guard's reading, or the comparison's evidence."""
        for tracker in self._alarms:
            if tracker.name == alert.guard:
                return tracker.explain(self._observed_at or 0.0, self._around)
        return HELD.cause if self._comparison is None else self._comparison.against()

    def _looked(self, state: RolloutState, now: float, in_phase_s: float) -> Case:
        self._follow(state)
        if self._split and state.state in WATCHED:
            self._guarding = True
            for tracker in self._active:
                tracker.update(now, self._around)
        elif self._guarding:
            self.release()
        return self._case(state, now, in_phase_s)

    def _follow(self, state: RolloutState) -> None:
        self._split = state.weight > 0
        if state.phase != self._phase:
            self.release()
            self._phase, index = state.phase, phase_index(self._plan, state.phase)
            self._active = self._own if index is None else self._of_phases[index]
            self._alarms = [tracker for tracker in self._active if tracker.is_alert]
            criteria = None if index is None else self._criteria[index]
            self._heard = Witnesses(self._active, self._comparison, criteria, index)
            self._unguarded = self._heard.unguarded()

    def _case(self, state: RolloutState, now: float, in_phase_s: float) -> Case:
        seen = Seen(
            self._evidence,
            in_phase_s,
            self._around,
            self._before,
            alerting=self.alarming,
            has_cache=self._has_cache,
        )
        return Case(self._plan, state, now, seen, self._heard if self._guarding else self._unguarded)

    # ... what is forgotten

    def restart(self, now: float, *, climbing: bool = False) -> None:
        """Forget the evidence: it tells of another weight or phase, and a guard must not fire on it again.
        While a rollout is `climbing` from phase to phase, what the comparison holds against v2 stays.

        Between two ticks, what the next `observe` brings is partly from before, and is left out too. Draining
        and observing at this same `now` first avoids that loss.
        """
        v1 = self._evidence.v1
        if v1.requests >= _LEAST_V1:
            self._before = V1Before(sum(v1.errors) / v1.requests, v1.latency.total_s / v1.requests)
        self._evidence = Tally()
        for window in self._windows.values():
            window.clear()
        self.release()
        if self._comparison is not None:
            if climbing:
                self._comparison.step()
            else:
                self._comparison.restart()
        self._mixed = self._observed_at is not None and now > self._observed_at

    def release(self) -> None:
        """Let every guard begin anew: there is nothing to guard, or a person has gone on although one had
        fired."""
        self._guarding = False
        for tracker in self._active:
            tracker.reset()

    def __repr__(self) -> str:
        seen = self._evidence.v2.requests
        return f"Judge({self._plan.name}, {len(self._own)} guards, {seen} requests to v2 in phase)"


def policy_of(table: JudgeTable) -> JudgePolicy:
    """What the tests are told, from the configuration's points and percentages."""
    tolerable, unacceptable = table.tolerable, table.unacceptable
    return JudgePolicy(
        tolerable_ratio=tolerable.ratio,
        tolerable_points=tolerable.points / 100.0,
        unacceptable_ratio=unacceptable.ratio,
        unacceptable_points=unacceptable.points / 100.0,
        latency_tolerable_ratio=tolerable.latency_ratio,
        latency_tolerable_s=tolerable.latency_plus_s,
        latency_unacceptable_ratio=unacceptable.latency_ratio,
        latency_unacceptable_s=unacceptable.latency_plus_s,
        false_alarms=table.false_alarms,
        noise_margin=table.noise_margin,
    )


def _lengths(guard: Guard) -> tuple[float, float]:
    """Of the windows that a guard looks at: its own, and the last few seconds."""
    return guard.window_s, min(guard.window_s, LATELY_S)


def _all_guards(plan: Rollout) -> Iterator[Guard]:
    yield from plan.guards
    for phase in plan.phases:
        yield from phase.abort_if


def _holds_anything(t: Tally) -> bool:
    return bool(
        t.client_requests
        or t.assigned_v1
        or t.assigned_v2
        or t.v1.requests
        or t.v2.requests
        or t.overridden
        or t.client_aborts
        or any(t.fallbacks)
        or any(t.over_budget)
    )
