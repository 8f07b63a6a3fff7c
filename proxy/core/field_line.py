"""Field lines of a head, read once: most lines of a head are the same from one message to the next.

Owns the grammar of a field line (RFC 9112 section 5) and the memory of lines that were read before, whose
name, value and kind need not be found out again. What a kind means is the caller's affair. A line that does
not fit the grammar to the letter is nobody's here: the parser decides about it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)")
_MAX_LINES: Final = 4096
_MAX_LINE_BYTES: Final = 256
SECRET: Final = frozenset((b"authorization", b"cookie", b"proxy-authorization", b"set-cookie"))
"""Not remembered: they belong to one user, and have no business in memory once their message is gone."""


class FieldLine:
    """One field: `name` in lower case, `value` without white space around it, `text`, the line "Name: value"
    to be passed on with its CRLF, and `kind`, what the caller has to do with it."""

    __slots__ = ("kind", "name", "text", "value")

    def __init__(self, name: bytes, value: bytes, text: bytes, kind: int) -> None:
        self.name = name
        self.value = value
        self.text = text
        self.kind = kind

    def __repr__(self) -> str:
        return f"<FieldLine {self.text!r} kind={self.kind}>"


class LineReader:
    """Reads field lines. `kind_of` gives the kind of a name in lower case and its value.

    `seen` is what it remembers, bounded, by the line as it came.
    """

    __slots__ = ("_kind_of", "seen")

    def __init__(self, kind_of: Callable[[bytes, bytes], int]) -> None:
        self._kind_of = kind_of
        self.seen: dict[bytes, FieldLine] = {}

    def field(self, name: bytes, value: bytes) -> FieldLine:
        """The field of a name and a value that a parser has told apart."""
        value = value.strip(b" \t")  # RFC 9112 section 5.1: not part of it
        lower = name.lower()
        return FieldLine(lower, value, name + b": " + value + b"\r\n", self._kind_of(lower, value))

    def read(self, line: bytes) -> FieldLine | None:
        """The field of a line that was not seen before; None if it is not one by the grammar."""
        match = _LINE.fullmatch(line)
        if match is None:
            return None
        field = self.field(match[1], match[2])
        if len(line) <= _MAX_LINE_BYTES and field.name not in SECRET:
            if len(self.seen) >= _MAX_LINES:
                self.seen.clear()  # what recurs is soon back
            self.seen[line] = field
        return field

    def read_all(self, block: bytes) -> list[FieldLine] | None:
        """The fields of lines with CRLF between them, or None if one of them is none by the grammar."""
        fields: list[FieldLine] = []
        seen = self.seen
        for line in block.split(b"\r\n"):
            field = seen.get(line)
            if field is None:
                field = self.read(line)
                if field is None:
                    return None
            fields.append(field)
        return fields

    def __repr__(self) -> str:
        return f"<LineReader {len(self.seen)} lines seen>"
