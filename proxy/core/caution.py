"""Which of two states is the more careful one: the order that decides wherever two processes disagree.

Owns the order, and what a move to the safe side is. Less weight is more careful than any state; at the same
weight a halt is more careful than going on, and the firmer, the more. Must never know who disagrees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.model import State

if TYPE_CHECKING:
    from proxy.model import RolloutState

HELD: Final = frozenset({State.PAUSED, State.ROLLED_BACK, State.ABORTED})
"""States that at the same weight are the safer ones."""

_CAREFUL_LAST: Final = (
    State.RUNNING,  # the judge may raise it
    State.COMPLETED,
    State.DISABLED,
    State.PAUSED,
    State.ROLLED_BACK,  # suspends what people have sent to v2
    State.ABORTED,
)
_RANK: Final = {state: rank for rank, state in enumerate(_CAREFUL_LAST)}


def tightens(before: RolloutState, after: RolloutState) -> bool:
    """Whether the move is to the safe side and need not wait for the store: less for v2, or a halt."""
    if after.weight != before.weight:
        return after.weight < before.weight
    return after.state in HELD


def is_more_careful(one: RolloutState, other: RolloutState) -> bool:
    """Whether `one` gives v2 less than `other`, or as much and is held more firmly. Never both ways round."""
    return (one.weight, -_RANK[one.state]) < (other.weight, -_RANK[other.state])
