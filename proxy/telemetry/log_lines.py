"""What the process says on standard error: one record is one line, whatever stands in it.

Owns the form of a line. Reasons that operators give, names from the store and what backends answer all end up
in messages: none of it may begin a line of its own, steer a terminal, or fill a disk.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Final

_FORM: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
_LONGEST: Final = 4096
"""Characters of a line that are kept."""
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Control characters of all kinds: of terminals, of the direction of writing, of no width, of no meaning."""


def log_to_stderr() -> None:
    """Have all that is logged written there, unless somebody has decided otherwise before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(_FORM))
    logging.basicConfig(handlers=[handler])


def line(text: str) -> str:
    r"""The text as (a part of) one line: control characters as \xNN or \uNNNN, and no more than fits."""
    escaped = _UNPRINTABLE.sub(_escape, text[: _LONGEST + 1])
    if len(escaped) <= _LONGEST and len(text) <= _LONGEST:
        return escaped
    return f"{escaped[:_LONGEST]}… ({len(text)} characters)"


class LineFormatter(logging.Formatter):
    """A message is one line. The lines of a traceback follow it, each behind a bar, so that none of them can
    be taken for a message."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """logging: the line itself."""
        return line(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802
        """logging: what follows it, if there was an exception."""
        return "\n".join(f"  | {line(part)}" for part in super().formatException(ei).split("\n"))  # type: ignore[arg-type]


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
