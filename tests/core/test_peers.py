"""What only the judge of a fleet may write."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.core.peers import needs_fence
from proxy.core.rollout import CONTROLLER
from proxy.model import RolloutState, State, Transition

BEFORE = RolloutState("default", State.RUNNING, 500, "canary", 3)


def moved(actor: str = CONTROLLER, revision: int = 4, **fields: object) -> Transition:
    after = replace(BEFORE, revision=revision, **fields)  # type: ignore[arg-type]
    return Transition(BEFORE, after, "cause", "reason", actor, 1.0)


@pytest.mark.parametrize(
    "transition",
    [
        moved(weight=501),
        moved(weight=501, state=State.PAUSED),
        moved(phase="half"),
        moved(state=State.COMPLETED),
        moved(retries=1),
    ],
)
def test_what_a_judge_decides_by_itself_needs_the_fence(transition: Transition) -> None:
    assert needs_fence(transition)
    assert not needs_fence(replace(transition, actor="tess")), "people command from any instance"


@pytest.mark.parametrize(
    "transition",
    [
        moved(weight=499),
        moved(weight=0, state=State.ROLLED_BACK),
        moved(state=State.PAUSED),
        moved(state=State.ABORTED),
        moved(state=State.ROLLED_BACK),
        moved(revision=3),
    ],
)
def test_any_instance_may_go_to_the_safe_side_and_record_what_changes_nothing(transition: Transition) -> None:
    assert not needs_fence(transition)
