"""Files that the store tests start from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def first_version(tmp_path: Path) -> Path:
    """A copy of a file that was written by schema version 1."""
    return Path(shutil.copy(Path(__file__).with_name("schema-1.db"), tmp_path / "dualpath.db"))
