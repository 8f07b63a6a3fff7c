from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from proxy.config.schema import Access, Log
from proxy.errors import StartError
from proxy.telemetry.log_writer import Writers
from proxy.telemetry.process_log import can_write, log_as

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOON_S = 5.0
log = logging.getLogger("dualpath.test")


@contextmanager
def root_of_its_own() -> Iterator[logging.Logger]:
    """The root of all loggers as it is in a process of our own: without anybody's handlers."""
    found = logging.getLogger()
    handlers, level = found.handlers, found.level
    found.handlers = []
    try:
        yield found
    finally:
        found.handlers = handlers
        found.setLevel(level)


def test_what_is_logged_goes_where_and_as_the_table_says(tmp_path: Path) -> None:
    writers = Writers()
    with root_of_its_own():
        log_as(Log(file=str(tmp_path / "text.log"), level="warning"), writers)
        log.info("too little")
        log.warning("a\n%s", "b\ud800")
        log_as(Log(file=str(tmp_path / "json.log"), format="json"), writers)
        log.info("more")
    writers.flush(SOON_S)
    (line,) = (tmp_path / "text.log").read_text().splitlines()
    assert line.endswith(" WARNING dualpath.test a\\x0ab\\ud800")
    (document,) = map(json.loads, (tmp_path / "json.log").read_text().splitlines())
    assert (document["level"], document["message"]) == ("info", "more")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_message_that_cannot_be_made_is_told_instead(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writers = Writers()
    with root_of_its_own():
        log_as(Log.read({"file": str(tmp_path / "log"), "format": form}), writers)
        log.error("%d things\n", "no")
    writers.flush(SOON_S)
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert "a message cannot be written: '%d things" in line
    assert capsys.readouterr().err == ""


def test_the_end_of_the_process_waits_until_everything_is_written(tmp_path: Path) -> None:
    with root_of_its_own() as root:
        log_as(Log(file=str(tmp_path / "log")), Writers())
        log.error("the last")
        root.handlers[0].flush()
    assert (tmp_path / "log").read_text().endswith("the last\n")


def test_somebody_elses_handlers_stay(tmp_path: Path) -> None:
    theirs = logging.NullHandler()
    with root_of_its_own() as root:
        root.addHandler(theirs)
        log_as(Log(file=str(tmp_path / "log"), level="error"), Writers())
        assert root.handlers == [theirs]
        assert root.level == logging.ERROR


def test_a_file_that_cannot_be_written_is_found_before_it_is_needed(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere" / "log")
    can_write(Log(access=Access(file=nowhere)))  # not enabled
    for table in (Log(file=nowhere), Log(access=Access(file=nowhere, enabled=True))):
        with pytest.raises(StartError, match="no lines can be written there: No such file"):
            can_write(table)
