from __future__ import annotations

import sys
from pathlib import Path

import pytest

from proxy.config.store import Store
from proxy.core.peers import Identity
from proxy.errors import ConfigError
from proxy.stores.memory import MemoryStore
from proxy.stores.opening import storage_of, store_at
from proxy.stores.sqlite import SqliteStore


def test_a_url_names_the_store() -> None:
    assert isinstance(store_at("memory://"), MemoryStore)
    relative, absolute = store_at("sqlite:///dualpath.db"), store_at("sqlite:////var/lib/a b?.db")
    assert isinstance(relative, SqliteStore)
    assert isinstance(absolute, SqliteStore)
    assert (relative.path, absolute.path) == (Path("dualpath.db"), Path("/var/lib/a b?.db"))


def test_a_store_that_is_not_shared_has_no_peers() -> None:
    storage = storage_of(Store(url="memory://"), Identity("a", "e"))
    assert isinstance(storage.store, MemoryStore)
    assert storage.shared is None


def test_a_redis_takes_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("redis", "proxy.stores.redis_"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r'store\.url: needs the extra "fleet"'):
        storage_of(Store(url="redis://h"), Identity("a", "e"))
