"""What must not stand in a log: values of header fields and of query parameters that are secrets.

Owns where in a target they are found. Must never know why a line is written. Text is latin-1, as received.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN: Final = "***"
_PARTS: Final = re.compile("([?&;#])")
_SOME_PARTS: Final = frozenset("?;#")
_NAMES: Final = re.compile(r"[\[\].]+")
_USER: Final = re.compile(r"((?:^|[A-Za-z][A-Za-z0-9+.\-]*:)//)[^/?#\s]*@")


def _plain(name: str) -> str:
    """`accessToken`, `access-token` and `access_token` are one name."""
    return name.lower().replace("-", "").replace("_", "")


class Redaction:
    """Hides the values of header fields and parameters with these names, in whatever case they are, and with
    or without hyphens and underscores."""

    __slots__ = ("_names",)

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(map(_plain, names))

    def __repr__(self) -> str:
        return f"Redaction({len(self._names)} names)"

    def field(self, name: str, value: str) -> str:
        """The value of a header field as it may be written. Addresses in it are looked into too."""
        return HIDDEN if _plain(name) in self._names else self.target(value)

    def target(self, target: str) -> str:
        """A request target, or another address, without who asks and without secret parameters: of its
        path, its query, its fragment, and of addresses within."""
        if "@" in target:
            target = _USER.sub(rf"\1{HIDDEN}@", target)
        if _SOME_PARTS.isdisjoint(target):
            return target
        before, *parts = _PARTS.split(target)
        return before + "".join([self._parameter(part) for part in parts])

    def _parameter(self, part: str) -> str:
        """One of them: `token=…`, also as `user[token]`, `user.token` or with its name escaped."""
        name, mark, value = part.partition("=")
        if not value:
            return part
        decoded = _plain(unquote_plus(name, errors="replace").strip())
        if decoded in self._names or not self._names.isdisjoint(_NAMES.split(decoded)):
            return f"{name}{mark}{HIDDEN}"
        return part
