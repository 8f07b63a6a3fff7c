"""From what speaks for and against v2 to one verdict: the order of precedence, as a table.

Owns which of several findings decides, and what is done. Must never know how something was found.

Hard limits go first, because somebody has written them down; then what v2 does worse than v1; then a phase
that has lasted too long. Short of these, whatever is not known to be good holds: a limit that is crossed but
not yet for long enough, a criterion that is not met, no data. Only when nothing fails and nothing holds does
a phase pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from proxy.judgment import Action, Verdict
from proxy.model import State

if TYPE_CHECKING:
    from collections.abc import Sequence


class Ground(IntEnum):
    """What a finding stands on, the strongest first."""

    LIMIT = 0
    REGRESSION = 1
    OVERDUE = 2
    WAITING = 3
    PASSED = 4


PRECEDENCE: Final = (
    (Ground.LIMIT, Verdict.FAIL),
    (Ground.REGRESSION, Verdict.FAIL),
    (Ground.OVERDUE, Verdict.FAIL),
    (Ground.WAITING, Verdict.HOLD),
    (Ground.PASSED, Verdict.PASS),
)
"""The first ground on which anything was found gives the verdict."""

SEVERITY: Final = (Action.ABORT, Action.ROLLBACK, Action.PREVIOUS, Action.STEP_DOWN, Action.PAUSE)
"""Of several failures on one ground, the first action is taken; among equal ones the largest step."""

WATCHED: Final = frozenset({State.RUNNING, State.PAUSED, State.ROLLED_BACK, State.COMPLETED})
"""States in which v2 may have traffic, and guards are read when it has."""

COMPARED: Final = frozenset({State.RUNNING, State.PAUSED, State.COMPLETED})
"""States in which v2 is compared with v1, where there is a plan."""

PAUSABLE: Final = frozenset({State.RUNNING, State.COMPLETED})
"""States in which a pause changes anything. Elsewhere it must not stand before a severer action."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that speaks for a verdict: its reason, and on a failure what is done."""

    ground: Ground
    reason: str
    cause: str = ""
    action: Action | None = None
    step: int = 0


def decided(findings: Sequence[Finding]) -> tuple[Verdict, list[Finding]]:
    """The verdict, and the findings that make it, the decisive one first."""
    ground = min(finding.ground for finding in findings)
    verdict = PRECEDENCE[ground][1]
    alike = [finding for finding in findings if PRECEDENCE[finding.ground][1] is verdict]
    return verdict, sorted(alike, key=_rank)


def severity(action: Action | None) -> int:
    """Position of the action in `SEVERITY`; beyond it for what moves nothing."""
    return SEVERITY.index(action) if action in SEVERITY else len(SEVERITY)


def _rank(finding: Finding) -> tuple[int, int, int]:
    return finding.ground, severity(finding.action), -finding.step
