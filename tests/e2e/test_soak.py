"""`python -m benchmarks.soak`, for some seconds: it passes on the real proxy and says what it has seen."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.soak.backends import SampleBackend
from tests.e2e.proxy_process import REPOSITORY
from tests.e2e.waiting import eventually

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


async def test_half_an_answer_is_half_an_answer_to_head_too() -> None:
    backend = SampleBackend("v2", random.Random(1))
    await backend.listen()
    try:
        striking = asyncio.create_task(backend.strike("half-body", 1.0, 60.0))
        await eventually(lambda: backend.fault == "half-body")
        reader, writer = await asyncio.open_connection("127.0.0.1", backend.port)
        writer.write(b"HEAD /1/10/sized HTTP/1.1\r\nHost: a\r\n\r\n")
        with pytest.raises(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
        writer.close()
        striking.cancel()
    finally:
        await backend.close()
