"""Lines for people: one message is one line, whatever stands in it.

Owns the form of a line. Reasons that operators give, names from the store, targets of requests and what
backends answer all end up in lines: none of it may begin a line of its own, steer a terminal, or fill a disk.
"""

from __future__ import annotations

import logging
import re
from typing import Final

FORM: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
LONGEST: Final = 4096
"""Characters of a message that are kept."""
UNPRINTABLE: Final = (
    "\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f"
)
"""Control characters of all kinds: of terminals, of the direction of writing, of no width, of no meaning."""
_CONTROL: Final = re.compile(f"[{UNPRINTABLE}]")
_CONTROL_OR_QUOTE: Final = re.compile(f'[{UNPRINTABLE}"\\\\]')


def line(text: str) -> str:
    r"""The text as (a part of) one line: control characters as \xNN or \uNNNN, and no more than fits."""
    if len(text) <= LONGEST and text.isascii() and text.isprintable():
        return text
    escaped = _CONTROL.sub(_escape, text[: LONGEST + 1])
    if len(escaped) <= LONGEST and len(text) <= LONGEST:
        return escaped
    return f"{escaped[:LONGEST]}… ({len(text)} characters)"


def quoted(text: str) -> str:
    r"""The text between quotation marks, as part of one line, where it cannot end before its end: those in it
    and backslashes are written \x22 and \x5c, as web servers do."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return f'"{_CONTROL_OR_QUOTE.sub(_escape, text)}"'


def shortened(text: str, most: int) -> str:
    """The text, or its beginning and a sign that there was more."""
    return text if len(text) <= most else f"{text[:most]}…"


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
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
