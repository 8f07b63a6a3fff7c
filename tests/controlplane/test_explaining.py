"""An explanation names the override that won, with who set it and until when, and no other."""

from __future__ import annotations

import pytest

from proxy.model import KeyOverride, Path
from tests.controlplane.rig import Rig


@pytest.mark.parametrize(
    ("rule", "key", "rollout", "told"),
    [
        ("override v1", "ada", "default", True),
        ("deny v2", "ada", "default", False),  # another rule won
        ("override v1", "bob", "default", False),  # by the header, not by an override of the key
        ("override v1", None, "default", False),
        ("override v1", "ada", None, False),
    ],
)
async def test_an_explanation_has_the_override_that_won(
    rule: str, key: str | None, rollout: str | None, *, told: bool
) -> None:
    rig = await Rig.opened({"percentage": 30})
    now = rig.clock.wall()
    override = KeyOverride("default", "ada", Path.V1, "tess", now, now + 60, "ticket 7")
    await rig.controller.override(override)
    rig.router.rule = rule
    said = rig.controller.explain(key=key, host="", path="/", method="GET", rollout=rollout)
    assert said.override == (override if told else None)
    assert said.rule == rule
