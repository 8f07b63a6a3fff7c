from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.config.loading import parse
from proxy.config.workers import resolved, usable_cores
from tests.config.documents import BACKENDS

if TYPE_CHECKING:
    from pathlib import Path


def test_a_number_is_that_number() -> None:
    assert resolved(parse("[listen]\nworkers = 3\n" + BACKENDS, {}).listen.workers) == 3


def test_auto_is_at_least_one_and_comes_from_the_environment_too() -> None:
    config = parse(BACKENDS, {"DUALPATH__LISTEN__WORKERS": "auto"})
    assert resolved(config.listen.workers) == usable_cores() >= 1


@pytest.mark.parametrize(("content", "cores"), [("50000 100000\n", 1), ("100000 100000\n", 1)])
def test_a_quota_bounds_it(tmp_path: Path, content: str, cores: int) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(content)
    assert usable_cores(file) == cores


@pytest.mark.parametrize("content", ["max 100000\n", "", "10 0\n", "junk", "0 100000"])
def test_what_is_no_quota_bounds_nothing_below_one(tmp_path: Path, content: str) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(content)
    assert usable_cores(file) >= 1
    file.unlink()
    assert usable_cores(file) >= 1
