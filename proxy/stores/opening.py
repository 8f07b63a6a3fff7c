"""Which store a URL means. Knows the two URL forms and nothing of what is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.stores.memory import MemoryMinutes, MemoryStore
from proxy.stores.sqlite import SqliteStore
from proxy.stores.sqlite_minutes import SqliteMinutes

if TYPE_CHECKING:
    from proxy.ports import Minutes, OverrideStore, Store, Trail

_SQLITE = "sqlite:///"


@dataclass(frozen=True, slots=True)
class Storage:
    """All that is kept in one place. Opening and closing `store` opens and closes the others."""

    store: Store
    overrides: OverrideStore
    trail: Trail
    minutes: Minutes


def storage_at(url: str) -> Storage:
    """What is kept, not yet open, at "memory://" or "sqlite:///FILE" (four slashes make FILE absolute)."""
    if url.startswith(_SQLITE):
        file = SqliteStore(Path(url.removeprefix(_SQLITE)))
        return Storage(file, file, file, SqliteMinutes(file))
    kept = MemoryStore()
    return Storage(kept, kept, kept, MemoryMinutes())


def store_at(url: str) -> Store:
    """State and audit alone, as `storage_at`."""
    return storage_at(url).store
