"""All that metrics say of this instance, gathered when somebody asks.

Owns where each value comes from. Workers are not asked: what they last reported is here, and the system tells
the rest about their processes. Gathering takes a moment of the event loop; looking at processes and writing
text takes longer, and a thread does it.
"""

from __future__ import annotations

import asyncio
import os
import platform
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil

from proxy import __version__
from proxy.errors import UnknownRollout
from proxy.model import Path
from proxy.telemetry.exposition import exposition, prefers_openmetrics
from proxy.telemetry.readings import ProcessReading, Readings, copied
from proxy.traffic import HERE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.admin.application import Surroundings
    from proxy.steering import Steering
    from proxy.traffic import Traffic


class Scraping:
    """Reads one instance: what carries the requests, and what decides."""

    def __init__(self, steering: Steering, traffic: Traffic, around: Surroundings) -> None:
        self._steering = steering
        self._traffic = traffic
        self._around = around
        self._writing: dict[bool, asyncio.Task[tuple[bytes, str]]] = {}

    def __repr__(self) -> str:
        return f"<Scraping {self._traffic}>"

    def look(self) -> None:
        """Have the rollouts brought up to date without waiting for the next tick: it is the last time."""
        self._steering.controller.look()

    async def text(self, accept: str) -> tuple[bytes, str]:
        """As Prometheus scrapes it: text and media type for this Accept field. Whoever asks while it is being
        written for another one gets the same, so that many scrapers cost no more than one."""
        form = prefers_openmetrics(accept)
        writing = self._writing.get(form)
        if writing is None:
            writing = self._writing[form] = asyncio.create_task(self._write(accept), name="metrics text")
            writing.add_done_callback(lambda _: self._writing.pop(form, None))
        return await asyncio.shield(writing)

    async def _write(self, accept: str) -> tuple[bytes, str]:
        return await asyncio.to_thread(_written, await self.readings(), self.pids(), accept)

    async def readings(self) -> Readings:
        """Everything but what the system tells of processes."""
        traffic, controller = self._traffic, self._steering.controller
        endpoints = tuple(traffic.endpoints.statuses())
        reports = []
        for plan in self._steering.config.rollouts:
            await asyncio.sleep(0)  # fifty rollouts take as long as some hundred requests
            with suppress(UnknownRollout):  # a reload has removed it meanwhile
                reports.append(controller.report_with(plan.name, endpoints))
        loaded, plans = self._around.loaded(), self._steering.config.rollouts
        return Readings(
            reports=reports,
            phases={plan.name: [phase.name for phase in plan.phases] for plan in plans},
            endpoints=endpoints,
            available={path: traffic.endpoints.health(path) for path in Path},
            processes={name: ProcessReading(load) for name, (_, load) in traffic.processes.items()},
            workers=traffic.workers_alive,
            refused=traffic.refused,
            tunnels=traffic.tunnels,
            store_waiting=controller.waiting,
            fleet=self._steering.fleet_report(),
            loaded_at=loaded.at,
            loaded_well=loaded.error is None,
            version=__version__,
            python=platform.python_version(),
            telemetry=traffic.telemetry.counts,
            histograms=copied(traffic.measured),
        )

    def pids(self) -> Mapping[str, int]:
        """All processes of this instance, by name."""
        return {HERE: os.getpid()} | {name: pid for name, (pid, _) in self._traffic.processes.items()}


def looked_at(readings: Readings, pids: Mapping[str, int]) -> Readings:
    """With what the system tells of these processes; of one that has just ended, nothing. For a thread."""
    processes = dict(readings.processes)
    for name, pid in pids.items():
        process = processes.get(name, ProcessReading())
        try:
            system = psutil.Process(pid)
            with system.oneshot():
                times = system.cpu_times()
                processes[name] = replace(
                    process,
                    cpu_s=times.user + times.system,
                    rss_bytes=system.memory_info().rss,
                    open_files=_open_files(system),
                    started_at=system.create_time(),
                )
        except psutil.Error:
            continue
    return replace(readings, processes=processes)


def _open_files(system: psutil.Process) -> int | None:
    """Linux tells how many without listing them (6.2 and newer); elsewhere, psutil lists them."""
    try:
        return os.stat(f"/proc/{system.pid}/fd").st_size or system.num_fds()
    except (OSError, psutil.Error):
        return None


def _written(readings: Readings, pids: Mapping[str, int], accept: str) -> tuple[bytes, str]:
    return exposition(looked_at(readings, pids), accept)
