"""A process that writes to a store until it is killed, and tells every revision that was confirmed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from proxy.model import BUCKETS, RolloutState, State, Transition
from proxy.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

NAME = "default"


def write_until_killed(path: Path, confirmed: Connection[int, None]) -> None:
    """Send 0 when ready to open the store; then commit transitions and send the revision of each."""
    confirmed.send(0)
    asyncio.run(_write(path, confirmed))


async def _write(path: Path, confirmed: Connection[int, None]) -> None:
    store = SqliteStore(path)
    await store.open()
    state = (await store.load()).get(NAME, RolloutState(NAME, State.DISABLED, 0))
    while True:
        transition = _next(state)
        await store.commit(transition)
        state = transition.after
        confirmed.send(state.revision)


def _next(before: RolloutState) -> Transition:
    revision = before.revision + 1
    after = replace(
        before, state=State.RUNNING, weight=revision % BUCKETS, revision=revision, since=float(revision)
    )
    return Transition(before, after, "command:set", f"to {after.weight}", "tess", at=float(revision))
