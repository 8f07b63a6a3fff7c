"""`python -m benchmarks.soak`, for some seconds: it passes on the real proxy and says what it has seen."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from tests.e2e.proxy_process import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_short_soak_finds_nothing_wrong(tmp_path: Path) -> None:
    file = tmp_path / "soak.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.soak", "--seconds", "2", "--round-s", "1.5", "--rate", "150"),
        *("--seed", "10", "--json", str(file)),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode == 0, output.decode()
    told: Any = json.loads(file.read_text())
    assert (told["wrong"], told["lost"], told["problems"]) == (0, 0, [])
    assert told["answered"] > 100
    assert told["verdicts"]["right"] > 100
    assert any(event.startswith("kill worker") for event in told["events"])
