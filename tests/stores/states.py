"""States and transitions that the store tests write."""

from __future__ import annotations

from dataclasses import replace

from proxy.model import RolloutState, State, Transition

NEW = RolloutState(name="default", state=State.DISABLED, weight=0)


def step(
    before: RolloutState, weight: int, *, cause: str = "command:set", at: float = 1_700_000_000.25
) -> Transition:
    """A change to `weight`, with the next revision."""
    after = replace(
        before,
        state=State.RUNNING,
        weight=weight,
        revision=before.revision + 1,
        since=at,
        reason=f"to {weight}",
    )
    return Transition(before=before, after=after, cause=cause, reason=after.reason, actor="tess", at=at)


def event(state: RolloutState, cause: str = "alert:latency_p95") -> Transition:
    """Something worth a record that changes nothing."""
    return Transition(before=state, after=state, cause=cause, reason="slow", actor="controller", at=1.0)


def chain(name: str, weights: list[int]) -> list[Transition]:
    """One transition after the other from nothing."""
    state, steps = replace(NEW, name=name), []
    for weight in weights:
        steps.append(step(state, weight))
        state = steps[-1].after
    return steps
