from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from proxy.cli import main
from tests.fake_admin import FakeOutside
from tests.simulation.scenes import BACKENDS, TWO_PHASES

if TYPE_CHECKING:
    from pathlib import Path

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "proxy.toml"
    path.write_text(BACKENDS + TWO_PHASES)
    return str(path)


def played(tmp_path: Path, text: str) -> str:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    return str(path)


def simulate(*arguments: str) -> int:
    return main(["simulate", *arguments], outside=FakeOutside().build())


def test_a_rollback_is_exit_code_3_and_json_has_the_figures(
    config: str, tmp_path: Path, capsys: Captured
) -> None:
    scenario = played(tmp_path, 'duration="3m"\n[traffic]\nrps=20\n[[change]]\nat="1m"\nv2={error_rate=1.0}')
    assert simulate("-c", config, "--scenario", scenario, "--seed", "5", "--json") == 3
    document = orjson.loads(capsys.readouterr().out)
    assert document["outcome"] == "rolled_back"
    assert document["seed"] == 5
    assert 60 < document["rolled_back_at_s"] < 90
    assert 0 < document["v2_requests_after_change"] < document["v2_requests"]
    assert document["client_errors"] >= 0
    last = document["events"][-1]
    assert (last["t_s"], last["percentage"]) == (document["rolled_back_at_s"], 0)
    assert last["cause"]


def test_people_read_a_timetable(config: str, tmp_path: Path, capsys: Captured) -> None:
    assert simulate("-c", config, "--scenario", played(tmp_path, 'duration="6m"\n[traffic]\nrps=50')) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[1].split()[:4] == ["00:00:00", "10%", "running", "canary"]
    assert any(line.startswith("default: completed after 4m") for line in lines)
    assert lines[-1].endswith("(seed 0)")


def test_what_it_waits_for_is_said(config: str, tmp_path: Path, capsys: Captured) -> None:
    assert simulate("-c", config, "--scenario", played(tmp_path, 'duration="3m"\n[traffic]\nrps=0')) == 0
    assert "default: held in canary at 10% after 3m" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--name", "x"], "there is no rollout 'x'"),
        (["--scenario", "/nowhere.toml"], "/nowhere.toml: cannot be read"),
    ],
)
def test_what_makes_no_sense_is_exit_code_2(
    config: str, arguments: list[str], complaint: str, capsys: Captured
) -> None:
    assert simulate("-c", config, *arguments) == 2
    assert complaint in capsys.readouterr().err


def test_every_problem_of_the_scenario_is_a_line(config: str, tmp_path: Path, capsys: Captured) -> None:
    assert simulate("-c", config, "--scenario", played(tmp_path, "a=1\nduration=2")) == 2
    err = capsys.readouterr().err
    assert "scenario.toml: duration: must be a duration" in err
    assert "scenario.toml: a: unknown key" in err


def test_without_phases_and_share_there_is_nothing_to_simulate(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "bare.toml"
    path.write_text(BACKENDS)
    assert simulate("-c", str(path)) == 1
    assert "nothing would happen" in capsys.readouterr().err
