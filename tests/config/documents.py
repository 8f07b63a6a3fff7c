"""Configuration texts for the tests: the smallest one, and that with something added."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.config.loading import parse
from proxy.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.config.faults import Problem

BACKENDS = """
[backends.v1]
endpoints = ["http://127.0.0.1:9001"]
[backends.v2]
endpoints = ["http://127.0.0.1:9002"]
"""
ROLLOUT = BACKENDS + '[[rollouts]]\nname = "default"\n'
GUARD = ROLLOUT + "[[rollouts.guards]]\n"
PHASES = (
    ROLLOUT
    + """
[[rollouts.phases]]
name = "canary"
percentage = 1
[[rollouts.phases]]
name = "half"
percentage = 50
"""
)


def problems(text: str, environ: Mapping[str, str] | None = None) -> list[Problem]:
    """The problems of a text that must have some."""
    with pytest.raises(ConfigError) as raised:
        parse(text, environ or {})
    return raised.value.problems
