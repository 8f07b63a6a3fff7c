"""The ledger: every transition on its way into the store, and what is done while the store does not answer.

Owns the asymmetry that keeps a dead store harmless. What tightens is in force before it is written (`defer`);
what loosens is in force only once it is written (`write_first`), and not at all while anything waits. Must
never know why a rollout moves.

Three cases need care, and all end in the audit telling what happened:

- A write without an answer may have happened. It is looked up before it is tried again. A loosening one that
  turns out to have happened is taken back by a further transition: its asker has been told that it failed.
- A rollback may be decided while a loosening write is under way. It is in force at once, and is written on
  top of whatever that write leaves.
- Another process may have written. Its state is taken as the base; our own tightening goes on top of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from proxy.core.caution import is_more_careful, tightens
from proxy.core.rollout import CONTROLLER
from proxy.errors import DualpathError, RevisionConflict, StaleFence, StoreCorrupt, StoreUnavailable
from proxy.model import Transition

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.model import RolloutState
    from proxy.ports import Clock, Store

T = TypeVar("T")

log = logging.getLogger("dualpath.control")

_MOST_EVENTS = 1_000  # alerts that wait; changes of state always do
_NEWEST = 100  # how far back a write without an answer is looked for
_CONFLICTS = 5  # how often in a row another process may be first


class Ledger:
    """What waits for the store, in order. One at a time may call its coroutines, all at any time its `defer`.

    `publish` puts a state in force. No call of the store takes longer than `timeout_s`.
    """

    def __init__(
        self, store: Store, publish: Callable[[RolloutState], None], clock: Clock, timeout_s: float
    ) -> None:
        self.config = ""  # hash of the configuration by which is decided now; it goes into every record
        self.on_trouble: Callable[[str], None] = _unheard  # told when trouble begins or changes, and its end
        # Told of what waited, the state that others have written meanwhile, and what is in force after both.
        self.on_conflict: Callable[[Transition, RolloutState, RolloutState], None] = _unconcerned
        self.failures = 0  # how often the store has failed, so that those who waited can tell
        self._store = store
        self._publish = publish
        self._clock = clock
        self._timeout_s = timeout_s
        self._waiting: deque[Transition] = deque()
        self._unanswered: Transition | None = None  # the first that waits, if it may have been written
        self._doubt: Transition | None = (
            None  # a loosening one that is not in force and may have been written
        )
        self._trouble = ""

    @property
    def waiting(self) -> int:
        """How many transitions are in force, or have happened, and are not stored."""
        return len(self._waiting)

    @property
    def trouble(self) -> str:
        """Why the store takes nothing, as of the last time that it was to; empty if it took that."""
        return self._trouble

    @property
    def is_owing(self) -> bool:
        """Whether there is anything to be settled with the store."""
        return bool(self._waiting) or self._doubt is not None

    def is_stored(self, name: str) -> bool:
        """Whether no change of the rollout `name` waits."""
        return not any(one.after.name == name and one.changes_state for one in self._waiting)

    def defer(self, transition: Transition) -> None:
        """Take in what is in force already, or an event that changes nothing; `flush` writes it."""
        if not transition.changes_state and len(self._waiting) >= _MOST_EVENTS:
            log.error("%s: %s is not recorded", transition.after.name, transition.reason)
            return
        self._waiting.append(replace(transition, config=self.config))

    def on_top_of(self, stored: RolloutState) -> RolloutState:
        """Put what waits for a rollout on top of `stored`, as the store has it now. Returns what is to be in
        force."""
        return self._rebase(stored)

    async def flush(self) -> None:
        """Write all that waits, in order, until the store fails. Never raises for the store's sake."""
        written = conflicts = 0
        try:
            await self._settle_doubt()
            while self._waiting and conflicts < _CONFLICTS:
                if await self._write_next():
                    written += 1
                else:
                    conflicts += 1
        except DualpathError as error:
            self._note(str(error))
        else:
            if written and not self._waiting:  # a store that can be read may still take nothing
                self._note("")

    async def write_first(self, transition: Transition) -> None:
        """Write, then put in force. Raises `StoreUnavailable`, `StoreCorrupt` or `RevisionConflict`.

        On a conflict the stored state comes into force.
        """
        if self._waiting or self._doubt is not None:
            raise StoreUnavailable(f"changes wait for the store: {self._trouble or 'others write to it'}")
        self._doubt = transition = replace(transition, config=self.config)
        try:
            await self.within(self._store.commit(transition))
        except RevisionConflict:
            self._doubt = None
            self._publish(self._rebase(await self._stored(transition.after.name)))
            raise
        except StaleFence:  # nothing is written, and nothing is wrong: somebody else judges
            self._doubt = None
            raise
        except DualpathError as error:
            self._note(str(error))
            raise
        self._doubt = None
        self._publish(self._rebase(transition.after))
        if not self._waiting:
            self._note("")

    def __repr__(self) -> str:
        return f"Ledger({len(self._waiting)} waiting{', in doubt' if self._doubt else ''})"

    # ... what waits

    async def _write_next(self) -> bool:
        """Write the first that waits. False if another process had written: it has a new base then."""
        transition = self._waiting[0]
        if transition is not self._unanswered or not await self.has_happened(transition):
            self._unanswered = transition
            try:
                await self.within(self._store.commit(transition))
            except RevisionConflict:
                stored = await self._stored(transition.after.name)
                present = self._rebase(stored)
                self._publish(present)
                if self._trouble and transition.changes_state:
                    self.on_conflict(transition, stored, present)
                return False
            except StaleFence:  # nothing is written, and never will be: somebody else judges
                log.warning("%s: left to the judge: %s", transition.after.name, transition.reason)
                await self._give_up(transition)
                return True
        self._unanswered = None
        self._waiting.popleft()
        return True

    async def _give_up(self, transition: Transition) -> None:
        """The first that waits is not to be; what the store has is in force, with the rest on top."""
        stored = await self._stored(transition.after.name)
        self._unanswered = None
        self._waiting.popleft()
        self._publish(self._rebase(stored))

    def _rebase(self, base: RolloutState) -> RolloutState:
        """Put what waits for a rollout on top of `base`, which is stored. Returns the state after it all."""
        moved: deque[Transition] = deque()
        for transition in self._waiting:
            if transition.after.name != base.name:
                moved.append(transition)
            elif transition.before == base:  # as it stands, and the same object: it may be `_unanswered`
                moved.append(transition)
                base = transition.after
            elif (onto := _onto(base, transition)) is not None:
                moved.append(onto)
                base = onto.after
        self._waiting = moved
        return base

    # ... what may have been written

    async def _settle_doubt(self) -> None:
        late = self._doubt
        if late is None:
            return
        stored = (await self.within(self._store.load())).get(late.after.name)
        if stored == late.after:  # and nobody has gone on from there: whoever has, has seen it
            back = _taking_back(late, self._clock.wall())
            present = self._rebase(back.after)
            self._waiting.appendleft(replace(back, config=self.config))
            self._publish(present)
        self._doubt = None

    async def has_happened(self, transition: Transition) -> bool:
        """Whether the store has it. Raises as the store does."""
        name = transition.after.name
        newest = await self.within(self._store.events(after=-1, limit=_NEWEST, rollout=name))
        return any(_mark(event.transition) == _mark(transition) for event in newest)

    # ... the store, with a limit to its time

    async def _stored(self, name: str) -> RolloutState:
        states = await self.within(self._store.load())
        if name not in states:
            raise StoreCorrupt(f"rollout {name!r} is gone from the store")
        return states[name]

    async def within(self, answer: Awaitable[T]) -> T:
        """What the store answers. Raises `StoreUnavailable` if it does not in time, or fails otherwise."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await answer
        except DualpathError:
            raise
        except TimeoutError:
            raise StoreUnavailable(f"the store has not answered within {self._timeout_s:g} s") from None
        except Exception as error:
            raise StoreUnavailable(f"the store failed: {error!r}") from error

    def _note(self, trouble: str) -> None:
        """Count failures; log when they begin, change and end, not at every tick."""
        self.failures += bool(trouble)
        if trouble and trouble != self._trouble:
            log.error("store: %s; %d changes wait, nothing can be raised", trouble, len(self._waiting))
        elif self._trouble and not trouble:
            log.warning("store: works again, nothing waits")
        before, self._trouble = self._trouble, trouble
        if trouble != before:
            self.on_trouble(trouble)


def _unheard(trouble: str) -> None:
    """Nobody listens."""


def _unconcerned(waited: Transition, stored: RolloutState, present: RolloutState) -> None:
    """Nobody listens."""


def _onto(base: RolloutState, transition: Transition) -> Transition | None:
    """The same move from `base`; None if it would give v2 more than `base` does."""
    if not transition.changes_state:
        return replace(transition, before=base, after=base)
    after = replace(transition.after, revision=base.revision + 1)
    if not tightens(base, after) or is_more_careful(base, after):
        log.warning("%s: another process went further than: %s", base.name, transition.reason)
        return None
    return replace(transition, before=base, after=after)


def _taking_back(late: Transition, at: float) -> Transition:
    reason = "the store confirmed this change too late; it is taken back"
    after = replace(late.before, revision=late.after.revision + 1, reason=reason)
    return Transition(late.after, after, cause="store", reason=reason, actor=CONTROLLER, at=at)


def _mark(transition: Transition) -> tuple[object, ...]:
    return transition.after, transition.cause, transition.reason, transition.actor, transition.at
