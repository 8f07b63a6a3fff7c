"""What a frame shows, read back from a recording console."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from proxy.demo.faults import Fault
from proxy.demo.view import EVENTS_SHOWN, Frame, plain_line, render
from proxy.judgment import Judgment, Metric
from tests.demo.samples import (
    FAIL,
    READING,
    ROLLED_BACK,
    RUNNING,
    START_WALL,
    raised,
    report,
    rolled_back,
    seen,
)

WELL = Frame(5.0, 30.0, Fault.NONE, report(), seen(fallbacks=0), (raised(),), START_WALL)
FAILED = Frame(
    13.0,
    30.0,
    Fault.ERRORS,
    replace(report(ROLLED_BACK, fallbacks=70), breaker="open"),
    seen(),
    (raised(), rolled_back()),
    START_WALL,
)


def _text(frame: Frame) -> str:
    console = Console(record=True, width=80, file=io.StringIO(), color_system=None)
    console.print(render(frame))
    return console.export_text()


def _row(frame: Frame, label: str) -> list[str]:
    """The words of the line that starts with `label`."""
    lines = (line.strip(" │") for line in _text(frame).splitlines())
    return next(line for line in lines if line.startswith(label)).removeprefix(label).split()


FULL = replace(
    FAILED, report=report(judgment=Judgment(readings=(READING,) * 3)), events=(raised(),) * (EVENTS_SHOWN + 2)
)


@pytest.mark.parametrize("frame", [WELL, FAILED, FULL])
def test_it_fits_80_columns_and_24_lines(frame: Frame) -> None:
    lines = _text(frame).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 24


def test_the_title_tells_the_time() -> None:
    assert "dualpath demo  5 of 30 s" in _text(WELL)
    assert "dualpath demo  30 of 30 s" in _text(replace(WELL, elapsed_s=31.0))


def test_weight_state_breaker_and_fault_are_in_one_line() -> None:
    assert "50.0 %  running  breaker closed  fault none" in _text(WELL)
    assert "0.0 %  rolled back  breaker open  fault errors" in _text(FAILED)


def test_v1_stands_beside_v2() -> None:
    assert _row(FAILED, "requests") == ["800", "400", "33.3", "%", "on", "v2"]
    assert _row(FAILED, "raw errors") == ["0", "(0.0", "%)", "70", "(17.5", "%)"]
    assert _row(FAILED, "fallbacks to v1") == ["70", "(17.5", "%)"]
    assert _row(FAILED, "latency p95") == ["19.2", "ms", "6.4", "ms", "0.33x"]


def test_what_clients_saw() -> None:
    assert "1200 answers, 0 failed; v1 gave 800, v2 330, v1 for v2 70" in _text(FAILED)
    assert "3 failed" in _text(replace(WELL, clients=seen(failed=3)))


def test_guards_show_their_value_against_the_limit() -> None:
    quiet = replace(READING, value=0.01, crossed=False, firing=False)
    young = replace(
        READING, metric=Metric.LATENCY_P95, value=None, limit=0.3, crossed=False, firing=False, sample=4
    )
    frame = replace(WELL, report=report(judgment=Judgment(readings=(quiet, young))))
    assert _row(frame, "fallback_rate") == ["1.0", "%", "25.0", "%", "260", "rollback"]
    assert _row(frame, "latency_p95") == ["too", "few", "300.0", "ms", "4", "rollback"]


def test_a_crossed_guard_that_does_not_fire_yet_is_not_called_fired() -> None:
    frame = replace(WELL, report=report(judgment=Judgment(readings=(replace(READING, firing=False),))))
    assert "fired" not in _text(frame)


def test_after_the_rollback_the_reading_that_caused_it_stays() -> None:
    assert _row(FAILED, "fallback_rate") == ["27.0", "%", "25.0", "%", "260", "fired:", "rollback"]


def test_without_any_reading_it_says_so() -> None:
    assert "none is read" in _text(WELL)


def test_present_readings_go_before_past_ones() -> None:
    quiet = Judgment(readings=(replace(READING, value=0.01, firing=False, crossed=False),))
    frame = replace(FAILED, report=report(RUNNING, quiet))
    assert _row(frame, "fallback_rate")[:2] == ["1.0", "%"]


def test_the_last_events_are_shown_each_in_one_line() -> None:
    frame = replace(WELL, events=(*[raised()] * (EVENTS_SHOWN + 2), rolled_back()))
    lines = [line for line in _text(frame).splitlines() if " s  r" in line]
    assert len(lines) == EVENTS_SHOWN
    assert "rolled back at 0 %" in lines[-1]


def test_no_events_yet() -> None:
    assert "none yet" in _text(replace(WELL, events=()))


def test_the_plain_line_has_the_same_figures() -> None:
    assert plain_line(FAILED) == (
        " 13.0 s  rolled_back v2  0.0 %  fault errors  v1 800 (0 failed)  v2 400 (70 failed)"
        "  fallbacks 70  clients 1200 answered, 0 failed"
    )


def test_a_firing_judgment_is_shown_while_it_stands() -> None:
    assert "fired: rollback" in _text(replace(WELL, report=report(judgment=FAIL)))
