"""A fleet under load: whatever happens to a judge or to the store, clients are answered, and nothing is
raised that has not been agreed on.

One fleet for the whole module, because starting one takes longer than what happens to it. Each test begins
the rollout anew, and ends with all three instances there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.e2e.fleet.instances import LEASE_S, NAMES, PERCENTAGES, Instances
from tests.e2e.proxy_process import ended
from tests.e2e.succession import Dynasty
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.raw_backend import RawBackend

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
AHEAD_S = 30


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fleet(
    backends: tuple[RawBackend, RawBackend], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Instances]:
    """Three instances; the clock of the last is off, where that can be had."""
    instances = Instances(backends, tmp_path_factory.mktemp("fleet"))
    try:
        await instances.start(c=wrong_clock())
        yield instances
    finally:
        await instances.end()


def wrong_clock() -> dict[str, str]:
    if FAKETIME is None:
        return {}
    faked = {"FAKETIME": f"+{AHEAD_S}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    return {"LD_PRELOAD": str(FAKETIME), **faked}


async def again(fleet: Instances, name: str) -> None:
    """That instance is started, as it was before, by whoever keeps it running."""
    await fleet.begin(name, **(wrong_clock() if name == "c" else {}))
    await fleet.one_judge()


async def test_a_command_to_any_instance_is_soon_in_force_on_all(fleet: Instances) -> None:
    await fleet.afresh()
    for name in NAMES:
        for verb, state in (("pause", "paused"), ("resume", "running")):
            assert (await fleet.proxies[name].command(verb)).status == 200
            await fleet.everywhere(state, PERCENTAGES[0])
    assert (await fleet.proxies["b"].command("rollback")).status == 200
    await fleet.everywhere("rolled_back", 0)
    await fleet.unharmed()


@pytest.mark.skipif(FAKETIME is None, reason="needs Debian's libfaketime")
async def test_an_instance_whose_clock_is_off_says_so_and_writes_by_the_stores(fleet: Instances) -> None:
    await fleet.afresh()
    seen = {one["instance"]: one["clock_skew_s"] for one in (await fleet.fleet("a"))["members"]}
    assert abs(seen["c"] - AHEAD_S) < 5
    assert abs(seen["a"]) < 5
    assert (await fleet.proxies["a"].command("pause")).status == 200
    await fleet.everywhere("paused", PERCENTAGES[0])
    assert (await fleet.proxies["c"].command("resume")).status == 200
    await fleet.everywhere("running", PERCENTAGES[0])
    paused, resumed = (await fleet.events(fleet.proxies["a"]))[-2:]
    assert 0 <= seconds(resumed["at"]) - seconds(paused["at"]) < AHEAD_S / 2
    await fleet.unharmed()


async def test_the_judge_is_killed_and_another_goes_on(fleet: Instances) -> None:
    await fleet.afresh()
    judge = await fleet.judge()
    rest = [name for name in NAMES if name != judge]
    killed = fleet.proxies.pop(judge)
    killed.process.kill()
    await fleet.one_judge(*rest)
    log = (await asyncio.to_thread(fleet.proxies[await fleet.judge()].log.read_text)).splitlines()
    read = [line for line in log if "read the evidence of all" in line][-1]
    assert " by the journal" in read, read
    assert " 0 by the journal" not in read, read
    await fleet.reached(PERCENTAGES[1], *rest)
    with contextlib.suppress(ProcessLookupError):
        await killed.process.wait()
    await again(fleet, judge)
    await fleet.reached(PERCENTAGES[1])
    await ended(killed.mark)
    await fleet.unharmed()


async def test_while_the_store_is_gone_everything_may_go_down_and_nothing_up(fleet: Instances) -> None:
    await fleet.afresh()
    fleet.store.pause()

    async def alone() -> bool:
        return all([(await fleet.fleet(name))["role"] == "alone" for name in NAMES])

    try:
        await eventually(alone, 10)
        refused = await fleet.proxies["a"].command("set", percentage=60)
        assert refused.status == 503, refused.body
        assert b"shared store" in refused.body
        answer = await fleet.proxies["b"].command("rollback", reason="by hand")
        assert answer.status == 200
        told = json.loads(answer.body)
        assert (told["stored"], told["local_only"]) == (False, True)
        await asyncio.sleep(3)  # the phase would be over by now
        assert await fleet.percentages() == [PERCENTAGES[0], 0, PERCENTAGES[0]]
    finally:
        fleet.store.resume()
    await fleet.one_judge()
    await fleet.everywhere("rolled_back", 0)
    await fleet.unharmed()


async def test_a_store_that_comes_back_empty_is_given_back_what_it_had(fleet: Instances) -> None:
    await fleet.afresh()
    before = await fleet.events(fleet.proxies["a"])
    fleet.store.kill()
    fleet.store.start()

    async def is_there() -> bool:
        try:
            return (await fleet.events(fleet.proxies["b"]))[: len(before)] == before
        except AssertionError:  # it is not there again for this one
            return False

    await eventually(is_there, 20)
    await fleet.one_judge()
    await fleet.reached(PERCENTAGES[1])
    await fleet.unharmed()


async def test_a_judge_that_stood_still_is_none_any_more(fleet: Instances) -> None:
    await fleet.afresh()
    judge = await fleet.judge()
    rest = [name for name in NAMES if name != judge]
    await fleet.signal(judge, signal.SIGSTOP)
    try:
        await fleet.one_judge(*rest)
        await asyncio.sleep(LEASE_S)
        await fleet.reached(PERCENTAGES[1], *rest)
    finally:
        await fleet.signal(judge, signal.SIGCONT)
    await fleet.one_judge()
    assert await fleet.judge() != judge
    await fleet.reached(PERCENTAGES[1])
    await fleet.unharmed()


async def test_all_are_restarted_one_after_the_other(fleet: Instances) -> None:
    await fleet.afresh()
    for name in NAMES:
        line = Dynasty(fleet.proxies[name])
        await line.succeed()
        await fleet.one_judge()
    await fleet.reached(PERCENTAGES[1])
    await fleet.unharmed()
    assert "Traceback" not in "".join(proxy.log.read_text() for proxy in fleet.proxies.values())


def seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()
