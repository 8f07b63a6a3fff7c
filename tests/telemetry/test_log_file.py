from __future__ import annotations

import os
import resource
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from proxy.errors import StartError
from proxy.telemetry.log_file import PIPE_BYTES, LogFile, appendable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes: what a full disk is, with another errno."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_lines_are_appended_to_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    file = LogFile(str(tmp_path / "log"))
    assert file.append([b"one\n", b"two\n"]) == 2
    assert (tmp_path / "log").read_text() == "before\none\ntwo\n"
    assert file.trouble == ""


def test_a_file_of_ours_is_not_for_everybody(tmp_path: Path) -> None:
    LogFile(str(tmp_path / "log")).append([b"one\n"])
    assert (tmp_path / "log").stat().st_mode & 0o007 == 0


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "log"))
    with disk_of(10):
        assert file.append([b"1234\n", b"567\n", b"too much\n"]) == 2
        assert file.trouble
        assert file.append([b"again\n"]) == 0
    assert (tmp_path / "log").read_text() == "1234\n567\n"
    assert file.append([b"after\n"]) == 1
    assert file.trouble == ""
    assert (tmp_path / "log").read_text() == "1234\n567\nafter\n"


def test_half_a_line_that_cannot_be_taken_back_is_ended_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = LogFile(str(tmp_path / "log"))
    monkeypatch.setattr("proxy.telemetry.log_file._taken_back", lambda fd, size: False)
    with disk_of(7):
        assert file.append([b"1234\n", b"567\n"]) == 1
    assert file.append([b"after\n", b"more\n"]) == 2
    assert (tmp_path / "log").read_text() == "1234\n56\nafter\nmore\n"


def test_what_others_have_appended_meanwhile_is_not_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(str(path))
    file.append([b"mine\n"])
    with path.open("ab") as other:
        other.write(b"theirs\n")
    with disk_of(path.stat().st_size + 2):
        assert file.append([b"half\n"]) == 0
    assert path.read_text() == "mine\ntheirs\n"


def test_lines_of_several_writers_stay_whole(tmp_path: Path) -> None:
    def write(letter: bytes) -> None:
        file = LogFile(str(tmp_path / "log"))
        for _ in range(50):
            file.append([letter * 700 + b"\n"] * 20)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert len(lines) == 3000
    assert {len(line) for line in lines} == {700}
    assert all(len(set(line)) == 1 for line in lines)


def test_no_write_to_a_pipe_is_longer_than_it_takes_in_one_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(tmp_path / "pipe")
    os.mkfifo(name)
    reader = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    sizes: list[int] = []
    write = os.write

    def seen(fd: int, content: bytes) -> int:
        sizes.append(len(content))
        return write(fd, content)

    monkeypatch.setattr(os, "write", seen)
    assert LogFile(name).append([b"x" * 1000 + b"\n"] * 10) == 10
    assert len(os.read(reader, 1 << 16)) == 10_010
    assert max(sizes) <= PIPE_BYTES
    assert len(sizes) == 3
    os.close(reader)


def test_a_pipe_that_nobody_reads_is_no_place_and_holds_nobody_up(tmp_path: Path) -> None:
    name = str(tmp_path / "pipe")
    os.mkfifo(name)
    file = LogFile(name)
    assert file.append([b"one\n"]) == 0
    assert file.trouble
    with pytest.raises(StartError, match="pipe: no lines can be written there"):
        appendable([None, "/dev/stderr", name])


def test_a_stream_that_does_not_wait_is_waited_for() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    full = os.write(writer, b"x" * (1 << 20))
    file = LogFile("/dev/stderr")
    file._fd = writer
    read: list[bytes] = []

    def drain() -> None:
        while sum(map(len, read)) < full + 4:
            read.append(os.read(reader, 1 << 16))

    draining = threading.Thread(target=drain)
    draining.start()
    assert file.append([b"end\n"]) == 1
    draining.join()
    assert b"".join(read).endswith(b"xend\n")
    os.close(reader)
    os.close(writer)


def test_a_moved_file_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(str(path))
    file.append([b"old\n"])
    path.rename(tmp_path / "log.1")
    file.append([b"old still\n"])
    file.reopen()
    file.append([b"new\n"])
    assert (tmp_path / "log.1").read_text() == "old\nold still\n"
    assert path.read_text() == "new\n"


def test_where_no_new_file_can_be_made_the_old_one_is_written_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = LogFile(str(folder / "log"))
    file.append([b"old\n"])
    folder.rename(tmp_path / "moved")
    file.reopen()
    assert "cannot be opened anew" in caplog.text
    assert file.append([b"more\n"]) == 1
    assert (tmp_path / "moved" / "log").read_text() == "old\nmore\n"


def test_a_stream_of_the_process_is_neither_opened_nor_closed() -> None:
    file = LogFile("/dev/stderr")
    file.reopen()
    file.close()
    os.fstat(2)
    assert "open" in repr(file)
