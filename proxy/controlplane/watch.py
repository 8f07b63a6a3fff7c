"""One rollout under watch: what was seen of it, and what the judge last said.

Owns the judge, the readings for people and which alerts are on. Must never know the store or other rollouts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.core.judge import Judge
from proxy.core.rollout import CONTROLLER
from proxy.core.tally import Tally
from proxy.core.window import Window
from proxy.model import Judgment, Transition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.config.rollout import Rollout
    from proxy.model import GuardReading, RolloutState, Snapshot, State

RECENT_S = 60.0


class RolloutWatch:
    """Evidence and judgments of the rollout `plan`. `now` is monotonic seconds, health a share 0..1."""

    def __init__(self, plan: Rollout, now: float) -> None:
        self.plan = plan
        self.judgment = Judgment(reasons=("no judgment yet",))
        self._judge = Judge(plan)
        self._before = Tally()  # all that is no evidence of the present phase
        self._recent = Window(RECENT_S)
        self._health = (1.0, 1.0)
        self._started = now
        self._phase_began = now
        self._place: tuple[int, str | None] | None = None  # weight and phase that the evidence belongs to
        self._condition: State | None = None
        self._alerts: dict[str, GuardReading] = {}

    # ... in the order of a tick

    def observe(self, now: float, tally: Tally, health_v1: float, health_v2: float) -> None:
        """Take in what was drained at `now`; `tally` must not change afterwards."""
        self._health = (health_v1, health_v2)
        self._recent.push(now, tally)
        if not self._judge.observe(now, tally, health_v1, health_v2):
            self._before.add(tally)

    def observe_late(self, now: float, tally: Tally) -> None:
        """Take in what was counted before the present state came into force, as processes report it
        afterwards."""
        self._before.add(tally)
        self._recent.push(now, tally)

    def decide(self, state: RolloutState, now: float) -> Judgment:
        """The judgment on `state`, which also becomes the latest one."""
        self.judgment = self._judge.judge(state, now, now - self._phase_began)
        return self.judgment

    def alerts(self, state: RolloutState, at: float) -> Iterator[Transition]:
        """Events for alerts that have begun or ended with the latest judgment, at wall time `at`."""
        firing = {reading.guard: reading for reading in self.judgment.alerts}
        began = [reading for guard, reading in firing.items() if guard not in self._alerts]
        ended = [reading for guard, reading in self._alerts.items() if guard not in firing]
        self._alerts = firing
        for reading in began:
            reason = f"guard {reading.guard}: {reading.value or 0.0:.3g}, sample {reading.sample}, alert"
            yield self._event(state, f"alert:{reading.metric}", reason, at)
        for reading in ended:
            reason = f"guard {reading.guard}: no longer, alert resolved"
            yield self._event(state, f"alert-resolved:{reading.metric}", reason, at)

    def _event(self, state: RolloutState, cause: str, reason: str, at: float) -> Transition:
        return Transition(state, state, cause, reason, CONTROLLER, at, self.judgment)

    # ... when a state comes into force

    def enter(self, state: RolloutState, now: float, in_phase_s: float = 0.0) -> None:
        """`state` is in force since `now`: if weight or phase are new, evidence and the phase begin anew.

        After a pause the phase's time begins anew, and the evidence stays.
        """
        place = (state.weight, state.phase)
        if place != self._place or state.state is not self._condition:
            self._phase_began = now - in_phase_s
        if place != self._place:
            self._before.add(self._judge.evidence)
            self._judge.restart(now)
        self._place, self._condition = place, state.state

    # ... for people

    def total(self, now: float) -> Snapshot:
        """Everything since the watch began."""
        total = Tally()
        total.add(self._before)
        total.add(self._judge.evidence)
        return total.snapshot(now - self._started, *self._health)

    def recent(self, now: float) -> Snapshot:
        """The last `RECENT_S` seconds, or since the watch began if that is shorter."""
        return self._recent.tally(now).snapshot(min(RECENT_S, now - self._started), *self._health)

    def __repr__(self) -> str:
        return f"RolloutWatch({self.plan.name}, {self.judgment.verdict}, alerts {list(self._alerts)})"


def succeeding(before: RolloutWatch | None, plan: Rollout, now: float) -> RolloutWatch:
    """The watch on `plan` after a reload: the same one if nothing of its table has changed."""
    return before if before is not None and before.plan == plan else RolloutWatch(plan, now)
