"""One simulation: the controller with everything around it, tick by tick until the scenario ends.

Owns the order of a tick: time passes, traffic comes, operators act, the controller decides. Must never know
how it decides.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import deque
from contextlib import contextmanager, suppress
from math import inf
from typing import TYPE_CHECKING, Protocol

from proxy.config.units import weight_of
from proxy.controlplane.controller import Controller
from proxy.errors import ControlError, DualpathError, IllegalMove, UnknownRollout
from proxy.model import Command, State, Verb
from proxy.ports import Evidence, RolloutSink
from proxy.simulation.clock import SimulatedClock
from proxy.simulation.drawing import DrawnEvidence
from proxy.simulation.outcome import Outcome, ending, first_s, happenings
from proxy.simulation.recorded import RecordedEvidence
from proxy.simulation.scenario import Scenario
from proxy.simulation.world import FickleStore, World

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from proxy.config.schema import Config
    from proxy.core.breaker import Breaker
    from proxy.core.minute import Minute
    from proxy.core.routing import Split
    from proxy.model import RolloutState
    from proxy.simulation.drawing import Totals
    from proxy.simulation.scenario import Order
    from proxy.simulation.timeline import Conditions

log = logging.getLogger("dualpath.control")

_PAUSE_TICKS = 64  # after so many, whatever else the event loop has to do
_APPROVAL_TICKS = 60  # that an operator takes to see that approval is asked for
_MOST_EVENTS = 1_000_000
_OPERATOR = "operator"
_ALLOCATIONS = 100_000  # more than are freed, after which the garbage collector looks
_OVER = frozenset({State.ROLLED_BACK, State.ABORTED, State.DISABLED})


class Play(Evidence, RolloutSink, Protocol):
    """The traffic of a simulation, and when there is something to decide: `drawing` and `recorded`."""

    totals: Totals
    conditions: Conditions
    split: Split

    @property
    def breaker(self) -> Breaker:
        """The rollout's breaker."""

    @property
    def begins_s(self) -> float:
        """When the rollout is started."""

    def instants(self) -> Iterator[float]:
        """When the controller looks."""

    def advance(self, now: float) -> None:
        """Let come what comes until then."""


def simulated(config: Config, scenario: Scenario, seed: int | None = None) -> Outcome:
    """What would become of the one rollout of `config`. The same arguments give the same outcome."""
    seed = scenario.seed if seed is None else seed
    with _seldom_tidied():
        return asyncio.run(Simulation(config, scenario, DrawnEvidence(config, scenario, seed)).run(seed))


@contextmanager
def _seldom_tidied() -> Iterator[None]:
    """A simulation leaves hardly any cycles, and each search for some goes through every histogram."""
    before = gc.get_threshold()
    gc.set_threshold(_ALLOCATIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def judged_again(config: Config, minutes: Sequence[Minute], seed: int | None = None) -> Outcome:
    """What would have become of it in `minutes`, at least one, that were recorded, oldest first."""
    start, seed = minutes[0].at, seed or 0
    lasts_s = minutes[-1].at + minutes[-1].seconds - start
    scenario = Scenario().model_copy(update={"start": start, "duration_s": lasts_s})
    return asyncio.run(Simulation(config, scenario, RecordedEvidence(config, minutes, seed)).run(seed))


def chosen(config: Config, name: str | None) -> Config:
    """The configuration with only the rollout `name`, or its only one. Raises `UnknownRollout`."""
    names = [rollout.name for rollout in config.rollouts]
    if name is None and len(names) > 1:
        raise UnknownRollout(f"there are several rollouts, choose with --name: {', '.join(names)}")
    if name is not None and name not in names:
        raise UnknownRollout(f"there is no rollout {name!r}")
    only = tuple(rollout for rollout in config.rollouts if name in {None, rollout.name})
    return config.model_copy(update={"rollouts": only})


class Simulation:
    """One run. `config` has one rollout; of `scenario`, the calendar and the operators count."""

    def __init__(self, config: Config, scenario: Scenario, play: Play) -> None:
        self._plan = config.rollouts[0]
        self._scenario = scenario
        self._clock = SimulatedClock(scenario.start)
        self._play = play
        self._store = FickleStore()
        self._refused: list[str] = []
        self._approves = scenario.operator.approve and any(phase.approval for phase in self._plan.phases)
        self._failures = _Failures(logging.ERROR)
        around = World(play)
        self._controller = Controller(
            config,
            store=self._store,
            evidence=play,
            sinks=[play],
            endpoints=around,
            router=around,
            vitals=around,
            clock=self._clock,
            post=around.post,
        )

    async def run(self, seed: int) -> Outcome:
        """From the first tick to the last. Raises `DualpathError` if the controller met with an error of its
        own, which it logs and survives: no simulation of anything."""
        log.addHandler(self._failures)
        try:
            await self._played()
            return await self._outcome(seed)
        finally:
            log.removeHandler(self._failures)

    async def _outcome(self, seed: int) -> Outcome:
        self._store.down = False
        self._failures.require_none()
        judgment = self._controller.report(self._plan.name).judgment
        state = self._state
        await self._controller.close()
        events = await self._store.events(limit=_MOST_EVENTS)
        happened = happenings((event.transition for event in events), self._scenario.start)
        totals = self._play.totals
        return Outcome(
            rollout=self._plan.name,
            outcome=ending(state, judgment, self._plan, self._clock.wall()),
            duration_s=self._scenario.duration_s,
            seed=seed,
            state=state.state,
            phase=state.phase,
            percentage=state.percentage,
            reasons=judgment.reasons,
            rolled_back_at_s=first_s(happened, State.ROLLED_BACK, State.ABORTED),
            completed_at_s=first_s(happened, State.COMPLETED),
            v1_requests=totals.v1_requests,
            v2_requests=totals.v2_requests,
            v2_requests_after_change=totals.v2_requests_after_change,
            v2_not_sent=totals.v2_not_sent,
            fallbacks=totals.fallbacks,
            client_errors=totals.client_errors,
            unknown=totals.unknown,
            refused=tuple(self._refused),
            events=happened,
        )

    @property
    def _state(self) -> RolloutState:
        return self._controller.states()[0]

    async def _played(self) -> None:
        await self._controller.open()
        waiting = deque(sorted(self._scenario.command, key=lambda order: order.at_s))
        play, clock, store, tick = self._play, self._clock, self._store, self._controller.tick
        begins_s = play.begins_s
        pause = 1 if any(phase.webhook for phase in self._plan.phases) else _PAUSE_TICKS
        for number, now in enumerate(play.instants(), 1):
            if begins_s <= clock.passed_s:
                begins_s = inf
                await self._begin()
            while waiting and waiting[0].at_s <= clock.passed_s:
                await self._obey(waiting.popleft())
            clock.passed_s = now
            play.advance(now)
            store.down = play.conditions.store_down
            await tick()
            if self._approves and not number % _APPROVAL_TICKS:
                await self._approve()
            if not number % pause:
                await asyncio.sleep(0)
                self._failures.require_none()
                if not waiting and begins_s == inf and self._is_over():
                    self._skip()
                    return

    async def _begin(self) -> None:
        with suppress(IllegalMove):  # it runs already, as the configuration has it
            await self._controller.command(Command(self._plan.name, Verb.START, _OPERATOR))

    async def _obey(self, order: Order) -> None:
        weight = None if order.percentage is None else weight_of(order.percentage)
        name, full = self._plan.name, order.full
        await self._ask(Command(name, order.verb, _OPERATOR, order.reason, weight=weight, full=full))

    async def _ask(self, command: Command) -> None:
        try:
            await self._controller.command(command)
        except ControlError as error:
            self._refused.append(f"{command.verb}: {error}")

    async def _approve(self) -> None:
        """Promote as soon as nothing but approval is missing."""
        waits = self._controller.report(self._plan.name).judgment.reasons
        if waits and all(what.startswith("approval") for what in waits):
            await self._ask(Command(self._plan.name, Verb.PROMOTE, _OPERATOR, "approved"))

    def _is_over(self) -> bool:
        """Whether nothing can happen any more, because nobody starts it again."""
        state = self._state
        return state.state in _OVER and state.weight == 0 and state.retries >= self._plan.auto_retry

    def _skip(self) -> None:
        """Only v1 is left: count what its clients see."""
        clock, ends_s = self._clock, self._scenario.duration_s
        step_s = max(60.0, self._plan.judge.tick_s)
        while clock.passed_s < ends_s:
            clock.passed_s = min(clock.passed_s + step_s, ends_s)
            self._play.advance(clock.passed_s)
            self._play.drain()


class _Failures(logging.Handler):
    """Keeps the first exception that the controller has logged."""

    first: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take in a line of the log."""
        if record.exc_info and self.first is None:
            self.first = record.exc_info[1]

    def require_none(self) -> None:
        """Raise `DualpathError` if there was one."""
        if self.first is not None:
            raise DualpathError(f"the controller failed: {self.first!r}") from self.first
