"""Field lines of a head, read once: most lines of a head are the same from one message to the next.

Owns the grammar of a field line (RFC 9112 section 5) and the memory of lines that were read before, whose
name, value and kind need not be found out again. What a kind means is the caller's affair. A line that does
not fit the grammar to the letter is none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""RFC 9110 section 5.6.2."""
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_MAX_LINES: Final = 4096
_MAX_NAME_BYTES: Final = 64
MAX_LINE_BYTES: Final = 256
"""The longest line that is remembered."""
_FEW: Final = 256
_ONE_IN: Final = 8
_SECRET: Final = frozenset((b"authorization", b"cookie", b"proxy-authorization", b"set-cookie"))
"""Not remembered: they belong to one user, and have no business in memory once their message is gone."""


def is_field_line(line: bytes) -> bool:
    """Whether a line without its CRLF is a field by the grammar."""
    name, colon, value = line.partition(b":")
    return bool(colon and TOKEN.fullmatch(name) and _VALUE.fullmatch(value))


class Memory(Generic[T]):
    """What was found out about byte strings, for at most `most` of them; look into `seen`.

    Where many are new, most of them will not come again: of those only one in eight is kept, so that they
    neither cost much nor push out what recurs.
    """

    __slots__ = ("_most", "_turn", "seen")

    def __init__(self, most: int) -> None:
        self.seen: dict[bytes, T] = {}
        self._most = most
        self._turn = 0

    def takes(self) -> bool:
        """Whether the next new one is to be kept."""
        if len(self.seen) < _FEW:
            return True
        self._turn = (self._turn + 1) % _ONE_IN
        return self._turn == 0

    def keep(self, key: bytes, what: T) -> None:
        """Keeps it; when all places are taken, everything goes first: what recurs is soon back."""
        if len(self.seen) >= self._most:
            self.seen.clear()
        self.seen[key] = what

    def __repr__(self) -> str:
        return f"<Memory {len(self.seen)} of {self._most}>"


class FieldName:
    """A name as it is spelt: in `lower` case, with its ": " as `prefix`, its `kind`, and whether its lines
    are a `secret`. A negative kind is a kind that depends on the value."""

    __slots__ = ("kind", "lower", "prefix", "secret")

    def __init__(self, name: bytes, lower: bytes, kind: int) -> None:
        self.lower = lower
        self.prefix = name + b": "
        self.kind = kind
        self.secret = lower in _SECRET

    def __repr__(self) -> str:
        return f"<FieldName {self.prefix!r} kind={self.kind}>"


class FieldLine:
    """One field: `name` in lower case, `value` without white space around it, `text`, the line "Name: value"
    to be passed on with its CRLF, and `kind`, what the caller has to do with it."""

    __slots__ = ("kind", "name", "secret", "text", "value")

    def __init__(self, name: FieldName, value: bytes, kind: int) -> None:
        self.name = name.lower
        self.secret = name.secret
        self.value = value
        self.text = name.prefix + value + b"\r\n"
        self.kind = kind

    def __repr__(self) -> str:
        return f"<FieldLine {self.text!r} kind={self.kind}>"


class LineReader:
    """Reads field lines. `kind_of` gives the kind of a name in lower case, negative if the value decides too;
    then `refine` gives it by the positive kind and the value."""

    __slots__ = ("_kind_of", "_lines", "_names", "_refine")

    def __init__(self, kind_of: Callable[[bytes], int], refine: Callable[[int, bytes], int]) -> None:
        self._kind_of = kind_of
        self._refine = refine
        self._lines: Memory[FieldLine] = Memory(_MAX_LINES)
        self._names: Memory[FieldName] = Memory(_MAX_LINES)

    def field(self, name: bytes, value: bytes) -> FieldLine:
        """The field of a name and a value that were told apart and checked."""
        known = self._names.seen.get(name)
        if known is None:
            known = self._learn(name)
        value = value.strip(b" \t")  # RFC 9112 section 5.1: not part of it
        kind = known.kind
        return FieldLine(known, value, kind if kind >= 0 else self._refine(-kind, value))

    def _learn(self, name: bytes) -> FieldName:
        lower = name.lower()
        known = FieldName(name, lower, self._kind_of(lower))
        if len(name) <= _MAX_NAME_BYTES and self._names.takes():
            self._names.keep(name, known)
        return known

    def _read(self, line: bytes) -> FieldLine | None:
        """The field of a line that was not seen before; None if it is not one by the grammar."""
        name, colon, value = line.partition(b":")
        if not colon or (name not in self._names.seen and not TOKEN.fullmatch(name)):
            return None
        # Most values are plain text, which the first look tells for a fifth of the second's cost.
        if not value.decode("latin-1").isprintable() and not _VALUE.fullmatch(value):
            return None
        field = self.field(name, value)
        if len(line) <= MAX_LINE_BYTES and not field.secret and self._lines.takes():
            self._lines.keep(line, field)
        return field

    def read_all(self, block: bytes) -> list[FieldLine] | None:
        """The fields of lines with CRLF between them, or None if one of them is none by the grammar."""
        fields: list[FieldLine] = []
        seen = self._lines.seen
        for line in block.split(b"\r\n"):
            field = seen.get(line)
            if field is None:
                field = self._read(line)
                if field is None:
                    return None
            fields.append(field)
        return fields

    def __repr__(self) -> str:
        return f"<LineReader {len(self._lines.seen)} lines seen>"
