from __future__ import annotations

import io
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.log_lines import LineFormatter, line


def logged(message: str, *values: object, error: BaseException | None = None) -> str:
    """What stands on standard error after one call."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter("%(levelname)s %(message)s"))
    record = logging.LogRecord(
        "dualpath",
        logging.ERROR,
        __file__,
        1,
        message,
        values,
        None if error is None else (type(error), error, error.__traceback__),
    )
    handler.emit(record)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\r\nERROR forged", "a\\x0d\\x0aERROR forged"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\0b\x7f\x9b", "a\\x00b\\x7f\\x9b"),
        ("right\u202eleft\u2028", "right\\u202eleft\\u2028"),
        ("\ud800", "\\ud800"),
        ("Zoë 食べ物 100 %", "Zoë 食べ物 100 %"),
    ],
)
def test_what_is_no_printable_character_is_escaped(value: str, shown: str) -> None:
    assert logged("%s is here", value) == f"ERROR {shown} is here\n"


@given(value=st.text())
def test_a_message_is_one_line_whatever_stands_in_it(value: str) -> None:
    written = logged("%s", value)
    assert written.endswith("\n")
    assert len(written.splitlines()) == 1
    written.encode()


def test_a_long_message_is_cut_and_says_how_long_it_was() -> None:
    written = line("x" * 10_240)
    assert written == "x" * 4096 + "… (10240 characters)"
    assert len(line("\n" * 4096)) < 4200
    assert line("x" * 4096) == "x" * 4096


def test_no_line_of_a_traceback_can_be_taken_for_a_message() -> None:
    try:
        raise ValueError("bad\n2026-01-01 00:00:00,000 INFO dualpath.control default: running\x1b[0m")
    except ValueError as error:
        first, *rest = logged("it failed", error=error).splitlines()
    assert first == "ERROR it failed"
    assert rest
    assert all(part.startswith("  | ") for part in rest)
    assert "\x1b" not in "".join(rest)
