from __future__ import annotations

import io
import sys

import orjson
import pytest
from rich.console import Console

from proxy.deploy_progress import Criterion, Progress
from proxy.deploy_screen import AGAIN_S, JsonScreen, LiveScreen, PlainScreen, bars, screen_for

Captured = pytest.CaptureFixture[str]

HALFWAY = Progress(
    "default",
    "running",
    "half",
    30.0,
    4,
    place=2,
    phases=3,
    criteria=(Criterion("time", 0.5, "5m of 10m"), Criterion("requests", 1.0, "300 of 300")),
    waits=("waits for approval",),
    eta_s=300.0,
)
NEXT = Progress("default", "running", "full", 100.0, 5)


class Time:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_are_repeated_only_when_something_happens_or_after_a_while(capsys: Captured) -> None:
    clock = Time()
    screen = PlainScreen(clock)
    line = (
        "default: running at 30%, phase half (2 of 3); waits for time 5m of 10m; waits for approval; "
        "about 5m more in this phase\n"
    )
    screen.show([HALFWAY])
    screen.show([HALFWAY])
    assert capsys.readouterr().out == line
    clock.now = AGAIN_S
    screen.show([HALFWAY])
    assert capsys.readouterr().out == line
    screen.show([NEXT])
    assert capsys.readouterr().out == "default: running at 100%, phase full\n"


def test_json_is_one_object_a_line(capsys: Captured) -> None:
    screen = JsonScreen(Time())
    screen.say("started", "off it\x1b goes", revision=4)
    screen.show([HALFWAY, NEXT])
    screen.show([HALFWAY, NEXT])
    screen.close()
    out = capsys.readouterr().out
    assert "\x1b" not in out
    lines = [orjson.loads(line) for line in out.splitlines()]
    assert [line["event"] for line in lines] == ["started", "progress", "progress"]
    assert (lines[0]["text"], lines[0]["revision"]) == ("off it\x1b goes", 4)
    assert lines[1]["criteria"][0] == {"name": "time", "share": 0.5, "text": "5m of 10m"}
    assert lines[1]["at"].endswith("Z")


def console(out: io.StringIO) -> Console:
    return Console(file=out, width=80, force_terminal=True, color_system=None, _environ={"TERM": "xterm"})


def test_a_terminal_shows_a_bar_for_every_criterion() -> None:
    out = io.StringIO()
    console(out).print(bars([HALFWAY]))
    lines = out.getvalue().splitlines()
    assert lines[0] == "default: running at 30%, phase half (2 of 3)"
    assert [(line.split()[0], line.split()[2:]) for line in lines[1:3]] == [
        ("time", ["50%", "5m", "of", "10m"]),
        ("requests", ["100%", "300", "of", "300"]),
    ]
    assert [line.count("━") for line in lines[1:3]] == [12, 24]
    assert lines[3:] == ["  waits for approval", "  about 5m more in this phase"]


def test_what_is_said_stays_and_bars_go() -> None:
    out = io.StringIO()
    screen = LiveScreen(console(out))
    screen.show([HALFWAY])
    screen.say("backup", "said")
    screen.show([NEXT])
    screen.close()
    screen.close()
    assert "said\n" in out.getvalue()
    assert "\x1b[?25h" in out.getvalue()  # the cursor is there again


def test_the_screen_is_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(screen_for(as_json=True), JsonScreen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(screen_for(as_json=False), PlainScreen)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert isinstance(screen_for(as_json=False), LiveScreen)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(screen_for(as_json=False), PlainScreen)
