"""The store that forgets: for trials and tests.

Owns the reference behaviour that every store keeps. Nothing survives the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.errors import RevisionConflict
from proxy.model import Event
from proxy.stores.records import require_successor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from proxy.model import RolloutState, Transition


class MemoryStore:
    """`ports.Store` in two containers."""

    def __init__(self) -> None:
        self._states: dict[str, RolloutState] = {}
        self._events: list[Event] = []

    async def open(self) -> None:
        """Nothing to open."""

    async def load(self) -> Mapping[str, RolloutState]:
        """The present state of every rollout, by name."""
        return dict(self._states)

    async def commit(self, transition: Transition) -> Event:
        """Keep state and event, if `before.revision` is still the present one; else `RevisionConflict`."""
        require_successor(transition)
        name = transition.before.name
        present = self._states.get(name)
        if present is None and not transition.changes_state:
            raise RevisionConflict(f"rollout {name!r} is not stored")
        revision = present.revision if present else 0
        if revision != transition.before.revision:
            raise RevisionConflict(
                f"rollout {name!r} is at revision {revision}, not {transition.before.revision}"
            )
        self._states[name] = transition.after
        self._events.append(Event(len(self._events) + 1, transition))
        return self._events[-1]

    async def events(
        self, *, after: int = 0, limit: int = 100, rollout: str | None = None
    ) -> Sequence[Event]:
        """Events with `seq` > `after`, oldest first, at most `limit`; `after=-1` gives the newest `limit`."""
        found = [e for e in self._events if rollout is None or e.transition.before.name == rollout]
        limit = max(limit, 0)
        if after < 0:
            return found[max(len(found) - limit, 0) :]
        return [e for e in found if e.seq > after][:limit]

    async def close(self) -> None:
        """Nothing to close."""

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._states)} rollouts, {len(self._events)} events)"
