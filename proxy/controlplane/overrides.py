"""Overrides: keys that people have sent to one path at run time, until they take it back or it expires.

Owns which are in force and what of them waits for the store, with the asymmetry of every change here: towards
v1 it is in force at once, towards v2 only once it is written. Must never know a weight. A rollback suspends
those to v2; that is the data plane's doing, as with the configuration's lists.
"""

from __future__ import annotations

import logging
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from proxy.core.rollout import CONTROLLER
from proxy.errors import DualpathError, RevisionConflict, StoreUnavailable, UnknownRollout
from proxy.model import KeyOverride, Path, Transition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from proxy.controlplane.ledger import Ledger
    from proxy.model import RolloutState
    from proxy.ports import Clock, OverrideSink, OverrideStore

log = logging.getLogger("dualpath.control")


@dataclass(frozen=True, slots=True)
class OverrideChange:
    """One change: `after` is what is to be in force for the key, None for nothing; `cause` is the audit's."""

    rollout: str
    key: str
    after: KeyOverride | None
    cause: str
    actor: str
    reason: str
    at: float

    def event(self, state: RolloutState) -> Transition:
        """Its audit record: an event of the rollout as it stands, which changes nothing of it."""
        path = "no path" if self.after is None else self.after.path
        why = f": {self.reason}" if self.reason else ""
        return Transition(state, state, self.cause, f"key {self.key} to {path}{why}", self.actor, self.at)


class _Written(NamedTuple):
    """A change, and the record with which the store was asked to keep it."""

    change: OverrideChange
    event: Transition


class Overrides:
    """All rollouts' overrides. `state` gives a rollout's present state, `ledger` knows how long the store is
    waited for; without a `store` none can be set."""

    def __init__(
        self,
        store: OverrideStore | None,
        sinks: Sequence[OverrideSink],
        state: Callable[[str], RolloutState],
        clock: Clock,
        ledger: Ledger,
    ) -> None:
        self._store = store
        self._sinks = tuple(sinks)
        self._state = state
        self._clock = clock
        self._ledger = ledger
        self._in_force: dict[str, dict[str, KeyOverride]] = {}
        self._waiting: deque[OverrideChange] = deque()
        self._unanswered: _Written | None = None  # the first that waits, if it may have been written
        self._doubt: _Written | None = None  # one that is not in force and may have been written
        self._trouble = ""

    @property
    def waiting(self) -> int:
        """How many changes are in force and not stored."""
        return len(self._waiting)

    @property
    def is_owing(self) -> bool:
        """Whether there is anything to be settled with the store."""
        return bool(self._waiting) or self._doubt is not None

    def of(self, rollout: str) -> list[KeyOverride]:
        """What is in force, by key."""
        return [one for _, one in sorted(self._in_force.get(rollout, {}).items())]

    def find(self, rollout: str, key: str) -> KeyOverride | None:
        """The override of that key, if there is one."""
        return self._in_force.get(rollout, {}).get(key)

    def is_stored(self, rollout: str, key: str) -> bool:
        """Whether no change of that key waits."""
        return not any((one.rollout, one.key) == (rollout, key) for one in self._waiting)

    def sends_to_v2(self, rollout: str) -> bool:
        """Whether any key is sent to v2, whatever the weight."""
        return any(one.path is Path.V2 for one in self._in_force.get(rollout, {}).values())

    # ... opening

    async def load(self) -> None:
        """Take over what is stored; what waits here goes on top. Raises as the store does."""
        if self._store is None:
            return
        self.hold(await self._ledger.within(self._store.overrides()))

    def hold(self, stored: Iterable[KeyOverride]) -> bool:
        """These are stored, by whomever; what waits here goes on top. Whether that changes anything; the next
        `publish` tells."""
        before, self._in_force = self._in_force, {}
        for override in stored:
            self._in_force.setdefault(override.rollout, {})[override.key] = override
        for change in self._waiting:
            self._take(change)
        return {name: keys for name, keys in before.items() if keys} != self._in_force

    def publish(self, rollouts: Iterable[str]) -> None:
        """Tell the data plane again what is in force for these."""
        for rollout in rollouts:
            self._publish(rollout)

    # ... to another process

    def unwritten(self) -> list[OverrideChange]:
        """What is in force and may not be stored, in order; of what may be stored and is not in force, what
        is in force instead."""
        doubted = [] if self._doubt is None else [self._instead(self._doubt.change)]
        return [*doubted, *self._waiting]

    def follow(self, changes: Iterable[OverrideChange]) -> None:
        """Put in force what another process could not write; it may still do so, and here it is not written.
        The next `publish` tells."""
        for change in changes:
            self._take(change)

    def take_over(self, changes: Iterable[OverrideChange]) -> None:
        """As `follow`, after a `load`, of a process that writes no more: the next `flush` writes them."""
        for change in changes:
            if self.find(change.rollout, change.key) != change.after:
                self._take(change)
                self._waiting.append(change)

    # ... changes

    def tighten(self, change: OverrideChange) -> None:
        """A change that sends nobody to v2: in force now, written by the next `flush`."""
        self._take(change)
        self._publish(change.rollout)
        self._waiting.append(change)

    async def write_first(self, change: OverrideChange) -> None:
        """A change that may send somebody to v2: in force once it is written. Raises as the store does."""
        if self._waiting or self._doubt is not None:
            raise StoreUnavailable("changes wait for the store")
        self._doubt = asked = self._asked(change)
        try:
            await self._write(asked)
        except RevisionConflict:
            self._doubt = None
            raise
        self._doubt = None
        self._take(change)
        for later in self._waiting:  # safer ones, which have come meanwhile
            self._take(later)
        self._publish(change.rollout)

    def expire(self) -> None:
        """Those whose time is over are over."""
        now = self._clock.wall()
        over = [
            one
            for overrides in self._in_force.values()
            for one in overrides.values()
            if one.expires_at is not None and one.expires_at <= now
        ]
        for one in over:
            cause, reason = "override:expired", f"{one.path} by {one.actor} has expired"
            self.tighten(OverrideChange(one.rollout, one.key, None, cause, CONTROLLER, reason, now))

    async def flush(self) -> None:
        """Write what waits, in order, until the store fails. Never raises for the store's sake."""
        trouble = ""
        try:
            await self._settle_doubt()
            while self._waiting:
                with suppress(UnknownRollout):  # it has left the configuration
                    await self._write_next(self._waiting[0])
                self._unanswered = None
                self._waiting.popleft()
        except RevisionConflict:
            pass  # the state itself is not stored yet
        except DualpathError as error:
            trouble = str(error)
        if trouble and trouble != self._trouble:
            log.error("overrides: %d wait for the store: %s", len(self._waiting), trouble)
        self._trouble = trouble

    def __repr__(self) -> str:
        count = sum(map(len, self._in_force.values()))
        return f"Overrides({count}, {len(self._waiting)} waiting)"

    # ... inside

    def _take(self, change: OverrideChange) -> None:
        keys = self._in_force.setdefault(change.rollout, {})
        if change.after is None:
            keys.pop(change.key, None)
        else:
            keys[change.key] = change.after

    def _publish(self, rollout: str) -> None:
        now = self._clock.wall()
        keys = {
            key: one.path
            for key, one in self._in_force.get(rollout, {}).items()
            if one.expires_at is None or one.expires_at > now  # else the next tick ends it
        }
        for sink in self._sinks:
            try:
                sink.publish_overrides(rollout, keys)
            except Exception:
                log.exception("%s: %r did not take the overrides", rollout, sink)

    def _asked(self, change: OverrideChange) -> _Written:
        event = change.event(self._state(change.rollout))
        return _Written(change, replace(event, config=self._ledger.config))

    async def _write_next(self, change: OverrideChange) -> None:
        """A write without an answer may have happened: then it is not done again."""
        before = self._unanswered
        if before is not None and before.change is change and await self._ledger.has_happened(before.event):
            return
        self._unanswered = self._asked(change)
        await self._write(self._unanswered)

    async def _settle_doubt(self) -> None:
        """Whoever asked for it has been told that it failed: if it is stored, it is taken back."""
        late = self._doubt
        if late is not None and await self._ledger.has_happened(late.event):
            self._waiting.appendleft(self._instead(late.change))
        self._doubt = None

    def _instead(self, late: OverrideChange) -> OverrideChange:
        """What is in force for its key is to be stored again."""
        present = self.find(late.rollout, late.key)
        cause = "override:removed" if present is None else "override:set"
        reason = "the store confirmed a change too late; it is taken back"
        now = self._clock.wall()
        return OverrideChange(late.rollout, late.key, present, cause, CONTROLLER, reason, now)

    async def _write(self, asked: _Written) -> None:
        change, event = asked
        if self._store is None:
            raise StoreUnavailable("this store keeps no overrides")
        if change.after is None:
            await self._ledger.within(self._store.remove(change.rollout, change.key, event))
        else:
            await self._ledger.within(self._store.put(change.after, event))
