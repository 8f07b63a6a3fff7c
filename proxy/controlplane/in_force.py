"""What is in force, and how a change gets there and into the store.

Owns the states that the data plane has, the watch on each rollout, and the one lock that writing takes. What
tightens is in force before the first `await`; what loosens only once it is written (`ledger`). Must never
know why a rollout moves.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from proxy.config.export import digest
from proxy.controlplane.announcing import Announcing
from proxy.controlplane.ledger import Ledger
from proxy.controlplane.minute_book import MinuteBook
from proxy.controlplane.overrides import Overrides
from proxy.controlplane.rollout_view import RolloutView
from proxy.controlplane.rule_watch import PROCESS, RuleWatch
from proxy.controlplane.watch import RolloutWatch
from proxy.core.gauges import CALM, UNKNOWN, Surroundings
from proxy.errors import ControlError, UnknownRollout
from proxy.model import BackendReport, Path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.config.schema import Config
    from proxy.core.alert_rules import RuleReading
    from proxy.core.gauges import SystemReport
    from proxy.model import RolloutState, Transition
    from proxy.ports import (
        Clock,
        Endpoints,
        Evidence,
        Machine,
        OverrideSink,
        OverrideStore,
        RolloutSink,
        Store,
        Vitals,
    )

log = logging.getLogger("dualpath.control")

_NOTHING_SAID: Final = BackendReport()


class InForce:
    """The rollouts of `config` as they are in force. `Controller` says when and why."""

    def __init__(
        self,
        config: Config,
        *,
        store: Store,
        evidence: Evidence,
        sinks: Sequence[RolloutSink],
        endpoints: Endpoints,
        clock: Clock,
        store_timeout_s: float,
        overrides: OverrideStore | None,
        override_sinks: Sequence[OverrideSink],
        vitals: Vitals | None,
        announcing: Announcing | None = None,
        machine: Machine | None = None,
    ) -> None:
        self._store = store
        self._evidence = evidence
        self._endpoints = endpoints
        self._vitals = vitals
        self._machine = machine
        self._clock = clock
        self._store_timeout_s = store_timeout_s
        self._view = RolloutView(sinks)
        self._watches = {plan.name: RolloutWatch(plan, clock.monotonic()) for plan in config.rollouts}
        self._ledger = Ledger(store, self._put_in_force, clock, store_timeout_s)
        self._ledger.config = digest(config)
        self._announcing = Announcing(clock) if announcing is None else announcing
        self._rules = RuleWatch(config, self._announce_rule)
        self._ledger.on_trouble = self._announcing.store
        self._overrides = Overrides(overrides, override_sinks, self._view.state, clock, self._ledger)
        self.minutes = MinuteBook(clock)
        self._writing = asyncio.Lock()
        self._replacing = False
        self._seen: tuple[float, float, BackendReport, SystemReport] | None = None
        self._around = CALM

    def states(self) -> list[RolloutState]:
        """What is in force, in the configuration's order."""
        return [self._view.state(name) for name in self._watches]

    def watches(self) -> list[RolloutWatch]:
        """The watch on every rollout, in the configuration's order."""
        return list(self._watches.values())

    def _watch(self, name: str) -> RolloutWatch:
        try:
            return self._watches[name]
        except KeyError:
            raise UnknownRollout(f"there is no rollout {name!r}") from None

    def look(self) -> None:
        """Take in what has been counted since the last tick, and decide nothing."""
        try:
            self._gather()
        except Exception:
            log.exception("what was counted last is lost")

    # ... putting in force

    def _enter(self, state: RolloutState) -> None:
        """`state` is in force, and has been for as long as it says."""
        elapsed_s = max(0.0, self._clock.wall() - state.since)
        self.minutes.entering(self._watches[state.name], state)
        self._watches[state.name].enter(state, self._clock.monotonic(), elapsed_s)
        self._view.publish(state)

    def _tighten(self, *transitions: Transition) -> None:
        """Moves to the safe side: in force at once, all of them before anything is logged or stored."""
        self._put_in_force(*(transition.after for transition in transitions))
        for transition in transitions:
            self._ledger.defer(transition)
            log.warning("%s", _line(transition), extra={"transition": _fields(transition)})
        for transition in transitions:
            self._announcing.moved(transition)

    def _put_in_force(self, *states: RolloutState) -> None:
        """Publish, and let evidence begin anew if it belonged to another weight or phase."""
        known = [state for state in states if state.name in self._watches]  # a reload may have removed it
        for state in known:
            self._view.publish(state)
        try:
            self._gather()  # what is there yet is from before
        except Exception:
            told = ", ".join(
                f"{state.name}: the evidence before revision {state.revision}" for state in known
            )
            log.exception("%s is lost", told)
        for state in known:
            self.minutes.entering(self._watches[state.name], state)
            self._watches[state.name].enter(state, self._clock.monotonic())

    def _gather(self) -> None:
        now, endpoints = self._clock.monotonic(), self._endpoints
        said = _NOTHING_SAID if self._vitals is None else self._vitals.latest()
        system = UNKNOWN if self._machine is None else self._machine.system()
        seen = endpoints.health(Path.V1), endpoints.health(Path.V2), said, system
        if seen != self._seen:  # they mostly stay as they are
            self._seen = seen
            self._around = Surroundings(seen[0], seen[1], said.cpu, said.memory, said.cache_hit_rate, system)
        around = self._around
        self._rules.surround(around)
        for watch, tally in zip(self._watches.values(), self._evidence.drain(), strict=True):
            try:
                watch.observe(now, tally, around)
                self._rules.observe(watch.plan.name, now, tally)
            except Exception:
                log.exception("%s: what was seen of it is lost", watch.plan.name)
        for watch, tally in zip(self._watches.values(), self._evidence.late(), strict=False):
            watch.observe_late(now, tally)
            self._rules.observe(watch.plan.name, now, tally)

    def _announce_rule(self, rollout: str, reading: RuleReading) -> None:
        state = None if rollout == PROCESS else self._view.state(rollout)
        self._announcing.rule(reading, state)

    # ... writing

    async def _write_first(self, transition: Transition) -> None:
        """Write, then put in force. Raises as `Ledger.write_first`."""
        await self._ledger.write_first(transition)
        log.info("%s", _line(transition), extra={"transition": _fields(transition)})
        self._announcing.moved(transition)

    async def _write(self, promotions: Sequence[tuple[RolloutWatch, Transition]] = ()) -> None:
        """Write all that waits, then the promotions whose state still stands. While a reload is carried out
        nothing is written and nobody waits for it: it writes at its end."""
        if self._replacing or not (promotions or self._ledger.is_owing or self._overrides.is_owing):
            return  # and waits for nobody who writes, or copies what others have written
        failures = self._ledger.failures
        async with self._writing:
            if self._ledger.failures != failures:
                return  # it has just failed somebody else: do not wait for it a second time
            await self._flush()
            for watch, transition in promotions:
                if self._watches.get(watch.plan.name) is watch:  # else its plan has changed meanwhile
                    await self._promote(transition, watch)

    async def _flush(self) -> None:
        """Write all that waits; overrides once their rollout's state is stored."""
        await self._ledger.flush()
        if not self._ledger.waiting:
            await self._overrides.flush()

    async def _promote(self, transition: Transition, watch: RolloutWatch) -> None:
        if self._view.state(transition.after.name) != transition.before:
            return
        try:
            await self._write_first(transition)
        except ControlError as error:  # the next tick tries again; the ledger logs when trouble begins, ends
            log.debug("%s: not promoted: %s", transition.after.name, error)
            if trouble := self._ledger.trouble:
                watch.wait_for(without_store(trouble))


def without_store(trouble: str) -> str:
    """What is waited for, in words, where nothing can be written for this reason."""
    return f"the store to take it, without which nothing is raised: {trouble}"


def _fields(transition: Transition) -> dict[str, object]:
    """The same for a log in JSON."""
    before, after = transition.before, transition.after
    return {
        "rollout": after.name,
        "state": after.state,
        "phase": after.phase,
        "percentage_before": before.percentage,
        "percentage": after.percentage,
        "cause": transition.cause,
        "actor": transition.actor,
        "revision": after.revision,
    }


def _line(transition: Transition) -> str:
    after = transition.after
    return f"{after.name}: {after.state} at {after.percentage:g} % by {transition.actor}: {transition.reason}"
