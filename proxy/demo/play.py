"""The script of the demo: what happens when, watched frame by frame.

Owns the order of events and the record that the summary is made from. Must never know a socket, a process or
a terminal: it acts through `Stage`, shows through `Screen`, and waits through `pause`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from proxy.demo.faults import Fault
from proxy.demo.summary import Run, summarise
from proxy.demo.view import Frame
from proxy.model import State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from proxy.demo.clients import ClientTally
    from proxy.demo.screen import Screen
    from proxy.demo.summary import Summary
    from proxy.model import Event, RolloutReport
    from proxy.ports import Clock

FRAME_S = 0.25
SETTLING_S = 0.5
"""How long after a rollback requests that were under way may still be v2's."""
RAISE_AT, FAULT_AT = 1 / 6, 1 / 3
"""When v2 gets more traffic and when it starts to fail, as shares of the whole length."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the demo is to show. `seconds` is its whole length, `rate` the requests a second."""

    fault: Fault = Fault.ERRORS
    seconds: float = 30.0
    stay: bool = False
    rate: float = 80.0


class Stage(Protocol):
    """The proxy and v2, as far as the script touches them."""

    def report(self) -> RolloutReport: ...
    async def events(self, after: int) -> Sequence[Event]: ...
    async def raise_weight(self) -> None: ...
    async def turn(self, fault: Fault) -> None: ...
    async def struck(self) -> int:
        """How many requests have reached v2 since the fault."""


class Play:
    """One run of the script. `pause` waits so many seconds and tells whether the wait was interrupted."""

    def __init__(
        self,
        stage: Stage,
        options: DemoOptions,
        *,
        screen: Screen,
        tally: ClientTally,
        clock: Clock,
        pause: Callable[[float], Awaitable[bool]],
    ) -> None:
        self._stage = stage
        self._options = options
        self._screen = screen
        self._tally = tally
        self._clock = clock
        self._pause = pause
        self._start, self._start_wall = clock.monotonic(), clock.wall()
        self._events: list[Event] = []
        self._script = self._scenes()
        self._fault = Fault.NONE
        self._fault_at_s: float | None = None
        self._before: RolloutReport | None = None
        self._settling = False

    def __repr__(self) -> str:
        return f"<Play {self._elapsed():.1f} of {self._options.seconds:g} s, fault {self._fault}>"

    async def perform(self) -> bool:
        """Play until the time is over; False if interrupted before."""
        while self._elapsed() < self._options.seconds:
            while self._script and self._script[0][0] <= self._elapsed():
                await self._script.pop(0)[1]()
            await self._show()
            if await self._pause(FRAME_S):
                return False
        return True

    async def conclude(self) -> Summary:
        """The last frame, and the summary of the run."""
        await self._show()
        clients, final = self._tally.seen(), self._stage.report()
        fallback_at = clients.first_fallback_at
        return summarise(
            Run(
                fault=self._options.fault,
                start_wall=self._start_wall,
                before=self._before or final,
                final=final,
                clients=clients,
                events=tuple(self._events),
                fault_at_s=self._fault_at_s,
                first_fallback_s=None if fallback_at is None else fallback_at - self._start,
                struck=await self._stage.struck(),
            )
        )

    async def linger(self) -> None:
        """Go on showing until interrupted."""
        while not await self._pause(FRAME_S):
            await self._show()

    # ... Scenes ...

    def _scenes(self) -> list[tuple[float, Callable[[], Awaitable[None]]]]:
        seconds = self._options.seconds
        if self._options.fault is Fault.NONE:
            return [(seconds * RAISE_AT, self._stage.raise_weight)]
        return [(seconds * RAISE_AT, self._stage.raise_weight), (seconds * FAULT_AT, self._break)]

    async def _break(self) -> None:
        self._before = self._stage.report()
        self._fault, self._fault_at_s = self._options.fault, self._elapsed()
        self._tally.watch_fallbacks(self._clock.monotonic())
        await self._stage.turn(self._options.fault)

    async def _show(self) -> None:
        self._events += await self._stage.events(self._events[-1].seq if self._events else 0)
        rolled_back = any(event.transition.after.state is State.ROLLED_BACK for event in self._events)
        if rolled_back and not self._settling:
            self._settling = True
            self._tally.settle(self._clock.monotonic() + SETTLING_S)
        self._screen.show(
            Frame(
                elapsed_s=self._elapsed(),
                seconds=self._options.seconds,
                fault=self._fault,
                report=self._stage.report(),
                clients=self._tally.seen(),
                events=tuple(self._events),
                start_wall=self._start_wall,
            )
        )

    def _elapsed(self) -> float:
        return self._clock.monotonic() - self._start
