from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

from proxy.config.loading import parse
from proxy.errors import UnknownRollout
from proxy.judgment import Judgment
from proxy.model import RolloutReport, RolloutState, Snapshot, State
from proxy.summing_up import SummingUp
from tests.config.documents import BACKENDS
from tests.e2e.waiting import eventually
from tests.fakes import FakeClock

if TYPE_CHECKING:
    import pytest

    from proxy.config.schema import Config


class FakeController:
    """Knows every rollout but those that are gone; fails so many times at first."""

    def __init__(self, *gone: str, failures: int = 0) -> None:
        self.gone = gone
        self.failures = failures

    def report(self, name: str) -> RolloutReport:
        if self.failures:
            self.failures -= 1
            raise ZeroDivisionError
        if name in self.gone:
            raise UnknownRollout(name)
        return RolloutReport(RolloutState(name, State.RUNNING, 0), Judgment(), Snapshot(), Snapshot())


class FakeTraffic:
    """Itself, and a worker that has just ended."""

    workers_alive = 1

    def __init__(self) -> None:
        self.processes = {"main": (os.getpid(), None), "worker-0": (1 << 22, None)}


def config(every: str, *names: str) -> Config:
    rollouts = "".join(
        f'[[rollouts]]\nname = "{name}"\nroutes = [{{ prefix = "/{name}" }}]\n' for name in names
    )
    return parse(f'{BACKENDS}[log]\nsummary_every = "{every}"\n{rollouts}', {})


def summing_up(config: Config, controller: FakeController) -> SummingUp:
    traffic: Any = FakeTraffic()
    control: Any = controller
    return SummingUp(config, control, traffic, FakeClock())


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "dualpath.summary"]


async def test_a_rollout_that_a_reload_has_removed_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with summing_up(config("1ms", "a", "b"), FakeController("a")):
        await eventually(lambda: bool(lines(caplog)))
    assert "; b running at 0 %; up 0:00:00, " in lines(caplog)[0]
    assert "; 0 MiB" not in lines(caplog)[0]


async def test_a_summary_that_fails_does_not_end_the_others(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with summing_up(config("1ms", "a"), FakeController(failures=2)):
        await eventually(lambda: len(lines(caplog)) >= 3)
    assert lines(caplog)[:2] == ["a summary failed"] * 2
    assert "a running" in lines(caplog)[2]


async def test_it_begins_and_ends_with_the_configuration(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    summing = summing_up(config("0s", "a"), FakeController())
    async with summing:
        await asyncio.sleep(0)
        summing.follow(config("1ms", "a"))
        await eventually(lambda: bool(lines(caplog)))
        summing.follow(config("1ms", "b"))
        await eventually(lambda: "; b running" in lines(caplog)[-1])
        summing.follow(config("1h", "b"))
    told = len(lines(caplog))
    await asyncio.sleep(0.005)
    assert len(lines(caplog)) == told
    assert repr(summing) == "SummingUp(3600 s)"
