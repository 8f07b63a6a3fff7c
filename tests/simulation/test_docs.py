"""The example of docs/simulate.md, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.cli import main
from proxy.simulation.scenario import Change, Client, Operator, Order, Scenario, Service, Traffic
from tests.fake_admin import FakeOutside

if TYPE_CHECKING:
    import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "simulate.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def facts(lines: list[str]) -> list[list[str]]:
    """Percentage, state, phase and cause of each event; reasons and times may change with the judge."""
    found = [re.match(r" *[\d:d ]+ +([\d.]+%)  (\S+)(?: (\S+))?  (\S+?):", line) for line in lines]
    return [list(match.groups("")) for match in found if match is not None]


def test_the_example_comes_out_as_it_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, scenario = blocks("toml")[:2]
    (tmp_path / "proxy.toml").write_text(config)
    (tmp_path / "scenario.toml").write_text(scenario)
    arguments = ["-c", str(tmp_path / "proxy.toml"), "--scenario", str(tmp_path / "scenario.toml")]
    assert main(["simulate", *arguments], outside=FakeOutside().build()) == 3
    command, *shown = blocks("console")[0].splitlines()
    assert command == "$ dualpath simulate -c proxy.toml --scenario scenario.toml"
    assert len(facts(shown)) == 4
    assert facts(capsys.readouterr().out.splitlines()) == facts(shown)


def test_every_key_is_told() -> None:
    told = set(re.findall(r"`([a-z0-9_.]+)`", PAGE.replace("traffic.", "").replace("operator.", "")))
    tables = (Scenario, Traffic, Service, Change, Client, Order, Operator)
    keys = {key for table in tables for key in table.file_keys()}
    assert keys - told - {"change", "command", "clients", "operator"} == set()
