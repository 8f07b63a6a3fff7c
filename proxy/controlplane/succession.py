"""How a controller comes to its states, and hands them on: opening, a reload, another process.

Owns what is in force first, and what of it survives another configuration or another process. Must never
know commands or judgments.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from proxy.config.export import digest
from proxy.controlplane.in_force import InForce
from proxy.controlplane.reconciling import foreseen, reconciled, reload_events, unwritten
from proxy.controlplane.watch import succeeding
from proxy.errors import ControlError, StoreUnavailable
from proxy.model import Transition

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence

    from proxy.config.schema import Config, Rollout
    from proxy.controlplane.overrides import OverrideChange
    from proxy.controlplane.watch import RolloutWatch
    from proxy.model import RolloutState

log = logging.getLogger("dualpath.control")

_MOST_TOLD = 1_000  # characters of a note: a file may have many faults


class Succession(InForce):
    """`InForce`, from its first state to its last."""

    def __init__(self, config: Config, **ports: Any) -> None:
        super().__init__(config, **ports)
        self._handed_over = False

    # ... opening: what the store holds wins

    async def open(self) -> None:
        """Open the store, bring it in line with the configuration, put every rollout's state in force.

        Raises `StoreUnavailable` or `StoreCorrupt`; the store is closed then and nothing is in force.
        """
        async with self._opening():
            await self.catch_up()

    async def open_beside(
        self, handed: Iterable[RolloutState], overrides: Iterable[OverrideChange] = ()
    ) -> None:
        """Open the store and put in force what was `handed` by a process that still decides; a rollout that
        it does not know begins as `open` has it. `overrides` are those of its changes that wait for the
        store. Nothing is written before `catch_up`: that process may go on after all. Raises as `open` does.
        """
        told = {state.name: state for state in handed}
        plans = [watch.plan for watch in self._watches.values()]
        async with self._opening():
            await self._overrides.load()
            self._overrides.follow(overrides)
            self._overrides.publish(self._watches)
            for state in await foreseen(self._store, plans, self._clock.wall()):
                self._enter(told.get(state.name, state))

    @asynccontextmanager
    async def _opening(self) -> AsyncIterator[None]:
        await self._store.open()
        try:
            yield
        except BaseException:
            await self._store.close()
            raise

    async def catch_up(
        self, handed: Iterable[RolloutState] = (), overrides: Iterable[OverrideChange] = ()
    ) -> None:
        """Put in force what the store holds by now, as `open` does.

        `handed` are the states that were in force in a process that has just stopped deciding. They count
        where the store has none, or one that gives v2 more: it may not have been reachable at a rollback. So
        it is with `overrides`, the changes that waited there. Raises as `open` does.
        """
        plans = [watch.plan for watch in self._watches.values()]
        told = {state.name: state for state in handed}
        by = self._ledger.config
        await self._overrides.load()
        self._overrides.take_over(overrides)
        for state in await reconciled(self._store, plans, self._clock.wall(), told, config=by):
            self._enter(state)
            last = told.get(state.name)
            if last is not None and (transition := unwritten(state, last, self._clock.wall())):
                self._tighten(transition)
        self._overrides.publish(self._watches)
        await self._write()

    async def hand_over(self) -> list[RolloutState]:
        """Write what waits, and give what is in force to a process that decides from now on; here nothing
        may be decided any more, unless `take_back` is called."""
        await self._write()
        self._handed_over = True
        return self.states()

    def unwritten_overrides(self) -> list[OverrideChange]:
        """Changes of overrides that are in force and wait for the store."""
        return self._overrides.unwritten()

    async def take_back(self) -> None:
        """Decide again; what the other process has stored meanwhile comes into force."""
        self._handed_over = False
        async with self._writing:
            await self._flush()
            try:
                await self._overrides.load()
                plans = [watch.plan for watch in self._watches.values()]
                stored = await self._known(plans, self._ledger.config)
            except ControlError as error:
                log.error("store: what happened meanwhile is not known: %s", error)
                return
        for state in stored:
            if self._ledger.is_stored(state.name) and state.revision > self._view.state(state.name).revision:
                self._enter(state)
        self._overrides.publish(self._watches)

    def follow(self, state: RolloutState) -> None:
        """Put in force what the process that still decides has put in force; not for one that decides."""
        if state.name in self._watches:
            self._enter(state)

    # ... another configuration

    async def replace(self, config: Config, swap: Callable[[Config], Awaitable[None]]) -> None:
        """Decide by `config` from now on, once `swap` has made the data plane serve by it.

        A rollout whose table is the same goes on with its evidence; a changed one keeps its state and begins
        its evidence anew; a new one begins as the store has it, else as configured; a removed one is left
        alone, in the store too. Raises as the store or `swap` does, and has then changed nothing in force.
        """
        async with self._writing:
            self._replacing = True  # ticks and commands go on meanwhile; what they decide is written below
            try:
                added = [plan for plan in config.rollouts if plan.name not in self._watches]
                stored = await self._known_last(added, digest(config)) if added else []
                self._gather()
                await swap(config)
                # No await from here on: the evidence comes in the new order now.
                self._succeed(config, stored)
            finally:
                self._replacing = False
            await self._flush()

    def _succeed(self, config: Config, stored: Iterable[RolloutState]) -> None:
        before, now = self._watches, self._clock.monotonic()
        self._ledger.config = digest(config)
        self._watches = {plan.name: succeeding(before.get(plan.name), plan, now) for plan in config.rollouts}
        self._dismiss(watch for name, watch in before.items() if self._watches.get(name) is not watch)
        kept = [self._view.state(plan.name) for plan in config.rollouts if plan.name in before]
        # A rollout that comes back may have left with a rollback that the store has not taken yet.
        for state in [*map(self._ledger.on_top_of, stored), *kept]:
            self._enter(state)
        for transition in reload_events(before, self._watches, self._view.state, self._clock.wall()):
            if transition.changes_state:
                self._put_in_force(transition.after)
            self._ledger.defer(transition)
            self._announcing.moved(transition)
        self._overrides.publish(self._watches)
        self._rules.follow(config)

    def _dismiss(self, watches: Iterable[RolloutWatch]) -> None:
        """Nobody would ever say that what these alert is over."""
        at = self._clock.wall()
        for watch in watches:
            for event, reading in watch.dismissed(self._view.state(watch.plan.name), at):
                self._ledger.defer(event)
                self._announcing.guard(event, reading)

    async def _known_last(self, plans: Sequence[Rollout], by: str) -> list[RolloutState]:
        """What the store knows of them once it has been asked to take what waits, and what it may have taken
        unasked is settled."""
        await self._ledger.flush()
        return await self._known(plans, by)

    async def _known(self, plans: Sequence[Rollout], by: str) -> list[RolloutState]:
        try:
            async with asyncio.timeout(self._store_timeout_s):
                return await reconciled(self._store, plans, self._clock.wall(), config=by)
        except TimeoutError:
            raise StoreUnavailable("the store does not answer") from None

    async def note(
        self, cause: str, reason: str, actor: str = "config", names: Collection[str] | None = None
    ) -> None:
        """Write down, for every rollout or for these, something that changes no state, such as a reload."""
        at = self._clock.wall()
        for state in self.states():
            if names is None or state.name in names:
                self._ledger.defer(Transition(state, state, cause, reason[:_MOST_TOLD], actor, at))
        await self._write()

    # ... closing

    async def close(self) -> None:
        """Write what waits, once more, and close the store. Never raises for the store's sake."""
        if not self._handed_over:
            await self._write()
        if (lost := self._ledger.waiting + self._overrides.waiting) and not self._handed_over:
            log.critical("%d changes could not be stored and are lost", lost)
        try:
            async with asyncio.timeout(self._store_timeout_s):
                await self._store.close()
        except (ControlError, TimeoutError) as error:
            log.error("store: not closed: %r", error)
