"""A process that writes to a store until it is killed, and tells every revision that was confirmed.

It writes all that a store takes: changes of state, events, overrides with their records, and minutes.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from proxy.core.minute import Minute
from proxy.core.tally import Tally
from proxy.judgment import Verdict
from proxy.model import BUCKETS, KeyOverride, RolloutState, State, Transition
from proxy.model import Path as Route
from proxy.stores.sqlite import SqliteStore
from proxy.stores.sqlite_minutes import SqliteMinutes

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
    minutes = SqliteMinutes(store)
    await store.open()
    state = (await store.load()).get(NAME, RolloutState(NAME, State.DISABLED, 0))
    while True:
        transition = _next(state)
        await store.commit(transition)
        state = transition.after
        confirmed.send(state.revision)
        if state.revision % 3 == 0:
            await _write_more(store, minutes, state)


async def _write_more(store: SqliteStore, minutes: SqliteMinutes, state: RolloutState) -> None:
    key = f"user-{state.revision % 5}"
    override = KeyOverride(NAME, key, Route.V2, "tess", at=state.since)
    await store.put(override, _event(state, f"override:set:{key}"))
    await minutes.append([_minute(state, number) for number in range(3)])
    await store.commit(_event(state, "alert:latency_p95"))
    await minutes.prune(state.since - 10.0, 2)
    await store.remove(NAME, key, _event(state, f"override:removed:{key}"))


def _event(state: RolloutState, cause: str) -> Transition:
    return Transition(state, state, cause, "", "tess", at=state.since)


def _minute(state: RolloutState, number: int) -> Minute:
    at = state.since + number / 3
    return Minute(
        NAME, at, 20.0, state.state, state.weight, None, Verdict.HOLD, Tally(client_requests=number)
    )


def _next(before: RolloutState) -> Transition:
    revision = before.revision + 1
    after = replace(
        before, state=State.RUNNING, weight=revision % BUCKETS, revision=revision, since=float(revision)
    )
    return Transition(before, after, "command:set", f"to {after.weight}", "tess", at=float(revision))
