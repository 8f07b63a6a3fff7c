"""Which store a URL means. Knows the two URL forms and nothing of what is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from proxy.stores.memory import MemoryStore
from proxy.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from proxy.ports import Store

_SQLITE = "sqlite:///"


def store_at(url: str) -> Store:
    """The store, not yet open, for "memory://" or "sqlite:///FILE" (four slashes make FILE absolute)."""
    return SqliteStore(Path(url.removeprefix(_SQLITE))) if url.startswith(_SQLITE) else MemoryStore()
