"""A soak of the real proxy: `python -m benchmarks.soak [--seconds 600] [--workers 2] [--seed N]`.

Traffic of every manner flows in rounds while backends fail, weights change, the file is reloaded, workers are
killed and the process is restarted, all drawn from a seed that is printed. After each round everything is
answered, and the proxy's counters are compared with what was sent; memory and descriptors are looked at.
Kills and restarts end after 60 % of the time, so that the last processes live long enough to be judged.

Exits with 1 if one answer was wrong, one request lost, one counter off, or one process grew.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import aiohttp
import psutil
import typer
import uvloop

from benchmarks import own
from benchmarks.digits import rounded
from benchmarks.machine import machine
from benchmarks.processes import end_on_sigterm, free_port, started
from benchmarks.soak.accounts import UNKNOWN, Figures, disagreements, figures, missing_at_most
from benchmarks.soak.backends import SampleBackend
from benchmarks.soak.configuration import Configuration
from benchmarks.soak.events import Events
from benchmarks.soak.proxy_line import ProxyLine
from benchmarks.soak.report import Report, show
from benchmarks.soak.traffic import LOST_WITH_WORKER, Traffic
from benchmarks.soak.vitals import Vitals

ROUND_S = 6.0
KILLS_END_AT = 0.6
_BAD_WORDS = ("Traceback", "Unhandled", "never", "CRITICAL", "understood")
_ENDS_IT = (RuntimeError, OSError, TimeoutError, aiohttp.ClientError, psutil.Error)
"""What comes of a proxy that is gone, or does not answer its people."""


def main(
    seconds: Annotated[float, typer.Option(min=2, max=86_400)] = 600.0,
    workers: Annotated[int, typer.Option(min=1, max=16)] = 2,
    rate: Annotated[int, typer.Option(min=10, max=5000, help="Requests a second.")] = 250,
    seed: Annotated[int | None, typer.Option(help="Of an earlier run; else a new one.")] = None,
    round_s: Annotated[float, typer.Option(min=1, max=60, help="Seconds of a round.")] = ROUND_S,
    python: Annotated[Path | None, typer.Option(help="Whose dualpath; this tree if absent.")] = None,
    file: Annotated[Path, typer.Option("--json", help="What was found, as JSON.")] = Path("build/soak.json"),
) -> None:
    """Soaks, and says what was wrong."""
    end_on_sigterm()
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    print(f"seed {seed}", flush=True)
    python = (python or Path(sys.executable)).absolute()
    options = {"seconds": seconds, "workers": workers, "rate": rate, "seed": seed, "round_s": round_s}
    with tempfile.TemporaryDirectory(prefix="dualpath-soak-") as scratch:
        report = uvloop.run(_soak(Path(scratch), python, options))
    show(report)
    file.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine(), "version": own.version_of(python), "options": options, **asdict(report)}
    file.write_text(json.dumps(rounded(document), indent=1) + "\n")
    raise typer.Exit(1 if report.problems else 0)


class Soak:
    """One run: the proxy, what stands behind it, and the rounds."""

    def __init__(
        self, configuration: Configuration, traffic: Traffic, events: Events, line: ProxyLine, workers: int
    ) -> None:
        self._admin = configuration.admin
        self._traffic = traffic
        self._events = events
        self._line = line
        self._workers = workers
        self._vitals = Vitals()

    def __repr__(self) -> str:
        return f"<Soak of {self._line}, {self._traffic}>"

    async def run(self, seconds: float, round_s: float) -> int:
        """All rounds; how many there were."""
        began = time.monotonic()
        rounds = 0
        while time.monotonic() < began + seconds:
            rounds += 1
            passed = (time.monotonic() - began) / seconds
            kinds = self._events.draw(3, kills=passed < KILLS_END_AT, workers=self._workers)
            try:
                await self._round(round_s, kinds)
            except _ENDS_IT as error:
                self._traffic.problems.append(f"ended early, at {', '.join(kinds)}: {error!r}")
                break
            self._vitals.sample(time.monotonic() - began, self._line.tree())
            print(
                f"{time.monotonic() - began:6.0f} s  {self._traffic.counted:8,} answered"
                f"  {len(self._traffic.problems)} problems  {', '.join(self._events.done[-len(kinds) :])}",
                flush=True,
            )
        return rounds

    async def _round(self, round_s: float, kinds: list[str]) -> None:
        traffic, events = self._traffic, self._events
        before, sent = await figures(self._admin), traffic.sent
        lost, generation = traffic.verdicts[LOST_WITH_WORKER], self._line.generation
        events.killed_at.clear()
        ended = asyncio.Event()
        flowing = asyncio.create_task(traffic.run(ended))
        end = time.monotonic() + round_s
        try:
            for kind in kinds:
                await events.carry_out(kind)
            await asyncio.sleep(max(0.0, end - time.monotonic()))
        finally:
            ended.set()
            await flowing
        counted = await figures(self._admin)
        taken = traffic.verdicts[LOST_WITH_WORKER] - lost
        missing = missing_at_most(traffic.answered_at, events.killed_at, taken)
        if self._line.generation != generation:
            before, missing = Figures(), UNKNOWN
        traffic.problems += disagreements(counted.since(before), traffic.sent.since(sent), missing, taken)

    def found(self, rounds: int, log: str) -> Report:
        """What has come of it; `log` is what the proxy has said."""
        traffic, growths = self._traffic, self._vitals.judged()
        problems = list(traffic.problems)
        problems += [f"a process grew: {growth}" for growth in growths if growth.leaks]
        problems += [
            f"the log has {line}" for line in log.splitlines() if any(word in line for word in _BAD_WORDS)
        ]
        if strangers := sum(backend.strangers for backend in traffic.backends):
            problems.append(f"{strangers} requests reached a backend that nobody has sent")
        return Report(
            rounds=rounds,
            answered=traffic.counted,
            wrong=traffic.wrong,
            lost=traffic.lost,
            verdicts=dict(traffic.verdicts),
            manners=dict(traffic.manners),
            paths=dict(traffic.paths),
            events=self._events.done,
            growths=growths,
            problems=problems,
        )


async def _soak(scratch: Path, python: Path, options: dict[str, float]) -> Report:
    rng = random.Random(options["seed"])
    chance = random.Random(rng.random())  # of the events alone, so that a seed tells them
    backends = [SampleBackend(version, random.Random(rng.random())) for version in ("v1", "v2")]
    for backend in backends:
        await backend.listen()
    workers = int(options["workers"])
    ports = free_port(), free_port()
    configuration = Configuration(scratch, workers, ports, (backends[0].port, backends[1].port))
    configuration.write()
    launch = own.serve(python, configuration.file)
    everywhere = os.sched_getaffinity(0)
    with started("dualpath", launch.command, scratch, everywhere, launch.environment) as child:
        await asyncio.to_thread(child.wait_ready, configuration.admin, "/readyz")
        line = ProxyLine(child.tree()[0])
        traffic = Traffic(configuration.listen, backends, rng, options["rate"])
        soak = Soak(configuration, traffic, Events(configuration, line, traffic, chance), line, workers)
        try:
            rounds = await soak.run(options["seconds"], options["round_s"])
        finally:
            if killed := line.end():
                traffic.problems.append(f"{killed} processes did not end by themselves")
        log = child.log.read_text(errors="replace")
    for backend in backends:
        await backend.close()
    return soak.found(rounds, log)


if __name__ == "__main__":
    typer.run(main)
