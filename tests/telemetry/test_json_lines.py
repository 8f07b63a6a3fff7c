from __future__ import annotations

import json
import logging
import math
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.json_lines import JsonFormatter, json_line
from proxy.telemetry.log_lines import line

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda children: st.lists(children) | st.dictionaries(st.text() | st.integers(), children),
    max_leaves=10,
)


class Colour(StrEnum):
    RED = "red"


def formatted(message: str, *values: object, error: BaseException | None = None, **extra: object) -> str:
    """What stands in the log after one call."""
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("dualpath.x", logging.ERROR, __file__, 1, message, values, exc_info)
    vars(record).update(extra)
    return JsonFormatter().format(record)


def document(message: str, *values: object, **extra: Any) -> dict[str, Any]:
    """The same, read again."""
    found: dict[str, Any] = json.loads(formatted(message, *values, **extra))
    return found


def test_a_record_is_a_document() -> None:
    found = document("%s is %d", "it", 5, rollout="checkout", notice={"kind": "phase", "limit": None})
    assert found["message"] == "it is 5"
    assert (found["level"], found["logger"], found["rollout"]) == ("error", "dualpath.x", "checkout")
    assert found["notice"] == {"kind": "phase", "limit": None}
    assert found["time"].endswith("Z")
    assert isinstance(found["pid"], int)
    assert not {"args", "msg", "levelno", "exc_info", "exception"} & set(found)


def test_what_is_given_with_a_record_takes_no_place_of_ours() -> None:
    assert document("said", time="never", level="none")["level"] == "error"


def test_an_exception_stands_in_the_same_line() -> None:
    try:
        raise ValueError("bad\nERROR forged\x1b[2J")
    except ValueError as error:
        written = formatted("it failed", error=error)
    assert len(written.splitlines()) == 1
    assert "\x1b" not in written
    assert json.loads(written)["exception"].endswith("ValueError: bad\nERROR forged\x1b[2J")


@given(value=VALUES, name=st.text(min_size=1))
def test_whatever_is_logged_is_one_document_on_one_line_that_no_terminal_obeys(value: Any, name: str) -> None:
    written = json_line({"value": value, name: 1})
    text = written.decode()
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1
    assert line(text[:-1][:4096]) == text[:-1][:4096]  # nothing in it has to be escaped
    assert isinstance(json.loads(text), dict)


@given(message=st.text())
def test_a_message_is_read_again_as_it_was(message: str) -> None:
    try:
        message.encode()
    except UnicodeEncodeError:
        assert document("%s", message)["message"]
    else:
        assert document("%s", message)["message"] == message


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("\x7f\x9b\u202e\u2028", r'"\u007f\u009b\u202e\u2028"'),
        ("\U000e0041", r'"\udb40\udc41"'),
        ("Zoë 食べ物", '"Zoë 食べ物"'),
        ("\ud800", r'"\\ud800"'),
        (1 << 70, f'"{1 << 70}"'),
        (math.nan, "null"),
        (Colour.RED, '"red"'),
        ({1: [b"x"]}, """{"1":["b'x'"]}"""),
        (Path("/a/b"), '"/a/b"'),
    ],
)
def test_what_is_no_json_becomes_text(value: object, written: str) -> None:
    assert json_line({"a": value}).decode() == f'{{"a":{written}}}\n'


def test_what_is_nested_too_deeply_becomes_text() -> None:
    deep: list[object] = []
    for _ in range(100):
        deep = [deep]
    assert json.loads(json_line({"a": [deep, 1 << 70]}))["a"][1] == str(1 << 70)


def test_a_long_message_is_cut() -> None:
    assert document("x" * 10_000)["message"] == "x" * 4096 + "…"


def test_nothing_that_every_record_has_is_taken_for_something_given() -> None:
    logger = logging.getLogger("dualpath.test")
    record = logger.makeRecord("n", logging.INFO, "f", 1, "m", (), None, "func", None, "stack")
    record.asctime = "now"
    assert set(json.loads(JsonFormatter().format(record))) == {"time", "level", "logger", "pid", "message"}
