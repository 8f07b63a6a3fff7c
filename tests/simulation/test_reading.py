from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.errors import ConfigError
from proxy.simulation.reading import load_scenario, parse_scenario
from proxy.simulation.scenario import Scenario, parse_span

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTED = """
duration = "24h"
[traffic]
rps = 10
[v1]
error_rate = 0.001
latency = { p50 = "20ms", p95 = "60ms" }        # lognormal
[v2]
error_rate = 0.001
latency = { p50 = "20ms", p95 = "60ms" }
[[change]]
at = "2h"
until = "2h1m"
rps = 0
v1 = { error_rate = 0.3 }
v2 = { error_rate = 0.05 }
"""


def problems(text: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as raised:
        parse_scenario(text, source="s.toml")
    return list(raised.value.problems)


def test_a_scenario_is_read() -> None:
    scenario = parse_scenario(DOCUMENTED)
    assert scenario.duration_s == 86_400
    (change,) = scenario.change
    assert (change.at_s, change.until_s, change.lasts_s) == (7_200, 7_260, 60)
    assert change.rps is not None
    assert change.rps.high == 0
    assert change.v2 is not None
    assert change.v2.error_rate is not None
    assert change.v2.error_rate.low == 0.05


def test_an_empty_file_is_a_scenario() -> None:
    assert parse_scenario("") == Scenario()


def test_every_problem_is_told_at_its_place() -> None:
    found = problems(
        """
        duraton = "1h"
        duration = 4
        start = "yesterday"
        [traffic]
        rps = -1
        [v1]
        error_rate = 2
        latency = { p50 = "20", p95 = "60ms" }
        hang = 1.5
        [v2]
        error_rate = { low = 0.1, high = 3 }
        latency = [{ p95 = "60ms" }, { p50 = "60ms", p90 = "61ms", p99 = "70ms" }]
        [[change]]
        at = "2h"
        until = "1h"
        v2 = { latency = { p50 = "3s", p95 = "1s" }, errorrate = 1 }
        [[clients]]
        share = "x"
        [[command]]
        at = "1m"
        verb = "fly"
        """
    )
    assert dict(found) == {
        "duraton": 'unknown key; did you mean "duration"?',
        "duration": 'must be a duration with a unit such as "250ms", "10s", "1h", not 4',
        "start": "must be a date and time with its offset such as \"2026-12-24T00:00:00Z\", not 'yesterday'",
        "traffic.rps": "must be at least 0, not -1",
        "v1.error_rate": "must be from 0 to 1, not 2",
        "v1.latency.p50": 'must be a duration with a unit such as "250ms", "10s", "1h", not \'20\'',
        "v1.hang": "must be at most 1, not 1.5",
        "v2.error_rate": "must be from 0 to 1, not 3.0",
        "v2.latency.0.p50": "is required",
        "v2.latency.1": "takes one of p90, p95 and p99",
        "change.0.until": "must be after at, 2h",
        "change.0.v2.latency": "has a median of 3s above its upper quantile",
        "change.0.v2.errorrate": 'unknown key; did you mean "error_rate"?',
        "clients.0.share": "must be a number, not 'x'",
        "command.0.verb": dict(found)["command.0.verb"],
    }
    assert dict(found)["command.0.verb"].startswith("must be one of 'start', 'pause'")


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ('[[change]]\nat="1s"\nuntil="2s"\nfor="1s"', "change.0", "takes either until or for, not both"),
        ('[[change]]\nat="1s"\nevery="9s"', "change.0.every", "needs until or for: else it would never end"),
        (
            '[[change]]\nat="1s"\nfor="10s"\nevery="9s"',
            "change.0.every",
            "must be as long as it lasts at least, 10s",
        ),
        ('[[change]]\nat="1s"\nrps=1\ntraffic={rps=2}', "change.0.rps", "is also given as traffic.rps"),
        ("[[clients]]\nbucket=1", "clients.0", "needs either rps or share"),
        ("[[clients]]\nrps=1\nshare=0.1", "clients.0", "needs either rps or share"),
        ('[[clients]]\nrps=1\nbucket=1\nkey="a"', "clients.0", "takes either key or bucket, not both"),
        ('[[clients]]\nrps=1\nat="2s"\nuntil="1s"', "clients.0.until", "must be after at, 2s"),
        ("[[clients]]\nshare=0.6\n[[clients]]\nshare=0.6", "clients", "have a share of more than 1 in all"),
        ('[[command]]\nat="1s"\nverb="set"', "command.0.percentage", "is required for set"),
        ('[[command]]\nat="1s"\nverb="pause"\npercentage=1', "command.0.percentage", "is not for pause"),
        ('[[command]]\nat="1s"\nverb="pause"\nfull=true', "command.0.full", "is not for pause"),
        (
            "[v1]\nerror_rate=true",
            "v1.error_rate",
            "must be a number, or a table of low, high and period, not true",
        ),
    ],
)
def test_what_contradicts_itself_is_told(text: str, place: str, message: str) -> None:
    assert problems(text) == [(place, message)]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("2h1m", 7_260), ("1d 2h", 93_600), ("1m500ms", 60.5), ("0s", 0)]
)
def test_a_time_may_be_a_sum(text: str, seconds: float) -> None:
    assert parse_span(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "1h2", "h", "1.2.3s", "-1s", 5, None])
def test_what_is_no_time_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        parse_span(text)


def test_a_file_is_read_and_named_in_its_problems(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(DOCUMENTED)
    assert load_scenario(path) == parse_scenario(DOCUMENTED)
    path.write_text("duration = 1")
    with pytest.raises(ConfigError) as raised:
        load_scenario(path)
    assert raised.value.source == str(path)


@pytest.mark.parametrize(("content", "message"), [(b"\xff", "is not UTF-8 text"), (b"a = ", "is no TOML: ")])
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "s.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        load_scenario(path)
    assert raised.value.problems[0][1].startswith(message)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load_scenario(tmp_path / "none.toml")
    assert raised.value.problems == [("", "cannot be read: No such file or directory")]
