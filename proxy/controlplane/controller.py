"""The controller: the one place where a rollout's state changes.

Owns the road that judgments and commands share: decide, then put in force and write, in the order that is
safe (`ledger`). Must never know HTTP, a request or how a state is stored.

Deciding never waits, and what tightens is in force before the first `await`: neither a slow store, another
command nor a reload can delay a rollback. Writing is done by one at a time.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from proxy.controlplane.ledger import Ledger, tightens
from proxy.controlplane.reconciling import foreseen, reconciled, reload_events, unwritten
from proxy.controlplane.rollout_view import RolloutView
from proxy.controlplane.watch import RolloutWatch, succeeding
from proxy.core.rollout import command_transition, step
from proxy.errors import ControlError, StoreUnavailable, UnknownRollout
from proxy.model import Judgment, Path, RolloutReport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from proxy.config.schema import Config, Rollout
    from proxy.model import Command, Event, Explanation, RolloutState, Transition
    from proxy.ports import Clock, Endpoints, Evidence, RolloutSink, Router, Store

log = logging.getLogger("dualpath.control")

_STORE_TIMEOUT_S = 2.0


class Controller:
    """All rollouts of `config`. `open` it, `tick` it once a second, `close` it.

    Its parameters are the ports, one each, which only the composition root fills in.

    Every method that changes something raises `ControlError`s and has then changed nothing. `store_timeout_s`
    bounds each wait for the store.
    """

    def __init__(
        self,
        config: Config,
        *,
        store: Store,
        evidence: Evidence,
        sinks: Sequence[RolloutSink],
        endpoints: Endpoints,
        router: Router,
        clock: Clock,
        store_timeout_s: float = _STORE_TIMEOUT_S,
    ) -> None:
        self._store = store
        self._evidence = evidence
        self._endpoints = endpoints
        self._router = router
        self._clock = clock
        self._store_timeout_s = store_timeout_s
        self._view = RolloutView(sinks)
        self._watches = {plan.name: RolloutWatch(plan, clock.monotonic()) for plan in config.rollouts}
        self._ledger = Ledger(store, self._put_in_force, clock, store_timeout_s)
        self._writing = asyncio.Lock()
        self._handed_over = False
        self._replacing = False

    # ... opening: what the store holds wins

    async def open(self) -> None:
        """Open the store, bring it in line with the configuration, put every rollout's state in force.

        Raises `StoreUnavailable` or `StoreCorrupt`; the store is closed then and nothing is in force.
        """
        async with self._opening():
            await self.catch_up()

    async def open_beside(self, handed: Iterable[RolloutState]) -> None:
        """Open the store and put in force what was `handed` by a process that still decides; a rollout that
        it does not know begins as `open` has it. Nothing is written before `catch_up`: that process may go
        on after all. Raises as `open` does.
        """
        told = {state.name: state for state in handed}
        plans = [watch.plan for watch in self._watches.values()]
        async with self._opening():
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

    async def catch_up(self, handed: Iterable[RolloutState] = ()) -> None:
        """Put in force what the store holds by now, as `open` does.

        `handed` are the states that were in force in a process that has just stopped deciding. They count
        where the store has none, or one that gives v2 more: it may not have been reachable at a rollback.
        Raises as `open` does.
        """
        plans = [watch.plan for watch in self._watches.values()]
        told = {state.name: state for state in handed}
        for state in await reconciled(self._store, plans, self._clock.wall(), told):
            self._enter(state)
            last = told.get(state.name)
            if last is not None and (transition := unwritten(state, last, self._clock.wall())):
                self._tighten(transition)
        await self._write()

    async def hand_over(self) -> list[RolloutState]:
        """Write what waits, and give what is in force to a process that decides from now on; here nothing
        may be decided any more, unless `take_back` is called."""
        await self._write()
        self._handed_over = True
        return self.states()

    async def take_back(self) -> None:
        """Decide again; what the other process has stored meanwhile comes into force."""
        self._handed_over = False
        async with self._writing:
            await self._ledger.flush()
            try:
                stored = await self._known([watch.plan for watch in self._watches.values()])
            except ControlError as error:
                log.error("store: what happened meanwhile is not known: %s", error)
                return
        for state in stored:
            if self._ledger.is_stored(state.name) and state.revision > self._view.state(state.name).revision:
                self._enter(state)

    def follow(self, state: RolloutState) -> None:
        """Put in force what the process that still decides has put in force; not for one that decides."""
        if state.name in self._watches:
            self._enter(state)

    def states(self) -> list[RolloutState]:
        """What is in force, in the configuration's order."""
        return [self._view.state(name) for name in self._watches]

    def _enter(self, state: RolloutState) -> None:
        elapsed_s = max(0.0, self._clock.wall() - state.since)
        self._watches[state.name].enter(state, self._clock.monotonic(), elapsed_s)
        self._view.publish(state)

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
                stored = await self._known_last(added) if added else []
                self._gather()
                await swap(config)
                # No await from here on: the evidence comes in the new order now.
                self._succeed(config, stored)
            finally:
                self._replacing = False
            await self._ledger.flush()

    def _succeed(self, config: Config, stored: Iterable[RolloutState]) -> None:
        before, now = self._watches, self._clock.monotonic()
        self._watches = {plan.name: succeeding(before.get(plan.name), plan, now) for plan in config.rollouts}
        kept = [self._view.state(plan.name) for plan in config.rollouts if plan.name in before]
        # A rollout that comes back may have left with a rollback that the store has not taken yet.
        for state in [*map(self._ledger.on_top_of, stored), *kept]:
            self._enter(state)
        for transition in reload_events(before, self._watches, self._view.state, self._clock.wall()):
            if transition.changes_state:
                self._put_in_force(transition.after)
            self._ledger.defer(transition)

    async def _known_last(self, plans: Sequence[Rollout]) -> list[RolloutState]:
        """What the store knows of them once it has been asked to take what waits, and what it may have taken
        unasked is settled."""
        await self._ledger.flush()
        return await self._known(plans)

    async def _known(self, plans: Sequence[Rollout]) -> list[RolloutState]:
        try:
            async with asyncio.timeout(self._store_timeout_s):
                return await reconciled(self._store, plans, self._clock.wall())
        except TimeoutError:
            raise StoreUnavailable("the store does not answer") from None

    # ... commands

    async def command(self, command: Command) -> RolloutState:
        """Carry out what a person asks; gives the state then in force. Asking for what is, is no error.

        Raises `UnknownRollout`, `InvalidCommand`, `IllegalMove`, `RevisionConflict`, `StoreUnavailable`. A
        move to the safe side is in force at once and needs no store; it is stored when the store works again.
        """
        transition = self._ask(command)
        if transition is None:
            return self._view.state(command.rollout)
        if tightens(transition.before, transition.after):
            self._tighten(transition)
            await self._write()
        else:
            await self._loosen(command)
        return self._view.state(command.rollout)

    def _ask(self, command: Command) -> Transition | None:
        plan = self._watch(command.rollout).plan
        return command_transition(self._view.state(command.rollout), command, plan, self._clock.wall())

    async def _loosen(self, command: Command) -> None:
        async with self._writing:
            await self._ledger.flush()
            transition = self._ask(command)  # again: the state may have moved meanwhile
            if transition is None:
                return
            if tightens(transition.before, transition.after):
                self._tighten(transition)
                await self._ledger.flush()
            else:
                await self._ledger.write_first(transition)
                log.info("%s", _line(transition))

    # ... the tick

    async def tick(self) -> None:
        """Look, judge, move. Trouble with one rollout, or with the store, is logged and stops no other."""
        self._gather()
        decided = [(watch, self._decide(watch)) for watch in self._watches.values()]
        await self._write([(watch, promotion) for watch, promotion in decided if promotion is not None])

    def _gather(self) -> None:
        now, endpoints = self._clock.monotonic(), self._endpoints
        health = endpoints.health(Path.V1), endpoints.health(Path.V2)
        for watch, tally in zip(self._watches.values(), self._evidence.drain(), strict=True):
            try:
                watch.observe(now, tally, *health)
            except Exception:
                log.exception("%s: what was seen of it is lost", watch.plan.name)
        for watch, tally in zip(self._watches.values(), self._evidence.late(), strict=False):
            watch.observe_late(now, tally)

    def _decide(self, watch: RolloutWatch) -> Transition | None:
        """Judge; do at once what tightens; return what may only be done once it is written."""
        try:
            return self._judged(watch, self._view.state(watch.plan.name), self._clock.wall())
        except Exception as error:
            log.exception("%s: cannot be judged", watch.plan.name)
            watch.judgment = Judgment(reasons=(f"cannot be judged: {error!r}",))
            return None

    def _judged(self, watch: RolloutWatch, state: RolloutState, at: float) -> Transition | None:
        transition = step(state, watch.decide(state, self._clock.monotonic()), watch.plan, at)
        for event in watch.alerts(state, at):
            log.warning("%s: %s", state.name, event.reason)
            self._ledger.defer(event)
        if transition is None or not tightens(transition.before, transition.after):
            return transition
        self._tighten(transition)
        return None

    # ... putting in force and writing

    def _tighten(self, transition: Transition) -> None:
        self._put_in_force(transition.after)
        self._ledger.defer(transition)
        log.warning("%s", _line(transition))

    async def _write(self, promotions: Sequence[tuple[RolloutWatch, Transition]] = ()) -> None:
        """Write all that waits, then the promotions whose state still stands. While a reload is carried out
        nothing is written and nobody waits for it: it writes at its end."""
        if self._replacing:
            return
        failures = self._ledger.failures
        async with self._writing:
            if self._ledger.failures != failures:
                return  # it has just failed somebody else: do not wait for it a second time
            await self._ledger.flush()
            for watch, transition in promotions:
                if self._watches.get(watch.plan.name) is watch:  # else its plan has changed meanwhile
                    await self._promote(transition)

    async def _promote(self, transition: Transition) -> None:
        if self._view.state(transition.after.name) != transition.before:
            return
        try:
            await self._ledger.write_first(transition)
            log.info("%s", _line(transition))
        except (
            ControlError
        ) as error:  # the next tick tries again; the ledger logs when trouble begins and ends
            log.debug("%s: not promoted: %s", transition.after.name, error)

    def _put_in_force(self, state: RolloutState) -> None:
        """Publish, and let evidence begin anew if it belonged to another weight or phase."""
        if state.name not in self._watches:  # a reload has removed it while its last change waited
            return
        self._view.publish(state)
        try:
            self._gather()  # what is there yet is from before
        except Exception:
            log.exception("%s: the evidence before revision %d is lost", state.name, state.revision)
        self._watches[state.name].enter(state, self._clock.monotonic())

    # ... for people

    def report(self, name: str) -> RolloutReport:
        """One rollout as it stands. Raises `UnknownRollout`."""
        watch, now = self._watch(name), self._clock.monotonic()
        return RolloutReport(
            state=self._view.state(name),
            judgment=watch.judgment,
            total=watch.total(now),
            recent=watch.recent(now),
            breaker=self._endpoints.breaker(name),
            endpoints=tuple(self._endpoints.statuses()),
        )

    def reports(self) -> list[RolloutReport]:
        """All rollouts, in the configuration's order."""
        return [self.report(name) for name in self._watches]

    @property
    def waiting(self) -> int:
        """How many changes and events are in force but not stored, because the store does not work."""
        return self._ledger.waiting

    def is_stored(self, name: str) -> bool:
        """Whether the state of `name` that is in force is in the store too."""
        return self._ledger.is_stored(name)

    async def events(
        self, *, after: int = 0, limit: int = 100, rollout: str | None = None
    ) -> Sequence[Event]:
        """What is stored of the audit, as `ports.Store.events`. Raises `StoreUnavailable`, `StoreCorrupt`."""
        try:
            async with asyncio.timeout(self._store_timeout_s):
                return await self._store.events(after=after, limit=limit, rollout=rollout)
        except TimeoutError:
            raise StoreUnavailable("the store does not answer") from None

    def explain(
        self, *, key: str | None, host: str, path: str, method: str, rollout: str | None = None
    ) -> Explanation:
        """Why a request of this key would go where it would go, as `ports.Router.explain`."""
        return self._router.explain(key=key, host=host, path=path, method=method, rollout=rollout)

    def _watch(self, name: str) -> RolloutWatch:
        try:
            return self._watches[name]
        except KeyError:
            raise UnknownRollout(f"there is no rollout {name!r}") from None

    # ... closing

    async def close(self) -> None:
        """Write what waits, once more, and close the store. Never raises for the store's sake."""
        if not self._handed_over:
            await self._write()
        if self._ledger.waiting and not self._handed_over:
            log.critical("%d changes could not be stored and are lost", self._ledger.waiting)
        try:
            async with asyncio.timeout(self._store_timeout_s):
                await self._store.close()
        except (ControlError, TimeoutError) as error:
            log.error("store: not closed: %r", error)

    def __repr__(self) -> str:
        return f"Controller({self._view!r}, {self._ledger!r})"


def _line(transition: Transition) -> str:
    after = transition.after
    return f"{after.name}: {after.state} at {after.percentage:g} % by {transition.actor}: {transition.reason}"
