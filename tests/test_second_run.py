"""What gets a second run, and what does not."""

from __future__ import annotations

import pytest

from tests.second_run import AT_MOST, once_more

FEW = [f"tests/e2e/test_x.py::test_{n}" for n in range(AT_MOST)]


@pytest.mark.parametrize(
    ("failed", "again"),
    [
        (FEW, FEW),
        (["tests/stores/test_r.py::test_a[b]"], ["tests/stores/test_r.py::test_a[b]"]),
        ([*FEW, "tests/stores/test_r.py::test_a"], []),
        ([FEW[0], "tests/core/test_judge.py::test_a"], []),
        (["tests/e2e/test_x.py"], []),
        ([], []),
    ],
)
def test_a_few_of_whole_processes_or_nothing(failed: list[str], again: list[str]) -> None:
    assert once_more(failed) == again
