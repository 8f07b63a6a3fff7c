"""Terminals get a display, everything else gets lines."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from proxy.demo.faults import Fault
from proxy.demo.screen import LiveScreen, PlainScreen, screen_for
from proxy.demo.view import Frame
from tests.demo.samples import START_WALL, raised, report, rolled_back, seen

FRAME = Frame(0.3, 2.0, Fault.NONE, report(), seen(), (raised(),), START_WALL)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_no_terminal_gets_plain_lines() -> None:
    assert isinstance(screen_for(io.StringIO()), PlainScreen)


@pytest.mark.parametrize(("term", "kind"), [("xterm", LiveScreen), ("dumb", PlainScreen)])
def test_a_terminal_gets_a_display_if_it_can_show_one(
    term: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    assert isinstance(screen_for(Terminal()), kind)


def test_forced_colour_does_not_make_a_file_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(screen_for(io.StringIO()), PlainScreen)


def test_plain_lines_come_once_a_second_and_events_once() -> None:
    stream = io.StringIO()
    screen = PlainScreen(stream)
    for elapsed_s in (0.3, 0.6, 1.1, 1.4, 2.2, 3.0, 4.0):
        screen.show(replace(FRAME, elapsed_s=elapsed_s))
    screen.show(replace(FRAME, elapsed_s=4.5, events=(raised(), rolled_back())))
    starts = [line[:16].strip() for line in stream.getvalue().splitlines()]
    assert starts == [
        "event + 5.0 s  r",
        "0.3 s  running",
        "1.1 s  running",
        "2.2 s  running",
        "event +12.0 s  r",
    ]
    assert repr(screen) == "<PlainScreen second=2 event=3>"


def test_plain_lines_hold_no_control_codes() -> None:
    stream = io.StringIO()
    screen = PlainScreen(stream)
    screen.show(FRAME)
    screen.say(["done"])
    screen.close()
    assert stream.getvalue().endswith("done\n")
    assert stream.getvalue().replace("\n", "").isprintable()


def test_the_display_is_closed_before_anything_is_said() -> None:
    stream = Terminal()
    screen = LiveScreen(Console(file=stream, force_terminal=True, width=80))
    screen.show(FRAME)
    assert repr(screen) == "<LiveScreen live=True>"
    screen.show(replace(FRAME, elapsed_s=1.0))
    screen.say(["[done]"])
    assert repr(screen) == "<LiveScreen live=False>"
    assert stream.getvalue().endswith("[done]\n")
    screen.close()
