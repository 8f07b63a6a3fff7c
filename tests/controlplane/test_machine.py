"""How busy this machine is, and our own processes: who asks, what is looked at, how long it counts."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from proxy.config.schema import Config
from proxy.controlplane.machine import Looking, MachineWatch, asks_system, usable_cores, usable_memory
from proxy.core.gauges import UNKNOWN, SystemReport
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from pathlib import Path

GUARD = {"metric": "process_memory", "above": 0.8}
RULE = {"name": "busy", "metric": "host_cpu", "above": 0.9}


def config(*, rules: Any = (), **rollout: Any) -> Config:
    backends = {path: {"endpoints": [f"http://127.0.0.1:900{path[1]}"]} for path in ("v1", "v2")}
    alerts = {"rules": list(rules)}
    return Config.read({"backends": backends, "alerts": alerts, "rollouts": [{"name": "default", **rollout}]})


def test_it_is_looked_only_where_somebody_asks() -> None:
    phase = {"name": "canary", "percentage": 1}
    assert not asks_system(config())
    assert not asks_system(config(guards=[{"metric": "cpu", "above": 0.9}], phases=[phase]))
    assert asks_system(config(guards=[GUARD]))
    assert asks_system(config(phases=[{**phase, "abort_if": [GUARD]}]))
    assert asks_system(config(rules=[RULE]))


async def test_what_was_seen_counts_for_a_while_and_no_longer_than_it_is_asked_for() -> None:
    clock = FakeClock()
    looks: list[SystemReport | Exception] = [SystemReport(0.5, 0.25, 0.1, 0.05), ValueError("nothing to see")]
    seen, waited = asyncio.Event(), asyncio.Event()

    def look() -> SystemReport:
        found = looks.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async def pause(_: float) -> None:
        (waited if seen.is_set() else seen).set()
        if not looks:
            await asyncio.Event().wait()

    watch = MachineWatch(clock, look=look, pause=pause)
    watch.follow(config())
    assert watch.system() == UNKNOWN
    watch.follow(config(rules=[RULE]))
    watch.follow(config(rules=[RULE]))
    await asyncio.wait_for(waited.wait(), 5)
    assert watch.system().host_cpu == 0.5
    clock.advance(6.0)
    assert watch.system() == UNKNOWN
    clock.advance(-6.0)
    watch.follow(config())
    assert watch.system() == UNKNOWN
    assert repr(watch).startswith("MachineWatch(idle")
    await watch.close()


def test_our_own_processes_are_counted_with_those_that_they_have_started() -> None:
    clock = FakeClock()
    looking = Looking(clock)
    first = looking()
    assert first.process_cpu is None
    burn = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\ninput()"
    with subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE) as child:
        until = time.monotonic() + 60
        while sum(psutil.Process(child.pid).cpu_times()[:2]) < 0.2 and time.monotonic() < until:
            time.sleep(0.01)
        clock.advance(1.0)
        second = looking()
        child.communicate(b"\n")
    assert second.process_cpu is not None
    assert 0.2 / usable_cores() <= second.process_cpu <= 1.0
    assert second.process_memory is not None
    assert psutil.Process().memory_info().rss / usable_memory() < second.process_memory < 1.0
    assert second.host_memory is not None


@pytest.mark.parametrize(
    ("quota", "cores"), [("150000 100000", 1.5), ("50000 100000", 0.5), ("max 100000", None), ("", None)]
)
def test_cores_are_those_of_the_container(tmp_path: Path, quota: str, cores: float | None) -> None:
    every = usable_cores(tmp_path)
    assert every >= 1.0
    (tmp_path / "cpu.max").write_text(quota)
    assert usable_cores(tmp_path) == min(every, cores or every)


@pytest.mark.parametrize(("limit", "expected"), [("1048576", 1 << 20), ("max", None), ("0", None)])
def test_memory_is_that_of_the_container(tmp_path: Path, limit: str, expected: int | None) -> None:
    (tmp_path / "memory.max").write_text(limit)
    assert usable_memory(tmp_path) == (expected or psutil.virtual_memory().total)
