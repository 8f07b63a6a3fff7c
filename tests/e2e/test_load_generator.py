"""`python -m benchmarks.load` against the real proxy: what it says is what the backends saw."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import answers
from tests.e2e.proxy_process import REPOSITORY, ProxyProcess, Table
from tests.e2e.raw_client import LIMIT_S
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.raw_backend import RawBackend


@pytest.fixture(scope="module")
def settings() -> dict[str, Table]:
    return {"rollout": {"percentage": 30}, "listen": {"expose_path": True}}


async def started(proxy: ProxyProcess, *options: str) -> asyncio.subprocess.Process:
    url = f"http://{proxy.listen[0]}:{proxy.listen[1]}/"
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.load",
        url,
        *options,
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def finished(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    output, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
    return process.returncode, output.decode()


async def test_the_figures_are_what_the_backends_saw(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    file = tmp_path / "load.json"
    options = ("--rate", "150", "--duration", "1s", "--mix", "GET:80,POST:20", "--json", str(file))
    code, output = await finished(await started(proxy, *options, "--fail-above", "0"))
    assert code == 0, output
    told: Any = json.loads(file.read_text())
    assert (told["sent"], told["counted"], told["failed"]) == (150, 150, 0)
    assert told["paths"]["v1"]["requests"] == v1.count()
    assert told["paths"]["v2"]["requests"] == v2.count() > 0
    assert {one.method for one in v1.received} == {"GET", "POST"}
    assert "150 sent in 1.0 s" in output


async def test_failures_cross_the_limit_and_the_exit_code_says_so(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    v1.answer = v2.answer = answers.status("503 Service Unavailable")
    options = ("--rate", "50", "--duration", "1s", "--fail-above", "0.5")
    code, output = await finished(await started(proxy, *options))
    assert code == 1, output
    assert "50 failed (100.00%)" in output


async def test_an_interrupt_prints_what_was_measured(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    process = await started(proxy, "--rate", "100", "--duration", "60s")

    async def under_way() -> bool:
        return v1.count() + v2.count() > 20

    await eventually(under_way)
    process.send_signal(signal.SIGINT)
    code, output = await finished(process)
    assert code == 0, output
    assert "ended early" in output
    assert "p99" in output
