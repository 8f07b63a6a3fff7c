"""The script against a stage that only remembers what was asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.demo.clients import FALLBACK, ClientTally
from proxy.demo.faults import Fault
from proxy.demo.play import FRAME_S, SETTLING_S, DemoOptions, Play
from tests.demo.samples import ROLLED_BACK, START_WALL, FakeClock, raised, report, rolled_back

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from proxy.demo.view import Frame
    from proxy.model import Event, RolloutReport


class Scenery:
    """Stage, screen and pause in one. A fault leads to a rollback after one second."""

    def __init__(self, options: DemoOptions) -> None:
        self.clock = FakeClock()
        self.tally = ClientTally()
        self.calls: list[tuple[float, str]] = []
        self.log: list[Event] = []
        self.frames: list[Frame] = []
        self.interrupt_at = 1e9
        self.rollback_at: float | None = None
        self.play = Play(self, options, screen=self, tally=self.tally, clock=self.clock, pause=self.pause)

    # ... Stage ...

    def report(self) -> RolloutReport:
        return report(ROLLED_BACK, fallbacks=70) if len(self.log) > 1 else report()

    async def events(self, after: int) -> Sequence[Event]:
        return [event for event in self.log if event.seq > after]

    async def raise_weight(self) -> None:
        self.calls.append((self.clock.now, "raise"))
        self.log.append(raised(START_WALL + self.clock.now))

    async def turn(self, fault: Fault) -> None:
        self.calls.append((self.clock.now, fault))
        self.rollback_at = self.clock.now + 1.0

    async def struck(self) -> int:
        return 12

    # ... Screen and pause ...

    def show(self, frame: Frame) -> None:
        self.frames.append(frame)

    def say(self, lines: Iterable[str]) -> None:
        raise AssertionError(f"the play says nothing itself: {lines}")

    def close(self) -> None:
        raise AssertionError("the play does not own the screen")

    async def pause(self, seconds: float) -> bool:
        self.clock.advance(seconds)
        if self.rollback_at is not None and self.clock.now >= self.rollback_at:
            self.log.append(rolled_back(START_WALL + self.rollback_at))
            self.rollback_at = None
        return self.clock.now >= self.interrupt_at


async def test_v2_gets_more_and_then_fails_at_a_third() -> None:
    scenery = Scenery(DemoOptions(Fault.HANG, seconds=12.0))
    assert await scenery.play.perform()
    assert scenery.calls == [(2.0, "raise"), (4.0, "hang")]
    assert scenery.clock.now == 12.0


async def test_without_a_fault_nothing_is_broken() -> None:
    scenery = Scenery(DemoOptions(Fault.NONE, seconds=12.0))
    assert await scenery.play.perform()
    assert scenery.calls == [(2.0, "raise")]
    scenery.tally.record(3.0, 3.1, "v2", None)
    assert (await scenery.play.conclude()).lines[0].startswith("v2 did well")


async def test_a_frame_is_shown_four_times_a_second_with_all_events_so_far() -> None:
    scenery = Scenery(DemoOptions(seconds=12.0))
    await scenery.play.perform()
    assert [frame.elapsed_s for frame in scenery.frames] == [position * FRAME_S for position in range(48)]
    assert [len(frame.events) for frame in scenery.frames[:: 4 * 4]] == [0, 1, 2]
    assert [frame.fault for frame in scenery.frames[15:17]] == [Fault.NONE, Fault.ERRORS]


async def test_the_record_makes_the_summary() -> None:
    scenery = Scenery(DemoOptions(seconds=12.0))
    scenery.tally.record(0.1, 0.12, FALLBACK, None)  # before the fault: not its consequence
    await scenery.play.perform()
    scenery.tally.record(4.1, 4.15, FALLBACK, None)
    lines = (await scenery.play.conclude()).lines
    assert lines[0] == "v2 failed (errors), was rolled back by itself, and no client saw a failure."
    assert "fault      errors on v2 after 4.0 s" in lines
    assert "fallback   first 0.15 s after the fault, 70 in all" in lines
    assert "rollback   1.0 s and 12 requests on v2 after the fault" in lines


@pytest.mark.parametrize(("late_s", "strays"), [(SETTLING_S - 0.1, 0), (SETTLING_S + 0.1, 1)])
async def test_requests_on_v2_well_after_the_rollback_are_strays(late_s: float, strays: int) -> None:
    scenery = Scenery(DemoOptions(seconds=12.0))
    await scenery.play.perform()
    scenery.tally.record(5.0 + late_s, 5.0 + late_s, "v2", None)
    assert scenery.tally.seen().strays == strays


async def test_an_interrupted_play_says_so() -> None:
    scenery = Scenery(DemoOptions(seconds=12.0))
    scenery.interrupt_at = 3.0
    assert not await scenery.play.perform()
    assert scenery.clock.now == 3.0
    assert repr(scenery.play) == "<Play 3.0 of 12 s, fault none>"


async def test_lingering_goes_on_showing_until_interrupted() -> None:
    scenery = Scenery(DemoOptions(seconds=1.0))
    scenery.interrupt_at = 2.0
    await scenery.play.linger()
    assert len(scenery.frames) == 7
