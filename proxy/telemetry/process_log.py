"""What the process says of itself, on its way from `logging` to a file.

Owns that what is logged goes where `[log]` says, in the form that it says, and that nobody waits for it. A
process that has its own handlers, such as a test's, keeps them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from proxy.telemetry.json_lines import JsonFormatter
from proxy.telemetry.log_file import appendable
from proxy.telemetry.log_lines import FORM, LineFormatter

if TYPE_CHECKING:
    from proxy.config.logs import Log
    from proxy.telemetry.log_writer import Writers

_AT_THE_END_S = 2.0
_SIGNAL = "log"


def can_write(log: Log) -> None:
    """Raises `StartError` if a file of `log` cannot be written."""
    appendable((log.file, log.access.file if log.access.enabled else None))


def log_as(log: Log, writers: Writers) -> None:
    """From now on write what is logged as `log` says."""
    root = logging.getLogger()
    root.setLevel(log.level.upper())
    ours = next((handler for handler in root.handlers if isinstance(handler, _Handler)), None)
    if ours is None:
        if root.handlers:
            return
        ours = _Handler()
        root.addHandler(ours)
    ours.follow(log, writers)


class _Handler(logging.Handler):
    """Writes a record as one line."""

    def follow(self, log: Log, writers: Writers) -> None:
        """Write there, and in that form."""
        self.writer = writers.to(log.file, _SIGNAL)
        self.setFormatter(JsonFormatter() if log.format == "json" else LineFormatter(FORM))

    def handle(self, record: logging.LogRecord) -> bool:
        """logging: here is one. Without the handler's lock, which whoever ends the process holds while the
        last lines are written, and of which these may tell."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """logging: write it."""
        try:
            line = self.format(record)
        except Exception as error:  # nothing that is logged may stop what logs it
            what = f"a message cannot be written: {record.msg!r}: {error!r}"
            line = self.format(
                logging.LogRecord(record.name, record.levelno, record.pathname, record.lineno, what, (), None)
            )
        self.writer.put(line.encode("utf-8", "backslashreplace") + b"\n", hurry=True)

    def flush(self) -> None:
        """logging, at the end of the process: nothing more comes."""
        self.writer.flush(_AT_THE_END_S)
