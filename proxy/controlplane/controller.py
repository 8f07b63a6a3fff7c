"""The controller: the one place where a rollout's state changes.

Owns the road that judgments and commands share: decide, then put in force and write, in the order that is
safe (`in_force`). Must never know HTTP, a request or how a state is stored.

Deciding never waits, and what tightens is in force before the first `await`: neither a slow store, another
command nor a reload can delay a rollback. Writing is done by one at a time.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, TypeGuard

from proxy.controlplane.announcing import Announcing
from proxy.controlplane.following import sole
from proxy.controlplane.gatekeeper import Gatekeeper
from proxy.controlplane.hooks import Hooks
from proxy.controlplane.in_force import without_store
from proxy.controlplane.overriding import Overriding
from proxy.controlplane.webhook import Webhooks
from proxy.core.caution import HELD, tightens
from proxy.core.fleet import Role
from proxy.core.rollout import command_transition, may_retry, retry, stage, step
from proxy.errors import ControlError, RevisionConflict, StoreUnavailable
from proxy.judgment import Judgment
from proxy.model import Command, Pulse, RolloutReport, Transition, Users, Verb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from proxy.config.schema import Config
    from proxy.controlplane.watch import RolloutWatch
    from proxy.model import EndpointStatus, Event, Explanation, RolloutState
    from proxy.ports import (
        Announcer,
        Census,
        Clock,
        Endpoints,
        Evidence,
        Exemplars,
        History,
        Machine,
        OverrideSink,
        OverrideStore,
        Post,
        RolloutSink,
        Router,
        Store,
        Vitals,
    )

log = logging.getLogger("dualpath.control")

_STORE_TIMEOUT_S = 2.0
_STOP_ANSWERS_S = 0.3
"""How long an emergency stop, which is in force by then, waits for the store before it says so."""


class Controller(Overriding):
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
        overrides: OverrideStore | None = None,
        override_sinks: Sequence[OverrideSink] = (),
        vitals: Vitals | None = None,
        census: Census | None = None,
        post: Post | None = None,
        announcers: Sequence[Announcer] = (),
        exemplars: Exemplars | None = None,
        machine: Machine | None = None,
        role: Callable[[], Role] = sole,
        history: History | None = None,
    ) -> None:
        super().__init__(
            config,
            role=role,
            store=store,
            evidence=evidence,
            sinks=sinks,
            endpoints=endpoints,
            clock=clock,
            store_timeout_s=store_timeout_s,
            overrides=overrides,
            override_sinks=override_sinks,
            vitals=vitals,
            announcing=Announcing(clock, announcers, exemplars),
            machine=machine,
        )
        self._census = census
        self._router = router
        self._history = store if history is None else history
        self._own_post = post
        self._gatekeeper = Gatekeeper(self._post_under(config), clock)
        self._hooks = Hooks(config.hooks, self._post_under(config), clock)
        self._stopping: set[asyncio.Task[None]] = set()

    async def replace(self, config: Config, swap: Callable[[Config], Awaitable[None]]) -> None:
        """As `Succession.replace`; webhooks are asked as `config` allows."""
        await super().replace(config, swap)
        post = self._post_under(config)
        self._gatekeeper.ask_by(post)
        self._hooks.follow(config.hooks, post)

    def _post_under(self, config: Config) -> Post:
        return self._own_post or Webhooks(config.webhooks.allow_networks).post

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
            await self._loosen(command, transition.before, await self._hooked(transition))
        return self._view.state(command.rollout)

    async def command_all(self, commands: Sequence[Command]) -> list[RolloutState | ControlError]:
        """Carry out several, for each the state then in force, or why not. What tightens is in force for all
        of them before the store is asked for any; one that fails spares no other."""
        found: list[Transition | ControlError | None] = [self._tried(command) for command in commands]
        tightening = [one for one in found if _is_tightening(one)]
        if tightening:
            self._tighten(*tightening)
            await self._write()
        past = await self._hooked_all(found)
        dead: StoreUnavailable | None = None
        for place, (command, one) in enumerate(zip(commands, found, strict=True)):
            if one is None or isinstance(one, ControlError) or _is_tightening(one):
                continue
            try:
                if dead is not None:
                    raise dead  # it has just not answered: the others need not wait for that
                await self._loosen(command, one.before, past[place])
            except StoreUnavailable as error:
                found[place] = dead = error
            except ControlError as error:
                found[place] = error
        return [
            one if isinstance(one, ControlError) else self._view.state(command.rollout)
            for command, one in zip(commands, found, strict=True)
        ]

    async def emergency_stop(self, actor: str, reason: str = "") -> list[RolloutState]:
        """Take everything back from v2, in every rollout that gives it anything: in force for all of them
        before this first waits. Gives their states. Whether they are stored, `is_stored` tells; the store is
        waited for no longer than a moment."""
        commands = [
            Command(name, Verb.ROLLBACK, actor, reason or f"emergency stop by {actor}")
            for name in self._watches
        ]
        stopped = [
            replace(one, cause="command:emergency_stop")
            for one in map(self._tried, commands)
            if one is not None and not isinstance(one, ControlError)
        ]
        if stopped:
            self._tighten(*stopped)
        if self._ledger.waiting:
            writing = asyncio.create_task(self._write(), name="emergency stop")
            self._stopping.add(writing)
            writing.add_done_callback(self._stopping.discard)
            await asyncio.wait([writing], timeout=_STOP_ANSWERS_S)
        return [self._view.state(one.after.name) for one in stopped]

    def _tried(self, command: Command) -> Transition | ControlError | None:
        try:
            return self._ask(command)
        except ControlError as error:
            return error

    def _ask(self, command: Command) -> Transition | None:
        plan = self._watch(command.rollout).plan
        pinned = bool(plan.allow.v2 or plan.deny.v1) or self._overrides.sends_to_v2(plan.name)
        state = self._view.state(command.rollout)
        transition = command_transition(state, command, plan, self._clock.wall(), pinned=pinned)
        if transition is None:
            return None
        return _past(transition, self._gatekeeper.passed_over(transition, plan))

    async def _hooked(self, transition: Transition) -> list[str]:
        """Ask the hooks before a person's move: they are waited for, and what they say stops no person."""
        return await self._hooks.asked(transition, self._watch(transition.after.name).plan)

    async def _hooked_all(self, found: Sequence[Transition | ControlError | None]) -> list[list[str]]:
        async def asked(one: Transition | ControlError | None) -> list[str]:
            if not isinstance(one, Transition) or tightens(one.before, one.after):
                return []
            return await self._hooked(one)

        return await asyncio.gather(*map(asked, found)) if self._hooks else [[] for _ in found]

    async def _loosen(self, command: Command, asked_of: RolloutState, past: Sequence[str]) -> None:
        async with self._writing:
            await self._flush()
            present = self._view.state(command.rollout)
            if _was_taken_back(asked_of, present):  # whoever asked had not seen that: it is not given again
                raise RevisionConflict(
                    f"{command.verb} was overtaken: {present.state} at {present.percentage:g} % by now"
                )
            transition = self._ask(command)  # again: the state may have moved meanwhile
            if transition is None:
                return
            if tightens(transition.before, transition.after):
                self._tighten(transition)
                await self._ledger.flush()
            else:
                await self._write_first(_past(transition, past))

    # ... the tick

    async def tick(self) -> None:
        """Look, judge, move. Trouble with one rollout, or with the store, is logged and stops no other.

        Where another instance judges, only look; where none can be reached, move to the safe side alone.
        """
        self._gather()
        if self._role() is Role.FOLLOWER:
            self._stand_by()
            await self._write()
            return
        decided = [(watch, self._decide(watch)) for watch in self._watches.values()]
        self._overrides.expire()
        self._rules.look(self._clock.monotonic())
        await self._write([(watch, promotion) for watch, promotion in decided if promotion is not None])

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
        for event, reading in watch.alerts(state, at):
            log.warning("%s: %s", state.name, event.reason)
            self._ledger.defer(event)
            self._announcing.guard(event, reading)
        if transition is None and may_retry(state, watch.plan):
            transition = retry(state, watch.plan, at)
            if transition is None:
                self._say_when_it_is_retried(watch, state, at)
        if transition is None:
            return None
        if tightens(transition.before, transition.after):
            self._tighten(transition)
            return None
        if self._role() is Role.ALONE:
            closed = ["the shared store to answer: nothing is raised without it"]
        else:
            closed = self._gatekeeper.closed(transition, watch.plan)
        if closed := closed or self._hooks.closed(transition, watch.plan):
            watch.wait_for(*closed)
            return None
        if trouble := self._ledger.trouble:  # which may be over: it is tried all the same
            watch.wait_for(without_store(trouble))
        return transition

    def _say_when_it_is_retried(self, watch: RolloutWatch, state: RolloutState, at: float) -> None:
        left_s = max(0.0, state.since + watch.plan.cooldown_s - at)
        what = f"retry {state.retries + 1} of {watch.plan.auto_retry} after the cooldown"
        watch.judgment = replace(watch.judgment, missing=(what,), eta_s=left_s)

    # ... for people

    def report(self, name: str) -> RolloutReport:
        """One rollout as it stands. Raises `UnknownRollout`."""
        return self.report_with(name, tuple(self._endpoints.statuses()))

    def report_with(self, name: str, endpoints: tuple[EndpointStatus, ...]) -> RolloutReport:
        """The same by somebody who knows the endpoints. Raises `UnknownRollout`."""
        watch, now = self._watch(name), self._clock.monotonic()
        return RolloutReport(
            state=self._view.state(name),
            judgment=watch.judgment,
            total=watch.total(now),
            recent=watch.recent(now),
            stage=stage(self._view.state(name), watch.plan),
            breaker=self._endpoints.breaker(name),
            endpoints=endpoints,
            users=Users() if self._census is None else self._census.users(name),
        )

    def reports(self) -> list[RolloutReport]:
        """All rollouts, in the configuration's order."""
        endpoints = tuple(self._endpoints.statuses())
        return [self.report_with(name, endpoints) for name in self._watches]

    def pulses(self) -> Iterator[Pulse]:
        """The figures of all rollouts, for whoever looks every second; others may have their turn between
        two of them."""
        for watch in list(self._watches.values()):
            if self._watches.get(watch.plan.name) is watch:
                now = self._clock.monotonic()
                yield Pulse(self._view.state(watch.plan.name), watch.counts(now), watch.recent(now))

    def judgment(self, name: str) -> Judgment:
        """The latest judgment on a rollout. Raises `UnknownRollout`."""
        return self._watch(name).judgment

    @property
    def waiting(self) -> int:
        """How many changes and events are in force but not stored, because the store does not work."""
        return self._ledger.waiting + self._overrides.waiting

    @property
    def store_trouble(self) -> str:
        """Why the store has taken nothing of late; empty if it takes what is written."""
        return self._ledger.trouble

    def is_stored(self, name: str) -> bool:
        """Whether the state of `name` that is in force is in the store too."""
        return self._ledger.is_stored(name)

    async def events(
        self, *, after: int = 0, limit: int = 100, rollout: str | None = None
    ) -> Sequence[Event]:
        """What is stored of the audit, as `ports.Store.events`. Raises `StoreUnavailable`, `StoreCorrupt`."""
        try:
            async with asyncio.timeout(self._store_timeout_s):
                return await self._history.events(after=after, limit=limit, rollout=rollout)
        except TimeoutError:
            raise StoreUnavailable("the store does not answer") from None

    def explain(
        self, *, key: str | None, host: str, path: str, method: str, rollout: str | None = None
    ) -> Explanation:
        """Why a request of this key would go where it would go, as `ports.Router.explain`."""
        told = self._router.explain(key=key, host=host, path=path, method=method, rollout=rollout)
        if not told.rule.startswith("override") or told.rollout is None or told.key is None:
            return told
        return replace(told, override=self._overrides.find(told.rollout, told.key))

    async def close(self) -> None:
        """Ask no webhook any more, write what waits, once more, and close the store. Never raises for the
        store's sake."""
        await self._gatekeeper.close()
        await self._hooks.close()
        await asyncio.gather(*self._stopping, return_exceptions=True)
        await super().close()

    def __repr__(self) -> str:
        return f"Controller({self._view!r}, {self._ledger!r})"


def _past(transition: Transition, passed: Sequence[str]) -> Transition:
    """The same, telling the audit what a person has gone past."""
    if not passed:
        return transition
    reason = f"{transition.reason} (past: {'; '.join(passed)})"
    return replace(transition, reason=reason, after=replace(transition.after, reason=reason))


def _was_taken_back(before: RolloutState, now: RolloutState) -> bool:
    """Whether it was lowered or halted in between."""
    return now.weight < before.weight or (now.state in HELD and now.state is not before.state)


def _is_tightening(found: Transition | ControlError | None) -> TypeGuard[Transition]:
    return isinstance(found, Transition) and tightens(found.before, found.after)
