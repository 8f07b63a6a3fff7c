"""kill -9 at any moment: what was confirmed is there, and state and audit never part."""

from __future__ import annotations

import multiprocessing
import random
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from proxy.stores.sqlite import SqliteStore
from tests.e2e.store_writer import NAME, write_until_killed

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext
    from pathlib import Path

BUDGET_S = 2.0  # for the kills beyond the first few, which have to be
LEAST_KILLS = 4
MOST_KILLS = 30
COMMITS = 6
A_COMMIT_S = 0.003
CREATION_S = 0.006


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that start within milliseconds, because their imports are done."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "tests.e2e.store_writer"])  # pytest: it is the main module
    first = context.Process(target=int)
    first.start()
    first.join()
    return context


async def test_state_and_audit_agree_after_every_kill(processes: ForkServerContext, tmp_path: Path) -> None:
    chance = random.Random(20)
    path = tmp_path / "store.db"
    deadline = time.monotonic() + BUDGET_S
    kills = revision = 0
    while kills < LEAST_KILLS or (kills < MOST_KILLS and time.monotonic() < deadline):
        confirmed = kill_a_writer(processes, path, chance.randrange(COMMITS), chance.uniform(0, A_COMMIT_S))
        revision = await check(path, at_least=max(revision, confirmed))
        kills += 1
    assert revision > kills, "the writers were killed before they wrote"


async def test_a_creation_can_be_killed_at_any_moment(processes: ForkServerContext, tmp_path: Path) -> None:
    chance = random.Random(21)
    deadline = time.monotonic() + BUDGET_S / 2
    kills = 0
    while kills < LEAST_KILLS or (kills < MOST_KILLS and time.monotonic() < deadline):
        path = tmp_path / f"{kills}.db"
        confirmed = kill_a_writer(processes, path, 0, chance.uniform(0, CREATION_S))
        await check(path, at_least=confirmed)
        kills += 1


def kill_a_writer(processes: ForkServerContext, path: Path, commits: int, then_s: float) -> int:
    """Start a writer, let it do `commits`, kill it `then_s` later. The last revision that was confirmed."""
    receiver, sender = processes.Pipe(duplex=False)
    writer = processes.Process(target=write_until_killed, args=(path, sender))
    writer.start()
    sender.close()
    confirmed = [receiver.recv() for _ in range(commits + 1)][-1]
    writer.join(then_s)
    writer.kill()
    writer.join()
    assert writer.exitcode == -9, "the writer ended by itself"
    writer.close()
    with closing(receiver):
        return last_of(receiver, confirmed)


def last_of(receiver: Connection[None, int], last: int) -> int:
    while True:
        try:
            last = receiver.recv()
        except (EOFError, OSError):  # OSError: killed in the middle of a message
            return last


async def check(path: Path, at_least: int) -> int:
    """The stored revision, after everything that must hold has been looked at."""
    store = SqliteStore(path)
    await store.open()
    state = (await store.load()).get(NAME)
    events = await store.events(limit=1_000_000)
    await store.close()
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.transition.after.revision for event in events] == [event.seq for event in events]
    assert state == (events[-1].transition.after if events else None)
    assert len(events) >= at_least, "a confirmed commit is gone"
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return len(events)
