"""The store that forgets: for trials and tests.

Owns the reference behaviour that every store keeps. Nothing survives the process.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

from proxy.core.audit import NOTHING_FORGOTTEN, Begin, Head, Record, TrailPage, link
from proxy.errors import RevisionConflict
from proxy.model import Event
from proxy.stores.records import encode_transition, require_successor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from proxy.core.minute import Minute
    from proxy.model import KeyOverride, RolloutState, Transition

_MOST_MINUTES = 20_000


class MemoryStore:
    """`ports.Store`, `OverrideStore` and `Trail` in a few containers."""

    def __init__(self) -> None:
        self._states: dict[str, RolloutState] = {}
        self._events: list[Event] = []
        self._records: list[Record] = []
        self._overrides: dict[tuple[str, str], KeyOverride] = {}
        self._begin = NOTHING_FORGOTTEN

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
        return self._chained(transition)

    async def events(
        self, *, after: int = 0, limit: int = 100, rollout: str | None = None
    ) -> Sequence[Event]:
        """Events with `seq` > `after`, oldest first, at most `limit`; `after=-1` gives the newest `limit`."""
        found = [e for e in self._events if rollout is None or e.transition.before.name == rollout]
        limit = max(limit, 0)
        if after < 0:
            return found[max(len(found) - limit, 0) :]
        return [e for e in found if e.seq > after][:limit]

    async def records(self, *, after: int = 0, limit: int = 100) -> TrailPage:
        """Records as they were written, and where the chain ends."""
        page = [one for one in self._records if one.seq > after][: max(limit, 0)]
        return TrailPage(tuple(page), self._head(), self._begin)

    async def trim(self, upto: Record) -> bool:
        """Forget the oldest events."""
        if upto not in self._records[:-1]:
            return False
        self._begin = Begin(upto.seq, upto.hash)
        self._records = [one for one in self._records if one.seq > upto.seq]
        self._events = [one for one in self._events if one.seq > upto.seq]
        return True

    async def overrides(self) -> Sequence[KeyOverride]:
        """All overrides, by rollout and key."""
        return [self._overrides[place] for place in sorted(self._overrides)]

    async def put(self, override: KeyOverride, event: Transition) -> Event:
        """Keep `override` and `event`."""
        committed = await self.commit(event)
        self._overrides[override.rollout, override.key] = override
        return committed

    async def remove(self, rollout: str, key: str, event: Transition) -> Event:
        """Keep the override no longer, and `event`."""
        committed = await self.commit(event)
        self._overrides.pop((rollout, key), None)
        return committed

    async def close(self) -> None:
        """Nothing to close."""

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._states)} rollouts, {len(self._events)} events)"

    def _chained(self, transition: Transition) -> Event:
        head, text = self._head(), encode_transition(transition)
        mark = link(head.hash, head.seq + 1, text)
        record = Record(head.seq + 1, text, mark, transition.after.name)
        self._records.append(record)
        self._events.append(Event(record.seq, transition, record.hash))
        return self._events[-1]

    def _head(self) -> Head:
        return Head(self._records[-1].seq, self._records[-1].hash) if self._records else Head()


class MemoryMinutes:
    """`ports.Minutes` in a list, in the order of their beginning: the newest `most` of them."""

    def __init__(self, most: int = _MOST_MINUTES) -> None:
        self._kept: list[Minute] = []
        self._most = most

    async def append(self, minutes: Sequence[Minute]) -> None:
        """Keep them, and forget the oldest of too many."""
        for minute in minutes:
            insort(self._kept, minute, key=_began)
        del self._kept[: max(len(self._kept) - self._most, 0)]

    async def between(self, rollout: str, start: float, end: float, limit: int) -> Sequence[Minute]:
        """Those of one rollout that began then, oldest first."""
        first, beyond = (bisect_left(self._kept, at, key=_began) for at in (start, end))
        found = [minute for minute in self._kept[first:beyond] if minute.rollout == rollout]
        return found[: max(limit, 0)]

    async def prune(self, before: float, limit: int) -> int:
        """Forget the oldest. Returns how many."""
        count = min(bisect_left(self._kept, before, key=_began), max(limit, 0))
        del self._kept[:count]
        return count

    def __repr__(self) -> str:
        return f"MemoryMinutes({len(self._kept)} minutes)"


def _began(minute: Minute) -> float:
    return minute.at
