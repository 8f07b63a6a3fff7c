"""`dualpath demo` as a person runs it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from dataclasses import dataclass

import psutil
import pytest
import pytest_asyncio

from proxy.demo.faults import Fault
from tests.e2e.raw_client import LIMIT_S

DEMO = (sys.executable, "-m", "proxy", "demo")


@dataclass(frozen=True, slots=True)
class Ended:
    """A demo that has run to its end."""

    code: int
    lines: list[str]
    complaints: str

    def line(self, start: str) -> str:
        """The first line that starts so, empty without one."""
        return next((line for line in self.lines if line.startswith(start)), "")


async def _run(fault: Fault) -> Ended:
    pipe = asyncio.subprocess.PIPE
    arguments = ("--seconds", "9", "--rate", "40", "--fault", fault)
    process = await asyncio.create_subprocess_exec(*DEMO, *arguments, stdout=pipe, stderr=pipe)
    out, err = await asyncio.wait_for(process.communicate(), 3 * LIMIT_S)  # twenty processes at once
    return Ended(process.returncode or 0, out.decode().splitlines(), err.decode())


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def ended() -> dict[Fault, Ended]:
    """One demo per fault, all at the same time: only one of them gets the usual ports."""
    return dict(zip(Fault, await asyncio.gather(*map(_run, Fault)), strict=True))


@pytest.mark.parametrize("fault", Fault)
async def test_it_ends_well_and_prints_plain_lines(ended: dict[Fault, Ended], fault: Fault) -> None:
    demo = ended[fault]
    assert (demo.code, demo.complaints) == (0, ""), "\n".join(demo.lines)
    assert demo.line("clients  ").endswith(" answers, 0 failed")
    assert all(line.isprintable() for line in demo.lines)


@pytest.mark.parametrize("fault", [Fault.ERRORS, Fault.HANG, Fault.FLAKY, Fault.SLOW])
async def test_a_failing_v2_is_rolled_back(ended: dict[Fault, Ended], fault: Fault) -> None:
    demo = ended[fault]
    assert f"v2 failed ({fault}), was rolled back by itself, and no client saw a failure." in demo.lines
    assert re.match(r"fault      \w+ on v2 after [3-9]\.", demo.line(f"fault      {fault} on v2"))
    assert demo.line("rollback   ")
    assert any("rolled back at 0 %" in line for line in demo.lines)


@pytest.mark.parametrize("fault", [Fault.ERRORS, Fault.HANG, Fault.FLAKY])
async def test_v1_stands_in_where_v2_fails(ended: dict[Fault, Ended], fault: Fault) -> None:
    assert ended[fault].line("fallback   first ")


async def test_slowness_is_seen_by_the_latency_guard(ended: dict[Fault, Ended]) -> None:
    assert any("guard latency_p95 above 0.3" in line for line in ended[Fault.SLOW].lines)


async def test_a_sound_v2_stays(ended: dict[Fault, Ended]) -> None:
    demo = ended[Fault.NONE]
    assert "v2 did well, nothing was rolled back, and no client saw a failure." in demo.lines
    assert not any("rolled back at" in line for line in demo.lines)


@pytest.mark.parametrize(
    ("arguments", "until", "code"),
    [
        (("--seconds", "30"), "event ", 130),
        (("--seconds", "6", "--fault", "none", "--stay"), "Everything stays up until Ctrl-C", 0),
    ],
)
async def test_ctrl_c_ends_it_and_everything_it_started(
    arguments: tuple[str, ...], until: str, code: int
) -> None:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*DEMO, *arguments, stdout=pipe, stderr=pipe)
    assert process.stdout
    async with asyncio.timeout(LIMIT_S):
        while until.encode() not in await process.stdout.readline():
            assert process.returncode is None
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) == 2
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert (process.returncode, err.decode()) == (code, "")
    assert not any(child.is_running() for child in children)


async def test_killed_it_leaves_no_backend_behind() -> None:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*DEMO, "--seconds", "30", stdout=pipe, stderr=pipe)
    assert process.stdout
    async with asyncio.timeout(LIMIT_S):
        await process.stdout.readline()
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    await process.communicate()
    _, alive = await asyncio.to_thread(psutil.wait_procs, children, timeout=LIMIT_S)
    assert alive == []
