"""Days pass as hours: 1 h at 5, 10 and 100 %, 2 h at 25 and 50 %."""

from __future__ import annotations

from proxy.simulation.outcome import Ending, Outcome
from tests.plans.driving import drive, moves

HEALTHY = """
duration = "{duration}"
[traffic]
rps = 20
[v1]
latency = {{ p50 = "100ms", p95 = "300ms" }}
"""
THREE_PHASES = [("phase:5%", 10), ("phase:10%", 25)]


def migrated(fault: str = "", *, duration: str = "3h", own: str = "", tick: str = "30s") -> Outcome:
    change = f'[[change]]\nat = "2h30m"\n{fault}' if fault else ""
    played = HEALTHY.format(duration=duration) + change
    return drive("api-migration", played, own=own, tick=tick, hastened=24)


def test_a_healthy_v2_completes_it() -> None:
    found = migrated(duration="8h", tick="60s")
    assert found.outcome is Ending.COMPLETED
    assert moves(found) == [*THREE_PHASES, ("phase:25%", 50), ("phase:50%", 100), ("phase:100%", 100)]
    assert [event.t_s / 3_600 for event in found.events[2:]] == [1, 2, 4, 6, 7]


def test_steps_take_the_place_of_its_phases() -> None:
    found = migrated(duration="6h", own='steps = { by = 10, every = "12h" }', tick="60s")
    assert found.outcome is Ending.COMPLETED
    assert [percentage for _, percentage in moves(found)] == [20, 30, 40, 50, 60, 70, 80, 90, 100, 100]


def test_errors_go_back_by_one_phase_and_the_rest_is_held_back() -> None:
    found = migrated('for = "6m"\nv2 = { error_rate = 0.08 }')
    assert moves(found) == [*THREE_PHASES, ("guard:error_rate", 10)]
    assert found.outcome is Ending.RUNNING


def test_slow_answers_take_ten_points_off_again_and_again() -> None:
    found = migrated('v2 = { latency = { p50 = "900ms", p95 = "1500ms" } }')
    lowered = [percentage for cause, percentage in moves(found) if cause == "guard:latency_p95"]
    assert lowered[:2] == [15, 5]


def test_critical_errors_go_to_0_at_once() -> None:
    found = migrated("v2 = { error_rate = 0.5 }")
    assert moves(found) == [*THREE_PHASES, ("guard:error_rate", 0)]
    assert found.outcome is Ending.ROLLED_BACK
    assert found.rolled_back_at_s is not None
    assert found.rolled_back_at_s - 9_000 <= 60


def test_critical_answer_times_go_to_0_at_once() -> None:
    found = migrated('v2 = { latency = { p50 = "2s", p95 = "4s" } }')
    assert moves(found) == [*THREE_PHASES, ("guard:latency_p95", 0)]


def test_each_phase_waits_for_its_own_criteria() -> None:
    both = '[[change]]\nat = "2h30m"\nboth = {{ {fault} }}'
    slow = both.format(fault='latency = { p50 = "500ms", p95 = "900ms" }')
    held = drive("api-migration", HEALTHY.format(duration="5h") + slow, tick="30s", hastened=24)
    assert (held.outcome, held.percentage) == (Ending.HELD, 25)
    assert any("latency_p95" in reason for reason in held.reasons)
