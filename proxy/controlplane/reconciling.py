"""What the store holds and what the configuration says, brought in line before anything is in force.

Owns the rule that what is stored wins. Must never know what happens afterwards.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from proxy.core.rollout import first_transition, phase_index
from proxy.errors import RevisionConflict
from proxy.model import Transition

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.config.rollout import Rollout
    from proxy.model import RolloutState
    from proxy.ports import Store

log = logging.getLogger("dualpath.control")


async def reconciled(store: Store, plans: Iterable[Rollout], at: float) -> list[RolloutState]:
    """The stored state of every plan, in order, at wall time `at`; what the store lacks is written to it.

    A rollout that is not stored begins as configured. One whose phase is no longer configured keeps its
    weight and has no phase. Stored rollouts that no plan names stay as they are. Raises as the store does.
    """
    stored = await store.load()
    return [await _reconciled(store, plan, stored.get(plan.name), at) for plan in plans]


async def _reconciled(store: Store, plan: Rollout, state: RolloutState | None, at: float) -> RolloutState:
    if state is None:
        return await _committed(store, first_transition(plan, at))
    if state.phase is not None and phase_index(plan, state.phase) is None:
        return await _committed(store, _without_phase(state, at))
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
