"""What an instance of a fleet is to be and to do, second by second: a table over what it has just read.

All instances are equal. One of them holds the lease and judges; the others follow what is stored. Owns the
table, and when the lease is asked for again. Must never know the engine that gives leases, nor how a task is
carried out.

| store          | lease | evidence | role     | task      |
|----------------|-------|----------|----------|-----------|
| does not answer| any   | any      | alone    | none      |
| shorter        | any   | any      | follower | refill    |
| diverged       | any   | any      | follower | reconcile |
| same           | no    | any      | follower | none      |
| same           | ours  | missing  | follower | replay    |
| same           | ours  | there    | judge    | none      |

"Shorter" is a store that has lost what our copy of the audit still has, "diverged" one in which others have
written since. Whoever is alone may only lower what it gives v2. Whoever follows decides nothing; people's
commands are carried out by any.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from proxy.core.peers import Standing


class Role(StrEnum):
    """What an instance may decide."""

    JUDGE = "judge"  # everything, on the evidence of all
    FOLLOWER = "follower"  # nothing
    ALONE = "alone"  # on its own evidence, to the safe side: the others cannot be reached


class Task(StrEnum):
    """What is to be done before anything else."""

    NONE = "none"
    REFILL = "refill"  # give the store back what it has lost
    RECONCILE = "reconcile"  # keep the stored audit, and of each rollout the more careful state
    REPLAY = "replay"  # read the evidence of the last windows


class Duty(NamedTuple):
    """What to be, and what to do."""

    role: Role
    task: Task


_ALONE: Final = Duty(Role.ALONE, Task.NONE)
_AT_ODDS: Final = {
    Standing.SHORTER: Duty(Role.FOLLOWER, Task.REFILL),
    Standing.DIVERGED: Duty(Role.FOLLOWER, Task.RECONCILE),
}
_AGREED: Final = {  # by lease and evidence
    (False, False): Duty(Role.FOLLOWER, Task.NONE),
    (False, True): Duty(Role.FOLLOWER, Task.NONE),
    (True, False): Duty(Role.FOLLOWER, Task.REPLAY),
    (True, True): Duty(Role.JUDGE, Task.NONE),
}


def duty(standing: Standing | None, *, lease: bool, evidence: bool) -> Duty:
    """The row of the table; `standing` is None while the store does not answer."""
    if standing is None:
        return _ALONE
    return _AT_ODDS.get(standing) or _AGREED[lease, evidence]


def next_try_s(interval_s: float, left_s: float | None, chance: float) -> float:
    """When to ask again: at the usual pace, or just after somebody else's lease ends, whichever comes first.

    `chance`, 0..1, spreads those who all wait for the same end.
    """
    spread_s = interval_s * 0.1 * chance
    if left_s is None:
        return interval_s + spread_s
    return max(min(interval_s, left_s), interval_s * 0.05) + spread_s
