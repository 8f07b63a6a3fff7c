from __future__ import annotations

from pathlib import Path

from proxy.stores.memory import MemoryStore
from proxy.stores.opening import store_at
from proxy.stores.sqlite import SqliteStore


def test_a_url_names_the_store() -> None:
    assert isinstance(store_at("memory://"), MemoryStore)
    relative, absolute = store_at("sqlite:///dualpath.db"), store_at("sqlite:////var/lib/a b?.db")
    assert isinstance(relative, SqliteStore)
    assert isinstance(absolute, SqliteStore)
    assert (relative.path, absolute.path) == (Path("dualpath.db"), Path("/var/lib/a b?.db"))
