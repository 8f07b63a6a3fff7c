"""A file or stream that lines are appended to, by several processes at once.

Owns that each line goes out whole. To a file lines are appended in one write, which the system does not mix
with those of others; what a full disk has cut is taken back. To a pipe no write is longer than what it takes
in one piece. Must never know what a line says. For one thread, which may have to wait.
"""

from __future__ import annotations

import itertools
import logging
import os
import select
import stat
from typing import TYPE_CHECKING, Final

from proxy.config.logs import STANDARD
from proxy.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

log = logging.getLogger("dualpath.log")

PIPE_BYTES: Final = select.PIPE_BUF
"""A pipe takes so many in one piece, whoever else writes to it."""
_MODE: Final = 0o640  # lines tell who did what
_WRITE_BYTES: Final = 256 << 10
_LOOK_MS: Final = 1000


class LogFile:
    """Opened when it is needed. `trouble` says why the last write did not do, and is empty if it did."""

    def __init__(self, name: str) -> None:
        self.trouble = ""
        self._name = name
        self._fd: int | None = STANDARD.get(name)
        self._is_ours = self._fd is None
        self._is_torn = False  # it ends in half a line of ours

    def __repr__(self) -> str:
        return f"LogFile({self._name!r}, {'closed' if self._fd is None else 'open'})"

    def append(self, lines: Sequence[bytes]) -> int:
        """How many of the lines went, each of which ends in a newline; of the others nothing stays."""
        self.trouble = ""
        went = 0
        try:
            fd = self._opened()
            is_file = stat.S_ISREG(os.fstat(fd).st_mode)
            for batch in _batches(lines, _WRITE_BYTES if is_file else PIPE_BYTES):
                went += self._append(fd, batch)
                if self.trouble:
                    break
        except OSError as error:
            self.trouble = error.strerror or str(error)
        return went

    def _append(self, fd: int, lines: Sequence[bytes]) -> int:
        before = b"\n" if self._is_torn else b""
        content = before + b"".join(lines)
        wrote, self.trouble = _written(fd, content)
        if wrote == len(content):
            self._is_torn = False
            return len(lines)
        whole = content.rfind(b"\n", 0, wrote) + 1
        if wrote:
            self._is_torn = whole < wrote and not _taken_back(fd, wrote - whole)
        ends = itertools.accumulate(map(len, lines), initial=len(before))
        return max(0, sum(end <= whole for end in ends) - 1)

    def reopen(self) -> None:
        """Open the name anew: the file has been moved. Where that fails, go on with what is open."""
        if not self._is_ours or self._fd is None:
            return
        try:
            fd = _open(self._name)
        except OSError as error:
            log.error("%s cannot be opened anew, the old file is written on: %s", self._name, error.strerror)
            return
        os.close(self._fd)
        self._fd, self._is_torn = fd, False

    def close(self) -> None:
        """Until it is needed again."""
        if self._is_ours and self._fd is not None:
            os.close(self._fd)
            self._fd, self._is_torn = None, False

    def _opened(self) -> int:
        if self._fd is None:
            self._fd = _open(self._name)
        return self._fd


def appendable(files: Sequence[str | None]) -> None:
    """Raises `StartError` for the first of these files that lines cannot be appended to."""
    for file in files:
        if file is not None and file not in STANDARD:
            try:
                os.close(_open(file))
            except OSError as error:
                raise StartError(f"{file}: no lines can be written there: {error.strerror}") from None


def _open(name: str) -> int:
    # Without waiting, for the sake of a pipe that nobody reads.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    fd = os.open(name, flags, _MODE)
    os.set_blocking(fd, True)
    return fd


def _written(fd: int, content: bytes) -> tuple[int, str]:
    """How many bytes of it went, and why it was not all."""
    wrote = 0
    while wrote < len(content):
        try:
            wrote += os.write(fd, content[wrote:])
        except BlockingIOError:  # somebody has made the stream so that it does not wait
            ready = select.poll()
            ready.register(fd, select.POLLOUT)
            ready.poll(_LOOK_MS)
        except OSError as error:
            return wrote, error.strerror or str(error)
    return wrote, ""


def _taken_back(fd: int, size: int) -> bool:
    """Whether the last bytes of a file are gone again: nobody else has appended since."""
    try:
        end = os.lseek(fd, 0, os.SEEK_CUR)
        if os.fstat(fd).st_size != end:
            return False
        os.ftruncate(fd, end - size)
        os.lseek(fd, end - size, os.SEEK_SET)
    except OSError:
        return False
    return True


def _batches(lines: Sequence[bytes], most_bytes: int) -> Iterator[list[bytes]]:
    """The lines in pieces of no more than so many bytes, but for one that alone has more."""
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if batch and size + len(line) > most_bytes:
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield batch
