"""The file that `serve` reads its configuration from, now and again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from proxy.config.loading import load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.config.schema import Config

Mark = tuple[int, int, int]


class ConfigSource:
    """The file that `serve` was given, and the environment over it."""

    def __init__(self, path: str, environ: Mapping[str, str]) -> None:
        self.path = path
        self._environ = environ

    def __repr__(self) -> str:
        return f"ConfigSource({self.path!r})"

    def read(self) -> Config:
        """What it says now, checked as a whole. Raises `ConfigError`."""
        return load(self.path, self._environ)

    def mark(self) -> Mark | None:
        """What changes when the file does, links followed; None while there is no file."""
        try:
            found = os.stat(self.path)
        except (OSError, ValueError):
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size
