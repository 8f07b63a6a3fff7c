"""Cache hits of a backend, as a field of its answers tells them: "X-Cache: HIT", "Cache-Status: edge; hit".

Owns which answers are hits. Called on the hot path, and only where a configuration names the field. Must
never know a rollout or a limit.
"""

from __future__ import annotations

import re
from typing import Final

_HIT: Final = re.compile(rb"(?<![a-z])hit(?![a-z])", re.IGNORECASE)


class CacheCount:
    """Answers that hold the field `name`, and those of them that were hits; others say nothing."""

    __slots__ = ("_name", "answers", "hits")

    def __init__(self, name: str) -> None:
        self._name = name.lower().encode()
        self.answers = 0
        self.hits = 0

    def saw(self, lines: list[bytes]) -> None:
        """An answer with these fields, each a line."""
        wanted = self._name
        for line in lines:
            name, _, value = line.partition(b":")
            if len(name) == len(wanted) and name.lower() == wanted:
                self.answers += 1
                if _HIT.search(value) is not None:
                    self.hits += 1
                return

    def drain(self) -> tuple[int, int]:
        """Hits and answers since the last call."""
        found = self.hits, self.answers
        self.hits = self.answers = 0
        return found

    def __repr__(self) -> str:
        return f"CacheCount({self.hits} of {self.answers})"
