from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from proxy.cli import main
from proxy.core.histogram import Histogram
from proxy.core.minute import Minute
from proxy.core.tally import ERROR_INDEX, FALLBACK_INDEX, Tally
from proxy.errors import DualpathError
from proxy.judgment import Verdict
from proxy.model import BUCKETS, ErrorClass, FallbackReason, State
from proxy.simulation.chance import generator
from proxy.simulation.history import recorded_minutes
from proxy.simulation.outcome import Ending
from proxy.simulation.recorded import RecordedEvidence, drawn_again
from proxy.simulation.run import judged_again
from proxy.stores.opening import storage_at
from tests.fake_admin import FakeOutside
from tests.simulation.scenes import BACKENDS, TWO_PHASES, configured

if TYPE_CHECKING:
    from pathlib import Path

START = 1_700_000_040.0
STATUS, REASON = ERROR_INDEX[ErrorClass.STATUS], FALLBACK_INDEX[FallbackReason.STATUS]
BREAKER = FALLBACK_INDEX[FallbackReason.BREAKER]


def counted(v1: int, v2: int, *, v2_errors: int = 0, not_sent: int = 0) -> Tally:
    """A minute's tally: v1 takes 10 ms, v2 20 ms, and v1 answers what v2 fails."""
    tally = Tally(assigned_v1=v1, assigned_v2=v2 + not_sent, client_requests=v1 + v2 + not_sent)
    for path, n, latency_s in ((tally.v1, v1, 0.010), (tally.v2, v2, 0.020)):
        path.requests = n
        path.latency = Histogram()
        for _ in range(n):
            path.latency.record(latency_s)
    tally.v2.errors[STATUS] = v2_errors
    tally.fallbacks[REASON] = v2_errors
    tally.fallbacks[BREAKER] = not_sent
    return tally


def minute(number: int, weight: int, tally: Tally, seconds: float = 60.0) -> Minute:
    at = START + 60.0 * number
    return Minute("default", at, seconds, State.RUNNING, weight, "canary", Verdict.HOLD, tally)


TENTH = BUCKETS // 10


def sick_from(number: int) -> list[Minute]:
    """20 minutes at 10 %, in which v2 fails a fifth from one on; v2 got nothing in the first two."""
    before = [minute(n, 0, counted(1_200, 0)) for n in range(2)]
    return before + [
        minute(n, TENTH, counted(1_080, 120, v2_errors=24 if n >= number else 0)) for n in range(2, 20)
    ]


LASTING = TWO_PHASES.replace('min_duration = "2m"', 'min_duration = "1h"', 1)


def test_what_was_healthy_is_not_rolled_back() -> None:
    found = judged_again(configured(LASTING), sick_from(99))
    assert (found.outcome, found.percentage) == (Ending.RUNNING, 10)
    assert (found.v1_requests, found.v2_requests, found.unknown) == (2 * 1_200 + 18 * 1_080, 18 * 120, 0)
    assert [(event.cause, event.t_s) for event in found.events] == [("config", 0), ("command:start", 120)]


def test_what_was_sick_is_rolled_back_and_clients_are_spared_the_rest() -> None:
    found = judged_again(configured(LASTING), sick_from(10))
    assert found.outcome is Ending.ROLLED_BACK
    assert found.rolled_back_at_s is not None
    assert 660 <= found.rolled_back_at_s <= 780
    assert found.v2_requests <= 120 * 11
    assert found.v1_requests > sum(one.tally.v1.requests for one in sick_from(10))


def test_another_limit_decides_otherwise() -> None:
    blind = LASTING.replace("above = 0.2", "above = 0.5") + "[rollouts.judge]\nregression = false\n"
    assert judged_again(configured(blind), sick_from(10)).outcome is Ending.RUNNING


def test_minutes_without_a_record_pass_too() -> None:
    minutes = [minute(0, TENTH, counted(9, 1)), minute(5, TENTH, counted(9, 1), seconds=12.5)]
    play = RecordedEvidence(configured(), minutes, 0)
    assert list(play.instants()) == [60, 120, 180, 240, 300, 312.5]


def test_at_another_weight_as_many_requests_are_drawn_and_end_alike() -> None:
    seen = counted(9_000, 800, v2_errors=80, not_sent=200)
    found, unseen = drawn_again(generator(1, "test"), seen, BUCKETS // 2)
    assert unseen == 0
    assert found.assigned_v1 + found.assigned_v2 == found.client_requests == 10_000
    assert found.assigned_v2 == pytest.approx(5_000, rel=0.05)
    assert found.fallbacks[BREAKER] == pytest.approx(1_000, rel=0.15)
    assert found.v2.requests == found.assigned_v2 - found.fallbacks[BREAKER]
    assert found.v2.errors[STATUS] == found.fallbacks[REASON] == pytest.approx(400, rel=0.2)
    assert found.client_errors == 0
    assert found.v2.latency.reading().p50 == seen.v2.latency.reading().p50
    assert found.v2.latency.count == found.v2.requests


def test_of_a_path_that_was_not_seen_nothing_is_known() -> None:
    found, unseen = drawn_again(generator(1, "test"), counted(1_000, 0), BUCKETS // 2)
    assert found.assigned_v2 == found.v2.requests == 0
    assert unseen == 1_000 - found.v1.requests == pytest.approx(500, rel=0.15)
    found, unseen = drawn_again(generator(1, "test"), counted(0, 1_000), 0)
    assert (found.client_requests, unseen) == (0, 1_000)


def test_what_v1_failed_in_its_stead_and_beyond_the_budget_clients_saw() -> None:
    seen = counted(0, 1_000, v2_errors=500)
    seen.fallbacks[REASON], seen.over_budget[REASON], seen.fallback_errors = 250, 250, 125
    found, _ = drawn_again(generator(1, "test"), seen, BUCKETS)
    assert found.client_errors == pytest.approx(375, rel=0.2)


async def test_minutes_are_read_from_a_stores_file_while_it_is_in_use(tmp_path: Path) -> None:
    file = tmp_path / "dualpath.db"
    storage = storage_at(f"sqlite:///{file}")
    await storage.store.open()
    try:
        await storage.minutes.append(sick_from(10))
        for source in (str(file), f"sqlite:///{file}"):
            assert await recorded_minutes(source, "default") == sick_from(10)
        with pytest.raises(DualpathError, match="holds no minutes of rollout 'other'"):
            await recorded_minutes(str(file), "other")
    finally:
        await storage.store.close()


def test_the_verb_judges_a_stores_minutes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, file = tmp_path / "proxy.toml", tmp_path / "dualpath.db"
    config.write_text(BACKENDS + LASTING)

    async def record() -> None:
        storage = storage_at(f"sqlite:///{file}")
        await storage.store.open()
        await storage.minutes.append([*sick_from(10), minute(20, 0, counted(1_200, 0))])
        await storage.store.close()

    asyncio.run(record())
    arguments = ["simulate", "-c", str(config), "--from-history", str(file)]
    assert main(arguments, outside=FakeOutside().build()) == 3
    assert "default: rolled back after" in capsys.readouterr().out
    assert main([*arguments, "--scenario", "s.toml"], outside=FakeOutside().build()) == 2
    assert "exclude each other" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(DualpathError, match="cannot be read"):
        asyncio.run(recorded_minutes(str(tmp_path / "none.db"), "default"))
    assert list(tmp_path.iterdir()) == []
