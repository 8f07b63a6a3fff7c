"""Notices: what the deciding process has to tell whoever listens, each once, as a value.

Owns the form, the kinds, and how a transition reads as a notice. Alerts, decision traces and the log are made
from it. Must never know who listens, nor how it is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from proxy.core.rollout import CONTROLLER
from proxy.model import State

if TYPE_CHECKING:
    from proxy.core.alert_rules import RuleReading
    from proxy.judgment import GuardReading, Judgment
    from proxy.model import RolloutState, Transition


class Severity(StrEnum):
    """How much it matters, the least first."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class NoticeKind(StrEnum):
    """What has happened."""

    # ... a rollout has moved
    STARTED = "started"
    PHASE = "phase"
    RAISED = "raised"
    RESUMED = "resumed"
    COMPLETED = "completed"
    CHANGED = "changed"
    LOWERED = "lowered"
    PAUSED = "paused"
    ROLLBACK = "rollback"
    ABORT = "abort"
    # ... something is wrong, until a notice of the same kind and subject says `resolved`
    GUARD = "guard"
    RULE = "rule"
    STORE = "store"
    WORKER = "worker"
    # ... two instances of a fleet have gone different ways
    CONFLICT = "conflict"
    # ... somebody tries whether notices arrive
    TEST = "test"


MOVES: Final = frozenset(
    {
        *(NoticeKind.STARTED, NoticeKind.PHASE, NoticeKind.RAISED, NoticeKind.RESUMED, NoticeKind.COMPLETED),
        *(NoticeKind.CHANGED, NoticeKind.LOWERED, NoticeKind.PAUSED, NoticeKind.ROLLBACK, NoticeKind.ABORT),
    }
)
"""The kinds that tell of a rollout's move: each is an event that is over; the others last until resolved."""

RANK: Final = {severity: rank for rank, severity in enumerate(Severity)}
"""Severities by weight."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What has happened. `rollout` is "" where it concerns the whole process; `subject` says what it is about
    beside the rollout: a guard's or a rule's name, "store", "worker 3".

    Of a move: state, phases, percentages and revision; `cause`, `actor` and `action` as the audit has them.
    `metric`, `value`, `limit` and `sample` are what it stands on, where that is one figure.
    """

    kind: NoticeKind
    severity: Severity
    at: float  # seconds since the Unix epoch
    reason: str
    rollout: str = ""
    subject: str = ""
    resolved: bool = False
    state: State | None = None
    phase_before: str | None = None
    phase: str | None = None
    percentage_before: float | None = None
    percentage: float | None = None
    revision: int = 0
    cause: str = ""
    action: str = ""
    actor: str = CONTROLLER
    metric: str = ""
    value: float | None = None
    limit: float | None = None
    sample: int | None = None
    exemplars: tuple[str, ...] = ()  # trace ids of requests that show it

    @property
    def key(self) -> str:
        """What it is about: the same for a notice, its repetitions, and the one that says it is over."""
        about = self.subject or str(self.revision)
        return f"{self.kind}:{self.rollout}:{about}"

    @property
    def lasts(self) -> bool:
        """Whether it tells of a condition that ends some time, and not of an event."""
        return self.kind not in MOVES and self.kind not in {NoticeKind.TEST, NoticeKind.CONFLICT}


# ... from what the controller does


def of_move(transition: Transition, exemplars: tuple[str, ...] = ()) -> Notice:
    """The notice of a change of state."""
    before, after = transition.before, transition.after
    kind = _kind(transition)
    metric, value, limit, sample = _figures(transition)
    return Notice(
        kind=kind,
        severity=_severity(kind, transition),
        at=transition.at,
        reason=transition.reason,
        rollout=after.name,
        state=after.state,
        phase_before=before.phase,
        phase=after.phase,
        percentage_before=before.percentage,
        percentage=after.percentage,
        revision=after.revision,
        cause=transition.cause,
        action=_action(kind, transition),
        actor=transition.actor,
        metric=metric,
        value=value,
        limit=limit,
        sample=sample,
        exemplars=exemplars,
    )


def of_guard(event: Transition, reading: GuardReading, exemplars: tuple[str, ...] = ()) -> Notice:
    """The notice of a guard with `action = "alert"` that fires, or does no longer, by its audit event."""
    return replace(
        _standing(NoticeKind.GUARD, Severity.WARNING, event.after, event.at, event.reason),
        subject=reading.guard,
        resolved=not reading.firing,
        cause=event.cause,
        action="alert",
        metric=reading.metric,
        value=reading.value,
        limit=reading.limit,
        sample=reading.sample,
        exemplars=exemplars,
    )


def of_rule(
    reading: RuleReading, state: RolloutState | None, at: float, exemplars: tuple[str, ...] = ()
) -> Notice:
    """The notice of an alert rule that fires, or does no longer, while `state` is in force; None where it
    concerns the whole process."""
    rule = reading.rule
    return Notice(
        kind=NoticeKind.RULE,
        severity=Severity(rule.severity),
        at=at,
        reason=reading.text,
        rollout="" if state is None else state.name,
        subject=rule.name,
        resolved=not reading.firing,
        state=None if state is None else state.state,
        phase_before=None if state is None else state.phase,
        phase=None if state is None else state.phase,
        percentage_before=None if state is None else state.percentage,
        percentage=None if state is None else state.percentage,
        revision=0 if state is None else state.revision,
        cause=f"rule:{rule.name}",
        action="alert",
        metric=rule.metric,
        value=reading.value,
        limit=rule.limit,
        sample=reading.sample,
        exemplars=exemplars,
    )


def of_store(trouble: str, at: float) -> Notice:
    """The store does not take what is decided, for this reason; with none, it does again."""
    lost = f"{trouble}; rollbacks are in force at once, and nothing can be raised"
    return Notice(
        kind=NoticeKind.STORE,
        severity=Severity.CRITICAL,
        at=at,
        reason=lost if trouble else "the store works again, nothing waits",
        subject="store",
        resolved=not trouble,
        action="hold",
    )


def of_conflict(state: RolloutState, reason: str, at: float) -> Notice:
    """Two instances of a fleet have gone different ways with a rollout; `state` is what stays, the more
    careful one."""
    conflict = _standing(NoticeKind.CONFLICT, Severity.CRITICAL, state, at, reason)
    return replace(conflict, cause="fleet:conflict", action="hold")


def of_worker(worker: str, reason: str, at: float, *, resolved: bool = False) -> Notice:
    """A worker process that does not stay up, or does again."""
    return Notice(
        kind=NoticeKind.WORKER,
        severity=Severity.CRITICAL,
        at=at,
        reason=reason,
        subject=worker,
        resolved=resolved,
        action="restart",
    )


def of_test(severity: Severity, actor: str, reason: str, at: float) -> Notice:
    """Somebody tries whether notices arrive."""
    return Notice(
        kind=NoticeKind.TEST,
        severity=severity,
        at=at,
        reason=reason or "a test: nothing has happened",
        subject="test",
        action="test",
        actor=actor,
    )


# ... what a transition amounts to


def _standing(kind: NoticeKind, severity: Severity, state: RolloutState, at: float, reason: str) -> Notice:
    """Of a rollout that stays as it is."""
    return Notice(
        kind,
        severity,
        at,
        reason,
        rollout=state.name,
        state=state.state,
        phase_before=state.phase,
        phase=state.phase,
        percentage_before=state.percentage,
        percentage=state.percentage,
        revision=state.revision,
    )


def _kind(transition: Transition) -> NoticeKind:
    before, after = transition.before, transition.after
    if after.state is not before.state and after.state in _ENTERED:
        return _ENTERED[after.state]
    if after.weight < before.weight:
        return NoticeKind.ROLLBACK if after.state is State.ROLLED_BACK else NoticeKind.LOWERED
    if after.weight > 0 and before.weight == 0:
        return NoticeKind.STARTED
    if after.phase is not None and after.phase != before.phase:
        return NoticeKind.PHASE
    if after.weight > before.weight:
        return NoticeKind.RAISED
    return NoticeKind.RESUMED if before.state is State.PAUSED else NoticeKind.CHANGED


_ENTERED: Final = {
    State.ABORTED: NoticeKind.ABORT,
    State.ROLLED_BACK: NoticeKind.ROLLBACK,
    State.COMPLETED: NoticeKind.COMPLETED,
    State.PAUSED: NoticeKind.PAUSED,
}

_RETREATS: Final = frozenset({NoticeKind.ROLLBACK, NoticeKind.ABORT})


def _severity(kind: NoticeKind, transition: Transition) -> Severity:
    """A retreat by the controller is what somebody is woken for; one by a person is known to one already."""
    alone = transition.actor == CONTROLLER
    if kind in _RETREATS:
        urgent = alone or transition.cause == "command:emergency_stop"
        return Severity.CRITICAL if urgent else Severity.WARNING
    return Severity.WARNING if alone and kind in {NoticeKind.LOWERED, NoticeKind.PAUSED} else Severity.INFO


def _action(kind: NoticeKind, transition: Transition) -> str:
    """The verb or the guard's action by which it moved."""
    judgment = transition.judgment
    if judgment is not None and judgment.action is not None:
        return judgment.action
    family, _, verb = transition.cause.partition(":")
    if family == "command":
        return verb
    return "promote" if family == "phase" else "start" if kind is NoticeKind.STARTED else family


def _figures(transition: Transition) -> tuple[str, float | None, float | None, int | None]:
    """Metric, value, limit and sample of the guard that decided; of a comparison, the evidence against v2,
    what was needed, and no sample."""
    judgment = transition.judgment
    if judgment is None or judgment.action is None:
        return "", None, None, None
    reading = _decisive(judgment)
    if reading is not None:
        return reading.metric, reading.value, reading.limit, reading.sample
    family, _, name = judgment.cause.partition(":")
    for evidence in judgment.evidence:
        if family == "regression" and evidence.name == name:
            return f"evidence:{name}", evidence.value, evidence.needed, None
    return "", None, None, None


def _decisive(judgment: Judgment) -> GuardReading | None:
    """Of the guards that the cause may mean, one that fires; else it was drawn along by a milder one."""
    metric = judgment.cause.removeprefix("guard:")
    alike = [one for one in judgment.readings if one.metric == metric and one.action is judgment.action]
    return next((one for one in alike if one.firing), alike[0] if alike else None)
