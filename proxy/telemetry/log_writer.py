"""The way of lines to their file: a bounded queue, and a thread, so that no disk and no reader holds up a
request.

Owns the queue, the thread, and what becomes of lines that there is no room for: they are dropped and counted.
Must never know what a line says. The file is opened when there is something to write, opened anew when
somebody says that it was moved, and closed when nothing has come for a while; then the thread ends as well.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from proxy.telemetry.log_file import LogFile

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("dualpath.log")

MOST_WAITING_BYTES: Final = 4 << 20
STDERR: Final = "/dev/stderr"
_IDLE_S: Final = 30.0
_GATHER_S: Final = 0.05
_SUM_S: Final = 10.0
"""The log is told no more often how many lines are lost: they may be lost all the time."""


class LogWriter:
    """Appends lines to `file`. `count` is told how many were "exported", how many "dropped" for want of
    room, and how many "failed" to be written.

    `put` may be called in any thread, and waits for nothing.
    """

    def __init__(
        self,
        file: str = STDERR,
        *,
        most_bytes: int = MOST_WAITING_BYTES,
        idle_s: float = _IDLE_S,
        count: Callable[[str, int], None] | None = None,
    ) -> None:
        self.file = file
        self._most_bytes = most_bytes
        self._idle_s = idle_s
        self._count = count
        self._lines: list[bytes] = []
        self._waiting_bytes = 0  # of those that are being written, too
        lock = self._lock = threading.Lock()
        self._woken = threading.Condition(lock)
        self._emptied = threading.Condition(lock)
        self._thread: threading.Thread | None = None
        self._is_writing = False
        self._hurry = False  # it is not worth while to wait for more
        self._moved = False  # the file, by somebody
        self._lost = 0  # since the log was last told
        self._is_told = False  # the log, that lines are being lost
        self._sum_due = 0.0
        self._opened = LogFile(file)

    def __repr__(self) -> str:
        return f"<LogWriter {self.file!r} {self._waiting_bytes} bytes wait>"

    def put(self, line: bytes, *, hurry: bool = False) -> None:
        """Write `line`, which ends in a newline, soon, or at once; drop and count it if too much waits."""
        with self._lock:
            if self._waiting_bytes + len(line) <= self._most_bytes:
                self._waiting_bytes += len(line)
                self._lines.append(line)
                if len(self._lines) == 1 or (hurry and not self._hurry):
                    self._hurry |= hurry
                    self._woken.notify()
                if self._thread is None:
                    self._begin()
                return
            self._lost += 1
            is_first, self._is_told = not self._is_told, True
        if self._count is not None:
            self._count("dropped", 1)
        if is_first:  # as below: its line may come back here
            log.error("%s: lines are not taken in time and are lost", self.file)

    def reopen(self) -> None:
        """The file has been moved: what is put from now on goes to a new one of its name."""
        with self._lock:
            if self._thread is not None:  # else it is opened by whoever writes next
                self._moved = True
                self._woken.notify()

    def flush(self, within_s: float) -> bool:
        """Whether all that was put is written, after at most so many seconds."""
        with self._lock:
            self._hurry = True
            self._woken.notify()
            return self._emptied.wait_for(self._is_idle, within_s)

    def _is_idle(self) -> bool:
        return not (self._is_writing or self._has_work())

    def _has_work(self) -> bool:
        return bool(self._lines) or self._moved

    # ... the thread

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"log {self.file}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            lines, moved = work
            if moved:
                self._opened.reopen()
            went = self._opened.append(lines) if lines else 0
            self._account(lines, went)

    def _next(self) -> tuple[list[bytes], bool] | None:
        """All lines that wait, and whether the file has been moved; None once nothing comes any more."""
        with self._lock:
            if not self._has_work() and not self._woken.wait_for(self._has_work, self._idle_s):
                self._thread = None
                self._opened.close()
                return None
            self._woken.wait_for(self._is_urgent, _GATHER_S)  # more come at once, and one write is for all
            lines, moved = self._lines, self._moved
            self._lines, self._moved, self._hurry, self._is_writing = [], False, False, True
            return lines, moved

    def _is_urgent(self) -> bool:
        return self._hurry or self._moved

    def _account(self, lines: list[bytes], went: int) -> None:
        trouble = self._opened.trouble
        with self._lock:
            self._waiting_bytes -= sum(map(len, lines))
            self._lost += len(lines) - went
            lost, is_first = self._told_of(went, trouble)
        if self._count is not None and lines:
            self._count("exported", went)
            self._count("failed", len(lines) - went)
        # Once, and not again until it works: this line may be one of those that cannot be written.
        if is_first:
            log.error("%s: lines cannot be written and are lost: %s", self.file, trouble)
        if lost:
            log.warning("%s: %d lines are lost that could not be written in time", self.file, lost)
        with self._lock:
            self._is_writing = False
            if self._is_idle():
                self._emptied.notify_all()

    def _told_of(self, went: int, trouble: str) -> tuple[int, bool]:
        """Of how many lost lines the log is to be told now, and whether of the trouble."""
        now, lost = time.monotonic(), 0
        if went and self._lost and now >= self._sum_due:
            lost, self._lost = self._lost, 0
            self._is_told, self._sum_due = False, now + _SUM_S
        if not trouble or self._is_told:
            return lost, False
        self._is_told = True
        return lost, True


class Writers:
    """The writers of one process. `count` is told what becomes of lines, as "access_log.dropped"; it may be
    set later."""

    def __init__(self, count: Callable[[str, int], None] | None = None) -> None:
        self.count = count
        self._writers: dict[tuple[str, str], LogWriter] = {}

    def __repr__(self) -> str:
        return f"Writers({', '.join(file for _, file in self._writers)})"

    def to(self, file: str | None, signal: str) -> LogWriter:
        """The one that appends to `file`, or to standard error, on behalf of `signal`."""
        name = file or STDERR
        found = self._writers.get((signal, name))
        if found is None:

            def count(outcome: str, lines: int) -> None:
                if self.count is not None and lines:
                    self.count(f"{signal}.{outcome}", lines)

            found = self._writers[signal, name] = LogWriter(name, count=count)
        return found

    def reopen(self) -> None:
        """Open every file anew."""
        for writer in self._writers.values():
            writer.reopen()

    def flush(self, within_s: float) -> None:
        """Wait, for so long at most, until everything is written."""
        until = time.monotonic() + within_s
        for writer in list(self._writers.values()):
            writer.flush(max(0.0, until - time.monotonic()))
