"""Minutes out of a store's file, which a proxy may be using meanwhile.

Owns that the file is never touched: what is read is a copy, as of this moment. Must never know what the
minutes are for.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from math import inf, nextafter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from proxy.errors import DualpathError
from proxy.stores.opening import storage_at

if TYPE_CHECKING:
    from proxy.core.minute import Minute

_SQLITE = "sqlite:///"
_AT_ONCE = 1_000


async def recorded_minutes(source: str, rollout: str) -> list[Minute]:
    """All that the store in the file `source` (its path, or the URL of `store.url`) has kept of a rollout,
    oldest first. Raises `DualpathError` if it cannot be read or holds none."""
    path = Path(source.removeprefix(_SQLITE))
    with TemporaryDirectory(prefix="dualpath-") as folder:
        copy = Path(folder) / "store.db"
        _copy(path, copy)
        storage = storage_at(f"{_SQLITE}{copy}")
        await storage.store.open()
        try:
            found: list[Minute] = []
            while part := await storage.minutes.between(rollout, _behind(found), inf, _AT_ONCE):
                found += part
        finally:
            await storage.store.close()
    if not found:
        raise DualpathError(f"{path}: holds no minutes of rollout {rollout!r}")
    return found


def _copy(path: Path, to: Path) -> None:
    try:
        with (
            closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(to)) as target,
        ):
            source.backup(target)
    except sqlite3.Error as error:
        raise DualpathError(f"{path}: cannot be read: {error}") from None


def _behind(found: list[Minute]) -> float:
    return nextafter(found[-1].at, inf) if found else 0.0
