"""Settings for the whole suite."""

import gc
import os
import signal
from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test, settings

# A deadline per example measures the machine, not the code, and fails at random on a busy one. A change is
# judged by the same examples every time; looking for new ones is what `make fuzz` is for.
settings.register_profile("dualpath", deadline=None, derandomize=True)
settings.load_profile("dualpath")

# A shell has what it runs in the background ignore SIGINT, and all that is started from there inherits it:
# those who wait to be interrupted would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

TESTS = Path(__file__).parent
UNCOUNTED = ("benchmarks/", "fuzz/", "plans/", "simulation/test_cases.py", "simulation/test_docs.py")
"""Tests that run the same lines over and over. Counting lines makes them take three times as long."""

COUNTED = ("core/test_bets.py", "core/test_e_process.py")
"""Arithmetic that properties alone go through."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of whole processes come first: they take long, and wait for much of it. And lines are counted by
    examples: not by the hundreds of a property, nor by long courses, nor where another process runs them."""
    items.sort(key=lambda item: not _place(item).startswith("e2e/"))
    for item in items:
        if (
            _place(item).startswith(UNCOUNTED)
            or (is_hypothesis_test(getattr(item, "obj", None)) and not _place(item).startswith(COUNTED))
            or "proxy" in getattr(item, "fixturenames", ())
        ):
            item.add_marker(pytest.mark.no_cover)


def _place(item: pytest.Item) -> str:
    return item.path.relative_to(TESTS).as_posix()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, for those who wait leave theirs to others."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """What has been collected stays: looking at it again and again, for up to a second at a time, would have
    whoever talks to this process wait."""
    gc.collect()
    gc.freeze()
