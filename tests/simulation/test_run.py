from __future__ import annotations

import pytest

from proxy.core.judge import Judge
from proxy.errors import DualpathError, UnknownRollout
from proxy.simulation.drawing import DrawnEvidence
from proxy.simulation.outcome import Ending, Outcome
from proxy.simulation.run import chosen, simulated
from tests.simulation.scenes import TWO_PHASES, configured, scenario

HEALTHY = '[traffic]\nrps=20\n[v1]\nlatency={p50="20ms",p95="60ms"}\n'
FAILING = HEALTHY + '[[change]]\nat="1m"\nv2={error_rate=0.9}\n'


def run(text: str, rollouts: str = TWO_PHASES, seed: int = 0) -> Outcome:
    return simulated(configured(rollouts), scenario(text), seed)


def causes(outcome: Outcome) -> list[str]:
    return [event.cause for event in outcome.events]


def test_a_healthy_v2_goes_through_its_phases() -> None:
    found = run(f'duration="6m"\n{HEALTHY}')
    assert found.outcome is Ending.COMPLETED
    assert causes(found) == ["config", "command:start", "phase:canary", "phase:full"]
    assert [event.percentage for event in found.events] == [0, 10, 100, 100]
    assert found.events[1].t_s == 0
    assert found.completed_at_s == found.events[-1].t_s >= 240
    assert found.rolled_back_at_s is None
    assert found.v2_requests_after_change == 0


def test_a_sick_v2_is_rolled_back_and_the_rest_of_the_time_is_v1s() -> None:
    found = run(f'duration="20m"\n{FAILING}')
    assert found.outcome is Ending.ROLLED_BACK
    assert found.rolled_back_at_s is not None
    assert 60 < found.rolled_back_at_s < 100
    assert found.events[-1].percentage == 0
    assert 5 <= found.v2_requests_after_change < 60
    assert found.v1_requests + found.v2_requests + found.v2_not_sent == pytest.approx(24_000, rel=0.05)
    assert found.client_errors > 8  # of v1's own, until the end


def test_one_seed_gives_one_outcome() -> None:
    assert run(f'duration="3m"\n{FAILING}', seed=3) == run(f'duration="3m"\n{FAILING}', seed=3)
    assert run(f'duration="3m"\n{FAILING}', seed=3) != run(f'duration="3m"\n{FAILING}', seed=4)


def test_the_scenarios_seed_counts_unless_another_is_given() -> None:
    played = scenario(f'seed=7\nduration="1m"\n{HEALTHY}')
    assert simulated(configured(), played).seed == 7
    assert simulated(configured(), played, 8).seed == 8


def test_with_too_little_time_it_is_running_and_without_traffic_held() -> None:
    assert run(f'duration="3m"\n{HEALTHY}').outcome is Ending.RUNNING
    silent = run('duration="3m"\n[traffic]\nrps=0')
    assert silent.outcome is Ending.HELD
    assert silent.phase == "canary"
    assert silent.reasons


def test_operators_act_when_they_are_told_to() -> None:
    text = f"""
    duration = "4m"
    {HEALTHY}
    [[command]]
    at = "30s"
    verb = "pause"
    reason = "lunch"
    [[command]]
    at = "1m"
    verb = "start"
    [[command]]
    at = "3m"
    verb = "set"
    percentage = 40
    """
    found = run(text)
    assert found.outcome is Ending.HELD
    assert found.percentage == 40
    assert [(event.t_s, event.cause) for event in found.events[2:]] == [
        (30, "command:pause"),
        (180, "command:set"),
    ]
    assert found.events[2].reason == "lunch"
    assert found.refused[0].startswith("start: start is not possible while the rollout is paused")


def test_a_dead_store_stops_no_rollback_and_every_advance() -> None:
    down = '[[change]]\nat="30s"\nstore_down=true\n'
    assert run(f'duration="5m"\n{HEALTHY}{down}').percentage == 10
    found = run(f'duration="5m"\n{FAILING}{down}')
    assert found.rolled_back_at_s == run(f'duration="5m"\n{FAILING}').rolled_back_at_s
    assert found.percentage == 0


def test_a_paused_rollout_is_rolled_back_all_the_same() -> None:
    found = run(f'duration="3m"\n{FAILING}[[command]]\nat="30s"\nverb="pause"')
    assert found.outcome is Ending.ROLLED_BACK


GATED = TWO_PHASES.replace('name = "full"', 'name = "full"\n{gate}')


def test_a_gate_holds_until_the_operator_approves() -> None:
    gated = GATED.format(gate="approval = true")
    held = run(f'duration="5m"\n{HEALTHY}', gated)
    assert (held.outcome, held.percentage) == (Ending.HELD, 10)
    assert held.reasons[0].startswith("approval")
    approved = run(f'duration="5m"\n[operator]\napprove=true\n{HEALTHY}', gated)
    assert approved.outcome is Ending.COMPLETED
    assert "command:promote" in causes(approved)
    assert run(f'duration="5m"\n{FAILING}', gated).outcome is Ending.ROLLED_BACK


def test_a_webhook_answers_as_the_scenario_says() -> None:
    gated = GATED.format(gate='webhook = "https://gate.example.com/"')
    refusing = run(f'duration="5m30s"\nwebhook=503\n{HEALTHY}', gated)
    assert refusing.percentage == 10
    assert "503" in refusing.reasons[0]
    assert run(f'duration="5m"\n{HEALTHY}', gated).percentage == 100


def test_lost_health_rolls_back() -> None:
    guard = TWO_PHASES.replace('metric = "error_rate"\nabove = 0.2', 'metric = "health"\nbelow = 0.5')
    guarded = guard.replace("[[rollouts]]", '[backends.v2.health]\npath = "/"\n[[rollouts]]', 1)
    found = run(f'duration="5m"\n{HEALTHY}[[change]]\nat="1m"\nv2={{health=0}}', guarded)
    assert found.outcome is Ending.ROLLED_BACK
    assert found.rolled_back_at_s == 61
    assert found.v2_not_sent > 0


def test_a_fixed_split_runs_on() -> None:
    found = run(f'duration="2m"\n{HEALTHY}', '[[rollouts]]\nname="default"\npercentage=30\n')
    assert (found.outcome, found.percentage) == (Ending.RUNNING, 30)
    assert found.v2_requests == pytest.approx(720, rel=0.15)


def test_a_rollout_may_be_tried_again_after_its_cooldown() -> None:
    retrying = TWO_PHASES.replace('name = "default"', 'name = "default"\nauto_retry = 1\ncooldown = "2m"', 1)
    blip = HEALTHY + '[[change]]\nat="1m"\nfor="1m"\nv2={error_rate=0.9}\n'
    found = run(f'duration="10m"\n{blip}', retrying)
    assert found.outcome is Ending.COMPLETED
    assert found.rolled_back_at_s is not None


def test_one_of_several_rollouts_is_chosen() -> None:
    several = configured(
        '[[rollouts]]\nname="a"\nroutes=[{prefix="/a"}]\n[[rollouts]]\nname="b"\nroutes=[{prefix="/b"}]\n'
    )
    assert [rollout.name for rollout in chosen(several, "b").rollouts] == ["b"]
    with pytest.raises(UnknownRollout, match="choose with --name: a, b"):
        chosen(several, None)
    with pytest.raises(UnknownRollout, match="there is no rollout 'c'"):
        chosen(several, "c")
    assert chosen(configured(), None).rollouts == configured().rollouts


def test_a_controller_that_breaks_down_is_no_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("the judge")

    monkeypatch.setattr(DrawnEvidence, "late", broken)
    with pytest.raises(ZeroDivisionError):
        run(f'duration="1m"\n{HEALTHY}')
    monkeypatch.undo()
    monkeypatch.setattr(Judge, "observe", broken)
    with pytest.raises(DualpathError, match="the controller failed: ZeroDivisionError"):
        run(f'duration="1m"\n{HEALTHY}')
