"""The routes of one host, by path prefix.

Owns the search for the longest prefix that fits. Must never know a host or what a rollout is: it hands back
numbers.
"""

from __future__ import annotations

from typing import TypeAlias

_Entry: TypeAlias = "tuple[int, dict[bytes, int]]"
"""What one prefix leads to: the rollout for any method (-1: none), and those for particular methods."""


class PrefixTable:
    """Prefix and method to a rollout's index, on segment boundaries."""

    __slots__ = ("_entries", "_longest", "_slashed")

    def __init__(self) -> None:
        self._entries: dict[bytes, _Entry] = {}
        self._longest = 0
        self._slashed = False  # whether any prefix but "/" ends in a slash

    def add(self, prefix: bytes, methods: frozenset[bytes], rollout: int) -> None:
        """Give `prefix` to `rollout`, for all methods if none are named. ValueError if another has it."""
        default, by_method = self._entries.get(prefix, (-1, {}))
        if not methods:
            default = _claim(default, rollout, prefix)
        for method in methods:
            by_method[method] = _claim(by_method.get(method, -1), rollout, prefix)
        self._entries[prefix] = (default, by_method)
        self._longest = max(self._longest, len(prefix))
        self._slashed = self._slashed or (prefix != b"/" and prefix.endswith(b"/"))

    def match(self, path: bytes, method: bytes) -> int:
        """The rollout of the longest prefix that fits path and method, or -1."""
        entries = self._entries
        end = len(path)
        if end <= self._longest:
            found = _pick(entries.get(path), method)
            if found >= 0:
                return found
        else:
            # No prefix is longer, so that a path of 16 KiB of slashes costs no more than a short one.
            end = self._longest + 1
        slashed = self._slashed
        while (slash := path.rfind(b"/", 0, end)) > 0:
            if slashed and (entry := entries.get(path[: slash + 1])) is not None:
                found = _pick(entry, method)
                if found >= 0:
                    return found
            if (entry := entries.get(path[:slash])) is not None:
                found = _pick(entry, method)
                if found >= 0:
                    return found
            end = slash
        return _pick(entries.get(b"/"), method)


def _pick(entry: _Entry | None, method: bytes) -> int:
    return -1 if entry is None else entry[1].get(method, entry[0])


def _claim(holder: int, rollout: int, prefix: bytes) -> int:
    if holder not in {-1, rollout}:
        raise ValueError(f"rollouts {holder} and {rollout} both claim {prefix!r}")
    return rollout
