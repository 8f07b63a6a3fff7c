from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import Counter
from typing import TYPE_CHECKING

from proxy.telemetry.log_writer import LogWriter, Writers

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SOON_S = 5.0


class Counts(Counter[str]):
    """Counts by name."""

    def count(self, name: str, n: int) -> None:
        self[name] += n


def filled(pipe: str) -> int:
    """Has somebody else write to the pipe what it takes; how many bytes that were."""
    fd = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    took = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            took += os.write(fd, b"y" * 4095 + b"\n")
    os.close(fd)
    return took


def test_what_is_put_is_written_by_another_thread_in_its_order(tmp_path: Path) -> None:
    counts = Counts()
    writer = LogWriter(str(tmp_path / "log"), count=counts.count)
    for number in range(1000):
        writer.put(b"%d\n" % number)
    assert writer.flush(SOON_S)
    assert (tmp_path / "log").read_text().split() == [str(number) for number in range(1000)]
    assert counts["exported"] == 1000
    assert counts["dropped"] == 0


def test_a_reader_that_reads_nothing_holds_up_nobody_and_costs_bounded_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = str(tmp_path / "pipe")
    os.mkfifo(name)
    reader = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    others = filled(name)
    counts = Counts()
    writer = LogWriter(name, most_bytes=200_000, count=counts.count)
    for _ in range(1000):
        writer.put(b"x" * 999 + b"\n", hurry=True)
    assert not writer.flush(0.05)
    assert counts == {"dropped": 800}
    assert caplog.messages == [f"{name}: lines are not taken in time and are lost"]
    os.set_blocking(reader, True)
    read = 0
    while read < others + 200_000:
        read += len(os.read(reader, 1 << 16))
    assert writer.flush(SOON_S)
    assert counts == {"dropped": 800, "exported": 200, "failed": 0}
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "800 lines are lost" in caplog.text
    os.close(reader)


def test_a_file_that_takes_some_lines_and_some_not_does_not_fill_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    counts = Counts()
    writer = LogWriter(str(tmp_path / "log"), most_bytes=10, count=counts.count)
    for _ in range(20):
        writer.put(b"kept\n")
        writer.put(b"too long\n")
        assert writer.flush(SOON_S)
    assert counts == {"exported": 20, "dropped": 20, "failed": 0}
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING", "ERROR"]


def test_trouble_is_told_once_and_what_was_lost_when_it_is_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    counts = Counts()
    folder = tmp_path / "folder"
    writer = LogWriter(str(folder / "log"), count=counts.count)
    for _ in range(3):
        writer.put(b"lost\n")
        assert writer.flush(SOON_S)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "No such file or directory" in caplog.text
    folder.mkdir()
    writer.put(b"kept\n")
    assert writer.flush(SOON_S)
    assert (folder / "log").read_text() == "kept\n"
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "3 lines are lost" in caplog.text
    assert counts == {"exported": 1, "failed": 3}


def test_lines_go_to_the_new_file_from_the_moment_somebody_says_that_it_was_moved(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = LogWriter(str(path))
    writer.reopen()  # nothing is open yet
    writer.put(b"old\n")
    assert writer.flush(SOON_S)
    path.rename(tmp_path / "log.1")
    writer.reopen()
    assert writer.flush(SOON_S)
    writer.put(b"new\n")
    assert writer.flush(SOON_S)
    assert (tmp_path / "log.1").read_text() == "old\n"
    assert path.read_text() == "new\n"


def test_thread_and_file_are_there_only_while_something_comes(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path / "log"), idle_s=0.01)
    for line in (b"one\n", b"two\n"):
        writer.put(line, hurry=True)
        assert writer.flush(SOON_S)
        thread = next((one for one in threading.enumerate() if one.name.endswith(f"{tmp_path}/log")), None)
        if thread is not None:
            thread.join(SOON_S)
        assert writer._thread is None
        assert "closed" in repr(writer._opened)
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def test_writers_are_one_for_each_file_and_signal_and_count_by_these(tmp_path: Path) -> None:
    counts = Counts()
    writers = Writers()
    access = writers.to(str(tmp_path / "log"), "access_log")
    assert writers.to(str(tmp_path / "log"), "access_log") is access
    process = writers.to(str(tmp_path / "log"), "log")
    assert process is not access
    writers.count = counts.count
    access.put(b"access\n")
    process.put(b"process\n")
    writers.flush(SOON_S)
    writers.reopen()
    assert sorted((tmp_path / "log").read_text().split()) == ["access", "process"]
    assert counts == {"access_log.exported": 1, "log.exported": 1}
    assert "log" in repr(writers)
    assert writers.to(None, "log").file == "/dev/stderr"


def test_lines_about_lost_lines_do_not_breed(tmp_path: Path) -> None:
    """The writer of the process's own log is told of its own trouble."""
    writer = LogWriter(str(tmp_path / "nowhere" / "log"))
    told: list[str] = []

    class Own(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())
            writer.put(b"about it\n", hurry=True)

    logger = logging.getLogger("dualpath.log")
    handler = Own()
    logger.addHandler(handler)
    try:
        writer.put(b"one\n", hurry=True)
        for _ in range(3):
            assert writer.flush(SOON_S)
    finally:
        logger.removeHandler(handler)
    assert len(told) == 1
