"""Settings for the whole suite."""

import gc
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
UNCOUNTED = ("benchmarks", "fuzz", "plans", "simulation/test_cases.py")
"""Tests that run the same lines over and over. Counting lines makes them take three times as long."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lines are counted by examples, but neither by the hundreds of a property nor by long courses."""
    for item in items:
        place = item.path.relative_to(TESTS).as_posix()
        if place.startswith(UNCOUNTED) or is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.no_cover)


def pytest_collection_finish() -> None:
    """What has been collected stays: looking at it again and again, for up to a second at a time, would have
    whoever talks to this process wait."""
    gc.collect()
    gc.freeze()
