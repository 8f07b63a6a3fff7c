"""Lines for machines: a JSON document on each line, whatever stands in it.

Owns what makes it one: control characters are escaped as JSON has it, those too that JSON lets through and a
terminal would obey. Nothing that was logged makes a line fail.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from proxy.telemetry.log_lines import LONGEST, UNPRINTABLE, shortened

_OPTIONS: Final = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
_BEYOND_JSON: Final = re.compile(f"[{UNPRINTABLE}]")
_NO_TEXT: Final = re.compile("[\ud800-\udfff]")
_LONGEST_TRACE: Final = 16 << 10
_DEEPEST: Final = 6
_USUAL: Final = frozenset(
    {*vars(logging.LogRecord("", 0, "", 0, "", (), None)), "message", "asctime", "taskName"}
)
"""What every record has; the rest was given to it."""


def json_line(document: dict[str, Any]) -> bytes:
    """The document as one line, with its newline. What is no JSON becomes text."""
    try:
        written = orjson.dumps(document, option=_OPTIONS)
    except TypeError:  # half a character, a huge number, a key that is no text
        written = orjson.dumps(_plain(document, _DEEPEST), option=_OPTIONS)
    if written.isascii() and b"\x7f" not in written:
        return written
    return _BEYOND_JSON.sub(_escaped, written[:-1].decode()).encode() + b"\n"


class JsonFormatter(logging.Formatter):
    """A record is one document: `time`, `level`, `logger`, `pid`, `message`, what was given with it as
    `extra`, and `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """logging: the line, without its newline."""
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": shortened(record.getMessage(), LONGEST),
        }
        for name, value in vars(record).items():
            if name not in _USUAL:
                document.setdefault(name, value)
        if record.exc_info and record.exc_info[0] is not None:
            document["exception"] = shortened(self.formatException(record.exc_info), _LONGEST_TRACE)
        return json_line(document)[:-1].decode()


def _plain(value: object, depth: int) -> object:
    """As JSON has it, whatever it is."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 63 else str(value)
    if isinstance(value, dict) and depth:
        return {_text(key): _plain(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth:
        return [_plain(item, depth - 1) for item in value]
    if isinstance(value, datetime):
        return value
    return _text(value)


def _text(value: object) -> str:
    return shortened(_NO_TEXT.sub(lambda half: f"\\u{ord(half[0]):04x}", str(value)), LONGEST)


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1] if found[0] != "\x7f" else "\\u007f"
