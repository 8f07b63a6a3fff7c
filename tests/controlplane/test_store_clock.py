"""All instances go by the store's clock, whatever their own machines believe."""

from __future__ import annotations

from proxy.controlplane.store_clock import StoreClock
from tests.fakes import FakeClock


def test_until_the_store_was_heard_it_is_our_own() -> None:
    own = FakeClock()
    assert StoreClock(own).wall() == own.wall()


def test_a_clock_that_is_off_is_corrected_and_said_so() -> None:
    own = FakeClock()
    clock = StoreClock(own)
    clock.heard(own.wall() - 30.0, took_s=0.2)
    assert clock.wall() == own.wall() - 29.9
    assert (round(clock.skew_s, 3), clock.own_wall()) == (29.9, own.wall())
    own.advance(5.0)
    assert clock.monotonic() == own.monotonic()
    assert clock.wall() == own.wall() - 29.9


def test_what_may_be_the_way_there_and_back_moves_nothing() -> None:
    own = FakeClock()
    clock = StoreClock(own)
    clock.heard(own.wall() + 0.09, took_s=0.0)
    assert clock.wall() == own.wall()
    assert "+0.000" in repr(clock)
