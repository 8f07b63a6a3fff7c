"""The controller: the one place where a rollout's state changes.

Owns the road that judgments and commands share: decide, then put in force and write, in the order that is
safe (`ledger`). Must never know HTTP, a request or how a state is stored.

Deciding never waits, and what tightens is in force before the first `await`: neither a slow store nor another
command can delay a rollback. Writing is done by one at a time.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from proxy.controlplane.ledger import Ledger, tightens
from proxy.controlplane.reconciling import reconciled
from proxy.controlplane.rollout_view import RolloutView
from proxy.controlplane.watch import RolloutWatch
from proxy.core.rollout import command_transition, step
from proxy.errors import ControlError, StoreUnavailable, UnknownRollout
from proxy.model import Judgment, Path, RolloutReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.config.schema import Config
    from proxy.model import Command, Event, Explanation, RolloutState, Transition
    from proxy.ports import Clock, Endpoints, Evidence, RolloutSink, Router, Store

log = logging.getLogger("dualpath.control")

_STORE_TIMEOUT_S = 2.0


class Controller:
    """All rollouts of `config`. `open` it, `tick` it once a second, `close` it.

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

    # ... opening: what the store holds wins

    async def open(self) -> None:
        """Open the store, bring it in line with the configuration, put every rollout's state in force.

        Raises `StoreUnavailable` or `StoreCorrupt`; the store is closed then and nothing is in force.
        """
        await self._store.open()
        try:
            plans = [watch.plan for watch in self._watches.values()]
            states = await reconciled(self._store, plans, self._clock.wall())
        except BaseException:
            await self._store.close()
            raise
        for state in states:
            elapsed_s = max(0.0, self._clock.wall() - state.since)
            self._watches[state.name].enter(state, self._clock.monotonic(), elapsed_s)
            self._view.publish(state)

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
        promotions = [self._decide(watch) for watch in self._watches.values()]
        await self._write([promotion for promotion in promotions if promotion is not None])

    def _gather(self) -> None:
        now, endpoints = self._clock.monotonic(), self._endpoints
        health = endpoints.health(Path.V1), endpoints.health(Path.V2)
        for watch, tally in zip(self._watches.values(), self._evidence.drain(), strict=True):
            try:
                watch.observe(now, tally, *health)
            except Exception:
                log.exception("%s: what was seen of it is lost", watch.plan.name)

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

    async def _write(self, promotions: Sequence[Transition] = ()) -> None:
        """Write all that waits, then the promotions whose state still stands."""
        failures = self._ledger.failures
        async with self._writing:
            if self._ledger.failures != failures:
                return  # it has just failed somebody else: do not wait for it a second time
            await self._ledger.flush()
            for transition in promotions:
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
        await self._write()
        if self._ledger.waiting:
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
