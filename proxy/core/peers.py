"""The words of a fleet: what equal instances tell one another through the store that they share.

Owns the values, and the rule which transitions only the one judge may write. Must never know how anything
travels, nor what a report holds.

All times are the store's clock, never an instance's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from proxy.core.audit import NOTHING_FORGOTTEN
from proxy.core.rollout import CONTROLLER
from proxy.model import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from proxy.core.audit import Begin, Head, Record
    from proxy.model import KeyOverride, RolloutState, Transition

_HELD = frozenset({State.PAUSED, State.ROLLED_BACK, State.ABORTED})


@dataclass(frozen=True, slots=True)
class Identity:
    """One process of the fleet. `epoch` is drawn anew at every start, so that nobody is taken for the process
    before of the same name."""

    instance: str
    epoch: str


@dataclass(frozen=True, slots=True)
class Lease:
    """Who judges for all. `token` grows with every holder; it fences off the writes of earlier ones."""

    holder: Identity
    token: int
    remaining_s: float = 0.0  # at the moment of reading


@dataclass(frozen=True, slots=True)
class Presence:
    """What an instance tells in one exchange: a record of itself, and its reports with their numbers."""

    record: bytes
    reports: tuple[tuple[int, bytes], ...] = ()
    stands: bool = True  # takes the lease if nobody has it, and renews its own
    lease_s: float = 2.0
    member_s: float = 5.0  # how long it counts as present without a further exchange
    window_s: float = 600.0  # reports that are older may be forgotten


@dataclass(frozen=True, slots=True)
class Exchange:
    """What an instance learns in one exchange."""

    now: float  # seconds since the Unix epoch, by the store's clock
    head: Head  # where the audit ends
    lease: Lease | None  # None if nobody judges


@dataclass(frozen=True, slots=True)
class Member:
    """An instance as it last told of itself."""

    identity: Identity
    seen_at: float
    record: bytes


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A report of an instance, as the store has taken it. `id` names its place among all reports."""

    id: str
    at: float
    identity: Identity
    number: int
    report: bytes


class Journalled(NamedTuple):
    """Entries of the judge's journal as they were kept, each with the second at which it ends, and behind the
    last who had told what. Empty is what cannot be unpacked."""

    entries: Sequence[tuple[int, bytes]]
    heard: bytes = b""


class Standing(StrEnum):
    """How the shared chain and an instance's copy of it relate."""

    SAME = "same"  # the copy holds what the store holds, perhaps only since a moment ago
    SHORTER = "shorter"  # the store has lost its newest events, or all; the copy can refill it
    DIVERGED = "diverged"  # the store has lost events of the copy, and others were written in their place


@dataclass(frozen=True, slots=True)
class Kept:
    """State and audit's end, as of one moment."""

    head: Head
    states: Mapping[str, RolloutState]
    overrides: tuple[KeyOverride, ...] = ()
    begin: Begin = NOTHING_FORGOTTEN


@dataclass(frozen=True, slots=True)
class Followed:
    """What came of following. `lost` are the copy's events that the store does not have, oldest first and at
    most a few; `lost_count` is how many there are."""

    standing: Standing
    shared: Kept
    own: Kept
    lost: tuple[Record, ...] = ()
    lost_count: int = 0
    left: int = 0  # events that the copy does not have yet, because following takes a few at a time


def needs_fence(transition: Transition) -> bool:
    """Whether only the present judge may write this: what it decides by itself, unless it is to the safe
    side. People command from any instance, and any may go down."""
    before, after = transition.before, transition.after
    if transition.actor != CONTROLLER or not transition.changes_state:
        return False
    if after.weight != before.weight:
        return after.weight > before.weight
    return after.state not in _HELD
