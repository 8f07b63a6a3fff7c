"""One fleet lasts for a whole module, although a test may start an instance of it anew."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def none_left_behind() -> None:
    """The module's fixture ends them all, by their marks."""
