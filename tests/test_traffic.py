"""Traffic in this process: evidence keeps its meaning over reloads."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from proxy.config.schema import Rollout
from proxy.core.delta import Load
from proxy.core.histogram import Histogram
from proxy.model import Path
from proxy.telemetry.recorder import TallyRecorder
from proxy.traffic import LocalTraffic, SuccessiveEvidence
from tests.dataplane.wire import SteadyRandom, settings
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Sequence


def plans(*names: str, **keys: Any) -> Sequence[Rollout]:
    return [Rollout.read({"name": name, **keys}) for name in names]


def succeed(evidence: SuccessiveEvidence, rollouts: Sequence[Rollout]) -> None:
    evidence.succeed(rollouts, TallyRecorder(len(rollouts)))


def assigned(evidence: SuccessiveEvidence) -> list[int]:
    return [tally.assigned_v1 for tally in evidence.drain()]


def test_what_is_written_late_counts_for_the_rollout_of_that_name() -> None:
    evidence = SuccessiveEvidence(plans("a", "b"))
    before = evidence.recorder
    succeed(evidence, plans("b", "c", "a"))
    before.assigned(0, Path.V1, overridden=False)
    before.assigned(1, Path.V1, overridden=False)
    before.assigned(1, Path.V1, overridden=False)
    evidence.recorder.assigned(0, Path.V1, overridden=False)
    assert assigned(evidence) == [3, 0, 1]
    assert assigned(evidence) == [0, 0, 0]


def test_what_is_written_late_for_a_table_that_has_changed_counts_for_none() -> None:
    evidence = SuccessiveEvidence(plans("a"))
    before = evidence.recorder
    succeed(evidence, plans("a", salt="pepper"))
    before.assigned(0, Path.V1, overridden=False)
    assert assigned(evidence) == [0]


def test_a_rollout_that_was_away_for_a_while_is_another_one() -> None:
    evidence = SuccessiveEvidence(plans("a", "b"))
    first = evidence.recorder
    succeed(evidence, plans("b"))
    succeed(evidence, plans("b", "a"))
    first.assigned(0, Path.V1, overridden=False)
    first.assigned(1, Path.V1, overridden=False)
    assert assigned(evidence) == [1, 0]


def test_only_so_many_configurations_are_listened_to() -> None:
    evidence = SuccessiveEvidence(plans("a"))
    first = evidence.recorder
    for _ in range(8):
        succeed(evidence, plans("a"))
    first.assigned(0, Path.V1, overridden=False)
    assert assigned(evidence) == [1]
    succeed(evidence, plans("a"))
    first.assigned(0, Path.V1, overridden=False)
    assert assigned(evidence) == [0]
    assert repr(evidence).endswith("8 older)")


def test_what_is_under_way_is_drained_as_it_is_now() -> None:
    evidence = SuccessiveEvidence(plans("a", "b"))
    ages = Histogram.of([(70, 2)], 140), Histogram.of([(80, 1)], 80)
    evidence.under_way = lambda: {1: ages}
    for _ in range(2):
        a, b = evidence.drain()
        assert (b.in_flight_v1, b.in_flight_v2) == ages
        assert a.in_flight_v1 is a.in_flight_v2


async def test_everything_that_the_control_plane_holds_on_to_stays_the_same_over_a_reload() -> None:
    traffic = LocalTraffic(settings(), clock=FakeClock(), rng=SteadyRandom())
    before = (traffic.evidence, list(traffic.sinks), traffic.endpoints, traffic.router)
    await traffic.replace(settings(rollouts=[{"name": "x"}, {"name": "y", "routes": [{"prefix": "/y"}]}]))
    assert (traffic.evidence, list(traffic.sinks), traffic.endpoints, traffic.router) == before
    assert len(traffic.evidence.drain()) == 2
    assert traffic.router.explain(key="k", host="", path="/y", method="GET").rollout == "y"
    assert (traffic.workers_alive, traffic.missing(), traffic.tunnels) == (1, ["listener"], (0, 0))


# ... what was measured


def test_what_was_measured_survives_a_reload_under_its_name() -> None:
    traffic = LocalTraffic(settings(), clock=FakeClock(), rng=SteadyRandom())
    before = traffic.meters.numbered
    before.answered(0, Path.V2, b"GET", 200, 0.02)
    assert measured(traffic) == {("default", "v2"): 1}
    added = settings(rollouts=[{"name": "new", "routes": [{"prefix": "/new"}]}, {"name": "default"}])
    asyncio.run(traffic.replace(added))
    before.answered(0, Path.V2, b"GET", 200, 0.02)
    assert traffic.plane.context.meter is not None
    traffic.plane.context.meter.answered(0, Path.V1, b"GET", 200, 0.02)
    assert measured(traffic) == {("default", "v2"): 2, ("new", "v1"): 1}
    asyncio.run(traffic.replace(settings(name="new")))
    assert measured(traffic) == {("new", "v1"): 1}


def measured(traffic: LocalTraffic) -> dict[tuple[str, str], int]:
    series = traffic.measured.family("server")
    return {(labels.rollout, labels.path): sum(one.counts) for labels, one in series}


def test_this_process_is_the_one_that_serves() -> None:
    traffic = LocalTraffic(settings(), clock=FakeClock(), rng=SteadyRandom())
    assert traffic.processes == {"main": (os.getpid(), Load())}
    assert traffic.exemplars("default") == []
