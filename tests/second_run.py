"""Runs tests of whole processes that failed beside others once more, alone: `python -m tests.second_run`.

They start servers, kill them and count what clients saw, on two cores that others use as well: a process may
stand still for seconds in the midst of it. What such a test finds it finds alone, too: one that fails again
fails. Nothing else gets a second run: no test of plain code, not more than a few, nothing that could not be
collected. What needed one is named, for it is to be mended.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

REPOSITORY: Final = Path(__file__).parents[1]
FAILED: Final = REPOSITORY / ".pytest_cache/v/cache/lastfailed"
WHOLE_PROCESSES: Final = ("tests/e2e/", "tests/stores/")
AT_MOST: Final = 3


def once_more(failed: Iterable[str]) -> list[str]:
    """Which of these tests to run again, by their pytest names: all of them or none."""
    tests = sorted(failed)
    named = all(one.startswith(WHOLE_PROCESSES) and "::" in one for one in tests)
    return tests if named and len(tests) <= AT_MOST else []


def main() -> int:
    """As pytest's exit code: 0 if all that had failed pass now."""
    tests = once_more(json.loads(FAILED.read_text())) if FAILED.exists() else []
    if not tests:
        return 1
    print("Run once more, alone:", *tests, sep="\n  ", flush=True)
    command = [sys.executable, "-m", "pytest", "-n0", "--cov", "--cov-append", "--cov-report="]
    done = subprocess.run([*command, *tests], cwd=REPOSITORY, check=False)
    if done.returncode == 0:
        print("Failed beside others and passed alone; to be mended:", *tests, sep="\n  ", flush=True)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
