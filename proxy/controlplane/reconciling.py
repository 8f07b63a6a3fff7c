"""What the store holds and what the configuration says, brought in line before anything is in force.

Owns the rule that what is stored wins. Must never know what happens afterwards.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from proxy.core.caution import tightens
from proxy.core.rollout import first_transition, phase_index
from proxy.errors import RevisionConflict
from proxy.model import State, Transition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from proxy.config.rollout import Rollout
    from proxy.controlplane.watch import RolloutWatch
    from proxy.model import RolloutState
    from proxy.ports import Store

log = logging.getLogger("dualpath.control")

_NONE: Mapping[str, RolloutState] = MappingProxyType({})


async def reconciled(
    store: Store,
    plans: Iterable[Rollout],
    at: float,
    handed: Mapping[str, RolloutState] = _NONE,
    *,
    config: str,
) -> list[RolloutState]:
    """The stored state of every plan, in order, at wall time `at`; what the store lacks is written to it,
    as decided by the configuration with the hash `config`.

    A rollout that is not stored begins as it was `handed` by the process before, else as configured. One
    whose phase is no longer configured keeps its weight and has no phase. Stored rollouts that no plan names
    stay as they are. Raises as the store does.
    """
    stored = await store.load()
    states = []
    for plan in plans:
        state, last = stored.get(plan.name), handed.get(plan.name)
        if state is None and last is not None:
            state = await _committed(store, replace(_first_handed(last, at), config=config))
        states.append(await _reconciled(store, plan, state, at, config))
    return states


async def foreseen(store: Store, plans: Iterable[Rollout], at: float) -> list[RolloutState]:
    """The state of every plan as the store has it, else as configured, with nothing written. Raises as the
    store does."""
    stored = await store.load()
    return [stored.get(plan.name) or first_transition(plan, at).after for plan in plans]


def unwritten(stored: RolloutState, last: RolloutState, at: float) -> Transition | None:
    """The move from what is stored to what was in force `last` in the process before, if that is tighter and
    the store has not moved on since: then it was a rollback that could not be written."""
    same = (last.state, last.weight) == (stored.state, stored.weight)
    if same or last.revision < stored.revision or not tightens(stored, last):
        return None
    after = replace(last, revision=stored.revision + 1)
    return Transition(stored, after, cause="restart", reason=last.reason, actor="config", at=at)


def reload_events(
    before: Mapping[str, RolloutWatch],
    after: Mapping[str, RolloutWatch],
    state: Callable[[str], RolloutState],
    at: float,
) -> Iterator[Transition]:
    """What a reload adds to the audit: rollouts that were changed or removed, and phases that are gone."""
    for name, watch in before.items():
        now = after.get(name)
        if now is watch:
            continue
        what = "changed in" if now is not None else "removed from"
        reason = f"configuration reloaded: {what} the file"
        yield Transition(state(name), state(name), cause="config", reason=reason, actor="config", at=at)
        phase = state(name).phase
        if now is not None and phase is not None and phase_index(now.plan, phase) is None:
            yield _without_phase(state(name), at)


def _first_handed(last: RolloutState, at: float) -> Transition:
    """The record of a rollout that a store without it takes over from the process before."""
    before = replace(last, state=State.DISABLED, weight=0, phase=None, revision=0, reason="")
    after = replace(last, revision=1)
    return Transition(before, after, cause="restart", reason=last.reason, actor="config", at=at)


async def _reconciled(
    store: Store, plan: Rollout, state: RolloutState | None, at: float, config: str
) -> RolloutState:
    if state is None:
        return await _committed(store, replace(first_transition(plan, at), config=config))
    if state.phase is not None and phase_index(plan, state.phase) is None:
        return await _committed(store, replace(_without_phase(state, at), config=config))
    log.info("%s: %s at %g %%, as stored", state.name, state.state, state.percentage)
    return state


def _without_phase(state: RolloutState, at: float) -> Transition:
    reason = f"phase {state.phase} is no longer in the configuration"
    after = replace(state, phase=None, revision=state.revision + 1, since=at, reason=reason)
    return Transition(state, after, cause="config", reason=reason, actor="config", at=at)


async def _committed(store: Store, transition: Transition) -> RolloutState:
    after = transition.after
    try:
        await store.commit(transition)
    except RevisionConflict:  # another process was first: what it wrote wins
        return (await store.load())[after.name]
    log.info("%s: %s at %g %%, %s", after.name, after.state, after.percentage, after.reason)
    return after
