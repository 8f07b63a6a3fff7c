"""What of the audit is older than it has to be is forgotten, by whoever judges."""

from __future__ import annotations

import pytest

from proxy.controlplane.trimmer import Trimmer
from proxy.core.audit import Record
from proxy.core.fleet import Role
from proxy.core.trimming import KEPT
from proxy.stores.memory import MemoryStore
from tests.fakes import FakeClock
from tests.stores.states import chain

COUNT = KEPT + 40


class Rig:
    """A store with some events, all of one instant, and whoever looks after it."""

    def __init__(self) -> None:
        self.store, self.clock = MemoryStore(), FakeClock()
        self.role, self.retention_s = Role.JUDGE, 60.0
        self.trimmer = Trimmer(
            self.store, self.store, self.clock, lambda: self.role, lambda: self.retention_s
        )

    async def begins(self) -> int:
        await self.trimmer.look()
        return (await self.store.records()).begin.seq


@pytest.fixture
async def rig() -> Rig:
    rig = Rig()
    for one in chain("default", list(range(1, COUNT + 1))):
        await rig.store.commit(one)
    return rig


async def test_what_is_older_is_forgotten_but_for_the_newest(rig: Rig) -> None:
    assert await rig.begins() == 0
    rig.clock.advance(3600.0)
    assert await rig.begins() == COUNT - KEPT
    assert await rig.begins() == COUNT - KEPT


async def test_all_is_kept_unless_that_is_asked_for(rig: Rig) -> None:
    rig.clock.advance(3600.0)
    rig.retention_s = 0.0
    assert await rig.begins() == 0


async def test_only_the_judge_forgets(rig: Rig) -> None:
    rig.clock.advance(3600.0)
    for rig.role in (Role.FOLLOWER, Role.ALONE):
        assert await rig.begins() == 0


async def test_what_cannot_be_read_stays(rig: Rig) -> None:
    rig.clock.advance(3600.0)
    for text in ("no JSON", "[]", '{"at": "then"}', '{"then": 1.0}'):
        rig.store._records[0] = Record(1, text, "x")
        assert await rig.begins() == 0
    assert "60 s" in repr(rig.trimmer)
