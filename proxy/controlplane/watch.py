"""One rollout under watch: what was seen of it, and what the judge last said.

Owns the judge, the readings for people and which alerts are on. Must never know the store or other rollouts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from proxy.core.gauges import CALM
from proxy.core.judge import HELD, Judge
from proxy.core.rollout import CONTROLLER
from proxy.core.tally import Tally
from proxy.core.window import Window
from proxy.judgment import Judgment, Verdict
from proxy.model import State, Transition

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from proxy.config.rollout import Rollout
    from proxy.core.gauges import Surroundings
    from proxy.judgment import GuardReading
    from proxy.model import RolloutState, Snapshot

RECENT_S = 60.0


class Seen(NamedTuple):
    """What was counted by all instances in one second, which was monotonic `now` here."""

    now: float
    tally: Tally
    late: Tally


_CLIMBING = frozenset({State.RUNNING, State.PAUSED})
"""States from which more weight is a step of the same rollout, and not a new one."""


class RolloutWatch:
    """Evidence and judgments of the rollout `plan`. `now` is monotonic seconds."""

    def __init__(self, plan: Rollout, now: float) -> None:
        self.plan = plan
        self._judgment: Judgment | None = Judgment(reasons=("no judgment yet",))
        self._asked: tuple[RolloutState, float, float] | None = None  # what the judge was asked last
        self._judge = Judge(plan)
        self._before = Tally()  # all that is no evidence of the present phase
        self._recent = Window(RECENT_S)
        self._around = CALM
        self._started = now
        self._phase_began = now
        self._place: tuple[int, str | None] | None = None  # weight and phase that the evidence belongs to
        self._condition: State | None = None
        self._alerts: dict[str, GuardReading] = {}

    # ... in the order of a tick

    def observe(self, now: float, tally: Tally, around: Surroundings) -> None:
        """Take in what was drained at `now`, and what else is known; `tally` must not change afterwards."""
        self._around = around
        self._recent.push(now, tally)
        if not self._judge.observe(now, tally, around):
            self._before.add(tally)

    def observe_late(self, now: float, tally: Tally) -> None:
        """Take in what was counted before the present state came into force, as processes report it
        afterwards."""
        self._before.add(tally)
        self._recent.push(now, tally)

    def decide(self, state: RolloutState, now: float) -> Judgment:
        """The judgment on `state`, which also becomes the latest one; where nothing is to be done, a bare
        `hold`."""
        self._asked = (state, now, now - self._phase_began)
        decided = self._judge.decide(*self._asked)
        self._judgment = None if decided is HELD else decided
        return decided

    @property
    def judgment(self) -> Judgment:
        """The latest judgment in full. It is put into words when somebody asks for it."""
        if self._judgment is None and self._asked is not None:
            self._judgment = self._judge.told(*self._asked)
        return self._judgment or HELD

    @judgment.setter
    def judgment(self, judgment: Judgment) -> None:
        self._judgment = judgment

    def wait_for(self, *what: str) -> None:
        """The latest judgment has let a phase pass, and this is still missing."""
        self._judgment = replace(self.judgment, verdict=Verdict.HOLD, reasons=what, missing=what, eta_s=None)

    @property
    def verdict(self) -> Verdict:
        """The latest verdict, without its words."""
        return Verdict.HOLD if self._judgment is None else self._judgment.verdict

    def alerts(self, state: RolloutState, at: float) -> Iterator[tuple[Transition, GuardReading]]:
        """Events for alerts that have begun or ended with the latest judgment, at wall time `at`, each with
        what its guard reads now, or read last."""
        if not self._alerts and not self._judge.alarming:
            return
        firing = {reading.guard: reading for reading in self.judgment.alerts}
        began = [reading for guard, reading in firing.items() if guard not in self._alerts]
        ended = [reading for guard, reading in self._alerts.items() if guard not in firing]
        self._alerts = firing
        for reading in began:
            reason = f"{self._judge.words(reading)}, alert"
            yield self._event(state, f"alert:{reading.metric}", reason, at), reading
        for reading in ended:
            yield self._resolved(state, reading, "no longer", at)

    def dismissed(self, state: RolloutState, at: float) -> Iterator[tuple[Transition, GuardReading]]:
        """The same for all that has begun: a reload puts another watch in the place of this one, or none."""
        for reading in self._alerts.values():
            yield self._resolved(state, reading, "the configuration has changed", at)
        self._alerts = {}

    def _resolved(
        self, state: RolloutState, reading: GuardReading, why: str, at: float
    ) -> tuple[Transition, GuardReading]:
        reason = f"guard {reading.guard}: {why}, alert resolved"
        event = self._event(state, f"alert-resolved:{reading.metric}", reason, at)
        return event, replace(reading, firing=False)

    def _event(self, state: RolloutState, cause: str, reason: str, at: float) -> Transition:
        return Transition(state, state, cause, reason, CONTROLLER, at, self.judgment)

    # ... when a state comes into force

    def enter(self, state: RolloutState, now: float, in_phase_s: float = 0.0) -> None:
        """`state` is in force since `now`: if weight or phase are new, evidence and the phase begin anew.

        After a pause the phase's time begins anew, and the evidence stays.
        """
        place, before = (state.weight, state.phase), self._place
        if place != before or state.state is not self._condition:
            self._phase_began = now - in_phase_s
        if place != before:
            self._judgment = self.judgment  # in words, while the evidence for them is there
            climbing = before is not None and 0 < before[0] < state.weight and self._condition in _CLIMBING
            self._before.add(self._judge.evidence)
            self._judge.restart(now, climbing=climbing)
        elif self._condition is State.PAUSED and state.state is State.RUNNING:
            self._judge.release()
        self._place, self._condition = place, state.state

    def relived(self, state: RolloutState, seen: Iterable[Seen]) -> Iterator[RolloutWatch]:
        """A watch on the same rollout that has seen this, in order, in place of what this one has seen since
        the phase began. Comes again and again until it is done: others have their turn in between."""
        other = RolloutWatch(self.plan, self._started)
        other._before.add(self._before)
        other._alerts = dict(self._alerts)
        other._around = self._around
        other._phase_began, other._place, other._condition = self._phase_began, self._place, self._condition
        began = True
        for one in seen:
            if began:  # the judge looks up what is active in this phase
                other.decide(state, one.now)
                began = False
            other.observe_late(one.now, one.late)
            other.observe(one.now, one.tally, self._around)
            other.decide(state, one.now)  # as it was; what it leads to has been decided by who judged then
            yield other
        yield other

    def agrees(self, state: RolloutState) -> bool:
        """Whether the evidence belongs to the phase that `state` is in."""
        return (state.weight, state.phase) == self._place

    # ... for people

    def total(self, now: float) -> Snapshot:
        """Everything since the watch began."""
        return self._read(self.counted(), now - self._started)

    @property
    def requests(self) -> int:
        """How many requests have ended since the watch began."""
        before, now = self._before, self._judge.evidence
        return before.client_requests + before.client_aborts + now.client_requests + now.client_aborts

    def counted(self) -> Tally:
        """Everything since the watch began, as sums of the caller's own."""
        total = Tally()
        total.add(self._before)
        total.add(self._judge.evidence)
        return total

    def counts(self, now: float) -> Snapshot:
        """As `total`, without latencies: they are most of the work."""
        total = Tally()
        total.add(self._before, latencies=False)
        total.add(self._judge.evidence, latencies=False)
        return self._read(total, now - self._started)

    def recent(self, now: float) -> Snapshot:
        """The last `RECENT_S` seconds, or since the watch began if that is shorter."""
        return self._read(self._recent.tally(now), min(RECENT_S, now - self._started))

    def _read(self, tally: Tally, seconds: float) -> Snapshot:
        return tally.snapshot(seconds, self._around.health_v1, self._around.health_v2)

    def __repr__(self) -> str:
        return f"RolloutWatch({self.plan.name}, {self.judgment.verdict}, alerts {list(self._alerts)})"


def succeeding(before: RolloutWatch | None, plan: Rollout, now: float) -> RolloutWatch:
    """The watch on `plan` after a reload: the same one if nothing of its table has changed."""
    return before if before is not None and before.plan == plan else RolloutWatch(plan, now)
