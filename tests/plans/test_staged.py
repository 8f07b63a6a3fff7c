"""Days pass as hours: 2 h at 10 %, 3 h at 50 %."""

from __future__ import annotations

import pytest

from proxy.simulation.outcome import Ending, Outcome
from tests.plans.driving import drive, moves

FASTER = """
duration = "{duration}"
[traffic]
rps = 20
[v1]
error_rate = 0.0002
latency = {{ p50 = "100ms", p95 = "250ms" }}
[v2]
latency = {{ p50 = "40ms", p95 = "120ms" }}
cache_hit_rate = 0.7
"""
FIRST = ("phase:10%", 50)


def staged(
    fault: str = "", *, at: str = "1h", duration: str = "90m", judge: str = "", tick: str = "30s"
) -> Outcome:
    change = f'[[change]]\nat = "{at}"\n{fault}' if fault else ""
    played = FASTER.format(duration=duration) + change
    return drive("staged", played, judge=judge, tick=tick, hastened=24)


def test_a_v2_that_is_better_completes_it() -> None:
    found = staged(duration="6h", tick="60s")
    assert found.outcome is Ending.COMPLETED
    assert moves(found) == [FIRST, ("phase:50%", 100), ("phase:100%", 100)]
    assert found.events[2].t_s == 7_200


def test_a_v2_that_is_only_as_good_is_held() -> None:
    as_good = FASTER.replace("40ms", "100ms").replace("120ms", "250ms").format(duration="3h")
    found = drive("staged", as_good, tick="60s", hastened=24)
    assert (found.outcome, found.percentage) == (Ending.HELD, 10)
    assert any("improvement" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    ("at", "errors", "before"), [("1h", 0.03, []), ("3h", 0.02, [FIRST])], ids=["10%", "50%"]
)
def test_too_many_errors_abort_a_phase(at: str, errors: float, before: list[tuple[str, float]]) -> None:
    duration = "90m" if at == "1h" else "200m"
    found = staged(f"v2 = {{ error_rate = {errors} }}", at=at, duration=duration)
    assert moves(found)[: len(before)] == before
    assert ("guard:error_rate", 0) in moves(found)
    assert found.state == "aborted"
    assert found.outcome is Ending.ROLLED_BACK


def test_errors_for_five_minutes_roll_back_after_the_last_phase() -> None:
    found = staged("v2 = { error_rate = 0.1 }", at="5h30m", duration="6h", tick="60s")
    assert moves(found)[-1] == ("guard:error_rate", 0)
    assert found.state in {"rolled_back", "aborted"}


def test_slow_answers_for_ten_minutes_roll_back() -> None:
    found = staged('v2 = { latency = { p50 = "2s", p95 = "4s" } }')
    assert moves(found) == [("guard:latency_p95", 0)]
    assert found.rolled_back_at_s is not None
    assert found.rolled_back_at_s - 3_600 >= 600


def test_slow_answers_roll_back_where_traffic_is_scarce() -> None:
    slow = '[[change]]\nat = "1h"\nv2 = { latency = { p50 = "2s", p95 = "4s" } }'
    scarce = FASTER.replace("rps = 20", "rps = 2").format(duration="2h")
    assert moves(drive("staged", scarce + slow, tick="30s", hastened=24)) == [("guard:latency_p95", 0)]


def test_in_between_a_person_decides() -> None:
    found = staged("v2 = { error_rate = 0.009 }", at="0s", duration="2h")
    assert moves(found) == [("guard:error_rate", 10)]
    assert (found.outcome, found.state) == (Ending.HELD, "paused")


def test_a_cold_cache_is_waited_for() -> None:
    found = staged("v2 = { cache_hit_rate = 0.2 }", at="0s", duration="150m", tick="60s")
    assert (found.outcome, found.percentage) == (Ending.HELD, 10)
    assert any("cache_hit_rate" in reason for reason in found.reasons)
