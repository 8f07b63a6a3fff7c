"""What is gathered for a scraper, from a control plane and a data plane that run without a socket."""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.admin.application import Loaded, Surroundings
from proxy.config.loading import parse
from proxy.model import Path
from proxy.scraping import Scraping, looked_at
from proxy.steering import Steering
from proxy.telemetry.readings import ProcessReading, Readings
from proxy.traffic import LocalTraffic
from tests.config.documents import BACKENDS
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DOCUMENT = f"""
[store]
url = "memory://"
{BACKENDS}
[[rollouts]]
name = "shop"
key = ["header:X-User-Id"]
percentage = 25
[[rollouts]]
name = "blog"
routes = [{{ prefix = "/blog" }}]
phases = [{{ name = "canary", percentage = 5 }}, {{ name = "all", percentage = 100 }}]
"""


class Rig:
    """Everything that is read, and who reads it."""

    def __init__(self) -> None:
        config = parse(DOCUMENT, {})
        self.clock = FakeClock()
        self.traffic = LocalTraffic(config, clock=self.clock, rng=random.Random(1))
        self.loaded = Loaded(1000.0)
        around = Surroundings("a", list, self.clock, loaded=lambda: self.loaded)
        self.steering = Steering(config, self.traffic, around)
        self.scraping = Scraping(self.steering, self.traffic, around)

    async def scraped(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Values by name and by those of the labels, whose names are in order."""
        body, _ = await self.scraping.text("")
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(body.decode()):
            for sample in family.samples:
                found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
        return found


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    await rig.steering.open()
    yield rig
    await rig.steering.end()


async def test_each_value_comes_from_where_it_is_known(rig: Rig) -> None:
    recorder = rig.traffic.evidence.recorder
    recorder.assigned(0, Path.V2, overridden=False)
    recorder.outcome(0, failed=False, aborted=False)
    rig.traffic.meters.numbered.answered(0, Path.V2, b"GET", 200, 0.02)
    rig.traffic.telemetry.count("traces.dropped", 2)
    await rig.steering.controller.tick()
    found = await rig.scraped()
    assert found["dualpath_rollout_weight_ratio"] == {("shop",): 0.25, ("blog",): 0.0}
    assert found["dualpath_assigned_total"]["v2", "shop"] == 1
    assert set(found["dualpath_rollout_phase"]) == {("canary", "blog"), ("all", "blog")}
    assert sum(found["http_server_request_duration_seconds_count"].values()) == 1
    assert found["dualpath_telemetry_items_total"]["dropped", "traces"] == 2
    assert found["dualpath_backend_available_ratio"] == {("v1",): 1.0, ("v2",): 1.0}
    assert found["dualpath_config_loaded_timestamp_seconds"] == {(): 1000.0}
    assert found["dualpath_config_last_reload_successful"] == {(): 1.0}
    assert found["dualpath_process_resident_memory_bytes"]["main",] > 1e6
    rig.loaded = Loaded(1000.0, "a typo")
    assert (await rig.scraped())["dualpath_config_last_reload_successful"] == {(): 0.0}


async def test_what_came_since_the_last_tick_is_taken_in_at_the_end(rig: Rig) -> None:
    rig.traffic.evidence.recorder.outcome(0, failed=False, aborted=False)
    rig.scraping.look()
    assert (await rig.scraped())["dualpath_client_answers_total"]["ok", "shop"] == 1


async def test_many_scrapers_at_once_cost_no_more_than_one(rig: Rig) -> None:
    bodies = await asyncio.gather(*(rig.scraping.text("") for _ in range(20)))
    assert len({id(body) for body, _ in bodies}) == 1
    again, _ = await rig.scraping.text("")
    assert again is not bodies[0][0]
    openmetrics, _ = await rig.scraping.text("application/openmetrics-text")
    assert openmetrics.endswith(b"# EOF\n")


def test_a_process_that_has_just_ended_is_left_out() -> None:
    before = Readings(processes={"worker-0": ProcessReading()})
    seen = looked_at(before, {"main": os.getpid(), "worker-0": 1 << 30}).processes
    assert seen["worker-0"] == ProcessReading()
    main = seen["main"]
    assert main.load is None
    assert (main.cpu_s or 0) > 0
    assert (main.open_files or 0) > 2
    assert (main.started_at or 0) > 1e9
