"""kill -9 at any moment: what was confirmed is there, and state, audit, overrides and chain never part."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy.core.audit import Verifier
from proxy.model import RolloutState, State, Transition
from proxy.stores.records import encode_transition
from proxy.stores.sqlite import SqliteStore
from proxy.stores.sqlite_minutes import SqliteMinutes
from tests.e2e.store_writer import NAME, write_until_killed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext

    from proxy.model import Event

BUDGET_S = 2.0  # for the kills beyond the first few, which have to be
LEAST_KILLS = 4
MOST_KILLS = 30
COMMITS = 6
A_COMMIT_S = 0.003
CREATION_S = 0.006
OLD_EVENTS = 500
MIGRATION_S = 0.02
FIRST_VERSION = Path(__file__).parents[1] / "stores" / "schema-1.db"


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


async def test_a_migration_can_be_killed_at_any_moment(processes: ForkServerContext, tmp_path: Path) -> None:
    """Of a file with many events, so that its chain takes a while: afterwards it is whole, or as it was."""
    chance = random.Random(22)
    old = tmp_path / "old.db"
    make_old_file(old, OLD_EVENTS)
    deadline = time.monotonic() + BUDGET_S / 2
    kills = 0
    while kills < LEAST_KILLS or (kills < MOST_KILLS and time.monotonic() < deadline):
        path = tmp_path / f"{kills}.db"
        shutil.copy(old, path)
        kill_a_writer(processes, path, 0, chance.uniform(0, MIGRATION_S))
        await check(path, at_least=OLD_EVENTS)
        kills += 1


def make_old_file(path: Path, events: int) -> None:
    """A file as schema version 1 left it, with so many events of the rollout that the writer writes."""
    shutil.copy(FIRST_VERSION, path)
    state = RolloutState(NAME, State.DISABLED, 0)
    rows = []
    for revision in range(1, events + 1):
        after = replace(state, state=State.RUNNING, weight=revision, revision=revision)
        rows.append((NAME, encode_transition(Transition(state, after, "command:set", "", "tess", 1.0))))
        state = after
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM events")
        db.execute("DELETE FROM rollouts")
        db.executemany("INSERT INTO events (rollout, record) VALUES (?, ?)", rows)
        db.execute("INSERT INTO rollouts VALUES (?, 'running', ?, NULL, ?, 0, '')", (NAME, events, events))
        db.commit()


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
    trail = await store.records(limit=1_000_000)
    overrides = {override.key for override in await store.overrides()}
    minutes = await SqliteMinutes(store).between(NAME, 0.0, 1e12, 1_000_000)
    await store.close()
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    changes = [event.transition.after.revision for event in events if event.transition.changes_state]
    assert changes == list(range(1, len(changes) + 1))
    assert state == (events[-1].transition.after if events else None)
    assert len(changes) >= at_least, "a confirmed commit is gone"
    verifier = Verifier()
    assert verifier.take(trail.records) is None
    assert verifier.end(trail.head) is None
    assert overrides == kept_by(events)
    assert len({minute.at for minute in minutes}) == len(minutes)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return len(changes)


def kept_by(events: Sequence[Event]) -> set[str]:
    """The keys whose last record says that they were set."""
    kept: dict[str, bool] = {}
    for event in events:
        if event.transition.cause.startswith("override:"):
            _, what, key = event.transition.cause.split(":")
            kept[key] = what == "set"
    return {key for key, is_kept in kept.items() if is_kept}
